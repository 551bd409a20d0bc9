"""Records by way of an object store: for workers that share no disk with the study.

A worker computes in a scratch folder of its own machine and puts the record's files into the
store, ``record.json`` last: what has it there is whole. The study's process brings them to its
folder file by file; no table passes through its memory. Stores are those of fsspec: ``s3://``,
``gs://``, ``az://``, ``sftp://``, ``file://`` and others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wingbeat.errors import RequestError, StoreError
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Ledger, Record

LAST = "record.json"
"""The file that makes a record whole."""


@dataclass(frozen=True)
class Depot:
    """The folder of a study's records in an object store.

    Args:
        url: as fsspec reads it, such as ``s3://bucket/studies/first``.

    Example:
        >>> depot = Depot("file://" + tempfile.mkdtemp())
        >>> depot.keys()
        frozenset()
    """

    url: str

    def keys(self) -> frozenset[str]:
        """Return the keys of all delivered records, from one listing.

        Raises:
            RequestError: fsspec, or what it needs for this kind of store, is not installed.
            StoreError: the store cannot be reached.
        """
        found = self._try("listed", lambda fs, root: fs.glob(f"{root}/*/{LAST}"))
        return frozenset(str(path).split("/")[-2] for path in found)

    def put(self, folder: Path) -> None:
        """Deliver a record folder; one that is there already is replaced.

        Raises:
            StoreError: the store cannot be written.
        """

        def deliver(fs: Any, root: str) -> None:
            """Put the files, the one that makes the record whole last."""
            to = f"{root}/{folder.name}"
            files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"]
            for path in sorted(files, key=lambda p: p == folder / LAST):
                name = path.relative_to(folder).as_posix()
                fs.makedirs(f"{to}/{name}".rpartition("/")[0], exist_ok=True)
                if name == LAST:  # a local disk would show it half written
                    fs.put_file(str(path), f"{to}/.writing")
                    fs.mv(f"{to}/.writing", f"{to}/{LAST}")
                else:
                    fs.put_file(str(path), f"{to}/{name}")

        self._try("written", deliver)

    def fetch(self, ledger: Ledger, keys: Iterable[str]) -> None:
        """Bring records into the folder of a study.

        Raises:
            StoreError: the store cannot be read, or a record arrives damaged; it is named.
        """

        def bring(fs: Any, root: str) -> None:
            """Get the files, the one that makes the record whole last."""
            for key in keys:
                place = ledger.place(key)
                place.mkdir(parents=True, exist_ok=True)
                for path in sorted(fs.find(f"{root}/{key}"), key=lambda p: p.endswith(f"/{LAST}")):
                    name = str(path).rpartition(f"/{key}/")[2]
                    _within(place, name).parent.mkdir(parents=True, exist_ok=True)
                    beside = place / ".writing-fetched"
                    fs.get_file(path, str(beside))
                    beside.replace(place / name)
                ledger.table_bytes(key, ledger.facts(key))

        self._try("read", bring)

    def _try(self, doing: str, act: Callable[[Any, str], Any]) -> Any:
        fs, root = self._open()
        try:
            return act(fs, root)
        except OSError as error:
            raise StoreError(f"{self.url} cannot be {doing}: {error}") from error

    def _open(self) -> tuple[Any, str]:
        try:
            import fsspec

            # Listings must not be remembered: other processes deliver meanwhile.
            fs, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            msg = f"{self.url} needs a library ({error}): install it, as pip install fsspec s3fs"
            raise RequestError(msg) from error
        except ValueError as error:
            raise RequestError(f"{self.url!r} is no address of a store: {error}") from error
        return fs, str(root).rstrip("/")


@dataclass(frozen=True)
class Delivering:
    """Work in a scratch folder whose results go to a depot; picklable.

    Args:
        make: from a study folder to the work in it.
        depot: where the record folders go.
        scratch: where scratch folders are made; None takes the system's.
    """

    make: Callable[[Path], Callable[[Condition], Record]]
    depot: Depot
    scratch: Path | None = None

    def __call__(self, condition: Condition) -> Record:
        """Do one condition and deliver its record; errors are returned."""
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix="wingbeat-") as folder:
            record = self.make(Path(folder))(condition)
            first, *others = (self._delivered(one, Ledger(Path(folder))) for one in record.each)
        return replace(first, company=tuple(others))

    def _delivered(self, record: Record, ledger: Ledger) -> Record:
        if record.status == "done":
            try:
                self.depot.put(ledger.place(record.key))
            except (StoreError, RequestError) as error:
                return Record(record.key, "failed", str(error), record.seconds)
        return record


def _within(place: Path, name: str) -> Path:
    """Return the path of a file of a record; names that lead out of its folder are refused."""
    path = place / name
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise StoreError(f"{name!r} in the store leads out of the record folder: it is refused")
    return path
