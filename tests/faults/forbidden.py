"""Files that may not be read, masks of permissions, and full disks under reports and pictures.

Every attack takes a number of tries and returns ``{"tried", "right", "silently_wrong", "raw",
"lost"}``.

    python tests/faults/forbidden.py [TRIES]
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parent))

from living_together import counted, go

import wingbeat as wb
from wingbeat.files import WRITING

NOBODY = 65534


@contextlib.contextmanager
def as_nobody(folder):
    """Give a folder to a user without rights and be that user: root may read anything."""
    if os.geteuid():
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


FORBIDDEN = (
    "summary.json",
    "table.parquet",
    "condition.json",
    "environment.json",
    "members.json",
    "sealed.json",
    "snapshots/000000.safetensors",
    "snapshots",
    ".",
)


def forbidden_files(tries=9):
    """Take the permission to read off one file after another: said so, and never "damaged"."""
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        expected = go(whole).summary
        Path(place).chmod(0o755)

        def attempt(case):
            name, number = case
            folder = shutil.copytree(whole, Path(place) / f"run-{number}")
            with as_nobody(folder):
                path = folder / name
                mode = stat.S_IMODE(path.stat().st_mode)
                path.chmod(0)
                try:
                    found = go(folder, metrics=("l2", "spread"))
                except wb.StoreError as error:
                    clear = "Permission denied" in str(error) and "damaged" not in str(error)
                    end = "right" if clear else "silently_wrong"
                else:  # it was not needed
                    end = "right" if found.summary.items() >= expected.items() else "silently_wrong"
                finally:
                    path.chmod(mode)
                return end if go(folder).summary.items() >= expected.items() else "lost"

        cases = [(FORBIDDEN[i % len(FORBIDDEN)], i) for i in range(tries)]
        return counted(attempt, cases)


def umasks(tries=3):
    """Every file of a run and its report has the permissions that the umask leaves, no others."""

    def attempt(mask):
        with tempfile.TemporaryDirectory() as place:
            before, folder = os.umask(mask), Path(place) / "run"
            try:
                go(folder).report(folder / "report.html")
            finally:
                os.umask(before)
            files = [p for p in folder.rglob("*") if p.is_file()]
            modes = {stat.S_IMODE(p.stat().st_mode) for p in files}
            return "right" if modes == {0o666 & ~mask} and len(files) > 5 else "silently_wrong"

    masks = (0o022, 0o077, 0o002)
    return counted(attempt, [masks[i % 3] for i in range(tries)])


@contextlib.contextmanager
def patched(name, function):
    """Put a function of ``os`` in the place of another for a while."""
    real = getattr(os, name)
    setattr(os, name, function)
    try:
        yield
    finally:
        setattr(os, name, real)


def refused_chmod(tries=1):
    """A file system that refuses to change permissions (FAT, say) is no hindrance."""

    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    def attempt(_):
        with tempfile.TemporaryDirectory() as place:
            with patched("chmod", refuse), patched("fchmod", refuse):
                result = go(Path(place) / "run")
                result.report(Path(place) / "report.html")
            return "right" if wb.load(Path(place) / "run").summary == result.summary else "lost"

    return counted(attempt, range(tries))


def full_disk_under_pages(tries=4):
    """The disk is full while a page or a picture is written: an earlier one stays as it was."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writers = {
        "report.html": lambda result, path: result.report(path),
        "numbers.json": lambda result, path: _numbers(path),
        "sheet.png": lambda result, path: _sheet(path),
        "missing/report.html": lambda result, path: result.report(path),
    }

    def attempt(name):
        with tempfile.TemporaryDirectory() as place:
            result, path = go(Path(place) / "run"), Path(place) / name
            if "/" not in name:
                path.write_text("earlier")
            try:
                with patched("fsync", full):
                    writers[name](result, path)
            except wb.StoreError as error:
                clear = str(path) in str(error)
            else:
                return "silently_wrong"
            left = list(Path(place).rglob(f"{WRITING}*"))
            kept = "/" in name or path.read_text() == "earlier"
            return "right" if clear and kept and not left else "lost"

    names = list(writers)
    return counted(attempt, [names[i % len(names)] for i in range(tries)])


def _numbers(path):
    from wingbeat.deep_lyapunov.numbers import PlainResults

    PlainResults.to_json(SimpleNamespace(to_dict=dict), path)


def _sheet(path):
    import numpy as np
    from matplotlib import pyplot as plt

    from wingbeat.deep_lyapunov.visualization.plots import create_analysis_dashboard

    ways = np.arange(24.0).reshape(4, 2, 3)
    try:
        create_analysis_dashboard(
            ways, np.ones(3) / 3, np.ones(4), 0.0, 1.0, "undetermined", save_path=path
        )
    finally:
        plt.close("all")


ATTACKS = (forbidden_files, umasks, refused_chmod, full_disk_under_pages)

if __name__ == "__main__":
    for ATTACK in ATTACKS:
        print(json.dumps({ATTACK.__name__: ATTACK()}), flush=True)  # noqa: T201
