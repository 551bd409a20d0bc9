"""Every way in, as its page shows it: executed, its lines counted, its time taken.

``python -m benchmarks.ways [--write]``: prints the table of ``docs/ways_in.md``; writes it there.
Lines are those of the example that a script without wingbeat does not have: new or changed, with
blank lines, comments and indentation aside.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```(?:python|\{code-cell\} ipython3|console)\n(.*?)^```", re.M | re.S)


@dataclass(frozen=True)
class Way:
    """A way in.

    Attributes:
        has: what the user has.
        link: the way, as the table shows it.
        page: where its example stands.
        begins: how the heading of the section begins; "" for the page's head.
        blocks: which blocks of the section are the example.
        without: the same training as it is written without wingbeat.
        prepare: makes what the user has, in the working folder; returns names that the code uses.
        needs: packages.
    """

    has: str
    link: str
    page: str
    begins: str
    blocks: tuple[int, ...]
    without: str
    prepare: Callable[[], dict[str, Any]]
    needs: tuple[str, ...] = ()

    def code(self) -> str:
        """Return the example as the page has it."""
        text = (ROOT / self.page).read_text(encoding="utf-8")
        sections = re.split(r"^## ", text, flags=re.M)
        (section,) = (
            [s for s in sections[1:] if s.startswith(self.begins)] if self.begins else [sections[0]]
        )
        found = _BLOCK.findall(section)
        return "\n".join(found[place] for place in self.blocks)

    def missing(self) -> list[str]:
        """Return the packages that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def lines(self) -> int:
        """Return how many lines are new or changed."""
        before, after = _bare(self.without), _bare(self.code())
        found = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        return sum(j2 - j1 for tag, _, _, j1, j2 in found if tag in ("insert", "replace"))

    def run(self) -> float:
        """Execute the example in a folder of its own; returns seconds to its report."""
        with in_folder():
            names = self.prepare()
            begun = time.monotonic()
            with contextlib.redirect_stdout(io.StringIO()):
                execute(self.code(), names)
            seconds = time.monotonic() - begun
            self.check(names)
        return seconds

    def check(self, names: dict[str, Any]) -> None:
        """Assert that it ended in what is promised."""
        result = names.get("result")
        if result is not None:
            assert result.noise_floor == 0.0
            assert result.report("again.html").stat().st_size > 100_000
        else:
            assert names["said"]


@contextlib.contextmanager
def in_folder() -> Iterator[None]:
    """Work in a folder of its own for a while."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="wingbeat-ways-") as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def execute(code: str, names: dict[str, Any]) -> None:
    """Execute Python, or the commands of a console."""
    if not code.startswith("$ "):
        exec(compile(code, "example", "exec"), names)
        return
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "))
        words = [sys.executable if word == "python" else word for word in words]
        if words[0] == "wingbeat":
            words = [sys.executable, "-m", "wingbeat", *words[1:]]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        names["said"] = names.get("said", "") + done.stdout


def _bare(code: str) -> list[str]:
    """Return lines as they count: without indentation, comments and what ends a command's line."""
    lines = [line.partition("  #")[0].strip() for line in code.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _digits() -> dict[str, Any]:
    return {}


def _classes() -> dict[str, Any]:
    """Return what the README's task is about."""
    inputs = torch.randn(320, 20, generator=torch.Generator().manual_seed(0))
    labels = inputs[:, :3].argmax(1)
    return {"x": inputs[:256], "y": labels[:256], "test": (inputs[256:], labels[256:])}


def _bert() -> dict[str, Any]:
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    model.save_pretrained("my-model")
    tokens = torch.randint(5, 100, (96, 12), generator=torch.Generator().manual_seed(1))
    data = [
        {"input_ids": t, "attention_mask": torch.ones_like(t), "labels": y}
        for t, y in zip(tokens, (tokens[:, 0] > tokens[:, 1]).long(), strict=True)
    ]
    args = TrainingArguments("out", max_steps=30, save_steps=30, report_to=[], use_cpu=True)
    with contextlib.redirect_stdout(io.StringIO()):
        Trainer(model=model, args=args, train_dataset=data).train()
    return {"data": data}


def _loader() -> Any:
    x = torch.randn(128, 10, generator=torch.Generator().manual_seed(3))
    data = torch.utils.data.TensorDataset(x, (x[:, 0] * x[:, 1] > 0).long())
    return torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)


def _net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(10, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))


def _module() -> dict[str, Any]:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = _net()

        def training_step(self, batch: Any, _: int) -> Any:
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=1e-2)

    torch.manual_seed(0)
    trainer = lightning.Trainer(
        max_steps=30, accelerator="cpu", logger=False, enable_checkpointing=False
    )
    trainer.fit(Module(), _loader())
    trainer.save_checkpoint("step=30.ckpt")
    return {"Module": Module, "make_loader": _loader}


def _accelerated() -> dict[str, Any]:
    from accelerate import Accelerator

    def build() -> Any:
        model = _net()
        return model, torch.optim.AdamW(model.parameters(), lr=1e-2), _loader()

    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    accelerator.prepare(*build())
    accelerator.save_state("state_30")
    return {"build": build, "torch": torch}


