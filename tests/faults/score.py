"""Attack everything, and print how often something was silently wrong, raw or lost.

    python -m tests.faults.score [--quick] [--only NAME,NAME]

Runs from the repository's root within fifteen minutes on two cores (``--quick``: two). Prints a
table and one line of JSON; the exit code is 0 where every attack was tried as often as it is asked
for and none went wrong.

- silently wrong: another number, or nonsense taken, without a word
- raw: an exception that is not one of wingbeat's
- lost: what was there before cannot be had again
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
os.environ["WINGBEAT_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import torch  # noqa: E402
from faults import metric_calls, run_calls, study_files, threads  # noqa: E402
from run.tasks import contents, plain  # noqa: E402

import wingbeat as wb  # noqa: E402

LIMIT = 15 * 60
"""Seconds of the whole, after which no further attack is begun."""
BAD = ("silently_wrong", "raw", "lost")
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)
LEAK = 50_000
"""Bytes a run may leave behind: 10 MB in 200 runs; the allocator alone wanders by some of it."""
BEGUN = time.monotonic()


def counted(ends):
    """Return counts of a list of ends: "" is right, others begin with what they are."""
    found = {"tried": 0, **dict.fromkeys(BAD, 0), "first": ""}
    for end in ends:
        found["tried"] += 1
        if end:
            kind = {"wrong": "silently_wrong"}.get(end.partition(":")[0], end.partition(":")[0])
            found[kind] += 1
            found["first"] = found["first"] or end
        if time.monotonic() - BEGUN > LIMIT:
            break
    return found


def kills(quick):
    """Kill runs and studies at random moments and writes; all files are those without a kill."""
    plans = [
        ("loop", "adam", "time", 6 if quick else 80),
        ("loop", "momentum", "write", 6 if quick else 80),
        ("lockstep", "momentum", "time", 0 if quick else 50),
        ("lockstep", "adam", "write", 0 if quick else 50),
    ]
    ends = []
    for seed, (driver, optimizer, how, count) in enumerate(p for p in plans if p[3]):
        with tempfile.TemporaryDirectory() as place:
            words = ("killing.py", place, driver, optimizer, seed + 10, *[how] * count)
            ends += _killed(words, count, lambda said, place=place: _as_whole(Path(place), said))
    studies = ("inline", 4 if quick else 45)
    with tempfile.TemporaryDirectory() as place:  # the script compares the tables itself
        ends += _killed(("study_killing.py", place, 3, *studies), studies[1], lambda _: "")
    return counted(ends)


def _killed(words, count, judge):
    done = subprocess.run(
        [sys.executable, str(HERE / words[0]), *map(str, words[1:])],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return [f"lost: {words[0]}: {done.stderr.strip().splitlines()[-1:]}"] * count
    said = json.loads(done.stdout.splitlines()[-1])
    end = judge(said)
    return [end] * int(said["kills"])


def _as_whole(place, said):
    expected = contents(place / "whole")
    wrong = [name for name in said["folders"] if contents(place / name) != expected]
    return f"lost: other files after kills in {wrong}" if wrong else ""


def disk_errors(quick):
    """Let a write, a flush or a rename fail; the next start goes on and ends with the same bits."""
    return counted(_disk_errors(6 if quick else 24))


def _disk_errors(places):
    with tempfile.TemporaryDirectory() as place:
        _small(Path(place) / "whole")
        expected = contents(Path(place) / "whole")
        whats = (("os", "fsync"), ("Path", "replace"), ("after", "replace"))
        for number, ((owner, name), count) in enumerate(itertools.product(whats, range(places))):
            folder = Path(place) / f"run-{number}"
            with _failing(owner, name, count, ERRORS[number % 3]):
                end = _end_of(lambda folder=folder: _small(folder))
            if not end.startswith(("refused", "taken")):
                yield end
                continue
            end = _end_of(lambda folder=folder: _small(folder))
            same = end == "taken" and contents(folder) == expected
            yield "" if same else f"lost: {owner} {name} {count}: {end}"


@contextlib.contextmanager
def _failing(owner, name, count, code):
    """Let the call after ``count`` others fail, or, "after", do its work and then fail."""
    home = os if owner == "os" else Path
    real, seen = getattr(home, name), itertools.count()

    def call(*given):
        due = next(seen) == count
        if due and owner == "after":
            real(*given)
        if due:
            raise OSError(code, os.strerror(code))
        return real(*given)

    setattr(home, name, call)
    try:
        yield
    finally:
        setattr(home, name, real)


def _small(folder):
    return wb.run(
        plain(steps=8),
        wb.Gaussian(0.01),
        replicas=2,
        record_every=4,
        driver="loop",
        out=folder,
        checkpoint_seconds=0.0,
        progress=False,
    )


_end_of = run_calls.attack


def flips(quick):
    """Flip one bit after another in every kind of file: refused by name, or nothing changes."""
    each = 3 if quick else 50
    return counted(itertools.chain(_flips(each), _state_flips(each), _study_flips(each)))


def _flips(each):
    draw = random.Random(7)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        _small(folder)
        right = _all_of(folder)
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size):
            content = path.read_bytes()
            for _ in range(each):
                altered = bytearray(content)
                altered[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
                path.write_bytes(altered)
                try:
                    read = _all_of(folder)
                except wb.StoreError as error:
                    named = path.name in str(error) or str(folder) in str(error)
                    yield "" if named else f"wrong: {path.name} is not named"
                except Exception as error:
                    yield f"raw: {path.name}: {type(error).__name__}: {error}"
                else:
                    yield "" if read == right else f"wrong: {path.name}: another number"
            path.write_bytes(content)
        yield "" if _all_of(folder) == right else "lost: restored files are not read"


def _state_flips(each):
    """Flip bits in what a run that was stopped goes on from."""
    with tempfile.TemporaryDirectory() as place:
        _small(Path(place) / "whole")
        expected, folder = contents(Path(place) / "whole"), Path(place) / "run"
        with _failing("os", "fsync", 9, errno.EIO):
            _end_of(lambda: _small(folder))
        names = [p.relative_to(folder) for p in folder.rglob("*.safetensors")]
        draw = random.Random(8)
        for number, name in enumerate(name for name in names for _ in range(each // 3)):
            other = Path(shutil.copytree(folder, Path(place) / f"run-{number}"))
            content = bytearray((other / name).read_bytes())
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            (other / name).write_bytes(content)
            end = _end_of(lambda other=other: _small(other))
            same = end == "taken" and contents(other) == expected
            yield "" if same or end.startswith("refused") else f"wrong: {name}: {end}"


def _study_flips(each):
    """Flip bits in the records, the journal and the table of a study."""
    damage = importlib.import_module("test_study_damage")
    draw = random.Random(9)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "study"
        damage.run_study(damage.GRID, folder)
        expected = (folder / "table.parquet").read_bytes()
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size):
            content = path.read_bytes()
            for _ in range(each // 3):
                altered = bytearray(content)
                altered[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
                path.write_bytes(altered)
                end = _end_of(lambda: damage.run_study(damage.GRID, folder))
                same = end == "taken" and (folder / "table.parquet").read_bytes() == expected
                yield "" if same or end.startswith("refused") else f"wrong: {path.name}: {end}"
            path.write_bytes(content)


def _all_of(folder):
    """Return everything that is read of a run's folder, as one text."""
    found = wb.load(folder)
    values = [t.sum().item() for s in found.steps for t in found.trajectory.at(s).params.values()]
    parts = [found.summary, found.condition, values, found.warnings, found.perturbations]
    return json.dumps(parts, default=str) + found.table.to_csv()


