"""What was asked, as plain JSON: two requests are the same run if their descriptions are equal.

Functions are identified by their compiled code, data by a digest of their bytes, the schedule
by its values and the model by its initial weights and its modules' code and settings. A folder
that holds another request is recognised by the first field that differs.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from wingbeat.determinism import seeded
from wingbeat.errors import RequestError, RunError
from wingbeat.moved import first_name
from wingbeat.task.batches import Streams
from wingbeat.task.closures import filled_cells
from wingbeat.task.data import Collated, is_tensors, len_of, plain
from wingbeat.task.order import order_of
from wingbeat.task.precision import made_scaler
from wingbeat.task.replay import Listed, Made, given
from wingbeat.task.signatures import AtStep

if TYPE_CHECKING:
    from wingbeat.task.step import TrainingStep
    from wingbeat.task.task import Task

_WHOLE_DATASET = 4096
"""Samples of a data set that are digested in full; of larger ones that many, evenly spaced."""
_DEEPEST = 10
_FEW = 4
"""Batches of a loader or a function that are made twice before training, and digested."""
_EXECUTION_ONLY = {"params", "foreach", "fused", "capturable", "differentiable"}


def describe(task: Task, step: TrainingStep) -> dict[str, Any]:
    """Return the JSON-safe description of a task, built from its own pure step."""
    start = step.start(task.seed)
    weights = {"params": start.params, **start.buffers}
    return {
        "name": task.name,
        "model": {
            "builder": code_digest(task.model),
            "parameters": step.layout.size,
            "tensors": len(step.layout.names),
            "initial_weights": tensors_digest(weights),
            "modules": modules_digest(step.skeleton),
        },
        "loss": code_digest(task.loss.loss if isinstance(task.loss, AtStep) else task.loss),
        "data": data_digest(task.data),
        "optimizer": _optimizer(step.owner),
        "batch_size": task.batch_size,
        "steps": task.steps,
        "seed": task.seed,
        "schedule": _schedule(task, step),
        "drop_last": task.drop_last,
        "sampling": task.sampling,
        "augment": None if task.augment is None else code_digest(task.augment),
        "clip_norm": task.clip_norm,
        # Only where it matters, so that requests of before keep their description.
        **({"mode": task.mode} if step.models.still or task.mode != "train" else {}),
        **_options(task),
    }


def _options(task: Task) -> dict[str, Any]:
    """Return what is asked for beyond the usual; nothing for requests of before there was more."""
    found: dict[str, Any] = {}
    if isinstance(task.loss, AtStep):
        found["loss_takes"] = task.loss.name
    for name in ("collate", "after_step"):
        if (function := getattr(task, name)) is not None:
            found[name] = code_digest(function)
    if task.sampler is not None:
        found["sampler"] = _order_digest(task)
    if task.batches is not None:
        found["batches"] = _batches_digest(task)
    if task.accumulate != 1:
        found["accumulate"] = task.accumulate
    if task.precision is not None:
        found["precision"] = task.precision
    if task.scaler is not None:
        found["scaler"] = made_scaler(task.scaler, torch.device("cpu")).state_dict()
    if task.start is not None:  # its weights and state are described as what training begins with
        found["start"] = {"step": task.start.step}
    return found


def _order_digest(task: Task) -> str:
    """Describe a sampler by what it draws in its first pass.

    Raises:
        RequestError: it draws something else the second time.
    """
    order = order_of(task)
    passes = [order.first() for _ in range(2)]
    digests = [tensors_digest({str(i): part for i, part in enumerate(one)}) for one in passes]
    kind = type(getattr(task.sampler, "batch_sampler", None) or task.sampler).__qualname__
    if digests[0] != digests[1]:
        msg = (
            f"Task.sampler ({kind}) gives another order the second time: let it draw from torch's, "
            "NumPy's or Python's generator, or from an attribute generator, which are seeded "
            "before each pass"
        )
        raise RequestError(msg)
    return f"{kind}, {len(passes[0])} batches #{digests[0]}"


def _batches_digest(task: Task) -> str:
    """Describe batches that somebody else makes by the first few of them.

    Raises:
        RequestError: they are others the second time.
    """
    source, streams = given(task.batches), Streams.of(task.seed)
    count = source.per_pass if isinstance(source, Listed) else _FEW
    count = min(count, task.steps * task.accumulate)
    digests = []
    for one in (source, source.anew()):
        total = hashlib.sha256()
        for number in range(count):
            try:
                batch = one.batch(streams, task.first_step * task.accumulate + number)
            except RunError as error:
                raise RequestError(str(error)) from error
            _update(total, pytree.tree_leaves(plain(batch)), 0)
        digests.append(total.hexdigest()[:32])
    if digests[0] != digests[1]:
        msg = (
            "Task.batches gives other batches the second time: every replica needs the same. Draw "
            "from torch's, NumPy's or Python's generator, which are seeded before each batch, and "
            "keep no position between passes"
        )
        raise RequestError(msg)
    kind = type(task.batches).__qualname__
    code = code_digest(task.batches) if isinstance(source, Made) else kind
    return f"{code} #{digests[0]}"


def difference(then: Any, now: Any, path: str = "") -> str | None:
    """Return where two descriptions first differ, with both values, or None.

    >>> difference({"task": {"steps": 10}}, {"task": {"steps": 20}})
    'task.steps: there 10, now 20'
    """
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        # Plain values first: another seed also gives other weights, but "seed" says why.
        for key in sorted(set(then) | set(now), key=lambda k: (isinstance(now.get(k), Mapping), k)):
            inner = f"{path}.{key}" if path else str(key)
            found = difference(then.get(key), now.get(key), inner)
            if found:
                return found
        return None
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        pairs = enumerate(zip(then, now, strict=True))
        inner_differences = (difference(a, b, f"{path}[{i}]") for i, (a, b) in pairs)
        return next((d for d in inner_differences if d), None)
    return None if is_same(then, now) else f"{path}: there {then!r}, now {now!r}"


def is_same(then: Any, now: Any) -> bool:
    """Tell whether two values of descriptions are the same.

    A function of a script that is run is in ``__main__``, and in the script's own module where it
    is imported: with the same name and the same code it is the same function. Two scripts that are
    run are both ``__main__``, so that this takes nothing for the same that was told apart before
    by what it computes.

    >>> is_same("__main__:loss#0123456789abcdef", "train:loss#0123456789abcdef")
    True
    >>> is_same("__main__:loss#0123456789abcdef", "train:loss#00000000deadbeef")
    False
    """
    if then == now:
        return True
    if not (isinstance(then, str) and isinstance(now, str) and "#" in then):
        return False
    (a, _, was), (b, _, here) = then.partition(":"), now.partition(":")
    return "__main__" in (a, b) and was == here


def code_digest(function: Any) -> str:
    """Return name and digest of a function: code, defaults and what it closes over.

    Names of globals count, their values do not. Other versions of Python compile to other
    code and hence give other digests.
    """
    name = getattr(function, "__qualname__", type(function).__qualname__)
    # Code that was handed to exec, as by some notebooks, belongs to no module.
    module = first_name(getattr(function, "__module__", None) or "")
    total = hashlib.sha256()
    _update(total, function, 0)
    return f"{module}:{name}#{total.hexdigest()[:16]}"


def _update(total: hashlib._Hash, value: Any, depth: int) -> None:
    """Feed a value to a digest, so that equal values give equal digests in every process."""
    parts = () if depth > _DEEPEST else _parts(value)
    total.update(f"{type(value).__qualname__}:{len(parts)}:".encode())
    if not parts:
        total.update(_leaf(value))
    for part in parts:
        _update(total, part, depth + 1)


def _parts(value: Any) -> tuple[Any, ...]:  # noqa: PLR0911  (one line a kind)
    """Return what a value is made of; nothing for a leaf."""
    if isinstance(value, functools.partial):
        return (value.func, value.args, value.keywords)
    if inspect.ismethod(value):
        return (value.__func__, getattr(value.__self__, "__dict__", {}))
    if isinstance(value, types.FunctionType):
        cells = tuple(c.cell_contents for c in filled_cells(value))
        return (value.__code__, value.__defaults__, value.__kwdefaults__, cells)
    if isinstance(value, types.CodeType):
        return (value.co_code, value.co_names, value.co_consts)
    if isinstance(value, Mapping):
        return tuple(item for pair in value.items() for item in pair)
    if isinstance(value, nn.Module):
        return tuple((name, *_module(m)) for name, m in value.named_modules())
    if callable(value) and not isinstance(value, type) and hasattr(value, "__dict__"):
        return (type(value).__call__, vars(value))
    return tuple(value) if isinstance(value, (tuple, list)) else ()


def _leaf(value: Any) -> bytes:
    if isinstance(value, torch.Tensor):
        return tensors_digest({"": value}).encode()
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"{value.dtype}{value.shape}".encode() + value.tobytes()
    if isinstance(value, (np.generic, torch.dtype, torch.device, range, slice)):
        return repr(value).encode()
    if isinstance(value, (str, bytes, int, float, complex, type(None))):
        return repr(value).encode()
    if isinstance(value, frozenset):
        return repr(sorted(map(repr, value))).encode()
    return str(getattr(value, "__qualname__", "")).encode()


def modules_digest(model: nn.Module) -> str:
    """Return a digest of a model's modules: their names, code and settings, but no tensors."""
    total = hashlib.sha256()
    _update(total, model, 0)
    return total.hexdigest()[:16]


