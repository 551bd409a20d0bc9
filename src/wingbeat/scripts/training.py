"""Train the copies of a training that is a function, whatever framework it uses, and measure."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from wingbeat.determinism import seed_all, seeded
from wingbeat.errors import RequestError, RunError, require
from wingbeat.execution.external import measure_checkpoints
from wingbeat.execution.live import Live
from wingbeat.execution.progress import Progress
from wingbeat.execution.request import named_apart
from wingbeat.execution.result import load, write_files
from wingbeat.files import write_bytes
from wingbeat.locks import holding
from wingbeat.replicas.fork import NULL, REFERENCE
from wingbeat.replicas.perturb import Nudge, Perturbation
from wingbeat.scripts.agree import agree
from wingbeat.scripts.fork import described, said_of_twin
from wingbeat.scripts.nudge import Nudged, check_nudges
from wingbeat.scripts.on_step import OnStep
from wingbeat.scripts.told import Told
from wingbeat.task.describe import code_digest
from wingbeat.trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wingbeat.execution.live import Tracker
    from wingbeat.execution.result import Result
    from wingbeat.measure.metric import Metric
    from wingbeat.scripts.on_step import Chosen

_DONE = "done.json"


def fork_training(
    train: Callable[[OnStep], Any],
    perturbations: Sequence[Perturbation] | Perturbation,
    out: str | Path,
    *,
    replicas: int = 3,
    at: int = 0,
    record_every: int = 50,
    seed: int = 0,
    weights: Chosen = "trainable",
    metrics: Sequence[str | Metric] | None = None,
    progress: bool | None = None,
    trackers: Sequence[Tracker] = (),
) -> Result:
    """Train copies of a training that is a function of yours, and measure how they part.

    ``train(on_step)`` builds everything anew, trains to its end, and calls ``on_step(step, model)``
    once before the first update and after each. It is called for the reference, for an unperturbed
    twin and for each nudged copy, with all generators seeded alike; a copy that is done is skipped
    when it is called again, one that was stopped half way begins anew.

    Args:
        train: the training; what it returns is not looked at.
        perturbations: those that change weights, without a step: ``at`` says it for all.
        out: folder of the run.
        replicas: nudged copies for each perturbation.
        at: the step at which the copies fork, of those that ``on_step`` is called with.
        record_every: steps between recordings; the fork and the last call with ``last=True``
            are recorded too.
        seed: base seed, of the nudges and of the generators.
        weights: "trainable" nudges and measures what is trained (of a model with adapters: the
            adapters), "all" every floating-point parameter.
        metrics: names of metrics that need weights only; default: all of them.
        progress: show which copy trains; None shows it on a terminal.
        trackers: told of each recording while the copies train, and of the result: those of
            `wingbeat.integrations.trackers`, or objects with ``record`` and ``finish``.

    Returns:
        A result as of `measure_checkpoints`, with the twin's noise floor; it is in ``out`` too.

    Raises:
        RequestError: a perturbation needs more than weights, or a number is out of range.
        RunError: ``on_step`` was not called, or not at the step of the fork.
        StoreError: ``out`` holds copies of another request, or is in use by another call.

    Example:
        >>> import tempfile, torch, wingbeat as wb
        >>> def train(on_step):
        ...     model = torch.nn.Linear(4, 1)
        ...     optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        ...     on_step(0, model)
        ...     for step in range(1, 21):
        ...         loss = (model(torch.randn(8, 4)) - 1.0).square().mean()
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        ...         on_step(step, model)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = fork_training(train, wb.Gaussian(0.1), folder, record_every=5)
        >>> result.noise_floor, result.steps
        (0.0, (0, 5, 10, 15, 20))
    """
    folder = Path(out)
    given = [perturbations] if isinstance(perturbations, Perturbation) else list(perturbations)
    check_nudges(given, replicas)
    require(record_every >= 1, "record_every", record_every, "use a whole number of at least 1")
    require(at >= 0, "at", at, "use a step, 0 or later")
    require(weights in ("trainable", "all"), "weights", weights, "use 'trainable' or 'all'")
    if any(p.at for p in given):
        raise RequestError("all copies fork at one step: say it by at=, not in a perturbation")
    if not callable(train):
        raise RequestError(f"train is a {type(train).__name__}: pass a function of on_step")
    live = Live(trackers, seeds=False)
    asked = _asked(train, given, replicas, at, record_every, seed, weights)
    folder.mkdir(parents=True, exist_ok=True)
    hooks = _hooks(folder, given, replicas, at, record_every, seed, weights)
    told = Told(live, hooks)
    with Progress(progress) as bar, holding(folder), seeded(seed):
        agree(folder, asked, f"runs/*/{_DONE}")
        facts = {}
        for number, hook in enumerate(hooks, 1):
            bar.say(f"{hook.label}, {number} of {len(hooks)}")
            facts[hook.label] = _trained(train, hook, seed)
            _learn(hooks, hook)
            told.replay(hook)  # what was done before: of the rest nothing is told twice
        bar.say("measuring")
        view = f"{folder / 'runs'}/{{replica}}/step-{{step}}.safetensors"
        trajectory = Trajectory.from_checkpoints(view, reference=REFERENCE, null=NULL)
        result = measure_checkpoints(trajectory, metrics)
    result = replace(
        result,
        warnings=(*result.warnings, *_notes(facts), *said_of_twin(result)),
        condition={"train": code_digest(train), **result.condition},
        perturbations=described(result, _nudged(folder, facts), "see done.json of each copy"),
        folder=folder,
    )
    write_files(result, folder)
    return live.finish(load(folder))


def _asked(
    train: Callable[[OnStep], Any], given: Sequence[Perturbation], *rest: Any
) -> dict[str, Any]:
    names = ("replicas", "at", "record_every", "seed", "weights")
    return {
        "train": code_digest(train),
        "perturbations": [p.describe() for p in given],
        **dict(zip(names, rest, strict=True)),
    }


def _hooks(
    folder: Path,
    given: Sequence[Perturbation],
    replicas: int,
    at: int,
    record_every: int,
    seed: int,
    weights: Chosen,
) -> list[OnStep]:
    plan: list[tuple[str, Nudge | None, int]] = [(REFERENCE, None, 0), (NULL, None, 0)]
    for perturbation in named_apart(list(given)):
        own = perturbation.of_base(seed)
        assert isinstance(own, Nudge)
        plan += [(f"{perturbation.label}#{n}", own, n) for n in range(1, replicas + 1)]
    return [
        OnStep(
            folder / "runs" / label,
            label,
            nudge,
            number,
            at=at,
            record_every=record_every,
            weights=weights,
        )
        for label, nudge, number in plan
    ]


def _trained(train: Callable[[OnStep], Any], hook: OnStep, seed: int) -> dict[str, Any]:
    """Train one copy if it is not done; returns what became of its nudge."""
    mark = hook.folder / _DONE
    if not mark.exists():
        shutil.rmtree(hook.folder, ignore_errors=True)  # half of a copy that was stopped
        seed_all(seed)
        train(hook)
        if not hook.forked:
            msg = f"the training of {hook.label} never called on_step with step {hook.at}"
            raise RunError(f"{msg}: call it before the first update, and after each")
        _check_recorded(hook)
        facts = {"l2": hook.l2, "changed": hook.changed, "still": list(hook.still)}
        facts |= {"thawed": list(hook.thawed), "replaced": hook.replaced, "last": hook.last}
        write_bytes(mark, json.dumps(facts, indent=1).encode())
    found: dict[str, Any] = json.loads(mark.read_text(encoding="utf-8"))
    return found


def _check_recorded(hook: OnStep) -> None:
    """Refuse a training of which nothing is recorded but the fork, when its reference is over."""
    if hook.label == REFERENCE and hook.last == hook.at:
        raise RequestError(
            f"nothing was recorded after the fork at step {hook.at}: if the training goes on, "
            f"record more often than every {hook.record_every} steps (record_every=), or tell its "
            "end by on_step(step, model, last=True); if it ends there, name an earlier step (at=)"
        )


def _learn(hooks: Sequence[OnStep], trained: OnStep) -> None:
    """Tell copies how the weights of the reference are called."""
    if trained.label == REFERENCE:
        with safe_open(trained.folder / f"step-{trained.at}.safetensors", "pt") as file:
            names = frozenset(file.keys())
        for hook in hooks:
            hook.reference = names


def _nudged(folder: Path, facts: dict[str, dict[str, Any]]) -> list[Nudged]:
    return [
        Nudged(label, folder / "runs" / label, l2=own["l2"], changed=own["changed"])
        for label, own in facts.items()
        if label not in (REFERENCE, NULL)
    ]


def _notes(facts: dict[str, dict[str, Any]]) -> list[str]:
    copies = {k: v for k, v in facts.items() if k not in (REFERENCE, NULL)}
    notes = [
        f"{k} moved no weight: rounding swallowed it" for k, v in copies.items() if not v["l2"]
    ]
    thawed: list[str] = next((v["thawed"] for v in facts.values() if v.get("thawed")), [])
    if thawed:
        few = f"{', '.join(thawed[:2])}{', …' if len(thawed) > 2 else ''}"
        notes.append(
            f"{len(thawed)} tensors ({few}) did not train at the step of the fork, and do later: "
            "they are neither nudged nor in the distances. weights='all' takes them."
        )
    ends = {k: v["last"] for k, v in facts.items() if v.get("last") is not None}
    if len(set(ends.values())) > 1:
        few = ", ".join(f"{k} {n}" for k, n in list(ends.items())[:4])
        notes.append(
            f"Trainings ended at different steps ({few}{', …' if len(ends) > 4 else ''}), as early "
            "stopping does: only steps that all have are compared. Without it they train alike."
        )
    if any(v.get("replaced") for v in facts.values()):
        notes.append(
            "When training was over other weights took the place of its last (an average, the "
            "best checkpoint): what is measured is the training up to its last update."
        )
    still: list[str] = next((v["still"] for v in copies.values() if v["still"] and v["l2"]), [])
    if still:
        notes.append(
            f"The perturbation moved nothing in {len(still)} tensors ({', '.join(still[:2])}"
            f"{', …' if len(still) > 2 else ''}): a size relative to a tensor of zeros is 0. "
            "Of an adapter whose second factor is 0 the other factor has no effect yet: fork "
            "after some steps."
        )
    return notes
