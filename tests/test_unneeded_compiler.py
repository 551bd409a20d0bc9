"""torch's compiler stays away from runs that compile nothing, and nobody else notices."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import ModuleType

import pytest
import torch

from wingbeat import tracing
from wingbeat import unneeded_compiler as module
from wingbeat.unneeded_compiler import _SYMBOLS, _as_it_is, _StandIn, _take_back

START = """
import sys, torch
torch.set_num_threads(1)
from functools import partial
import torch.nn.functional as F
import wingbeat as wb

HEAVY = ("torch._dynamo", "torch._inductor", "torch.fx.experimental.symbolic_shapes", "sympy")
def there():
    return tuple(name for name in HEAVY if name in sys.modules)

def net():
    return torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))

generator = torch.Generator().manual_seed(0)
x = torch.randn(64, 3, generator=generator)
y = (x.sum(1) > 0).long()
def task(**changes):
    def loss(model, batch):
        return F.cross_entropy(model(batch[0]), batch[1])
    given = dict(model=net, loss=loss, data=(x, y), batch_size=16, steps=8,
                 optimizer=partial(torch.optim.Adam, lr=1e-2))
    return wb.Task(**(given | changes))

def weights(result):
    return torch.cat([t.flatten() for moment in result.trajectory for t in moment.params.values()])

def by_hand(model, optimizer):
    # as the compiler itself is told: through zero_grad, step and a compiled forward pass
    for begin in range(0, 64, 16):
        optimizer.zero_grad()
        F.cross_entropy(model(x[begin:begin + 16]), y[begin:begin + 16]).backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in optimizer.param_groups[0]["params"]])

def trained(compiled):
    torch.manual_seed(0)
    plain = net()
    model = torch.compile(plain, backend="eager") if compiled else plain
    return by_hand(model, torch.optim.Adam(plain.parameters(), lr=1e-2))
"""


def last_line(program: str) -> str:
    """Run a program of its own process; returns the last line that it prints."""
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", START + program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().rpartition("\n")[2]


def test_a_default_run_loads_no_compiler_and_leaves_nothing_in_its_place() -> None:
    program = """
found = wb.run(task())
LATE = ("pandas", "scipy.stats", "sklearn", "pydantic", "filelock", "numpy.f2py.crackfortran")
late = [name for name in LATE if name in sys.modules]
functions = (torch.optim.Optimizer.zero_grad, torch.optim.Optimizer.add_param_group)
assert len(found.table) and "pandas" in sys.modules
print(found.environment["mode"], late, there(), "_dynamo" in vars(torch),
      any(hasattr(f.__wrapped__, "__dynamo_disable") for f in functions))
"""
    assert last_line(program) == "traced [] () False False"


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["lockstep", "loop", "recorded"])
def test_the_bits_are_those_with_the_compiler_loaded(driver: str) -> None:
    program = f"""
without = weights(wb.run(task(), driver={driver!r}))
before = there()
import torch._dynamo
print(before, torch.equal(without, weights(wb.run(task(), driver={driver!r}))), len(there()))
"""
    assert last_line(program) == "() True 4"


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after", "within"])
def test_users_compile_before_after_and_within_a_run(moment: str) -> None:
    """A compiled model, its optimizer made and stepped by hand, gives what it gives alone."""
    run = {
        "before": "made = trained(True); wb.run(task())",
        "after": "wb.run(task()); assert there() == (); made = trained(True)",
        "within": """
def compiling(params):
    if not hasattr(sys, "made"):
        assert there() == HEAVY[:3]  # what stands in their places
        sys.made = trained(True)
    return torch.optim.Adam(params, lr=1e-2)
wb.run(task(optimizer=compiling))
made = sys.made
""",
    }[moment]
    program = f"""
{run}
counted = torch._dynamo.utils.counters["stats"]["calls_captured"]
disabled = torch.optim.Optimizer.zero_grad.__wrapped__.__dict__.get("__dynamo_disable")
print(torch.equal(made, trained(False)), counted > 0,
      getattr(disabled, "_torchdynamo_disable", None))
