"""The training step that a file name tells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_NUMBER = re.compile(
    r"(?P<word>[A-Za-z]*)[-_= .]*(?<![0-9])(?<![0-9]\.)"
    r"(?P<digits>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2}(?![0-9A-Za-z]))?)"
    r"(?P<unit>[kKmMbB](?![A-Za-z]))?(?P<next>[A-Za-z]*)"
)
# Times and digests hold numbers that are no step.
_NO_STEP = re.compile(
    r"(?<![0-9])(?:19|20)[0-9]{2}(?P<a>[-_.]?)(?:0[1-9]|1[0-2])(?P=a)(?:0[1-9]|[12][0-9]|3[01])"
    r"(?:[-_ T+.]{0,2}[0-2][0-9](?P<b>[-:_.h]?)[0-5][0-9](?P=b)[0-5][0-9](?:\.[0-9]+)?"
    r"(?:Z|[+][0-9]{2}(?::?[0-9]{2})?)?)?(?![0-9])"
    r"|(?<![0-9A-Za-z])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z])(?=(?:[0-9]*[a-f]+[0-9]+){2})[0-9a-f]{7,64}(?![0-9A-Za-z])"
)
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
_STEPS = frozenset(
    ("step", "steps", "iter", "iters", "iteration", "iterations", "it", "checkpoint", "ckpt",
     "update", "updates", "batch", "globalstep", "itr", "ba")
)  # fmt: skip
_EPOCHS = frozenset(("epoch", "epochs", "ep"))
# What stands before numbers that are no step: results, sizes, versions.
_NEVER = re.compile(
    r"(loss|acc|accuracy|metric|score|f1|auc|ppl|perplexity|wer|bleu|error|tokens?|toks?|seed|fold|lr|"
    r"rank|bs|wd|of|^v|^cv|split|member|trial|repeat)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Step:
    """A step and the kind of word that it followed: "step", "epoch" or "" for none known."""

    value: int
    after: str


def read_step(text: str, before: str = "") -> Step | None:
    """Return the step that a piece of a file name tells.

    A number after (or right before) step, iter or checkpoint comes first, then one after epoch,
    then the last other whole number; never one with decimals, after loss, tokens and the like,
    before other letters, or one of a date or a digest. k, M and 1e5 count.

    Args:
        text: the piece.
        before: what stands before it in the name.

    >>> read_step("epoch=00-val_loss=0.91.ckpt")
    Step(value=0, after='epoch')
    >>> read_step("step1000-tokens4B").value, read_step("20k", before="step_").value
    (1000, 20000)
    >>> read_step("loss=3") is None, read_step("2026-05-01_12-30-05") is None
    (True, True)
    """
    found: dict[str, int] = {}
    tail = re.search(r"[^0-9/]*\Z", before)
    begin = tail[0] if tail else ""
    for match in _NUMBER.finditer(_NO_STEP.sub("~", begin + text)):
        step = _meant(match)
        if step is not None:
            kept = step.after != "" and step.after in found
            found[step.after] = found[step.after] if kept else step.value
    for kind in ("step", "epoch", ""):
        if kind in found:
            return Step(found[kind], kind)
    return None


def _meant(match: re.Match[str]) -> Step | None:
    word, digits, unit = match["word"].lower(), match["digits"], (match["unit"] or "").lower()
    if _NEVER.search(word) or len(digits) > 15:
        return None
    following = match["next"].lower()
    after = _kind(word) or _kind(following)
    if not after and (unit == "b" or following):  # a size, a count of tokens, "3d", a digest
        return None
    value = Decimal(digits) * _UNITS[unit]
    plain = "." in digits and not unit and "e" not in digits.lower()  # "1.0" is a version
    return None if plain or value != int(value) else Step(int(value), after)


def _kind(word: str) -> str:
    return "step" if word in _STEPS else "epoch" if word in _EPOCHS else ""