def _script() -> dict[str, Any]:
    shutil.copy(ROOT / "examples/scripts/train_plain.py", "train.py")
    words = ["--output", "checkpoints", "--steps", "500", "--every", "500"]
    subprocess.run([sys.executable, "train.py", *words], check=True, capture_output=True)
    return {}


def _checkpoints() -> dict[str, Any]:
    start = _net().state_dict()
    for number, name in enumerate(("reference", "null", "a#1", "a#2", "a#3")):
        Path("runs", name).mkdir(parents=True)
        for step in (0, 100, 200):
            own = {n: w + max(0, number - 1) * 1e-3 * (1 + step / 50) for n, w in start.items()}
            torch.save(own, f"runs/{name}/step-{step}.pt")
    return {}


def _logs() -> dict[str, Any]:
    draw = torch.Generator().manual_seed(0)
    for recipe, gain in (("a", 0.0), ("b", 0.01)):
        for seed in range(5):
            place = Path("logs", recipe, f"seed-{seed}")
            place.mkdir(parents=True)
            end = 0.9 + gain + 0.004 * float(torch.randn((), generator=draw))
            rows = [f"{step},{end * (1 - 2 ** (-step / 100))}" for step in range(100, 1001, 100)]
            (place / "metrics.csv").write_text("step,eval_accuracy\n" + "\n".join(rows))
    return {}


_OWN_LOOP = """
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.set_num_threads(1)
pixels, digits = load_digits(return_X_y=True)
x, y = torch.tensor(pixels, dtype=torch.float32) / 16, torch.tensor(digits)
loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=70, shuffle=True)
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=201)
for epoch in range(10):
    for images, labels in loader:
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
def evaluate(parts):
    return {"accuracy": (parts["model"](x[1400:]).argmax(1) == y[1400:]).float().mean()}
"""
_TRAINER = """
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments
model = AutoModelForSequenceClassification.from_pretrained("my-model")
args = TrainingArguments("out", max_steps=60, save_steps=30, report_to=[], use_cpu=True)
Trainer(model=model, args=args, train_dataset=data).train()
"""
_LIGHTNING = """
import lightning
trainer = lightning.Trainer(max_steps=60, accelerator="cpu", logger=False)
trainer.fit(Module(), make_loader())
"""
_ACCELERATE = """
from accelerate import Accelerator
accelerator, step = Accelerator(cpu=True), 0
model, optimizer, loader = accelerator.prepare(*build())
if checkpoint:
    accelerator.load_state(checkpoint)
    step = 30
while step < 60:
    for x, y in loader:
        loss = torch.nn.functional.cross_entropy(model(x), y)
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
"""
_TASK = "import torch\nfrom torch import nn"

WAYS = (
    Way("a model, a loss, data", "[`wb.Task`](quickstart.md)", "README.md",
        "Or describe the task", (0,), _TASK, _classes),
    Way("a loop of your own", "[`wb.Twins`](own_loop.md)", "docs/own_loop.md",
        "", (0, 1, 2), _OWN_LOOP, _digits, ("sklearn",)),
    Way("a Trainer of Hugging Face's", "[`huggingface.fork`](frameworks.md)",
        "docs/frameworks.md", "Hugging Face", (0,), _TRAINER, _bert,
        ("transformers", "accelerate")),
    Way("a module of Lightning's", "[`lightning.fork`](frameworks.md)", "docs/frameworks.md",
        "Lightning", (0,), _LIGHTNING, _module, ("lightning",)),
    Way("a loop with Accelerate", "[`accelerate.fork`](frameworks.md)", "docs/frameworks.md",
        "Accelerate", (0,), _ACCELERATE, _accelerated, ("accelerate",)),
    Way("a script and its checkpoint", "[`wingbeat fork`](scripts.md)", "docs/scripts.md",
        "", (0,), "", _script),
    Way("checkpoints of several runs", "[`wingbeat measure`](scripts.md)", "docs/scripts.md",
        "Only the checkpoints", (1,), "", _checkpoints),
    Way("logs of several seeds", "[`wingbeat seeds`](seeds.md)", "docs/seeds.md",
        "", (0,), "", _logs),
)  # fmt: skip
HEAD = "| what you have | way | new or changed lines | seconds |\n| --- | --- | --- | --- |\n"


def row(way: Way, seconds: str) -> str:
    """Return a row of the table."""
    return f"| {way.has} | {way.link} | {way.lines()} | {seconds} |\n"


def main() -> None:
    table = HEAD
    for way in WAYS:
        absent = way.missing()
        table += row(way, f"not measured: {absent[0]}" if absent else f"{way.run():.0f}")
        print(table.splitlines()[-1], flush=True)
    if "--write" in sys.argv[1:]:
        page = ROOT / "docs" / "ways_in.md"
        text = page.read_text(encoding="utf-8")
        page.write_text(re.sub(r"\| what you have.*?\n\n", table + "\n", text, flags=re.S))


if __name__ == "__main__":
    main()
