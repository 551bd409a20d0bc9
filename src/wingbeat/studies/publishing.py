"""The command line of the scripts that keep a study's small files beside the documentation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from wingbeat.errors import WingbeatError

Publish = Callable[[Sequence[Path], Path], list[Path]]
JudgeAgain = Callable[[Path], list[Path]]


def run_script(
    place: str, publish: Publish, judge_again: JudgeAgain, arguments: Sequence[str] | None = None
) -> None:
    """Publish studies in the folder that the command line names last, and print the files.

    With that folder alone, what is kept there is judged anew.

    Args:
        place: of the script, for its usage.
        publish: from folders of studies and the folder of what is kept to its files.
        judge_again: from the folder of what is kept to the files that were written anew.
        arguments: words of the command line; None takes those of this process.

    Raises:
        SystemExit: no folder is named, or one of them holds no study; the message says which.

    Example:
        >>> run_script("publish.py", lambda studies, folder: [], lambda folder: [folder], ["kept"])
        kept
    """
    given = [Path(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    if not given:
        raise SystemExit(f"usage: python {place} [STUDY…] FOLDER")
    *studies, folder = given
    try:
        for path in publish(studies, folder) if studies else judge_again(folder):
            sys.stdout.write(f"{path}\n")
    except WingbeatError as error:
        raise SystemExit(f"wingbeat: {error}") from None
