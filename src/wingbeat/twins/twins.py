"""Hand out the copies of a training to the loop that trains it, and measure how they parted."""

from __future__ import annotations

import contextlib
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingbeat.determinism import seed_all, seeded
from wingbeat.errors import RequestError, RunError
from wingbeat.execution.arguments import as_folder
from wingbeat.execution.live import Live
from wingbeat.execution.progress import Progress
from wingbeat.execution.summary import YOURS
from wingbeat.fingerprint import fingerprint
from wingbeat.params import check_names
from wingbeat.replicas.fork import REFERENCE
from wingbeat.replicas.perturb import Init
from wingbeat.twins.asked import ask
from wingbeat.twins.folder import SeedFolder
from wingbeat.twins.measure import measured
from wingbeat.twins.parts import OWNERS, checked, others, unsaved, weights
from wingbeat.twins.training import Training

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from wingbeat.execution.live import Tracker
    from wingbeat.execution.result import Result
    from wingbeat.measure.metric import Metric
    from wingbeat.replicas.perturb import Perturbation
    from wingbeat.trajectory.store import MemoryStore
    from wingbeat.twins.asked import CopyPlan
    from wingbeat.twins.copies import Copy

_HELD = 2**28
"""Bytes of snapshots that stay in memory where no folder is asked for: of small nets, whose steps
take less than a write to the disk."""


