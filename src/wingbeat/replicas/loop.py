"""The loop driver: one replica after another. It is the reference implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from wingbeat.params import fixed, trainable
from wingbeat.task.batches import copied
from wingbeat.task.step import State, TrainingStep, check_scalar

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.task.task import Batch


class Loop:
    """Advance replicas one at a time with the pure step."""

    name = "loop"
    mode = "eager"

    def __init__(self, step: TrainingStep) -> None:
        step.renew()
        self.step = step

    @torch.no_grad()  # a second network in the loss may ask for gradients: none outlives its step
    def __call__(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Advance a stack of one replica; ``state`` tensors have a leading axis of 1."""
        c = [torch.tensor(x, dtype=torch.float64) for x in self.step.coefficients(index)]
        after, loss = self.step(state.map(lambda t: t[0]), batch, c)
        return after.map(lambda t: t.unsqueeze(0)), loss.unsqueeze(0)


class ObjectLoop:
    """Advance replicas one at a time with the task's own optimizer object.

    For optimizers that have no pure form here. The object's state travels in ``State.slots``
    between steps, so that a replica is its state and nothing else, as everywhere.
    """

    name = "loop"
    mode = "object"

    def __init__(self, step: TrainingStep) -> None:
        step.renew()
        self.step = step
        self.model, self.optimizer = step.skeleton, step.owner
        self.named = trainable(self.model)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.first = _pack(self._loose())
        self.blank = {name: dict(holder) for name, holder in self._holders().items()}

    def __call__(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Advance a stack of one replica; ``state`` tensors have a leading axis of 1."""
        self._put(state, index)
        rng = torch.get_rng_state()

        def closure() -> Any:
            torch.set_rng_state(rng)  # an optimizer that evaluates twice sees one noise
            self.optimizer.zero_grad()
            loss = check_scalar(self.step.task.loss(self.model, copied(batch)))
            loss.backward()  # type: ignore[no-untyped-call]
            if self.step.task.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(self.named.values(), self.step.task.clip_norm)
            return loss

        with torch.enable_grad():
            loss: Any = self.optimizer.step(closure)
        return self._take(), loss.detach().reshape(1)

    def _put(self, state: State, index: int) -> None:
        self.step.put(state.params[0], {k: b[0] for k, b in state.buffers.items()})
        factor = self.step.task.factor(index)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.state.clear()
        for name, parameter in self.named.items():
            if own := _of(name, state.slots):
                self.optimizer.state[parameter] = _unpack(own)
        first = {key: value.unsqueeze(0) for key, value in self.first.items()}
        self._tie(_unpack(_of("", state.slots) or first))

    def _loose(self) -> dict[str, Any]:
        """Return what the optimizer keeps elsewhere: in its groups, attributes, other state."""
        state = {k: v for k, v in self.optimizer.state.items() if isinstance(k, str)}
        return {**{name: _numbers(h) for name, h in self._holders().items()}, "state": state}

    def _holders(self) -> dict[str, dict[str, Any]]:
        groups = enumerate(self.optimizer.param_groups)
        return {**{f"group{i}": group for i, group in groups}, "own": vars(self.optimizer)}

    def _tie(self, loose: dict[str, Any]) -> None:
        """Put back what ``_loose`` returned."""
        for name, holder in self._holders().items():
            blank = self.blank[name]
            for key in _numbers(holder):
                del holder[key]
            holder.update({k: v for k, v in blank.items() if k not in holder})
            holder.update(loose.get(name, {}))
        self.optimizer.state.update(loose.get("state", {}))

    def _take(self) -> State:
        params = self.step.layout.flatten({n: p.detach() for n, p in self.named.items()})
        buffers = {n: b.detach().clone().unsqueeze(0) for n, b in fixed(self.model).items()}
        slots = {
            f"{name}|{key}": value.unsqueeze(0)
            for name, parameter in self.named.items()
            for key, value in _pack(self.optimizer.state.get(parameter, {})).items()
        }
        slots |= {f"|{key}": value.unsqueeze(0) for key, value in _pack(self._loose()).items()}
        return State(params.unsqueeze(0), buffers, slots)


def _of(name: str, slots: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the entries of one parameter; those of the optimizer itself have the name ""."""
    return {k.split("|", 1)[1]: v for k, v in slots.items() if k.startswith(f"{name}|")}


def _numbers(holder: dict[str, Any]) -> dict[str, Any]:
    """Return the entries that can count or accumulate; the schedule owns the learning rate."""
    kinds = (bool, int, float, torch.Tensor)
    return {k: v for k, v in holder.items() if isinstance(v, kinds) and k != "lr"}


def _pack(tree: Any) -> dict[str, Tensor]:
    """Flatten an optimizer's state of one parameter to tensors; the key keeps path and kind."""
    packed = {}
    for path, leaf in pytree.tree_flatten_with_path(tree, is_leaf=_is_atom)[0]:
        key = "/".join(f"{k.idx}#" if hasattr(k, "idx") else str(_key(k)) for k in path)
        kind = "tensor" if isinstance(leaf, torch.Tensor) else type(leaf).__name__
        empty = _is_atom(leaf)
        value = torch.zeros(()) if empty else torch.as_tensor(leaf, dtype=_exact(leaf))
        packed[f"{key}|{kind}"] = value.detach().clone()
    return packed


def _is_atom(node: Any) -> bool:
    """Tell the containers without leaves, which flattening would lose."""
    return node is None or (isinstance(node, list) and not node)


def _key(entry: Any) -> Any:
    return entry.key


def _exact(leaf: Any) -> torch.dtype | None:
    return torch.float64 if isinstance(leaf, float) else None


def _unpack(packed: dict[str, Tensor]) -> dict[str, Any]:
    """Rebuild what ``_pack`` flattened, dropping the leading axis of 1."""
    root: dict[str, Any] = {}
    for key, value in packed.items():
        path, kind = key.rsplit("|", 1)
        leaf: Any = value[0].clone()
        if kind != "tensor":
            leaf = {"NoneType": None, "list": []}.get(kind, leaf.item())
        *parents, last = path.split("/")
        node = root
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = leaf
    rebuilt: dict[str, Any] = _lists(root)
    return rebuilt


def _lists(node: Any) -> Any:
    """Turn dicts whose keys are list positions ("0#") back into lists."""
    if not isinstance(node, dict):
        return node
    if node and all(str(k).endswith("#") for k in node):
        return [_lists(node[k]) for k in sorted(node, key=lambda k: int(k[:-1]))]
    return {k: _lists(v) for k, v in node.items()}