def _module(module: nn.Module) -> tuple[Any, ...]:
    """Return what a module computes: kind, own forward pass and settings, but no tensors."""
    kind = type(module)
    own = None if kind.__module__.startswith("torch.") else kind.forward
    skipped = {"training"}
    settings = {k: v for k, v in vars(module).items() if k[0] != "_" and k not in skipped}
    return (kind.__qualname__, own, settings)


def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return a digest over names, types, shapes and bytes of tensors."""
    total = hashlib.sha256()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu()  # noqa: PLW2901
        total.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        if tensor.numel():
            flat = torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.reshape(-1))
            total.update(flat.view(torch.uint8).numpy().data)
    return total.hexdigest()[:32]


def data_digest(data: Any) -> str | None:
    """Return a digest of a task's data; of a large data set, of evenly spaced samples."""
    if data is None:
        return None
    size = len_of(data)
    if is_tensors(data):
        leaves = pytree.tree_leaves(data)
        return f"{size} samples #{tensors_digest({str(i): t for i, t in enumerate(leaves)})}"
    if isinstance(data, Collated):  # how samples are joined is described beside them
        data = data.samples
    total = hashlib.sha256()
    stride = max(1, math.ceil(size / _WHOLE_DATASET))
    with seeded(0):
        for index in range(0, size, stride):
            _update(total, pytree.tree_leaves(_sample(data, index)), 0)
    return f"{size} samples of {type(data).__qualname__} #{total.hexdigest()[:32]}"


