"""Which tensors several checkpoints share, and which are left out and why."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wingbeat.checkpoints.pruned import masks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.checkpoints.source import Entry, Source

Why = Literal["missing", "shape", "integer", "complex", "quantised", "statistic", "tied", "average"]
# Where trainers of diffusion models keep an average of the weights, beside ``model.``.
_AVERAGES = ("model_ema", "ema_model", "ema", "ema_net")
_BESIDE_AVERAGES = ("decay", "num_updates", "initted", "step")
STATISTICS = ("running_mean", "running_var")
# What GPTQ and AWQ call codes; endings of codes of compressed-tensors, torchao and quanto.
_PACKED = ("qweight", "qzeros", "g_idx")
_CODES = ("_packed", "_qdata", "_data")
_ITERATED = re.compile(r"(^|\.)parametrizations\.\w+\.\d+\._[uv]$")
# What lies beside codes: of bitsandbytes; of compressed-tensors, ModelOpt and FBGEMM; DeepSeek-V3.
_BESIDE = (
    ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", ".SCB",
    "_scale", "_scale_2", "_zero_point", "_shift", "_global_scale", "_scale_inv",
)  # fmt: skip


@dataclass(frozen=True)
class Shared:
    """A tensor that every checkpoint has in the same shape, as floating-point numbers.

    Attributes:
        name: its name.
        entries: where it lies, one entry a checkpoint.
    """

    name: str
    entries: tuple[Entry, ...]

    @property
    def numbers(self) -> int:
        """Count of its numbers in one checkpoint."""
        return self.entries[0].numbers


@dataclass(frozen=True)
class _Named:
    """Names that tell that a tensor is no weight."""

    packed: frozenset[str]
    averages: frozenset[str]
    vectors: frozenset[str]


@dataclass(frozen=True)
class LeftOut:
    """A tensor that was not compared.

    Attributes:
        name: its name.
        why: "missing" (some checkpoint lacks it), "shape" (they differ), "integer", "complex",
            "quantised", "statistic" (running mean or variance of a normalisation layer, which
            training does not move by gradient), "tied" (another name of a compared tensor) or
            "average" (of the weights that lie beside it).
        detail: in words.
    """

    name: str
    why: Why
    detail: str


def match(
    sources: Sequence[Source], labels: Sequence[str]
) -> tuple[tuple[Shared, ...], tuple[LeftOut, ...]]:
    """Sort the tensors of several checkpoints into those that are compared and the rest.

    A tied name counts as present wherever its tensor is stored, and is compared once.
    """
    names = dict.fromkeys(name for s in sources for name in (*s.entries, *s.tied))
    known = _Named(_quantised(sources), _averages(sources), _vectors(sources))
    shared, out = [], []
    stored: dict[tuple[int, ...], str] = {}
    for name in names:
        found = [_entry(source, name) for source in sources]
        left = _left_out(name, found, labels, known)
        if left is None:
            # Two names of one tensor, whichever of them each checkpoint keeps it under.
            first = stored.setdefault(tuple(map(id, found)), name)
            if first != name:
                left = LeftOut(name, "tied", f"the same tensor as {first}")
        if left is not None:
            out.append(left)
        else:
            shared.append(Shared(name, tuple(e for e in found if e is not None)))
    return tuple(shared), tuple(out)


def _entry(source: Source, name: str) -> Entry | None:
    return source.entries.get(source.tied.get(name, name))


def _left_out(
    name: str,
    found: Sequence[Entry | None],
    labels: Sequence[str],
    known: _Named,
) -> LeftOut | None:
    lacking = [label for label, entry in zip(labels, found, strict=True) if entry is None]
    if lacking:
        return LeftOut(name, "missing", f"not in {few(lacking)}")
    entries = [entry for entry in found if entry is not None]
    found_why = _by_name(name, known) or _by_type(entries)
    return None if found_why is None else LeftOut(name, *found_why)


def _by_name(name: str, known: _Named) -> tuple[Why, str] | None:
    if name in known.averages:
        return "average", "an average of the weights beside them; key= takes it instead"
    if name in known.vectors:
        return "statistic", "of spectral normalisation"
    if name in known.packed:
        return "quantised", "packed weights or their scale"
    if name.rpartition(".")[2] in STATISTICS:
        return "statistic", "of a normalisation layer"
    return None


def _by_type(entries: Sequence[Entry]) -> tuple[Why, str] | None:
    kinds: tuple[Why, ...] = ("quantised", "integer", "complex")
    for why in kinds:
        if any(e.kind == why for e in entries):
            return why, few(list(dict.fromkeys(e.dtype for e in entries)))
    if len({e.shape for e in entries}) > 1:
        return "shape", few([str(e.shape) for e in entries])
    return None


def beside_weights(source: Source) -> frozenset[str]:
    """Return names of floating-point tensors that are no weights, though they lie among them.

    Statistics of normalisation, masks of pruning, scales of codes, and averages of the weights.
    """
    found = {n for n in source.entries if n.rpartition(".")[2] in STATISTICS}
    others = _quantised([source]) | _averages([source]) | _vectors([source])
    return frozenset(found) | masks(source) | others


def _vectors(sources: Sequence[Source]) -> frozenset[str]:
    """Return names of the vectors that spectral norm iterates: no gradient moves them."""
    names = {name for source in sources for name in source.entries}
    old = {n for n in names if n.endswith(("_u", "_v")) and f"{n[:-2]}_orig" in names}
    return frozenset(old | {n for n in names if _ITERATED.search(n)})


def _averages(sources: Sequence[Source]) -> frozenset[str]:
    """Return the names of averages that lie in one state dict with the weights themselves."""
    found: set[str] = set()
    for source in sources:
        own = {n for n in source.entries if n.partition(".")[0] in _AVERAGES}
        rest = Counter(e.shape for n, e in source.entries.items() if n not in own)
        weights = [n for n in own if n.rpartition(".")[2] not in _BESIDE_AVERAGES]
        if Counter(source.entries[n].shape for n in weights) <= rest:
            found |= own
    return frozenset(found)


def _quantised(sources: Sequence[Source]) -> frozenset[str]:
    """Return the names of packed weights and of what a quantiser put beside them."""
    found: set[str] = set()
    for source in sources:
        for name, entry in source.entries.items():
            if entry.kind in ("integer", "quantised") or entry.dtype.startswith("float8"):
                beside = _beside(name) & source.entries.keys()
                if beside or name.rpartition(".")[2] in _PACKED:
                    found |= {name, *beside}
    return frozenset(found)


def _beside(name: str) -> set[str]:
    """Return the names under which the scales of codes may lie.

    Eight-bit floats with a scale are codes as well: the weights are codes times scale, whether it
    is called ``weight_scale`` or, as in DeepSeek-V3, ``weight_scale_inv``.
    """
    stem, dot, last = name.rpartition(".")
    for ending in _CODES:
        last = last.removesuffix(ending)
    whole = f"{stem}{dot}{last}"
    found = {f"{whole}{ending}" for ending in _BESIDE}
    if name.rpartition(".")[2] in _PACKED:
        found.add(f"{stem}{dot}scales")
    return found | {f"{stem}{dot}{other}" for other in ("SCB", f"scale_{last}")}


def few(items: Sequence[str]) -> str:
    """Return names in a row, five at most.

    >>> few(["a", "b"])
    'a, b'
    """
    shown = ", ".join(items[:5])
    return shown if len(items) <= 5 else f"{shown} and {len(items) - 5} more"
