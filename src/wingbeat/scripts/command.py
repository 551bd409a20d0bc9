"""The command of a script, with places for what differs from copy to copy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS: Final = ("{checkpoint}", "{out}")
"""What the command names, and every copy gets another of."""
_CODE: Final = (".py", ".sh", ".jl", ".R", ".lua", ".ipynb", ".exe")
"""What the files of scripts end in."""


_WHERE_IT_STARTS: Final = (
    ". A script that always writes where it is started is started there: -- sh -c 'cd {out} && "
    "exec python /path/train.py --resume {checkpoint}'"
)


@dataclass(frozen=True)
class Command:
    """A command with places for the checkpoint and the folder of a copy."""

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        for field in FIELDS:
            if not any(field in word for word in self.words):
                msg = (
                    f"the command {' '.join(self.words)!r} does not name {field}: write it where "
                    "the script takes it, as in -- python train.py --resume {checkpoint} "
                    "--output {out}"
                )
                raise RequestError(f"{msg}{_WHERE_IT_STARTS if field == FIELDS[1] else ''}")

    @property
    def script(self) -> str:
        """Name of the script: the first file of code, else the module, else the program.

        >>> Command(("torchrun", "--standalone", "nets/train.py", "{checkpoint}", "{out}")).script
        'train.py'
        >>> Command(("python", "-m", "mine.train", "--from={checkpoint}", "{out}")).script
        'mine.train'
        """
        files = (Path(word).name for word in self.words if Path(word).suffix in _CODE)
        after = dict(zip(self.words, self.words[1:], strict=False))
        return next(files, after.get("-m", Path(self.words[0]).name))

    def filled(self, checkpoint: Path, out: Path) -> list[str]:
        """Return the command of one copy.

        >>> from pathlib import Path
        >>> Command(("run", "--from={checkpoint}", "{out}")).filled(Path("a"), Path("b"))
        ['run', '--from=a', 'b']
        """
        values = {"{checkpoint}": str(checkpoint), "{out}": str(out)}
        return [_replaced(word, values) for word in self.words]


def _replaced(word: str, values: Mapping[str, str]) -> str:
    for field, value in values.items():
        word = word.replace(field, value)
    return word