def _sample(data: Any, index: int) -> Any:
    try:
        return data[index]
    except Exception as error:  # whatever a data set raises
        msg = (
            f"sample {index} of the data set cannot be read: {type(error).__name__}: {error}. "
            "Nothing was computed; mend the data set"
        )
        raise RequestError(msg) from error


def _optimizer(optimizer: Any) -> dict[str, Any]:
    groups = []
    for group in getattr(optimizer, "param_groups", []):
        own = {k: _plain(v) for k, v in group.items() if k not in _EXECUTION_ONLY}
        groups.append({**own, "tensors": len(group["params"])})
    loaded = _loaded(optimizer)
    state = {"state": tensors_digest(loaded)} if loaded else {}
    return {"class": type(optimizer).__qualname__, "groups": groups, **state}


def _loaded(optimizer: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of a state that was handed over; nothing where no step was taken."""
    states = getattr(optimizer, "state", {})
    if not any(_has_stepped(own) for own in states.values()):
        return {}
    return {
        f"{place}/{name}": torch.as_tensor(value)
        for place, own in enumerate(states.values())
        for name, value in (own.items() if isinstance(own, Mapping) else ())
        if isinstance(value, (torch.Tensor, int, float))
    }


def _has_stepped(own: Any) -> bool:
    """Tell the state of a parameter that has taken a step; Adagrad fills it before the first."""
    if not isinstance(own, Mapping) or "step" not in own:
        return bool(own)
    return bool(float(own["step"]))


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(type(value))


def _schedule(task: Task, step: TrainingStep) -> str | None:
    if task.schedule is None:
        return None
    if step.table is not None:
        total = hashlib.sha256(repr(step.table.rows).encode()).hexdigest()[:16]
        rates = [float(row["lr"]) for rows in step.table.rows for row in rows]
        return f"{step.table.kind}, rates {min(rates):g} to {max(rates):g} #{total}"
    first = task.first_step
    factors = [task.factor(index) for index in range(first, first + task.steps)]
    total = hashlib.sha256(repr(factors).encode()).hexdigest()[:16]
    return f"factors {min(factors):g} to {max(factors):g} #{total}"