"""
    assert last_line(program) == "True True True"


@pytest.mark.slow
def test_an_optimizer_that_a_run_made_steps_in_a_compiled_function() -> None:
    """Its first call after the compiler came is one that is compiled."""
    program = """
from contextlib import nullcontext
from wingbeat.unneeded_compiler import unneeded_compiler
def made(where):
    torch.manual_seed(0)
    model = net()
    with where:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        by_hand(model, optimizer)
    loaded = len(there())
    def step():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    torch.compile(step, backend="eager")()
    return loaded, torch.cat([p.detach().flatten() for p in model.parameters()])
without, first = made(unneeded_compiler())
torch._dynamo.reset()
loaded, second = made(nullcontext())
print(without, loaded, torch.equal(first, second))
"""
    assert last_line(program) == "0 4 True"


@pytest.mark.slow
def test_compiled_runs_and_determinism_find_the_compiler() -> None:
    program = """
plain = weights(wb.run(task()))
compiled = wb.run(task(), driver="lockstep", compiled=True)
import torch._inductor.config as config
assert config.deterministic is False, config.deterministic  # as torch had it before the run
torch.use_deterministic_algorithms(True)
again = weights(wb.run(task()))
assert torch.are_deterministic_algorithms_enabled() and config.deterministic
print(torch.equal(plain, again), torch.allclose(plain, weights(compiled), atol=1e-4),
      compiled.noise_floor)
