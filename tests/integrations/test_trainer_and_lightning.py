"""Trainers of frameworks, forked in their own words: exact twins, and bits of their own runs."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import needs
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import wingbeat as wb
from wingbeat.determinism import seed_all, seeded
from wingbeat.errors import RequestError

pytestmark = pytest.mark.slow


def tokens() -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(5, 100, (64, 8), generator=generator)
    labels = (drawn[:, 0] > drawn[:, 1]).long()
    return [
        {"input_ids": t, "attention_mask": torch.ones_like(t), "labels": y}
        for t, y in zip(drawn, labels, strict=True)
    ]


def bert() -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32,
    )  # fmt: skip
    return BertForSequenceClassification(config)


def trainer(folder: Path, kind: str = "plain", steps: int = 8, **more: Any) -> Any:
    from transformers import Trainer, TrainingArguments

    class Weighted(Trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any):
            out = model(**inputs)
            loss = 2.0 * out.loss + 0.01 * out.logits.square().mean()
            return (loss, out) if return_outputs else loss

    options = {
        "plain": {},
        "accumulation": {"gradient_accumulation_steps": 2},
        "bf16": {"bf16": True},
        "subclass": {},
        "adapters": {},
    }[kind]
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=steps, save_steps=4, per_device_train_batch_size=8,
        learning_rate=1e-2, report_to=[], use_cpu=True, disable_tqdm=True, logging_steps=4,
        **options, **more,
    )  # fmt: skip
    model = bert()
    if kind == "adapters":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(
            model, LoraConfig(r=2, target_modules=["query"], task_type="SEQ_CLS")
        )
    made = Weighted if kind == "subclass" else Trainer
    return made(model=model, args=arguments, train_dataset=tokens())


KINDS = ["plain", "accumulation", "bf16", "subclass", pytest.param("adapters", marks=needs("peft"))]


@needs("transformers", "accelerate")
@pytest.mark.parametrize("kind", KINDS)
def test_trainer(kind: str, tmp_path: Path) -> None:
    from wingbeat.integrations.huggingface import fork

    with seeded(0), contextlib.redirect_stdout(io.StringIO()):
        seed_all(0)
        own = trainer(tmp_path / "own", kind)
        own.train()
        before = sorted((tmp_path / "own").rglob("*"))
        result = fork(
            lambda: trainer(tmp_path / "own", kind),
            [wb.Gaussian(0.05)],
            replicas=2,
            at=tmp_path / "own" / "checkpoint-4",
            out=tmp_path / "x",
            record_every=2,
        )
    assert result.noise_floor == 0.0
    assert result.steps == (4, 6, 8)
    assert sorted((tmp_path / "own").rglob("*")) == before, "copies wrote into the user's folder"
    last = load_file(tmp_path / "x/runs/reference/step-8.safetensors")
    for name, weight in own.model.named_parameters():
        if weight.requires_grad:
            assert torch.equal(last[name], weight), name
    if kind == "adapters":
        # ``modules_to_save`` trains the classifier as a whole beside the adapters.
        assert all("lora" in n or "classifier" in n for n in last)
    ends = result.table[(result.table.metric == "l2") & (result.table.layer == "")]
    ends = ends[ends.step == 8].set_index("b").value
    assert ends["null"] == 0.0
    assert (ends.drop("null") > 0).all()


@needs("transformers", "accelerate")
def test_a_trainer_that_stops_early_records_its_last_step(tmp_path: Path) -> None:
    from transformers import TrainerCallback

    from wingbeat.integrations.huggingface import fork

    class Stop(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = state.global_step >= 5

    def make() -> Any:
        own = trainer(tmp_path / "own")
        own.add_callback(Stop())
        return own

    with contextlib.redirect_stdout(io.StringIO()):
        result = fork(make, wb.Gaussian(0.05), replicas=1, at=2, out=tmp_path / "x", record_every=2)
    assert result.steps == (2, 4, 5)
    assert result.noise_floor == 0.0


@needs("transformers", "accelerate", "peft")
def test_adapters_at_the_start_say_that_b_does_not_move(tmp_path: Path) -> None:
    from wingbeat.integrations.huggingface import fork

    with contextlib.redirect_stdout(io.StringIO()):
        result = fork(
            lambda: trainer(tmp_path / "own", "adapters"),
            wb.Gaussian(0.05),
            replicas=1,
            out=tmp_path / "x",
            record_every=4,
        )
    assert any("lora_B" in w and "fork after some steps" in w for w in result.warnings)


@needs("transformers", "accelerate")
def test_trainers_that_cannot_be_forked(tmp_path: Path) -> None:
    from wingbeat.integrations.huggingface import fork

    options: dict[str, Any] = {"replicas": 1, "out": tmp_path / "x"}
    with pytest.raises(RequestError, match="no checkpoint of a Trainer"):
        fork(lambda: None, wb.Gaussian(0.1), at=tmp_path, **options)
    with pytest.raises(RequestError, match="made a NoneType"):
        fork(lambda: None, wb.Gaussian(0.1), **options)
    one = trainer(tmp_path / "own")
    with (
        pytest.raises(RequestError, match="make both anew"),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        fork(lambda: one, wb.Gaussian(0.1), replicas=1, out=tmp_path / "y")


def fit(folder: Path, manual: bool, steps: int = 12) -> Any:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 1))
            self.automatic_optimization = not manual

        def training_step(self, batch: Any, _: int) -> Any:
            loss = (self.net(batch[0]) - batch[1]).square().mean()
            if not manual:
                return loss
            optimizers = self.optimizers()
            for optimizer in optimizers:
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in optimizers:
                optimizer.step()
            return None

        def configure_optimizers(self) -> Any:
            if manual:
                parts = (self.net[0], self.net[2])
                return [torch.optim.Adam(part.parameters(), lr=0.01) for part in parts]
            return torch.optim.Adam(self.parameters(), lr=0.01)

    generator = torch.Generator().manual_seed(3)
    x = torch.randn(32, 4, generator=generator)
    loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8, shuffle=True)
    saving = lightning.pytorch.callbacks.ModelCheckpoint(
        folder, filename="{step}", every_n_train_steps=4, save_top_k=-1
    )
    made = lightning.Trainer(
        max_steps=steps, callbacks=[saving], accelerator="cpu", devices=1, logger=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    return made, {"model": Module(), "train_dataloaders": loader}


@needs("lightning")
@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
@pytest.mark.parametrize("resumed", [False, True], ids=["from the start", "resumed"])
def test_lightning(manual: bool, resumed: bool, tmp_path: Path) -> None:
    from wingbeat.integrations.lightning import fork

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with seeded(0):
        seed_all(0)
        own, asked = fit(tmp_path / "own", manual)
        own.fit(**asked)
        before = sorted((tmp_path / "own").rglob("*"))
        step = 8 if manual else 4
        (saved,) = (tmp_path / "own").glob(f"step={step}.ckpt")
        result = fork(
            lambda: fit(tmp_path / "own", manual),
            wb.Gaussian(0.05),
            replicas=2,
            at=saved if resumed else step,
            out=tmp_path / "x",
            record_every=4,
        )
    assert result.noise_floor == 0.0
    assert result.steps == ((8, 12) if manual else (4, 8, 12))
    assert sorted((tmp_path / "own").rglob("*")) == before
    if not resumed:
        last = load_file(tmp_path / "x/runs/reference/step-12.safetensors")
        for name, weight in asked["model"].named_parameters():
            assert torch.equal(last[name], weight), name


@needs("lightning")
def test_what_lightning_cannot_be_forked_of(tmp_path: Path) -> None:
    from wingbeat.integrations.lightning import fork

    (tmp_path / "x.ckpt").write_bytes(b"nothing")
    with pytest.raises(RequestError, match="no checkpoint of Lightning"):
        fork(lambda: fit(tmp_path, False), wb.Gaussian(0.1), at=tmp_path / "x.ckpt", out=tmp_path)
    with pytest.raises(RequestError, match="arguments of fit"):
        fork(lambda: fit(tmp_path, False)[0], wb.Gaussian(0.1), out=tmp_path / "o")


@needs("accelerate")
def test_accelerate(tmp_path: Path) -> None:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    from wingbeat.integrations.accelerate import fork

    AcceleratorState._reset_state(reset_partial_state=True)  # what a Trainer before it left
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(64, 4, generator=generator)

    def train(on_step: Any, checkpoint: str | None) -> nn.Module:
        accelerator = Accelerator(cpu=True)
        plain = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 1))
        loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)
        model, optimizer, loader = accelerator.prepare(
            plain, torch.optim.AdamW(plain.parameters(), lr=0.01), loader
        )
        step = 0
        if checkpoint:
            accelerator.load_state(checkpoint)
            step = 8
        on_step(step, model)
        while step < 16:
            for inputs, targets in loader:
                loss = (model(inputs) - targets).square().mean()
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
                step += 1
                on_step(step, model)
                if step == 8 and not checkpoint:
                    accelerator.save_state(str(tmp_path / "state_8"))
        return plain

    with seeded(0):
        seed_all(0)
        own = train(lambda *_: None, None)
        result = fork(
            train, wb.Gaussian(0.1), at=tmp_path / "state_8", out=tmp_path / "x", record_every=4
        )
    assert result.noise_floor == 0.0
    assert result.steps == (8, 12, 16)
    last = load_file(tmp_path / "x/runs/reference/step-16.safetensors")
    for name, weight in own.named_parameters():
        assert torch.equal(last[name], weight), name
    with pytest.raises(RequestError, match="no folder"):
        fork(train, wb.Gaussian(0.1), at=tmp_path / "none", out=tmp_path / "y")
    (tmp_path / "state").mkdir()
    with pytest.raises(RequestError, match="no step in its name"):
        fork(train, wb.Gaussian(0.1), at=tmp_path / "state", out=tmp_path / "y")
