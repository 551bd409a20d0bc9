"""Copies of a checkpoint whose weights are nudged; all else in them stays byte for byte."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from wingbeat.checkpoints.names import beside_weights
from wingbeat.checkpoints.open import open_checkpoint
from wingbeat.checkpoints.source import read_whole
from wingbeat.errors import RequestError, StoreError
from wingbeat.execution.request import named_apart
from wingbeat.files import write_bytes
from wingbeat.replicas.fork import NULL
from wingbeat.replicas.perturb import Nudge, Perturbation
from wingbeat.replicas.perturb.batch_gradient import BatchGradient
from wingbeat.replicas.perturb.perturbation import is_count
from wingbeat.scripts.patch import overwrite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from wingbeat.checkpoints.source import Entry, Source

REALISED: Final = "nudges.json"
"""What was done to each copy, beside the copies."""


@dataclass(frozen=True)
class Nudged:
    """One copy of a checkpoint.

    Attributes:
        label: "null" or ``perturbation#number``.
        path: of the copy, named as the original within a folder of its label.
        l2: norm of the difference after rounding to the stored type; 0 for the twin.
        relative: the same as a share of the norm of the weights.
        changed: share of the weights that are another number.
    """

    label: str
    path: Path
    l2: float = 0.0
    relative: float = 0.0
    changed: float = 0.0


def nudge(
    checkpoint: str | Path,
    perturbations: Sequence[Perturbation] | Perturbation,
    out: str | Path,
    *,
    replicas: int = 5,
    seed: int = 0,
    key: str | None = None,
) -> list[Nudged]:
    """Copy a checkpoint, an unperturbed twin first, and nudge the weights of each further copy.

    Optimizer state, configuration and everything else are copied as they are. Weights that are
    tied, or stored twice with the same numbers, move together. The type of each tensor is kept;
    what rounding made of the nudge is in ``nudges.json`` beside the copies.

    Args:
        checkpoint: a file or a folder in any format that `compare` reads.
        perturbations: those that change weights. Statistics of normalisation, masks of pruning,
            scales of codes and averages (``model_ema.``) are left alone; choose tensors by
            ``include`` and ``exclude``.
        out: folder of the copies: ``out/null/…``, ``out/gaussian-0.01@0#1/…``.
        replicas: copies for each perturbation.
        seed: base seed of the nudges.
        key: where the weights are inside a ``.pt`` file that holds several groups.

    Returns:
        The copies, the twin first.

    Raises:
        RequestError: a perturbation needs training, no floating-point weight is there, or a copy
            exists with other content.
        StoreError: the checkpoint is damaged, or cannot be written.

    Example:
        >>> import tempfile
        >>> from safetensors.torch import load_file, save_file
        >>> from wingbeat.replicas.perturb import Gaussian
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file({"w": torch.linspace(0, 1, 100)}, f"{folder}/model.safetensors")
        ...     copies = nudge(f"{folder}/model.safetensors", Gaussian(0.01), f"{folder}/forks")
        ...     moved = load_file(copies[1].path)["w"]
        >>> [c.label for c in copies[:2]], round(float(moved.norm()), 1)
        (['null', 'gaussian-0.01@0#1'], 5.8)
    """
    origin, target = Path(checkpoint), Path(out)
    given = [perturbations] if isinstance(perturbations, Perturbation) else list(perturbations)
    check_nudges(given, replicas)
    source = open_checkpoint(origin, key=key)
    entries = _weights(source)
    weights = {name: read_whole(entry) for name, entry in entries.items()}
    twins = _stored_twice(weights)
    params = {name: weights[name] for name in weights if name not in twins}
    for perturbation in given:
        perturbation.check(params, perturbation.at + 1)
    copies = [Nudged(NULL, _copied(origin, target / NULL))]
    for perturbation in named_apart(given):
        for number in range(1, replicas + 1):
            label = f"{perturbation.label}#{number}"
            own = perturbation.of_base(seed)
            assert isinstance(own, Nudge)
            delta = own.delta(params, _no_gradient, number)
            moved = {n: _moved(params[n], delta[n]) for n in params if n in delta}
            moved |= {again: moved[first] for again, first in twins.items() if first in moved}
            path = _copied(origin, target / label)
            _write(origin, path, entries, moved)
            copies.append(Nudged(label, path, *_realised(params, moved)))
    _note(target, copies)
    return copies


def check_nudges(given: Sequence[object], replicas: int) -> None:
    """Refuse what does not change weights by itself, and a number of copies that is none."""
    if not is_count(replicas, 1):
        raise RequestError(f"replicas is {replicas!r}: use a whole number of at least 1")
    for one in given:
        if not isinstance(one, Nudge) or isinstance(one, BatchGradient):
            name = one.label if isinstance(one, Perturbation) else repr(one)
            msg = f"{name} does not change weights by itself: use gaussian, singleweight or ulp"
            raise RequestError(msg)


def _weights(source: Source) -> dict[str, Entry]:
    beside = beside_weights(source)
    found = {
        name: entry
        for name, entry in source.entries.items()
        if entry.kind == "float" and entry.numbers and name not in beside
    }
    if not found:
        msg = f"{source.path} holds no floating-point weight that could be nudged"
        raise RequestError(msg)
    if "wingbeat" in getattr(source, "metadata", {}):
        msg = f"{source.path} is a snapshot of a wingbeat run: fork the run itself with wb.run"
        raise RequestError(msg)
    return found


def _stored_twice(weights: dict[str, Tensor]) -> dict[str, str]:
    """Return names whose tensor repeats an earlier one: name → the first name.

    Constant tensors (biases of zeros, scales of ones) repeat without being the same weight.
    """
    first: dict[Any, str] = {}
    twins = {}
    for name, tensor in weights.items():
        flat = tensor.reshape(-1)
        if len(flat) < 2 or bool((flat.double() == flat[0].double()).all()):
            continue
        raw: Any = flat.view(torch.uint8).numpy()
        found = (str(tensor.dtype), tuple(tensor.shape), hashlib.sha256(raw.tobytes()).digest())
        if found in first:
            twins[name] = first[found]
        else:
            first[found] = name
    return twins


def _moved(weight: Tensor, delta: Tensor) -> Tensor:
    return (weight.double() + delta.reshape(weight.shape)).to(weight.dtype)


def _copied(origin: Path, folder: Path) -> Path:
    target = folder / origin.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, target, dirs_exist_ok=True)
        else:
            shutil.copy2(origin, target)
    except OSError as error:
        msg = f"{origin} cannot be copied to {target} ({error.strerror}): choose another folder"
        raise StoreError(msg) from error
    return target


def _write(origin: Path, path: Path, entries: dict[str, Entry], moved: dict[str, Tensor]) -> None:
    by_file: dict[Path, dict[str, tuple[Entry, Tensor]]] = {}
    for name, tensor in moved.items():
        own = entries[name].path
        place = path / own.relative_to(origin) if origin.is_dir() else path
        by_file.setdefault(place, {})[name] = (entries[name], tensor)
    for place, changes in by_file.items():
        overwrite(place, changes)


def _realised(before: dict[str, Tensor], after: dict[str, Tensor]) -> tuple[float, float, float]:
    moved = size = 0.0
    changed = count = 0
    for name, weight in before.items():
        size += float(weight.double().square().sum())
        count += weight.numel()
        if name in after:
            step = after[name].double() - weight.double()
            moved += float(step.square().sum())
            changed += int((step != 0).sum())
    return moved**0.5, (moved / size) ** 0.5 if size else float("nan"), changed / count


def _note(target: Path, copies: list[Nudged]) -> None:
    facts = [{**asdict(c), "path": str(c.path.relative_to(target))} for c in copies]
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    write_bytes(target / REALISED, text.encode())


def _no_gradient(seed: int) -> dict[str, Tensor]:
    raise AssertionError(f"refused before: no gradient for seed {seed}")
