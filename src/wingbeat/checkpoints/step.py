"""The training step that a file name tells."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = re.compile(
    r"(?P<word>[A-Za-z]*)[-_= .]*(?<![0-9])(?<![0-9]\.)(?P<digits>[0-9]+(?:\.[0-9]+)?)"
    r"(?P<unit>[kKmMbB](?![A-Za-z]))?"
)
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
_STEPS = frozenset(
    ("step", "steps", "iter", "iters", "iteration", "iterations", "it", "checkpoint", "ckpt",
     "update", "updates", "batch", "globalstep")
)  # fmt: skip
_EPOCHS = frozenset(("epoch", "epochs", "ep"))
# What stands before numbers that are no step: results, sizes, versions.
_NEVER = re.compile(
    r"(loss|acc|accuracy|metric|score|f1|auc|ppl|perplexity|wer|bleu|error|tokens?|toks?|seed|lr|"
    r"rank|bs|wd|of|^v)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Step:
    """A step and the kind of word that it followed: "step", "epoch" or "" for none known."""

    value: int
    after: str


def read_step(text: str, before: str = "") -> Step | None:
    """Return the step that a piece of a file name tells.

    A number after step, iter or checkpoint comes first, then one after epoch, then the last other
    whole number; never one with decimals, or after loss, tokens and the like. k and M count.

    Args:
        text: the piece.
        before: what stands before it in the name.

    >>> read_step("epoch=00-val_loss=0.91.ckpt")
    Step(value=0, after='epoch')
    >>> read_step("step1000-tokens4B").value, read_step("20k", before="step_").value
    (1000, 20000)
    >>> read_step("loss=3") is None
    True
    """
    found: dict[str, int] = {}
    tail = re.search(r"[^0-9/]*\Z", before)
    begin = tail[0] if tail else ""
    for match in _NUMBER.finditer(begin + text):
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
    after = "step" if word in _STEPS else "epoch" if word in _EPOCHS else ""
    if unit == "b" and not after:  # a size of a model or a count of tokens
        return None
    whole, _, decimals = digits.partition(".")
    value = int(whole + decimals) * _UNITS[unit]
    if decimals and (not unit or value % 10 ** len(decimals)):
        return None
    return Step(value // 10 ** len(decimals), after)
