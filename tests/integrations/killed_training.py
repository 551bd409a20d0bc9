"""Fork one training of a framework's: ``python killed_training.py NAME FOLDER``."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from pathlib import Path

import wingbeat as wb

NUDGE = wb.Gaussian(0.05)


def of_trainer(name: str, folder: Path) -> None:
    from trainer_setups import SETUPS

    from wingbeat.integrations.huggingface import fork

    setup = SETUPS[name]
    make = lambda: setup.make(folder / "own")  # noqa: E731
    fork(make, NUDGE, replicas=1, at=4, out=folder / "x", record_every=2)


def of_lightning(name: str, folder: Path) -> None:
    from lightning_setups import SETUPS

    from wingbeat.integrations.lightning import fork

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    setup = SETUPS[name]
    make = lambda: (  # noqa: E731
        setup.trainer(folder / "own"),
        {"model": setup.module(), **setup.fit()},
    )
    fork(make, NUDGE, replicas=1, at=4, out=folder / "x", record_every=2)


def of_accelerate(name: str, folder: Path) -> None:
    sys.path.append(str(Path(__file__).parents[1] / "twins"))
    import loops
    from test_twins_of_frameworks import accelerated

    build, train, loader = accelerated(loops)
    twins = wb.Twins(
        build, [NUDGE, wb.Gaussian(0.01, at=9)], steps=40, replicas=1, record_every=2,
        out=folder / "x", checkpoint_seconds=0.0,
    )  # fmt: skip
    for copy in twins:
        train(copy.parts, lambda c=copy: c.batches(loader), copy.step)
    twins.result()


WAYS = {"trainer": of_trainer, "lightning": of_lightning, "accelerate": of_accelerate}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    way, _, name = sys.argv[1].partition(":")
    with contextlib.redirect_stdout(io.StringIO()):
        WAYS[way](name, Path(sys.argv[2]))
