"""GSM8K: grade-school word problems whose worked answers end in ``#### NUMBER``."""

from __future__ import annotations

import hashlib
import json
import random
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from wingbeat.determinism import derive
from wingbeat.errors import RequestError, StoreError
from wingbeat.tasks.data.sources import DataSource, find_folder

MARK: Final = "####"
"""What stands before the final answer."""
_FOLDERS: Final = ("gsm8k", "grade_school_math/data")
_FILES: Final = ("train.jsonl", "test.jsonl")
_NUMBER: Final = re.compile(r"\$?([+-]?)\$?([0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)[%.]?")
_CALCULATION: Final = re.compile(r"<<[^<>\n]*>>")


@dataclass(frozen=True)
class Problem:
    """A question, the way to its answer, and the answer.

    Attributes:
        question: in words.
        reasoning: the worked answer in front of ``####``, without white space at its ends.
        final: the number after it, as in the file but without commas between digits.
    """

    question: str
    reasoning: str
    final: str

    @property
    def value(self) -> Decimal:
        """The final answer as a number."""
        return Decimal(self.final)


@dataclass(frozen=True)
class Problems:
    """Word problems in two splits."""

    source: DataSource
    train: tuple[Problem, ...]
    test: tuple[Problem, ...]


def problems() -> Problems:
    """Return GSM8K where it can be found, else sums of a small grammar.

    Looked for in ``WINGBEAT_DATA`` and in the cache, in the folder ``gsm8k``; never downloaded.

    Raises:
        StoreError: a file is damaged; the message names file and line.

    Source:
        Cobbe et al., "Training Verifiers to Solve Math Word Problems" (2021).

    Example:
        >>> found = problems().train[0]
        >>> found.value == final_answer(f"{found.reasoning} {MARK} {found.final}")
        True
    """
    folder = find_folder("gsm8k", _FOLDERS, _FILES, lambda _: False)
    return _sums() if folder is None else _gsm8k(folder)


def final_answer(text: str) -> Decimal | None:
    r"""Return the number after the last ``####`` of an answer; None if there is none.

    Commas between digits, a dollar sign before and a full stop or per-cent sign after the number
    do not count. The official comparison takes commas out and compares text; this one compares
    numbers, so that 3 and 3.0 agree.

    Example:
        >>> final_answer("2 * 600 = <<2*600=1200>>1200\n#### $1,200."), final_answer("no idea")
        (Decimal('1200'), None)
    """
    _, mark, rest = text.rpartition(MARK)
    found = _NUMBER.fullmatch(rest.strip()) if mark else None
    if found is None:
        return None
    return Decimal(found[1] + found[2].replace(",", ""))


def without_calculations(text: str) -> str:
    """Leave out the calculator's marks, as ``<<2*3=6>>``.

    >>> without_calculations("2*3 = <<2*3=6>>6 apples")
    '2*3 = 6 apples'
    """
    return _CALCULATION.sub("", text)


def read_problems(path: Path) -> tuple[Problem, ...]:
    """Read a file of the official format: in each line JSON with ``question`` and ``answer``.

    Raises:
        StoreError: it cannot be read, or a line has another form; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read ({error}): fetch it again") from error
    found = [_problem(path, i, line) for i, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise StoreError(f"{path} holds no problem: fetch it again")
    return tuple(found)


def sums(n: int, seed: int = 0) -> tuple[Problem, ...]:
    """Return word problems of one or two steps from a seeded grammar.

    Args:
        n: how many.
        seed: equal seeds give equal problems.

    Raises:
        RequestError: fewer than one.

    Example:
        >>> made = sums(3)
        >>> made == sums(3), all(p.value == final_answer(f"{MARK} {p.final}") for p in made)
        (True, True)
    """
    if n < 1:
        raise RequestError(f"n is {n!r}: use at least 1 problem")
    draws = random.Random(derive(seed, "sums"))  # noqa: S311  (repeatable problems are meant)
    return tuple(_sum(draws) for _ in range(n))


def _problem(path: Path, place: int, line: str) -> Problem:
    try:
        found = json.loads(line)
        question, answer = found["question"], found["answer"]
        final = final_answer(answer)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"{path}, line {place}: expected JSON with question and answer ({error!r})"
        raise StoreError(msg) from error
    if not isinstance(question, str) or final is None:
        raise StoreError(f"{path}, line {place}: the answer does not end in {MARK} and a number")
    reasoning = answer.rpartition(MARK)[0].strip()
    return Problem(question.strip(), reasoning, format(final, "f"))


def _gsm8k(folder: Path) -> Problems:
    train, test = (read_problems(folder / file) for file in _FILES)
    label = f"GSM8K ({len(train):,} / {len(test):,} problems)"
    return Problems(DataSource("gsm8k", label, False, _digest(train, test)), train, test)


def _sums() -> Problems:
    train, test = sums(2000, seed=0), sums(200, seed=1)
    label = (
        "stand-in for word problems: sums of a seeded grammar "
        f"({len(train):,} / {len(test):,} problems)"
    )
    return Problems(DataSource("sums", label, True, _digest(train, test)), train, test)


def _sum(draws: random.Random) -> Problem:
    who = draws.choice(("Ada", "Ben", "Cleo", "Dan"))
    what = draws.choice(("apples", "books", "stamps", "shells"))
    first, more = draws.randint(2, 20), draws.randint(2, 20)
    total = first + more
    text = f"{who} has {first} {what} and finds {more} more."
    way = f"{first}+{more} = <<{first}+{more}={total}>>{total} {what}."
    if draws.random() < 0.5:
        times = draws.randint(2, 5)
        text += f" Then the {what} are multiplied by {times}."
        way += f"\n{total}*{times} = <<{total}*{times}={total * times}>>{total * times} {what}."
        total *= times
    return Problem(f"{text} How many {what} does {who} have?", way, str(total))


def _digest(*parts: tuple[Problem, ...]) -> str:
    total = hashlib.blake2b(digest_size=8)
    for part in parts:
        for problem in part:
            total.update(f"{problem.question}\0{problem.reasoning}\0{problem.final}\n".encode())
    return total.hexdigest()