def hostile(quick):
    """Read study files and checkpoints that were made to do harm."""
    names = list(study_files.REFUSED)
    with tempfile.TemporaryDirectory() as place:
        ends = [study_files.attack(Path(place), n) for n in (names[::4] if quick else names)]
        return counted([*ends, *_checkpoints(Path(place), quick)])


def _checkpoints(place, quick):
    malice = importlib.import_module("test_malice")
    for number, (name, code) in enumerate(itertools.product(("pickle", "zip", "old"), range(4))):
        if quick and number > 2:
            return
        folder, marker = place / f"c{number}", place / f"ran-{number}"
        folder.mkdir()
        path = malice.posing(name, marker, folder)
        if code % 2:
            path = path.rename(path.with_suffix(".pt"))
        end = _end_of(lambda path=path: malice.open_checkpoint(path))
        ran = "wrong: code of a checkpoint ran" if marker.exists() else ""
        refused = end.startswith("refused")
        yield ran or ("" if refused else end if end.startswith("raw") else f"wrong: {path.name}")


def calls(quick):
    """Call every estimator, perturbation and run with what strangers pass."""
    torch.set_num_threads(1)
    of_metrics = [metric_calls.attack(*a) for a in metric_calls.attacks()]
    drawn = metric_calls.fuzz(500 if quick else 4000, seed=11)
    runs = list(run_calls.attacks())
    of_runs = [
        f"{end} ({name} = {value!r:.40})" if (end := _end_of(act)).startswith("raw") else ""
        for name, value, act in (runs[::7] if quick else runs)
    ]
    return counted([*of_metrics, *drawn, *of_runs])


