"""Begin a run and stop it in its middle, or go on with it; a script of its own.

    python going_on.py FOLDER begin|finish [SETTING]

SETTING is Python that stands before the run, as ``torch.set_num_threads(2)``. Prints "refused
FIELD" where going on is refused.
"""

from __future__ import annotations

import sys

import torch

import wingbeat as wb
from wingbeat.trajectory.store import FolderStore


def task():
    """A net of products, a convolution and dropout, large enough for kernels to differ."""
    drawn = torch.Generator().manual_seed(3)
    x = torch.randn(64, 3, 12, 12, generator=drawn)
    return wb.Task(
        model=lambda: torch.nn.Sequential(
            torch.nn.Conv2d(3, 9, 3),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(900, 33),
            torch.nn.Dropout(0.2),
            torch.nn.Linear(33, 1),
        ),
        loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        data=(x, x.mean((1, 2, 3)).unsqueeze(1)),
        optimizer=lambda params: torch.optim.Adam(params, lr=0.01),
        batch_size=32,
        steps=6,
    )


def go(folder):
    return wb.run(
        task(),
        wb.Gaussian(0.1),
        replicas=1,
        record_every=2,
        driver="loop",
        metrics=["l2"],
        out=folder,
        checkpoint_seconds=0.0,
        progress=False,
    )


def begin(folder):
    real = FolderStore.append

    def stopped(store, snapshot):
        if snapshot.step == 4:
            raise KeyboardInterrupt
        real(store, snapshot)

    FolderStore.append = stopped
    try:
        go(folder)
    except KeyboardInterrupt:
        print("stopped")  # noqa: T201
    finally:
        FolderStore.append = real


def finish(folder):
    try:
        go(folder)
    except wb.StoreError as error:
        words = str(error)
        field = words.partition("was begun with ")[2] or words.partition("another request (")[2]
        assert field, words
        print("refused", field.split()[0])  # noqa: T201
    else:
        print("finished")  # noqa: T201


if __name__ == "__main__":
    place, what, *setting = sys.argv[1:]
    exec("\n".join(setting))
    {"begin": begin, "finish": finish}[what](place)
