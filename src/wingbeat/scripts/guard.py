"""Run a command that ends with whoever asked for it; standard library alone, run as a file.

``guard.py '{"lock": …, "fresh": […]}' COMMAND…``: waits for the lock that a guard of an earlier
call may still hold, removes what that left half done, and runs the command in a session of its
own. The standard input is a pipe that nobody writes to: its end says that the caller is gone, and
then the command and what it started are ended too. A copy that is trained by nobody's wish would
write into the folder of its successor.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

BUSY = 75  # EX_TEMPFAIL of sysexits.h
PATIENCE = 60.0  # seconds: twice what a script is given to end, and time to notice
GRACE = 20.0  # seconds for a script to end by itself before it is killed


def main(settings: str, words: list[str]) -> int:
    """Run the command; returns its exit code, 128 + n for the signal n."""
    asked = json.loads(settings)
    with open(asked["lock"], "a", encoding="utf-8") as lock:  # noqa: PTH123
        if not _locked(lock.fileno()):
            print(f"a script of an earlier call still writes there ({asked['lock']})")  # noqa: T201
            return BUSY
        for folder in asked["fresh"]:
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        # Ctrl-C reaches every process of a terminal; the caller decides, by closing the pipe.
        signal.signal(signal.SIGINT, lambda *_: None)
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True) as process:  # noqa: S603
            threading.Thread(target=_end_with_caller, args=(process,), daemon=True).start()
            code = process.wait()
    return 128 - code if code < 0 else code


def _locked(handle: int) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.05)
    return False


def _end_with_caller(process: subprocess.Popen[bytes]) -> None:
    while os.read(0, 64):
        pass
    for sign, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os._exit(main(sys.argv[1], sys.argv[2:]))
