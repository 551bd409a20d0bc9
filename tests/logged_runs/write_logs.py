"""Write the logs in ``logs/`` anew, each by its own tool; run by hand, with all of them installed.

Two seeds, 0 and 1; metric "eval/accuracy" is 0.5 + 0.01·seed + 0.001·step at steps 10 and 20.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import struct
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent / "logs"
STEPS = (10, 20)


def value(seed: int, step: int) -> float:
    return 0.5 + 0.01 * seed + 0.001 * step


def tensorboard() -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from torch.utils.tensorboard import SummaryWriter

    # Seed 0 as torch writes it, in two files as of a run that was resumed; with other things in it.
    for number, step in enumerate(STEPS):
        writer = SummaryWriter(f"{HERE}/tensorboard/seed-0", filename_suffix=f".{number}")
        writer.add_scalar("eval/accuracy", value(0, step), step)
        writer.add_text("note", "hello", 0)
        writer.close()
    # Seed 1 as TensorFlow 2 writes it: tensors of one number.
    events = EventFileWriter(f"{HERE}/tensorboard/seed-1")
    for step in STEPS:
        tensor = TensorProto(dtype=1, tensor_content=struct.pack("<f", value(1, step)))
        scalar = Summary.Value(tag="eval/accuracy", tensor=tensor)
        events.add_event(Event(step=step, summary=Summary(value=[scalar])))
    events.close()
    for path in HERE.glob("tensorboard/*/*"):
        path.rename(path.with_name(path.name.replace(socket.gethostname(), "host")))


def wandb() -> None:
    import wandb as tool

    (HERE / "wandb").mkdir(parents=True)
    for seed in (0, 1):
        with tempfile.TemporaryDirectory() as folder:
            settings = tool.Settings(
                mode="offline", silent=True, console="off", x_disable_stats=True,
                x_disable_meta=True, disable_git=True, host="host",
            )  # fmt: skip
            run = tool.init(
                project="p", dir=folder, config={"seed": seed}, name=f"a-{seed}", settings=settings
            )
            for step in STEPS:
                run.log({"eval/accuracy": value(seed, step), "deep": {"loss": 1 / step}}, step=step)
            run.log({"deep": {"loss": float("nan")}}, step=30)
            run.finish()
            tool.teardown()  # or the file may not be whole yet
            (written,) = Path(folder).rglob("*.wandb")
            shutil.copy(written, HERE / "wandb" / f"run-{seed}.wandb")


def mlflow() -> None:
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    import mlflow as tool

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for uri in (f"file://{HERE}/mlflow", f"sqlite:///{folder}/mlflow.db"):
            tool.set_tracking_uri(uri)
            tool.set_experiment("e")
            for seed in (0, 1, 2):
                with tool.start_run(run_name=f"a-{seed}") as run:
                    tool.log_param("seed", seed)
                    for step in STEPS:
                        tool.log_metric("eval/accuracy", value(seed, step), step=step)
            tool.delete_run(run.info.run_id)
        base = sqlite3.connect(f"{folder}/mlflow.db")
        kept = [
            line
            for line in base.iterdump()
            if any(f'"{t}"' in line[:40] for t in ("runs", "metrics", "params"))
            and line.startswith(("CREATE TABLE", "INSERT"))
        ]
        (HERE / "mlflow_db.sql").write_text("\n".join(kept) + "\n")
    for facts in (HERE / "mlflow").rglob("meta.yaml"):  # where it was made is nobody's business
        text = facts.read_text().replace(f"file://{HERE}/mlflow", "file:///home/someone/mlruns")
        facts.write_text(text)


def lightning() -> None:
    from lightning.pytorch.loggers import CSVLogger

    for seed in (0, 1):
        logger = CSVLogger(str(HERE / "lightning"), name="", version=f"version_{seed}")
        logger.log_hyperparams({"seed": seed, "lr": 0.1})
        for step in STEPS:
            logger.log_metrics({"train_loss": 1.0 / step}, step=step - 1)
            logger.log_metrics({"eval/accuracy": value(seed, step)}, step=step)
        logger.save()


def trainer() -> None:
    from transformers.trainer_callback import TrainerState

    for seed in (0, 1):
        for last in STEPS:
            state = TrainerState(global_step=last, max_steps=20)
            for step in [s for s in STEPS if s <= last]:
                state.log_history.append({"loss": 1.0 / step, "epoch": step / 20, "step": step})
                state.log_history.append({"eval/accuracy": value(seed, step), "step": step})
            folder = HERE / "trainer" / f"seed-{seed}" / f"checkpoint-{last}"
            folder.mkdir(parents=True)
            state.save_to_json(str(folder / "trainer_state.json"))


if __name__ == "__main__":
    for write in (tensorboard, wandb, mlflow, lightning, trainer):
        if len(sys.argv) == 1 or write.__name__ in sys.argv[1:]:
            shutil.rmtree(HERE / write.__name__, ignore_errors=True)
            write()
