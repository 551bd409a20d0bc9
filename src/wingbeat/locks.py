"""A folder is held by one process at a time; who finds it held learns by which kind of lock."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING, Final, TypeVar

from wingbeat.errors import StoreError
from wingbeat.files import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filelock import BaseFileLock

NAME: Final = ".lock"
"""The file in a folder that is locked."""
Read = TypeVar("Read")
_PATIENCE, _PAUSE = 5.0, 0.02
"""Seconds that a reader waits for a writer to end, and between two looks: a writer replaces the
few files of a result within milliseconds."""
_WITHOUT = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_ELSEWHERE = "make it writable, or choose another with out="


class FolderLock:
    """Hold a folder against other processes; the operating system frees it when we end.

    Args:
        folder: what to hold; the lock is the file ``.lock`` in it.
    """

    def __init__(self, folder: Path) -> None:
        from filelock import FileLock  # late: runs in memory hold no folder

        self.folder = folder
        self._lock: BaseFileLock = FileLock(folder / NAME)

    def acquire(self, patience: float = 0.0) -> None:
        """Take the folder, and remove what killed processes left half written; may be nested.

        Args:
            patience: seconds to wait for whoever holds it.

        Raises:
            StoreError: another has it, or it cannot be locked; the message says which.
        """
        from filelock import Timeout

        try:
            nested = self._lock.is_locked
            self._lock.acquire(timeout=patience)
        except Timeout as error:
            raise StoreError(self._busy()) from error
        except OSError as error:
            raise StoreError(self._refused(error)) from error
        if not nested:
            sweep(self.folder)

    def release(self) -> None:
        """Give the folder back."""
        self._lock.release()

    def _busy(self) -> str:
        from filelock import SoftFileLock

        busy = f"{self.folder} is in use by another process: wait for it, or choose another folder"
        if isinstance(self._lock, SoftFileLock):
            busy += (
                f". (Its file system has no locks, so that {NAME} is a mere mark, which a process "
                f"that was killed leaves behind: if none works there, delete {self.folder / NAME})"
            )
        return busy

    def _refused(self, error: OSError) -> str:
        if error.errno in _WITHOUT:
            return (
                f"the folder {self.folder} cannot be locked ({error.strerror}): its file system "
                "has no locks, and two processes there would spoil each other's work. Choose "
                "another with out="
            )
        mark = self.folder / NAME
        with contextlib.suppress(OSError):
            if error.errno == errno.EACCES and mark.exists():
                return (
                    f"the folder {self.folder} cannot be written ({error.strerror}): its lock "
                    f"{mark} belongs to another user. Make that file writable, or {_ELSEWHERE[14:]}"
                )
        return f"the folder {self.folder} cannot be written ({error.strerror}): {_ELSEWHERE}"


@contextlib.contextmanager
def holding(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold a folder for a while; errors as in `FolderLock.acquire`."""
    lock = FolderLock(folder)
    lock.acquire(patience)
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Tell whether some process holds a folder now; needs no permission to write."""
    try:
        handle = os.open(folder / NAME, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def read_steadily(folder: Path, read: Callable[[], Read], patience: float = _PATIENCE) -> Read:
    """Read files that belong together from a folder in which another process may replace them.

    Args:
        folder: of the files.
        read: reads them and raises where they do not fit each other.
        patience: seconds that a writer is waited for.

    Raises:
        StoreError: of ``read``, where no writer is at work or none brought them to fit.
    """
    end, held = time.monotonic() + patience, True  # one that has just ended may have come between
    while True:
        try:
            return read()
        except StoreError:
            if not held or time.monotonic() > end:
                raise
        held = is_held(folder)
        time.sleep(_PAUSE)
