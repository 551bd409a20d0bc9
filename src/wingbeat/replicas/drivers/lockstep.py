"""The lock-step driver: one vectorised call advances a whole stack of replicas.

The pure step is mapped over the replica axis (``torch.func.vmap``) and the result is
recorded once as a flat list of tensor operations, which is replayed for every later step:
the same kernels, hence the same bits, without the cost of differentiating and vectorising
anew in Python. Optionally the recording is compiled, which changes the bits.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast, get_args

import torch
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from wingbeat.errors import DriverError
from wingbeat.generators import GeneratorStates, host_states
from wingbeat.heap import give_back
from wingbeat.replicas.drivers.form import ArgumentForm
from wingbeat.replicas.drivers.marks import equal, mark
from wingbeat.replicas.drivers.one_call import in_one_call
from wingbeat.replicas.drivers.recorded import (
    Mode,
    RecordedStep,
    as_recorded,
    first_line,
    holds_no_tensor,
    record,
    shapes_of,
    with_graph,
    without_graph,
)
from wingbeat.replicas.drivers.recordings import RECORDINGS
from wingbeat.replicas.drivers.registry import driver
from wingbeat.replicas.drivers.replay import replay
from wingbeat.replicas.drivers.sparing import SparingUpdate, apart, is_spared
from wingbeat.replicas.drivers.stacked_derivative import StackedDerivative
from wingbeat.replicas.reads import ReadsRefused
from wingbeat.task.batches import flattened, only_tensors
from wingbeat.task.step import State, TrainingStep
from wingbeat.task.step_key import step_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from wingbeat.task.data import Batch

# What a step may raise because it is vectorised; its own errors come again on the loop.
_OF_THE_STEP = (RuntimeError, NotImplementedError, IndexError, ValueError, TypeError)


class DisprovedError(DriverError):
    """A recording was found to take another step than the function that it was made from."""


class Lockstep:
    """Advance a stack of at least two replicas at once.

    Args:
        step: the pure single-replica step.
        mode: "traced" (record and replay), "compiled" (the recording through
            ``torch.compile``), "graphed" (the recording as a CUDA graph) or "eager" (``vmap`` at
            every step).

    Raises:
        DriverError: at the first call, if the model cannot be vectorised; with the reason.

    Attributes:
        uneven: whether an operation may round differently in the last elements of a tensor.
        lanes: of each batch norm over flat features, its channels a replica: its derivative,
            and sums over what it returns, may round differently in the stack's last channels.
        signatures: a digest of each recorded step and the shapes that it takes.
    """

    name = "lockstep"
    words = "in lock step"

    def __init__(self, step: TrainingStep, mode: Mode = "traced") -> None:
        self.step, self.mode = step, cast("str", mode)
        self.form: Mode = mode
        self.build_seconds = 0.0
        self.uneven = mode == "eager"
        self.lanes: set[int] = set()
        self.signatures: set[str] = set()
        self._programs: dict[Any, RecordedStep] = {}
        self._updates: dict[Any, SparingUpdate | None] = {}
        self._derivative = StackedDerivative()
        if step.optimizer is None:
            raise DriverError(step.reason)
        if mode == "graphed" and step.device.type != "cuda":
            raise DriverError(f"CUDA graphs need a CUDA device, and this is {step.device}")

    def __call__(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Advance a stack ``(replicas, …)``; returns it with the losses ``(replicas,)``."""
        if self._is_spared(state):
            return self._spared(state, batch, index, state.map(torch.empty_like))
        form, leaves = self._laid_out(state, batch, index)
        *own, losses = self._run(form, leaves, index)
        return self.state_of(state, own), losses

    def use_up(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Advance likewise; a large stack's weights and slots are written where they lie."""
        if self._is_spared(state):
            return self._spared(state, batch, index, state)
        return self(state, batch, index)

    def _run(self, form: ArgumentForm, leaves: list[Tensor], index: int) -> list[Tensor]:
        # A network of the user's inside the loss may ask for gradients: none outlives its step.
        with torch.no_grad():
            try:
                return self._built(form, leaves).run(*leaves)
            except DriverError:
                raise
            except _OF_THE_STEP as error:
                msg = f"step {index} cannot run {self.words}: {first_line(error)}"
                raise DriverError(msg) from error

    def _is_spared(self, state: State) -> bool:
        shape = state.params.shape
        if shape not in self._updates:
            spared = self.mode == "traced" and is_spared(self.step, state.params.nbytes)
            self._updates[shape] = SparingUpdate(self.step, len(state.params)) if spared else None
        return self._updates[shape] is not None

    def _spared(self, state: State, batch: Batch, index: int, into: State) -> tuple[State, Tensor]:
        """Make the gradients of all replicas, and update them piece by piece."""
        update, names = self._updates[state.params.shape], self.step.layout.names
        assert update is not None
        self.step.called.put_away()
        form, leaves = self._laid_out(state, batch, index)
        found = apart(self._run(form, leaves, index), [state.params, *state.slots.values()])
        *rest, losses = found
        found.clear()
        grads = dict(zip(names, rest, strict=False))
        buffers = dict(zip(state.buffers, rest[len(names) :], strict=True))
        rest.clear()
        with torch.no_grad():
            update(state, grads, leaves[len(leaves) - form.numbers :], into)
        return State(into.params, buffers, into.slots), losses

    @staticmethod
    def state_of(before: State, own: Sequence[Tensor]) -> State:
        """Return a state with new tensors, in the order in which a recording returns them."""
        params, *rest = own
        buffers = dict(zip(before.buffers, rest, strict=False))
        return State(params, buffers, dict(zip(before.slots, rest[len(buffers) :], strict=True)))

    def prepared(
        self, state: State, batch: Batch, index: int
    ) -> tuple[RecordedStep, list[Tensor], tuple[float, ...]]:
        """Return what would be called for a step, state and batch, and the update's numbers.

        Raises:
            DriverError: as for the step itself.
        """
        if self._is_spared(state):
            raise DriverError("a stack so large takes no company")
        form, leaves = self._laid_out(state, batch)
        program = self._programs.get(form.key(leaves))
        if program is None:
            with torch.no_grad():
                program = self._built(*self._laid_out(state, batch, index))
        return program, leaves, tuple(self.step.coefficients(index))

    def prove(self, state: State, batch: Batch, index: int) -> None:
        """Compare the recorded step with the step itself, on this state and batch.

        Raises:
            DisprovedError: they differ.
        """
        form, leaves = self._laid_out(state, batch, index)
        with torch.no_grad():
            program = self._built(form, leaves)
            if program.recorded is None:
                return
            rng = GeneratorStates.now()
            expected = mark(self._eager(form, *leaves))
            rng.put_back()
            if form.spared:
                give_back()
            found = mark(program.recorded(*leaves))
            rng.put_back()
            if form.spared:
                give_back()
            same = equal(found, expected) and self._compiled_agrees(program, leaves, found[-1])
            rng.put_back()
        if not same:
            names = ["parameters", *form.buffers, *form.slots, "loss"]
            if form.spared:
                names = [*self.step.layout.names, *form.buffers, "loss"]
            pairs = zip(names, found, expected, strict=True)
            first = next((n for n, a, b in pairs if not equal([a], [b])), "compiled loss")
            msg = (
                f"the recorded step {index} is not the step itself (first in: {first}): the loss "
                "or the model depends on something besides its state and the batch"
            )
            raise DisprovedError(msg)

    def _compiled_agrees(self, program: RecordedStep, leaves: list[Tensor], losses: Tensor) -> bool:
        # The losses only: Adam's first step turns a rounding error into a whole learning rate.
        return self.form not in {"compiled", "graphed"} or torch.allclose(
            program.run(*leaves)[-1], losses, rtol=1e-3, equal_nan=True
        )

    def _laid_out(
        self, state: State, batch: Batch, index: int | None = None
    ) -> tuple[ArgumentForm, list[Tensor]]:
        """Return the form of a step's arguments, and all of them as a flat list.

        Without a step's index the numbers of its update, which come last, are left out.
        """
        c = () if index is None else self.step.numbers(state, index)
        inputs, spec = flattened(batch)
        only_tensors(inputs)
        leaves = [state.params, *state.buffers.values(), *state.slots.values(), *inputs, *c]
        spared = self._is_spared(state)
        return ArgumentForm(tuple(state.buffers), tuple(state.slots), spec, spared, len(c)), leaves

    def _built(self, form: ArgumentForm, leaves: list[Tensor]) -> RecordedStep:
        """Return the program for one shape of stack and batch; count the time that it takes."""
        key = form.key(leaves)
        if key in self._programs:
            return self._programs[key]
        begin, rng = time.perf_counter(), GeneratorStates.now()
        program = self._program(form, leaves)
        if not form.spared:
            program.run(*leaves)  # a compiler does its work at the first call
        rng.put_back()
        self.build_seconds += time.perf_counter() - begin
        self._programs[key] = program
        return program

    def _eager(self, form: ArgumentForm, *leaves: Tensor) -> list[Tensor]:
        """Vectorise and run the step without a recording; of a large stack, its gradients."""
        one = self._gradients if form.spared else self._single
        if form.spared:
            give_back()
        try:
            with sdpa_kernel(SDPBackend.MATH):
                call = partial(self._mapped, one, *form.arguments(leaves))
                params, buffers, slots, losses = self._derivative(call)
        except DriverError:
            raise
        except _OF_THE_STEP as error:
            msg = f"the model cannot run {self.words}: {first_line(error)}"
            raise DriverError(msg) from error
        if form.spared:
            return [*(params[name] for name in self.step.layout.names), *buffers.values(), losses]
        return [params, *buffers.values(), *slots.values(), losses]

    def _mapped(self, one: Callable[..., Any], *arguments: Any) -> Any:
        """Call what takes the step of one replica for all of a stack."""
        own = None if self.step.scaling is None else 0  # coefficients
        return vmap(one, in_dims=(0, 0, 0, None, own), randomness="same")(*arguments)

    def _gradients(self, params: Tensor, buffers: Any, slots: Any, batch: Batch, c: Any) -> Any:
        del slots
        number = c[-1] if self.step.task.counts else None
        grads, loss, after = self.step.gradients(params, buffers, batch, number)
        return grads, {name: after[name] for name in buffers}, {}, loss

    def _single(self, params: Tensor, buffers: Any, slots: Any, batch: Batch, c: Any) -> Any:
        after, loss = self.step(State(params, buffers, slots), batch, c)
        kept = {name: after.slots[name] for name in slots}
        return after.params, {name: after.buffers[name] for name in buffers}, kept, loss

    def _program(self, form: ArgumentForm, leaves: list[Tensor]) -> RecordedStep:
        eager = partial(self._eager, form)
        program = self._plain(eager, leaves) if self.form == "eager" else self._one(form, leaves)
        self.signatures.add(program.signature)
        self.uneven = self.uneven or program.uneven
        self.lanes |= program.lanes
        return program

    def _plain(self, eager: Callable[..., list[Tensor]], leaves: list[Tensor]) -> RecordedStep:
        rng = GeneratorStates.now()
        self._repeated(eager, leaves)
        rng.put_back()
        with ReadsRefused():
            eager(*leaves)
        rng.put_back()
        shapes = [tuple(leaf.shape) for leaf in leaves]
        return RecordedStep(eager, None, f"{self.step.shell} {shapes}")

    def _one(self, form: ArgumentForm, leaves: list[Tensor]) -> RecordedStep:
        """Return a recording that repeats the step: one of before where there is one."""
        eager = partial(self._eager, form)
        step = None if form.spared else step_key(self.step)  # no room to try another's
        shapes = (self.name, self.mode, form, *shapes_of(leaves))
        found = RECORDINGS.find(step, shapes)
        if found is not None:
            kept = with_graph(found, leaves, self.form)
            if self._serves(kept, eager, leaves):
                return kept
        program = self._recorded(form, eager, leaves)
        if program.graph is not None and holds_no_tensor(program.graph):
            RECORDINGS.put(step, shapes, without_graph(program, self.form))
        return program

    def _recorded(
        self, form: ArgumentForm, eager: Callable[..., list[Tensor]], leaves: list[Tensor]
    ) -> RecordedStep:
        rng = GeneratorStates.now()
        expected = self._repeated(eager, leaves)
        rng.put_back()
        if form.spared:
            give_back()
        graph = record(eager, leaves)
        rng.put_back()
        if form.spared:
            give_back()
        quick = graph.forward
        if self.form == "traced":
            quick = in_one_call(replay(graph, leaves), leaves)
        rng.put_back()
        if not equal(mark(quick(*leaves)), expected):
            msg = "the recorded step does not repeat the model"
            raise DriverError(msg)
        program = as_recorded(graph, quick, leaves, self.form)
        rng.put_back()
        if not self._compiled_agrees(program, leaves, expected[-1]):
            msg = "the compiled step does not agree with the recorded one"
            raise DriverError(msg)
        return program

    def _serves(
        self, found: RecordedStep, eager: Callable[..., list[Tensor]], leaves: list[Tensor]
    ) -> bool:
        """Hold another task's recording to this step, on this state and on the one after it.

        What would show if the step were made twice, as for a new recording, shows in the second.
        """
        assert found.recorded is not None
        rng, host = GeneratorStates.now(), host_states()
        try:
            expected, attributes = mark(eager(*leaves)), _attributes(self.step.shell)
            rng.put_back()
            own = found.recorded(*leaves)
            same, after = equal(mark(own), expected), [*own[:-1], *leaves[len(own) - 1 :]]
            rng.put_back()
            with ReadsRefused():  # the step may do in Python what the other one did not
                then = mark(eager(*after))
            rng.put_back()
            same = same and equal(mark(found.recorded(*after)), then)
            same = same and _attributes(self.step.shell) == attributes and host_states() == host
            rng.put_back()
            return same and self._compiled_agrees(found, leaves, expected[-1])
        except (DriverError, *_OF_THE_STEP):
            return False
        finally:
            rng.put_back()

    def _repeated(self, eager: Callable[..., list[Tensor]], leaves: list[Tensor]) -> list[Tensor]:
        """Mark a step's outputs, made twice: all they depend on must be in ``leaves``."""
        rng, host = GeneratorStates.now(), host_states()
        expected, attributes = mark(eager(*leaves)), _attributes(self.step.shell)
        if host_states() != host:
            msg = "the model draws from Python's or NumPy's generator, not from torch's"
            raise DriverError(msg)
        rng.put_back()
        try:
            same = equal(mark(eager(*leaves)), expected)
        except DriverError as error:  # a stored tensor of the first call, used in the second
            msg = f"the model's forward pass keeps hidden state ({error})"
            raise DriverError(msg) from error
        now = _attributes(self.step.shell)
        changed = [name for name, value in now.items() if attributes.get(name, now) != value]
        if changed or not same:
            where = f": it changes {', '.join(changed[:3])}" if changed else ""
            msg = f"the model's forward pass keeps hidden state{where}"
            raise DriverError(msg)
        return expected


def _attributes(model: nn.Module) -> dict[str, Any]:
    """Return the plain Python values that the modules of a model hold, by name."""
    return {
        f"{path}.{name}".lstrip("."): value
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, (bool, int, float, str, type(None)))
    }


@driver(
    "lockstep",
    modes=get_args(Mode),
    usual="traced",
    caption="All replicas in one vectorised call.",
)
def make_lockstep(step: TrainingStep, mode: str) -> Lockstep:
    """Return the lock-step driver in one of its modes."""
    return Lockstep(step, cast("Mode", mode))
