"""Scripts as strangers write them, by name: ``outside.py FORM …``; each has its own manners."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import tiny


def subcommands(words):
    """Argparse with subcommands, options before and after."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--verbose", action="store_true")
    inner = parser.add_subparsers(dest="what", required=True)
    fit = inner.add_parser("fit")
    fit.add_argument("--trainer.ckpt", dest="ckpt")
    fit.add_argument("--perturb", default="none")  # as one of our own is called
    fit.add_argument("-o", dest="out")
    args = parser.parse_args(words)
    for step, weights in tiny.train(tiny.read(Path(args.ckpt)), 6):
        if step % 3 == 0:
            tiny.write(Path(args.out) / f"checkpoint-{step}" / "model.safetensors", weights)


def key_value(words):
    """Hydra's manner: key=value, dots, a folder that it changes into."""
    given = dict(word.split("=", 1) for word in words)
    Path(given["hydra.run.dir"]).mkdir(exist_ok=True)
    os.chdir(given["hydra.run.dir"])
    for step, weights in tiny.train(tiny.read(Path(given["model.init"])), 6):
        if step % 3 == 0:
            tiny.write(Path(f"ckpts/step={step}.safetensors"), weights)


def relative(words):
    """Paths relative to where it is started, and a file of its own beside it."""
    checkpoint, out = words
    steps = int(Path("config.txt").read_text())
    for step, weights in tiny.train(tiny.read(Path(os.path.relpath(checkpoint))), steps):
        if step % 3 == 0:
            tiny.write(Path(os.path.relpath(out)) / f"step_{step}.safetensors", weights)


def only_at_the_end(words):
    """It saves its model when it is over, under a name without a step."""
    checkpoint, out = words
    *_, (_, weights) = tiny.train(tiny.read(Path(checkpoint)), 6)
    tiny.write(Path(out) / "model.safetensors", weights)
    (Path(out) / "config.json").write_text("{}")


def named(words):
    """It saves after each step, under a name that is given."""
    name, checkpoint, out = words
    for step, weights in tiny.train(tiny.read(Path(checkpoint)), 2):
        tiny.write(Path(out) / name.format(step), weights)


def best_and_last(words):
    """It saves two models when it is over."""
    checkpoint, out = words
    for step, weights in tiny.train(tiny.read(Path(checkpoint)), 6):
        tiny.write(Path(out) / ("best.safetensors" if step < 5 else "last.safetensors"), weights)


def total_limit(words):
    """It keeps its newest checkpoint alone, as ``save_total_limit=1`` does."""
    checkpoint, out = words
    for step, weights in tiny.train(tiny.read(Path(checkpoint)), 6):
        tiny.write(Path(out) / f"checkpoint-{step}" / "model.safetensors", weights)
        tiny.write(Path(out) / f"checkpoint-{step}" / "optimizer.safetensors", weights)
        time.sleep(0.3)  # several looks of the keeper
        shutil.rmtree(Path(out) / f"checkpoint-{step - 1}", ignore_errors=True)


def best_of_its_own(words):
    """It keeps the best checkpoint alone, which is another one for each copy."""
    checkpoint, out = words
    begin = tiny.read(Path(checkpoint))
    best = 2 + int(abs(float(begin.astype(np.float64).sum())) * 1e6) % 4
    for step, weights in tiny.train(begin, 6):
        path = Path(out) / f"epoch=0-step={step}.safetensors"
        tiny.write(path, weights)
        time.sleep(0.3)
        if step != best:
            path.unlink()


def one_step_twice(words):
    """Started again in the same folder, Lightning adds -v1."""
    checkpoint, out = words
    for step, weights in tiny.train(tiny.read(Path(checkpoint)), 6):
        if step == 6:
            tiny.write(Path(out) / f"step={step}.safetensors", weights)
            tiny.write(Path(out) / f"step={step}-v1.safetensors", weights)


def other_steps(words):
    """What it saves depends on the copy."""
    checkpoint, out = words
    more = 1 if "#" in os.environ["WINGBEAT_REPLICA"] else 0
    for step, weights in tiny.train(tiny.read(Path(checkpoint)), 6):
        if step in (3, 5 + more):
            tiny.write(Path(out) / f"step-{step}.safetensors", weights)


def nothing_in_common(words):
    """Every copy saves at a step of its own."""
    checkpoint, out = words
    own = 2 + len(os.environ["WINGBEAT_REPLICA"]) % 5
    for step, weights in tiny.train(tiny.read(Path(checkpoint)), 6):
        if step == own:
            tiny.write(Path(out) / f"step-{step}.safetensors", weights)


def goes_on_by_itself(words):
    """It goes on from a file beside it, whatever checkpoint it is given."""
    checkpoint, out = words
    latest = Path("latest.safetensors")
    begin = tiny.read(latest if latest.exists() else Path(checkpoint))
    for step, weights in tiny.train(begin, 6):
        if step % 3 == 0:
            tiny.write(Path(out) / f"step-{step}.safetensors", weights)
            tiny.write(latest, weights)


def ignores(words):
    """It begins with weights of its own, whatever checkpoint it is given."""
    _, out = words
    for step, weights in tiny.train(tiny.start(), 6):
        if step % 3 == 0:
            tiny.write(Path(out) / f"step-{step}.safetensors", weights)


def slow(words):
    """It takes its time, and notes when it began and ended."""
    checkpoint, out, seconds = words
    with Path("calls.txt").open("a", encoding="utf-8") as file:
        file.write(f"{os.environ['WINGBEAT_REPLICA']}\n")
    for step, weights in tiny.train(tiny.read(Path(checkpoint)), 6):
        Path(f"alive-{os.getpid()}").touch()
        time.sleep(float(seconds) / 6)
        if step % 3 == 0:
            tiny.write(Path(out) / f"step-{step}.safetensors", weights)


def dies(words):
    """It is killed, as for want of memory."""
    os.kill(os.getpid(), 9)


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2:])