def in_threads(quick):
    """Run in threads of this process: the bits of runs one after the other."""
    seeds = range(6 if quick else 50)
    before = threads.switches()
    found, failed = threads.together(seeds)
    alone = threads.alone(seeds)
    ends = [
        "raw: no result" if s not in found else "" if found[s] == alone[s] else "wrong: other bits"
        for s in seeds
    ]
    if threads.switches() != before:
        ends.append("wrong: a switch was left on")
    return counted([*ends, *(f"raw: {words}" for words in failed)])


def leak(quick):
    """Run 200 times in this process: resident memory stays where it was."""
    count = 20 if quick else 200
    for _ in range(10):
        threads.run(0)
    before = _resident()
    for _ in range(count):
        threads.run(0)
    each = (_resident() - before) / count
    words = f"wrong: {each:.0f} bytes stay behind each run" if not quick and each > LEAK else ""
    return counted([words, *[""] * (count - 1)])


def _resident():
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def further(quick):
    """Run what other files of this folder offer as ``ATTACKS``."""
    found = {"tried": 0, **dict.fromkeys(BAD, 0), "first": ""}
    for path in sorted(HERE.glob("*.py")):
        if "\nATTACKS = (" not in path.read_text(encoding="utf-8") or path.name == "score.py":
            continue
        for attack in importlib.import_module(path.stem).ATTACKS:
            counts = attack(2) if quick else attack()
            for key in ("tried", *BAD):
                found[key] += counts[key]
            if any(counts[key] for key in BAD):
                found["first"] = found["first"] or f"{path.stem}.{attack.__name__}: {counts}"
    return found


SECTIONS = {
    "calls": (calls, 5000),
    "hostile": (hostile, 80),
    "flips": (flips, 500),
    "disk_errors": (disk_errors, 60),
    "threads": (in_threads, 50),
    "leak": (leak, 200),
    "further": (further, 0),
    "kills": (kills, 300),
}
"""What is attacked, and how often at least."""


def main(words):
    parser = argparse.ArgumentParser(prog="python -m tests.faults.score")
    parser.add_argument("--quick", action="store_true", help="a few of each")
    parser.add_argument("--only", default="", help="names of sections, with commas")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    only = [name for name in asked.only.split(",") if name] or list(SECTIONS)
    table, fine = {}, True
    print(f"{'attack':<12}{'tried':>7}{'wrong':>7}{'raw':>7}{'lost':>7}{'seconds':>9}")  # noqa: T201
    for name in only:
        attack, least = SECTIONS[name]
        begin = time.monotonic()
        found = attack(asked.quick)
        found["seconds"] = round(time.monotonic() - begin, 1)
        table[name] = found
        fine &= not any(found[bad] for bad in BAD) and (asked.quick or found["tried"] >= least)
        row = "".join(f"{found[key]:>7}" for key in ("tried", *BAD))
        print(f"{name:<12}{row}{found['seconds']:>9}  {found['first'][:150]}", flush=True)  # noqa: T201
    print(json.dumps({"fine": fine, "quick": asked.quick, **table}))  # noqa: T201
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