"""
    assert last_line(program) == "True True 0.0"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch):
    """Return a stand-in for a module of the standard library that nothing here has loaded."""
    monkeypatch.delitem(sys.modules, "this.that", raising=False)
    parent = ModuleType("this")
    made = _StandIn("this.that", parent, lambda who, name, _: 42 if name == "answer" else None)
    monkeypatch.setattr(module, "_STAND_INS", (made,))
    monkeypatch.setattr(module, "_loaded", lambda name: _left(made, name))
    yield made
    sys.modules.pop("this.that", None)


def _left(made: _StandIn, name: str) -> ModuleType:
    made.leave()
    itself = ModuleType(name)
    itself.answer, itself.other = "its own", "its own"
    return itself


def asked(stand_in: _StandIn, by: str, name: str = "answer") -> object:
    """Return what a module of that name gets."""
    return eval(f"stand_in.{name}", {"__name__": by, "stand_in": stand_in})


def test_who_is_known_is_answered_and_others_get_the_module(stand_in: _StandIn) -> None:
    with module.unneeded_compiler():
        assert sys.modules["this.that"] is stand_in
        assert stand_in._parent.that is stand_in
        assert asked(stand_in, "torch.optim.optimizer") == 42
        assert not hasattr(stand_in, "__path__")
        assert sys.modules["this.that"] is stand_in
        assert asked(stand_in, "torch.optim.optimizer", "other") == "its own"
        assert asked(stand_in, "torch.optim.optimizer") == "its own"  # from now on
        assert "this.that" not in sys.modules
        assert not hasattr(stand_in._parent, "that")


@pytest.mark.parametrize("who", ["torchvision.ops", "stranger", "__main__"])
def test_strangers_get_the_module_at_once(stand_in: _StandIn, who: str) -> None:
    with module.unneeded_compiler():
        assert asked(stand_in, who) == "its own"


def by_a_function(name: str) -> object:
    return module._of_symbols("torch", name, sys._getframe())


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("expect_true", (True,)),
        ("guard_or_false", (True,)),
        ("guard_or_true", (False,)),
        ("statically_known_true", (True,)),
        ("is_nested_int", (3,)),
        ("sym_and", (True, True, False)),
        ("sym_and", (True, 1 == 1)),
        ("sym_or", (False, True)),
        ("sym_or", (False, False)),
        ("sym_eq", ((1, (2, 3)), [1, [2, 3]])),
        ("sym_eq", ((1, 2), (1, 2, 3))),
        ("sym_eq", (4, 5)),
    ],
)
def test_what_is_said_of_numbers_is_what_torch_says(name: str, given: tuple) -> None:
    from torch.fx.experimental import symbolic_shapes

    found = by_a_function(name)(*given)
    assert found == getattr(symbolic_shapes, name)(*given)
    assert type(found) is bool


def test_symbols_are_asked_about_symbols(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_attribute", lambda where, name: lambda *given: (where, *given))
    symbol = object()
    assert by_a_function("guard_or_false")(symbol) == (_SYMBOLS, symbol)
    assert by_a_function("sym_eq")((1, symbol), (1, 2)) == (_SYMBOLS, (1, symbol), (1, 2))
    assert by_a_function("compute_unbacked_bindings")(None, 1) == (_SYMBOLS, None, 1)
    assert by_a_function("free_symbols") is None
    assert eval("_of_symbols('torch', 'expect_true', frame())",
                {"_of_symbols": module._of_symbols, "frame": sys._getframe}) is None  # fmt: skip


def test_blocks_within_and_beside_each_other_leave_with_the_last(stand_in: _StandIn) -> None:
    inside, over = threading.Event(), threading.Event()

    def other() -> None:
        with module.unneeded_compiler():
            inside.set()
            over.wait(10)

    thread = threading.Thread(target=other)
    with module.unneeded_compiler(), module.unneeded_compiler():
        thread.start()
        assert inside.wait(10)
    assert stand_in.blocks == 1
    assert sys.modules["this.that"] is stand_in
    over.set()
    thread.join()
    assert "this.that" not in sys.modules


def test_a_module_that_is_there_stays(stand_in: _StandIn, monkeypatch) -> None:
    itself = ModuleType("this.that")
    monkeypatch.setitem(sys.modules, "this.that", itself)
    with module.unneeded_compiler():
        assert sys.modules["this.that"] is itself
    assert sys.modules["this.that"] is itself


def test_what_torch_was_answered_is_taken_back() -> None:
    def function() -> None:
        """Do nothing."""

    asked = _as_it_is(function, True, wrapping=False)
    assert asked is function
    setattr(function, "__dynamo_disable", asked)  # as torch._compile keeps it
    _take_back()
    assert not hasattr(function, "__dynamo_disable")


def test_torch_asks_in_the_way_that_is_known() -> None:
    """Another version of torch may ask otherwise; then the answer is the compiler itself."""
    wrapped = torch._disable_dynamo(lambda: None)
    assert {"__dynamo_disable"} <= set(wrapped.__code__.co_consts) & set(wrapped.__code__.co_names)

    def other_form() -> object:
        return module._of_compiler("torch._compile", "disable", sys._getframe())

    assert other_form() is None
    assert module._of_compiler("torch.compiler", "disable", sys._getframe()) is None


def test_what_cannot_be_traced_without_the_compiler_is_traced_with_it(monkeypatch) -> None:
    """As another version of torch might need it."""
    there = iter([True])
    loaded = []
    monkeypatch.setattr(tracing, "compiler_is_absent", lambda: next(there, False))
    monkeypatch.setattr(tracing, "load_compiler", lambda: loaded.append(1))
    monkeypatch.setattr(tracing, "_shorter", lambda: {"no_such_name": None})
    graph = tracing.trace(lambda x: 2 * x, torch.ones(3))
    assert loaded == [1]
    assert any(node.target is torch.ops.aten.mul.Tensor for node in graph.graph.nodes)


def noted(node: torch.fx.Node) -> list[tuple[object, ...]]:
    values = torch.utils._pytree.tree_leaves(node.meta.get("val"))
    return [(v.shape, v.stride(), v.dtype, v.device) for v in values if v is not None]


def test_the_shorter_ways_trace_the_same_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        def loss(w: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(x @ w, torch.zeros(4, dtype=torch.long))

        return torch.where(w > 0, w - 0.1 * torch.func.grad(loss)(w), w.sort().values)

    given = torch.ones(4, 3), torch.randn(3, 2)
    usual = tracing.trace(step, *given)
    monkeypatch.setattr(tracing, "compiler_is_absent", lambda: True)
    shorter = tracing.trace(step, *given)
    assert usual.code == shorter.code
    for one, other in zip(usual.graph.nodes, shorter.graph.nodes, strict=True):
        assert noted(one) == noted(other)
    torch.testing.assert_close(usual(*given), shorter(*given), rtol=0, atol=0)
