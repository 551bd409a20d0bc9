"""What a loop can get wrong is named; what cannot be saved is trained again."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from loops import LOOPS, train
from torch import nn

import wingbeat as wb


def build(seed: int) -> dict[str, Any]:
    model = nn.Linear(3, 1)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}


def data() -> list[torch.Tensor]:
    return list(torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(0)))


def trained(twins: wb.Twins, loader: Any) -> None:
    for copy in twins:
        for x in copy.batches(loader):
            loss = copy.model(x).square().mean()
            copy.parts["optimizer"].zero_grad()
            loss.backward()
            copy.parts["optimizer"].step()
            copy.step(loss)


def asked(**changed: Any) -> wb.Twins:
    given = {"build": build, "perturbations": wb.Gaussian(0.1), "steps": 12, "replicas": 2}
    given |= changed
    return wb.Twins(given.pop("build"), given.pop("perturbations"), **given)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"build": 3}, "build is a int"),
        ({"steps": 0}, "steps is 0"),
        ({"replicas": 1.5}, "replicas is 1.5"),
        ({"record_every": -1}, "record_every is -1"),
        ({"seeds": ()}, "seeds is"),
        ({"perturbations": "gaussian"}, "holds a str"),
        ({"perturbations": wb.BatchGradient(0.1)}, "needs the loss as a function"),
        ({"metrics": ["cka"]}, "needs a wb.Task"),
        ({"metrics": ["nonsense"]}, "nonsense"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_built(
    changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(wb.RequestError, match=said):
        asked(**changed)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda seed: None, "without a torch module called 'model'"),
        (lambda seed: {"net": nn.Linear(1, 1)}, r"\['net'\]"),
        (lambda seed: {"model": nn.ReLU()}, "no parameter that requires a gradient"),
    ],
)
def test_what_build_must_return(made: Callable[[int], Any], said: str) -> None:
    with pytest.raises(wb.RequestError, match=said):
        next(iter(asked(build=made)))


def test_a_model_alone_is_a_part() -> None:
    copy = next(iter(asked(build=lambda seed: nn.Linear(3, 1))))
    assert list(copy.parts) == ["model"]


def test_a_fork_beyond_the_end() -> None:
    with pytest.raises(wb.RequestError, match="the run has 12 steps"):
        next(iter(asked(perturbations=wb.Gaussian(0.1, at=12))))


def test_init_with_a_build_that_seeds_itself() -> None:
    def same(seed: int) -> dict[str, Any]:
        torch.manual_seed(0)
        return build(seed)

    with pytest.raises(wb.RequestError, match="Init would vary nothing"):
        next(iter(asked(build=same, perturbations=wb.Init(1))))


def test_a_loop_that_forgets_step() -> None:
    for copy in asked():
        with pytest.raises(wb.RunError, match=r"copy.step\(\) was not called in 100 batches"):
            for _ in copy.batches(data()):
                pass
        break


def test_updates_that_forget_step() -> None:
    copy = next(iter(asked()))
    with pytest.raises(wb.RunError, match="not called"):
        list(copy.updates())


def test_a_loop_that_does_nothing() -> None:
    with pytest.raises(wb.RunError, match="made no step"):
        for _ in asked():
            pass


def test_a_loop_that_stops_early() -> None:
    copies = iter(asked())
    copy = next(copies)
    for _ in copy.batches(data()):
        copy.step()
        if copy.done == 3:
            break
    with pytest.raises(wb.RunError, match="ended after 3 of 12 steps"):
        next(copies)


def test_a_step_too_many() -> None:
    for copy in asked():
        for _ in copy.batches(data()):
            copy.step()
        with pytest.raises(wb.RunError, match="after all 12 steps"):
            copy.step()
        break


def test_a_generator_can_be_read_once() -> None:
    with pytest.raises(wb.RunError, match="hand over a list, a loader or a function"):
        trained(asked(), (x for x in data()))


def test_a_function_is_called_for_each_pass() -> None:
    twins = asked()
    trained(twins, lambda: (x for x in data()))
    assert twins.result().noise_floor == 0.0


def test_two_loops_at_once() -> None:
    copy = next(iter(asked()))
    next(outer := copy.batches(data()))
    with pytest.raises(wb.RunError, match="zip"):
        next(copy.batches(data()))
    outer.close()


def test_a_loader_that_is_shorter_the_second_time() -> None:
    class Shrinking:
        left = 8

        def __iter__(self) -> Any:
            self.left -= 1
            return iter(data()[: max(self.left // 2, 1)])

    with pytest.raises(wb.RunError, match=r"pass \d over the loader had \d batches for the ref"):
        trained(asked(), Shrinking())


def test_a_loader_that_gives_other_batches_is_named() -> None:
    class Counting:
        count = 0

        def __iter__(self) -> Any:
            self.count += 1
            return iter([x + self.count for x in data()])

    twins = asked()
    trained(twins, Counting())
    result = twins.result()
    assert result.noise_floor > 0
    assert any("another batch than the reference, first at batch 0" in w for w in result.warnings)


def test_an_unfinished_run_has_no_result() -> None:
    twins = asked()
    with pytest.raises(wb.RequestError, match="4 of 4 copies are not trained yet"):
        twins.result()


def test_a_nudge_that_rounding_swallows_is_said() -> None:
    def half(seed: int) -> dict[str, Any]:
        model = nn.Linear(3, 1).bfloat16()
        return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}

    twins = asked(build=half, perturbations=wb.Gaussian(1e-7))
    trained(twins, [x.bfloat16() for x in data()])
    assert any("moved no weight" in w for w in twins.result().warnings)


class Stateful:
    """A part that decides about training and cannot be saved: a rate that falls."""

    def __init__(self) -> None:
        self.rate = 0.1


class Opaque(Stateful):
    """The same with a state that is no plain data."""

    def state_dict(self) -> dict[str, Any]:
        return {"rate": self.rate, "made": object()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rate = state["rate"]


class Growing(Opaque):
    """The same, but only once it has been used."""

    def state_dict(self) -> dict[str, Any]:
        return {"rate": self.rate, **({"made": object()} if self.rate < 0.1 else {})}


UNSAVED = {
    Stateful: r"'rate': it has no state_dict",
    Opaque: r"'rate': a state holds a object, which is no plain data",
    Growing: r"'rate': a state holds a object, which is no plain data",
}


@pytest.mark.parametrize("kind", UNSAVED)
def test_what_cannot_be_saved_is_said_by_name_before_it_costs(kind: type) -> None:
    twins = asked(
        build=lambda seed: {**build(seed), "rate": kind()}, perturbations=wb.Gaussian(0.1, at=6)
    )
    copies, said = iter(twins), pytest.warns(UserWarning, match=UNSAVED[kind])
    if kind is Growing:
        copy = next(copies)
    else:  # before a step is made
        with said:
            copy = next(copies)
    for _ in range(len(twins)):
        for x in copy.batches(data()):
            loss = copy.model(x).square().mean()
            loss.backward()
            with torch.no_grad():
                for weight in copy.model.parameters():
                    weight.sub_(copy.parts["rate"].rate * weight.grad)
                    weight.grad = None
            copy.parts["rate"].rate *= 0.9
            if kind is Growing and copy.label == "reference" and copy.done == 5:
                with said:
                    copy.step(loss)
            else:
                copy.step(loss)
        copy = next(copies, copy)
    result = twins.result()
    assert result.noise_floor == 0.0
    assert any("trained the reference's way again" in w for w in result.warnings)


def test_nothing_is_said_where_nothing_has_to_be_saved() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        next(iter(asked(build=lambda seed: {**build(seed), "rate": Stateful()})))


@pytest.mark.filterwarnings("ignore:parts that cannot be saved")
@pytest.mark.parametrize("hidden", [False, True])
def test_what_cannot_be_saved_is_trained_again_or_shown_by_the_twin(hidden: bool) -> None:
    rates: dict[int, Stateful] = {}

    def made(seed: int) -> dict[str, Any]:
        parts = build(seed)
        rates[id(parts["model"])] = Stateful()
        return parts if hidden else {**parts, "rate": rates[id(parts["model"])]}

    twins = asked(build=made, perturbations=wb.Gaussian(0.1, at=6))
    for copy in twins:
        own = rates[id(copy.model)]
        for x in copy.batches(data()):
            loss = copy.model(x).square().mean()
            loss.backward()
            with torch.no_grad():
                for weight in copy.model.parameters():
                    weight.sub_(own.rate * weight.grad)
                    weight.grad = None
            own.rate *= 0.9
            copy.step(loss)
    result = twins.result()
    if hidden:  # nobody could know: the twin that started from the saved state does
        assert result.noise_floor > 0
    else:
        assert result.noise_floor == 0.0
        said = "Parts that cannot be saved ('rate': it has no state_dict)"
        assert any(said in w for w in result.warnings)


def test_the_folder_of_another_request(tmp_path: Any) -> None:
    twins = asked(out=tmp_path)
    trained(twins, data())
    twins.result()
    with pytest.raises(wb.StoreError, match="holds another request"):
        trained(asked(out=tmp_path, replicas=3), data())
    loop = LOOPS["classifier"]
    with pytest.raises(wb.StoreError, match="holds another request"):
        train(wb.Twins(loop.build, wb.Gaussian(0.1), steps=12, replicas=2, out=tmp_path), loop)


@pytest.mark.parametrize("at", [0, 5])
def test_what_changes_after_an_update_was_called_over_is_named(at: int, tmp_path: Any) -> None:
    """A state that is saved in ``copy.step`` would lack it: of a fork, or of a run that goes on."""

    def half(seed: int) -> dict[str, Any]:
        parts = build(seed)
        schedule = torch.optim.lr_scheduler.StepLR(parts["optimizer"], 1, 0.9)
        return {**parts, "scaler": torch.amp.GradScaler("cpu", growth_interval=1), "lr": schedule}

    def late(twins: wb.Twins) -> None:
        for copy in twins:
            for x in copy.batches(data()):
                loss = copy.model(x).square().mean()
                copy.parts["optimizer"].zero_grad()
                copy.parts["scaler"].scale(loss).backward()
                copy.parts["scaler"].step(copy.parts["optimizer"])
                copy.step(loss)
                copy.parts["scaler"].update()
                copy.parts["lr"].step()

    said = (
        r"'optimizer' and 'scaler' and 'lr' changed after copy.step\(\) of update 1: call it last"
    )
    with pytest.raises(wb.RunError, match=said):
        late(asked(build=half, perturbations=wb.Gaussian(0.1, at=at), out=tmp_path / "run"))