class Twins:
    """The copies of one training: iterate over them and train each with your own loop.

    The reference comes first, then unperturbed twins, then the perturbed copies; what a folder
    holds already is skipped. All see the same batches and the same noise: every generator
    (Python's, NumPy's, torch's, those of loaders and samplers) is seeded as a function of
    (seed, batch). A perturbed copy starts from the reference's state at its step where all parts
    have a ``state_dict``; else its way there is trained again. An unperturbed twin goes both
    ways and shows what that left out: `Result.noise_floor` is exactly 0 when nothing was.

    Args:
        build: ``build(seed)`` returns the parts by name: at least "model"; optimizers,
            schedulers, scalers, averages, generators, whatever the loop needs.
        perturbations: how copies depart from the reference. `BatchGradient` needs a `Task`.
        steps: updates of each copy.
        replicas: perturbed copies for each perturbation.
        record_every: steps between snapshots; by default about 20 in all. Step 0, the last step
            and every fork are always there.
        seeds: base seeds; the whole experiment is repeated for each.
        out: folder of the run; None keeps everything with this object, snapshots beyond 256 MB in
            a temporary folder.
            The same request on the same folder goes on where it stopped.
        metrics: names of metrics that need weights and losses only; default: all of them.
        checkpoint_seconds: least time between checkpoints of a copy in training.
        progress: show a bar; None shows it on a terminal.
        trackers: told of each recorded moment while the copies train, and of the result: those of
            `wingbeat.integrations.trackers`, or objects with ``record`` and ``finish``. The bands
            and the spread of a perturbation come with the last of its copies.

    Raises:
        RequestError: the request is wrong; nothing was built.
        StoreError: the folder holds another request or cannot be written.
        RunError: the loop forgot `Copy.step`, stopped early, or its loader gives other batches
            a second time.

    Example:
        >>> import torch, wingbeat as wb
        >>> x = torch.linspace(-1, 1, 64).unsqueeze(1)
        >>> loader = torch.utils.data.DataLoader(
        ...     torch.utils.data.TensorDataset(x, 2 * x), batch_size=16, shuffle=True)
        >>> def build(seed):
        ...     model = torch.nn.Linear(1, 1)
        ...     return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}
        >>> twins = wb.Twins(build, wb.Gaussian(0.1), replicas=5, steps=40)
        >>> for copy in twins:
        ...     for inputs, targets in copy.batches(loader):
        ...         loss = ((copy.model(inputs) - targets) ** 2).mean()
        ...         copy.parts["optimizer"].zero_grad()
        ...         loss.backward()
        ...         copy.parts["optimizer"].step()
        ...         copy.step(loss)
        >>> result = twins.result()
        >>> result.behavior, result.noise_floor
        ('convergent', 0.0)
    """

    def __init__(
        self,
        build: Callable[[int], Mapping[str, Any]],
        perturbations: Sequence[Perturbation] | Perturbation = (),
        *,
        steps: int,
        replicas: int = 5,
        record_every: int | None = None,
        seeds: Sequence[int] | int = (0,),
        out: str | Path | None = None,
        metrics: Sequence[str | Metric] | None = None,
        checkpoint_seconds: float = 60.0,
        progress: bool | None = None,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        if not callable(build):
            msg = f"build is a {type(build).__name__}: pass a function seed -> parts by name"
            raise RequestError(msg)
        self.asked = ask(
            perturbations,
            steps=steps,
            replicas=replicas,
            record_every=record_every,
            seeds=seeds,
            metrics=metrics,
        )
        # Once: building may change what build closes over.
        self.condition = self.asked.describe(build)
        self.build, self.checkpoint_seconds, self.progress = build, checkpoint_seconds, progress
        self.live = Live(trackers, seeds=len(self.asked.seeds) > 1)
        self.folder = as_folder(out)
        self._temporary = None if out else tempfile.TemporaryDirectory(prefix="wingbeat-twins-")
        self._held: dict[int, dict[str, MemoryStore]] = {}

    def __len__(self) -> int:
        """Return how many copies there are, of all base seeds, those already trained included."""
        return len(self.asked.copies()) * len(self.asked.seeds)

    def __iter__(self) -> Iterator[Copy]:
        """Yield each copy that is not trained yet, at its start or where it stopped."""
        with seeded(0), Progress(self.progress) as bar, contextlib.ExitStack() as held:
            for seed in self.asked.seeds:
                folder = self._folder(seed)
                folder.agree(self.condition)
                if folder.store.sealed:
                    continue
                folder.store.lock()
                held.callback(folder.store.unlock)
                saving, names = self._check(folder)
                self._replay(folder)
                for plan in self.asked.copies():
                    if folder.trained(plan.label):
                        continue
                    parts = self._built(plan.build_seed(seed))
                    check_names(weights(parts), names, plan.label)
                    training = Training(
                        self.asked,
                        plan,
                        folder,
                        parts,
                        self.checkpoint_seconds,
                        saving=saving,
                        told=partial(self._tell, folder),
                    )
                    bar.say(f"{plan.label}, base seed {seed}")
                    yield training.copy
                    if training.copy.done < self.asked.steps:
                        raise RunError(_stopped(training.copy))

    def result(
        self, evaluate: Callable[[dict[str, Any]], Mapping[str, float]] | None = None
    ) -> Result:
        """Measure how the copies parted.

        Args:
            evaluate: ``evaluate(parts)`` returns numbers by name, as accuracy on held-out data.
                It is called for every copy at every recorded step, with modules as they were
                then, in evaluation mode and without gradients; parts that are no modules are
                those of a fresh build.

        Returns:
            A result as of `run`: table, summary, intervals, plots, report, save.

        Raises:
            RequestError: copies are missing: iterate over the twins first.
        """
        folders = [self._folder(seed) for seed in self.asked.seeds]
        for folder in folders:
            folder.agree(self.condition)
            missing = [] if folder.store.sealed else self._missing(folder)
            if missing:
                msg = (
                    f"{len(missing)} of {len(self)} copies are not trained yet "
                    f"({', '.join(missing[:3])}): train each `for copy in twins` first"
                )
                raise RequestError(msg)
        with seeded(0):
            result = measured(self.asked, folders, self.folder, self._built, evaluate)
        return self.live.finish(result)

    def _tell(self, folder: SeedFolder, plan: CopyPlan, step: int) -> None:
        """Tell trackers of a moment; twins that only check are in no table."""
        if self.live.trackers and not plan.checks:
            plans = self.asked.copies() if plan.perturbation else [plan]
            group = [p.label for p in plans if p.perturbation is plan.perturbation]
            self.live.copy(plan.label, group, partial(folder.moment, step=step), seed=folder.seed)

    def _replay(self, folder: SeedFolder) -> None:
        """Tell trackers what was recorded before this process went on."""
        for plan in self.asked.copies() if self.live.trackers else ():
            for step in folder.copy(plan.label).steps():
                self._tell(folder, plan, step)

    def _size(self, parts: Mapping[str, Any]) -> int:
        """Return the bytes of all snapshots of all copies of a base seed."""
        tensors = [*weights(parts).values(), *others(parts).values()]
        moments = self.asked.steps // self.asked.record_every + 2
        return sum(t.numel() * t.element_size() for t in tensors) * moments * len(self)

    def _missing(self, folder: SeedFolder) -> list[str]:
        return [p.label for p in self.asked.copies() if not folder.trained(p.label)]

    def _folder(self, seed: int) -> SeedFolder:
        top = self.folder or Path(self._temporary.name if self._temporary else ".")
        single = len(self.asked.seeds) == 1
        return SeedFolder(top if single else top / f"seed-{seed}", seed, self._held.get(seed))

    def _built(self, seed: int) -> dict[str, Any]:
        seed_all(seed)
        return checked(self.build(seed))

    def _check(self, folder: SeedFolder) -> tuple[bool, frozenset[str]]:
        """Refuse before training what this training cannot carry.

        Returns:
            Whether parts can be saved, and how the weights are called.
        """
        parts = self._built(folder.seed)
        params = weights(parts)
        for perturbation in self.asked.perturbations:
            perturbation.check(params, self.asked.steps)
        if any(isinstance(p, Init) for p in self.asked.perturbations):
            other = weights(self._built(folder.seed + 1))
            if all(params[name].equal(other[name]) for name in params):
                msg = (
                    "build returns the same weights under another seed, so that Init would vary "
                    "nothing: let it draw them from torch's generator, or from the seed it is given"
                )
                raise RequestError(msg)
        if self._temporary is not None and self._size(parts) <= _HELD:
            folder.held = self._held.setdefault(folder.seed, {})
        first = next(iter(params.values()))
        environment = {
            **fingerprint(first.device, first.dtype),
            "driver": YOURS,
            "mode": "loop",
            "driver_reason": "trained by a loop of your own",
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "unsaved": {},
        }
        folder.begin(self.condition, environment)
        reasons = unsaved(parts)
        if reasons and (any(self.asked.forks) or self.folder is not None):
            folder.cannot_save(reasons)
        return not reasons, frozenset(params)


def _stopped(copy: Copy) -> str:
    if copy.done == 0 and copy.label == REFERENCE:
        return (
            "the loop made no step: iterate over copy.batches(loader) or copy.updates(), and call "
            f"copy.step(loss) after each update. {OWNERS}"
        )
    return (
        f"the loop of {copy.label} ended after {copy.done} of {copy.steps} steps: every copy must "
        "be trained to the end, or no two can be compared. What is checkpointed is kept"
    )
