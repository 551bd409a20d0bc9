"""Build the task's model: under a seed, in its mode and type, as few times as possible.

A factory may be dear (a download, a large network), so what it returns is kept and copied. What
a copy would not be (hooks on parameters, hooks that speak of the model itself) is built anew.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import types
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from wingbeat.determinism import seeded
from wingbeat.errors import RequestError, RunError
from wingbeat.params import trainable
from wingbeat.task.closures import filled_cells

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from wingbeat.task.task import Task

_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


class ModelBuilder:
    """The models of one task, each call a fresh one.

    Args:
        task: whose factory and mode.
        dtype: floating-point type of parameters and buffers.
        device: where they lie.

    Attributes:
        builds: how often the factory was called.
        ends: torch's random state after a build, by seed: equal ones show a factory that seeds
            itself.
        still: names of the modules that the factory returned in eval mode.
        copies: whether models are copies of what the factory returned, so that none is the user's.
    """

    def __init__(self, task: Task, dtype: torch.dtype, device: torch.device) -> None:
        self.task, self.dtype, self.device = task, dtype, device
        self.builds = 0
        self.still: tuple[str, ...] = ()
        self.copies = False
        self.ends: dict[int, bytes] = {}
        self._kept: nn.Module | None = None
        self._let_go = ""
        self._spare: nn.Module | None = None

    def fresh(self, seed: int) -> nn.Module:
        """Return a model of its own, as ``torch.manual_seed(seed); model()`` makes it."""
        own = seed == self.task.seed
        if own and self._kept is not None:
            return copied_model(self._kept)
        if own and self._spare is not None:
            spare, self._spare = self._spare, None
            return spare
        made = self._made(seed)
        if why_not_copied(made):
            return self._singular(made, seed)
        # A copy: the factory may hand out one module of the user's again and again.
        placed = self._placed(copied_model(made))
        if not own:
            return placed
        self._refuse_another(placed)
        self._kept, self.copies = placed, True
        return copied_model(placed)

    def initial(self, seed: int) -> nn.Module:
        """Return a model under a seed to read from, not to change."""
        if seed == self.task.seed and self._kept is not None:
            return self._kept
        return self.fresh(seed)

    def shown(self, skeleton: nn.Module) -> nn.Module:
        """Return a copy to call with the tensors of others: its own are those of the skeleton."""
        if self._kept is None:
            return copied_model(skeleton)
        kept = [*self._kept.parameters(), *self._kept.buffers()]
        own = [*skeleton.parameters(), *skeleton.buffers()]
        return copied_model(self._kept, {id(a): b for a, b in zip(kept, own, strict=True)})

    def let_go(self) -> None:
        """Forget the model that is kept for copies: whoever asks again waits for the factory."""
        if self._kept is not None:
            self._let_go, self._kept = _digest(self._kept), None

    @property
    def keeps(self) -> bool:
        """Whether a model is kept for copies."""
        return self._kept is not None

    def give_up(self, model: nn.Module) -> None:
        """Free the weights of a copy that nobody will call any more, though it is referred to.

        A model that is no copy may be the user's own, and stays.
        """
        for parameter in model.parameters() if self.copies else ():
            parameter.data, parameter.grad = parameter.data.new_empty(0), None

    def _refuse_another(self, model: nn.Module) -> None:
        """Refuse a model with other weights than the one that was let go."""
        if self._let_go and _digest(model) != self._let_go:
            raise RunError(
                "Task.model gives other weights under the same seed when it is called once more: "
                "let it draw them from torch's global generator, or load the same file each time"
            )

    def _made(self, seed: int) -> nn.Module:
        with seeded(seed):
            model = self.task.model()
            self.ends[seed] = torch.get_rng_state().numpy().tobytes()
        self.builds += 1
        if not isinstance(model, nn.Module):
            msg = f"Task.model returned {type(model).__name__}: it must return an nn.Module"
            raise RequestError(msg)
        _refuse_scripted(model)
        if not trainable(model):
            msg = "the model has no trainable parameter: at least one must have requires_grad=True"
            raise RequestError(msg)
        _refuse_without_values(model)
        _refuse_complex(model)
        return model

    def _singular(self, made: nn.Module, seed: int) -> nn.Module:
        """Return a model that cannot be copied, once the factory has proved to make new ones."""
        if seed == self.task.seed:
            other = self._made(seed)
            if {id(p) for p in made.parameters()} & {id(p) for p in other.parameters()}:
                msg = (
                    f"Task.model hands out one model again and again, and it has "
                    f"{why_not_copied(made)}, which copies would not have: build the model and "
                    "its hooks within the function that Task.model is"
                )
                raise RequestError(msg)
            self._spare = self._placed(other)
        return self._placed(made)

    def _placed(self, model: nn.Module) -> nn.Module:
        self.still = tuple(name for name, m in model.named_modules() if not m.training)
        if self.task.mode == "train":
            model.train()
        placed = self._cast(model)
        if self.task.start is not None:  # in the type of the run: no digit is lost on the way
            self.task.start.load_model(placed)
        return placed

    def _cast(self, model: nn.Module) -> nn.Module:
        if not any(b.is_complex() for b in model.buffers()):
            return model.to(self.device, self.dtype)

        def cast(t: Tensor) -> Tensor:
            if t.is_complex():  # ``Module.to`` would drop the imaginary part
                return t.to(self.device, _COMPLEX.get(self.dtype, t.dtype))
            return t.to(self.device, self.dtype if t.is_floating_point() else None)

        model._apply(cast)  # type: ignore[no-untyped-call]
        return model


def _refuse_scripted(model: nn.Module) -> None:
    scripted = [n for n, m in model.named_modules() if isinstance(m, torch.jit.ScriptModule)]
    if scripted:
        where = f"module {scripted[0]!r} is" if scripted[0] else "model is"
        msg = (
            f"the {where} TorchScript, which cannot be copied with its weights: let Task.model "
            "return the module that was scripted or traced, or keep your loop with wb.Twins"
        )
        raise RequestError(msg)


def _refuse_without_values(model: nn.Module) -> None:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    lazy = [name for name, t in tensors if is_lazy(t)]
    if lazy:
        msg = (
            f"the model is lazy: {lazy[0]!r} has no shape yet. Call it once on a batch within the "
            "function that Task.model is, so that the initial values are those of its seed"
        )
        raise RequestError(msg)
    empty = [name for name, t in tensors if t.is_meta]
    if empty:
        msg = (
            f"the model is on the device meta: {empty[0]!r} has no values. Build it on a real "
            "device, or call model.to_empty and fill it, within the function that Task.model is"
        )
        raise RequestError(msg)


def _refuse_complex(model: nn.Module) -> None:
    names = [name for name, p in model.named_parameters() if p.is_complex()]
    if names:
        msg = (
            f"the model has complex parameters, first {names[0]!r}: keep real and imaginary part "
            "as one real parameter of shape (..., 2) and write torch.view_as_complex(self.weight) "
            "in the forward pass; the training is the same"
        )
        raise RequestError(msg)


def _digest(model: nn.Module) -> str:
    """Return a digest over the weights and buffers of a model."""
    total = hashlib.sha256()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        total.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        numbers: Any = flat.view(torch.uint8).numpy()
        total.update(memoryview(numbers) if flat.numel() else b"")
    return total.hexdigest()


def copied_model(model: nn.Module, instead: Mapping[int, torch.Tensor] | None = None) -> nn.Module:
    """Return a copy of a model, those included whose weights are recomputed in a hook.

    Pruning, ``weight_norm`` and ``spectral_norm`` of ``torch.nn.utils`` keep the weight of the
    last forward pass as a plain attribute with a graph, which ``deepcopy`` refuses.

    Args:
        model: what is copied.
        instead: by the id of one of its tensors, the one that the copy has in its place.
    """
    memo: dict[int, Any] = dict(instead or {})
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(model, memo)


def why_not_copied(model: nn.Module) -> str:
    """Return what of a model ``copied_model`` would lose, or an empty text.

    >>> layer = nn.Linear(2, 1)
    >>> _ = layer.weight.register_hook(lambda gradient: gradient * 2)
    >>> why_not_copied(layer)
    "a gradient hook on the parameter 'weight'"
    """
    for name, parameter in model.named_parameters():
        if parameter_hooks(parameter):
            return f"a gradient hook on the parameter {name!r}"
    own = {id(m) for m in model.modules()} | {id(p) for p in model.parameters()}
    own |= {id(b) for b in model.buffers()}
    for path, module in model.named_modules():
        for function in _functions(module):
            if any(id(value) in own for value in _closed_over(function)):
                where = f"module {path!r}" if path else "model"
                return f"a function on the {where} that refers to the model itself"
    return ""


def why_objects(model: nn.Module) -> str:
    """Return why only the module itself can be trained, not its pure form, or an empty text."""
    for name, parameter in model.named_parameters():
        if parameter_hooks(parameter):
            return f"the parameter {name!r} has a gradient hook"
    for path, module in model.named_modules():
        if module._backward_hooks or module._backward_pre_hooks:
            return f"the module {path or type(module).__name__!r} has a backward hook"
    return ""


def parameter_hooks(parameter: Tensor) -> int:
    """Return how many functions autograd calls with the gradient of a parameter."""
    later = getattr(parameter, "_post_accumulate_grad_hooks", None)
    return len(parameter._backward_hooks or ()) + len(later or ())


def _functions(module: nn.Module) -> Iterator[Any]:
    """Yield the functions that a module holds: hooks, and methods put onto the instance."""
    for value in vars(module).values():
        inner = value.values() if isinstance(value, dict) else (value,)
        yield from (f for f in inner if isinstance(f, (types.FunctionType, functools.partial)))


def _closed_over(function: Any, depth: int = 3) -> Iterator[Any]:
    """Yield what a function holds on to, that of functions and containers in it included."""
    if depth == 0:
        return
    held: list[Any] = []
    if isinstance(function, functools.partial):
        held = [function.func, *function.args, *function.keywords.values()]
    elif isinstance(function, types.FunctionType):
        held = [c.cell_contents for c in filled_cells(function)]
        held += function.__defaults__ or ()
    elif isinstance(function, (list, tuple)):
        held = list(function)
    elif isinstance(function, dict):
        held = list(function.values())
    for value in held:
        yield value
        yield from _closed_over(value, depth - 1)
