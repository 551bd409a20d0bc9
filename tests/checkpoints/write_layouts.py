"""Write tiny checkpoints with the tools that people use, and say how far apart their weights are.

    python tests/checkpoints/write_layouts.py FOLDER [NAME …]

Needs nothing of wingbeat, so that it runs in an environment of its own: torch, and of lightning,
accelerate, transformers, peft and timm what is installed. Prints one line of JSON for each layout:
its name, the two paths, and the distance of the weights as they stood in memory.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = dict[str, Tensor]
Writer = Callable[[Path, int], tuple[Path, State]]
WRITERS: dict[str, tuple[tuple[str, ...], Writer]] = {}
"""Name → modules that it needs, and what writes into a folder with a seed."""


def layout(name: str, *needs: str) -> Callable[[Writer], Writer]:
    """Add a writer to the table."""

    def add(writer: Writer) -> Writer:
        WRITERS[name] = (needs, writer)
        return writer

    return add


def net(seed: int) -> nn.Sequential:
    """Return a small model that a seed decides."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2))


def data() -> tuple[Tensor, Tensor]:
    """Return eight samples."""
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()


def stepped(model: nn.Module) -> torch.optim.Optimizer:
    """Train one step with large gradients: the moments of the optimizer dwarf the weights."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    x, y = data()
    (1e3 * F.cross_entropy(model(x), y)).backward()
    optimizer.step()
    return optimizer


def weights(model: nn.Module) -> State:
    """Return a copy of a model's parameters."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


# torch ------------------------------------------------------------------------------------------


@layout("torch: state dict")
def state_dict(folder: Path, seed: int) -> tuple[Path, State]:
    """Save a state dict."""
    model = net(seed)
    torch.save(model.state_dict(), folder / "model.pt")
    return folder / "model.pt", weights(model)


@layout("torch: format before 1.6")
def old_format(folder: Path, seed: int) -> tuple[Path, State]:
    """Save a state dict without a zip archive."""
    model = net(seed)
    path = folder / "model.pth"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)
    return path, weights(model)


@layout("torch: everything of a run")
def whole_run(folder: Path, seed: int) -> tuple[Path, State]:
    """Save model, optimizer, scheduler, scaler and random state."""
    model = net(seed)
    optimizer = stepped(model)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    held = {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": seed,
        "scheduler": scheduler.state_dict(), "best_val_loss": torch.tensor(0.5 * seed),
        "scaler": torch.amp.GradScaler("cpu").state_dict(), "rng_state": torch.get_rng_state(),
    }  # fmt: skip
    torch.save(held, folder / "last.pt")
    return folder / "last.pt", weights(model)


@layout("torch: NumPy beside weights", "numpy")
def with_numpy(folder: Path, seed: int) -> tuple[Path, State]:
    """Save a NumPy scalar, an array and a random state beside the model."""
    import numpy as np

    model = net(seed)
    held = {
        "state_dict": model.state_dict(), "best_acc": np.float64(0.25 * seed),
        "losses": np.arange(3.0), "numpy_rng": np.random.RandomState(seed).get_state(),
        "optimizer": stepped(net(seed)).state_dict(),
    }  # fmt: skip
    torch.save(held, folder / "model.pt")
    return folder / "model.pt", weights(model)


@layout("torch.compile")
def compiled(folder: Path, seed: int) -> tuple[Path, State]:
    """Save the state dict of a compiled model."""
    model = net(seed)
    torch.save(torch.compile(model).state_dict(), folder / "model.pt")
    return folder / "model.pt", weights(model)


@layout("torch.nn.DataParallel")
def data_parallel(folder: Path, seed: int) -> tuple[Path, State]:
    """Save the state dict of a wrapped model."""
    model = net(seed)
    torch.save(nn.DataParallel(model).state_dict(), folder / "model.pt")
    return folder / "model.pt", weights(model)


@layout("torch.optim.swa_utils.AveragedModel")
def averaged(folder: Path, seed: int) -> tuple[Path, State]:
    """Save an average of weights."""
    model = torch.optim.swa_utils.AveragedModel(net(seed))
    torch.save(model.state_dict(), folder / "model.pt")
    return folder / "model.pt", weights(model.module)


@layout("torch.distributed.checkpoint: state dict")
def distributed_plain(folder: Path, seed: int) -> tuple[Path, State]:
    """Save a state dict as a folder."""
    import torch.distributed.checkpoint as dcp

    model = net(seed)
    dcp.save(model.state_dict(), checkpoint_id=folder / "dcp")
    return folder / "dcp", weights(model)


@layout("torch.distributed.checkpoint: model and optimizer")
def distributed_run(folder: Path, seed: int) -> tuple[Path, State]:
    """Save what torch's tutorial saves."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict

    model = net(seed)
    found, optim = get_state_dict(model, stepped(model))
    dcp.save({"app": {"model": found, "optim": optim}, "step": 3}, checkpoint_id=folder / "dcp")
    return folder / "dcp", weights(model)


def _rank(rank: int, store: str, folder: str, seed: int, columns: bool) -> None:
    """Shard a model over two processes and save it; rows as FSDP cuts them, or columns."""
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    logging.disable(logging.CRITICAL)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    state = {
        name: distribute_tensor(p, mesh, [Shard(p.dim() - 1 if columns else 0)])
        for name, p in net(seed).state_dict().items()
    }
    dcp.save({"model": state}, checkpoint_id=folder)
    dist.destroy_process_group()


def _two_ranks(folder: Path, seed: int, *, columns: bool) -> tuple[Path, State]:
    with tempfile.TemporaryDirectory() as place:
        args = (f"{place}/store", str(folder / "dcp"), seed, columns)
        torch.multiprocessing.spawn(_rank, args=args, nprocs=2)
    return folder / "dcp", weights(net(seed))


@layout("torch.distributed.checkpoint: two ranks, rows")
def two_ranks(folder: Path, seed: int) -> tuple[Path, State]:
    """Save tensors that two processes hold, cut as FSDP does."""
    return _two_ranks(folder, seed, columns=False)


@layout("torch.distributed.checkpoint: two ranks, columns")
def two_ranks_columns(folder: Path, seed: int) -> tuple[Path, State]:
    """Save tensors that two processes hold, cut as tensor parallelism does."""
    return _two_ranks(folder, seed, columns=True)


@layout("safetensors: save_model", "safetensors")
def safe_model(folder: Path, seed: int) -> tuple[Path, State]:
    """Save a module with safetensors."""
    from safetensors.torch import save_model

    model = net(seed)
    save_model(model, str(folder / "model.safetensors"))
    return folder / "model.safetensors", weights(model)


# Lightning --------------------------------------------------------------------------------------


def _lightning(folder: Path, seed: int, **options: Any) -> tuple[Any, Any]:
    import lightning as L
    from torch.utils.data import DataLoader, TensorDataset

    class Module(L.LightningModule):
        def __init__(self, width: int = 7) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.model = net(seed)

        def training_step(self, batch: Any, _: int) -> Tensor:
            loss = 1e3 * F.cross_entropy(self.model(batch[0]), batch[1])
            self.log("val_loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

    module = Module()
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, **options,
    )  # fmt: skip
    trainer.fit(module, DataLoader(TensorDataset(*data()), batch_size=4))
    return trainer, module


@layout("Lightning: save_checkpoint", "lightning")
def lightning_whole(folder: Path, seed: int) -> tuple[Path, State]:
    """Save all of a trainer."""
    trainer, module = _lightning(folder, seed, enable_checkpointing=False)
    trainer.save_checkpoint(folder / "last.ckpt")
    return folder / "last.ckpt", weights(module)


@layout("Lightning: weights only", "lightning")
def lightning_weights(folder: Path, seed: int) -> tuple[Path, State]:
    """Save the weights of a trainer."""
    trainer, module = _lightning(folder, seed, enable_checkpointing=False)
    trainer.save_checkpoint(folder / "last.ckpt", weights_only=True)
    return folder / "last.ckpt", weights(module)


@layout("Lightning: ModelCheckpoint", "lightning")
def lightning_callback(folder: Path, seed: int) -> tuple[Path, State]:
    """Save with the callback, named after epoch and loss."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    callback = ModelCheckpoint(folder, "{epoch:02d}-{val_loss:.2f}", monitor="val_loss")
    _, module = _lightning(folder, seed, callbacks=[callback])
    return Path(callback.best_model_path), weights(module)


@layout("Lightning Fabric: save", "lightning")
def fabric(folder: Path, seed: int) -> tuple[Path, State]:
    """Save model and optimizer with Fabric."""
    from lightning.fabric import Fabric

    made = Fabric(accelerator="cpu", devices=1)
    model = net(seed)
    wrapped, optimizer = made.setup(model, stepped(model))
    made.save(folder / "state.ckpt", {"model": wrapped, "optimizer": optimizer, "iter": seed})
    return folder / "state.ckpt", weights(model)


# Accelerate -------------------------------------------------------------------------------------


def _accelerated(seed: int) -> tuple[Any, Any]:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = net(seed)
    prepared, _ = accelerator.prepare(model, stepped(model))
    return accelerator, prepared


@layout("Accelerate: save_state", "accelerate")
def accelerate_state(folder: Path, seed: int) -> tuple[Path, State]:
    """Save the state of a run."""
    accelerator, model = _accelerated(seed)
    accelerator.save_state(str(folder / "state"))
    return folder / "state", weights(model)


@layout("Accelerate: save_state, no safetensors", "accelerate")
def accelerate_bin(folder: Path, seed: int) -> tuple[Path, State]:
    """Save the state of a run as pickles."""
    accelerator, model = _accelerated(seed)
    accelerator.save_state(str(folder / "state"), safe_serialization=False)
    return folder / "state", weights(model)


@layout("Accelerate: save_model", "accelerate")
def accelerate_model(folder: Path, seed: int) -> tuple[Path, State]:
    """Save a model."""
    accelerator, model = _accelerated(seed)
    accelerator.save_model(model, str(folder / "model"))
    return folder / "model", weights(model)


@layout("Accelerate: save_model, sharded", "accelerate")
def accelerate_shards(folder: Path, seed: int) -> tuple[Path, State]:
    """Save a model in shards."""
    accelerator, model = _accelerated(seed)
    accelerator.save_model(model, str(folder / "model"), max_shard_size=100)
    return folder / "model", weights(model)


# transformers and PEFT --------------------------------------------------------------------------


def _bert(seed: int) -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 12, "vocab_size": 20, "max_position_embeddings": 8}  # fmt: skip
    return BertForSequenceClassification(BertConfig(**sizes))


@layout("transformers: save_pretrained", "transformers")
def pretrained(folder: Path, seed: int) -> tuple[Path, State]:
    """Save a model."""
    model = _bert(seed)
    model.save_pretrained(folder / "model")
    return folder / "model", weights(model)


@layout("transformers: save_pretrained, sharded", "transformers")
def pretrained_shards(folder: Path, seed: int) -> tuple[Path, State]:
    """Save a model in shards."""
    model = _bert(seed)
    model.save_pretrained(folder / "model", max_shard_size="2KB")
    return folder / "model", weights(model)


@layout("transformers: tied embeddings", "transformers")
def tied(folder: Path, seed: int) -> tuple[Path, State]:
    """Save a language model whose head is its embedding."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    model = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=20, n_positions=8))
    model.save_pretrained(folder / "model")
    return folder / "model", weights(model)


@layout("transformers: Trainer", "transformers", "accelerate")
def trainer(folder: Path, seed: int) -> tuple[Path, State]:
    """Save a checkpoint of the Trainer, with optimizer, scheduler and random state."""
    from transformers import Trainer, TrainingArguments

    model = _bert(seed)
    samples = [
        {"input_ids": torch.arange(5), "attention_mask": torch.ones(5).long(), "labels": i % 2}
        for i in range(4)
    ]
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=2, save_steps=2, per_device_train_batch_size=2,
        report_to=[], use_cpu=True, disable_tqdm=True, logging_steps=1,
    )  # fmt: skip
    Trainer(model=model, args=arguments, train_dataset=samples).train()
    return folder / "checkpoint-2", weights(model)


def _adapted(seed: int, **options: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    base = net(0)
    torch.manual_seed(seed)
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["0", "2"], **options)
    model = get_peft_model(base, config)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(torch.randn(p.shape))
    return model


def _adapter(model: nn.Module) -> State:
    return {name: p for name, p in weights(model).items() if "lora_" in name}


@layout("PEFT: LoRA", "peft")
def lora(folder: Path, seed: int) -> tuple[Path, State]:
    """Save an adapter."""
    model = _adapted(seed)
    model.save_pretrained(folder / "adapter")
    return folder / "adapter", _adapter(model)


@layout("PEFT: DoRA", "peft")
def dora(folder: Path, seed: int) -> tuple[Path, State]:
    """Save an adapter with magnitudes of its own."""
    model = _adapted(seed, use_dora=True)
    model.save_pretrained(folder / "adapter")
    return folder / "adapter", _adapter(model)


# timm -------------------------------------------------------------------------------------------


@layout("timm: CheckpointSaver", "timm")
def timm_saver(folder: Path, seed: int) -> tuple[Path, State]:
    """Save with timm's own saver, an average of weights beside the model."""
    from timm.utils import CheckpointSaver, ModelEmaV2

    model = net(seed)
    optimizer = stepped(model)
    saver = CheckpointSaver(
        model, optimizer, model_ema=ModelEmaV2(net(seed + 7)), checkpoint_dir=str(folder),
        recovery_dir=str(folder),
    )  # fmt: skip
    saver.save_checkpoint(seed, metric=70.0 + seed)
    return folder / "last.pth.tar", weights(model)


def distance(first: State, second: State) -> float:
    """Return how far apart weights are."""
    apart = (first[n].double() - second[n].double() for n in first)
    return sum(float(d.square().sum()) for d in apart) ** 0.5


def _fitted() -> torch.library.Library | None:
    """Declare torchvision's operators for boxes where it is of another build than torch.

    Nothing here calls them, but timm, transformers and peft cannot be imported without them.
    """
    if not find_spec("torchvision"):
        return None
    try:
        import_module("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library
    return None


def main() -> None:
    """Write all layouts whose tools are installed, or those that are named."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    held = _fitted()
    out, names = Path(sys.argv[1]), sys.argv[2:] or list(WRITERS)
    for name in names:
        needs, writer = WRITERS[name]
        if not all(find_spec(module) for module in needs):
            continue
        found = []
        for seed in (1, 2):
            folder = out / name.replace(":", "").replace(" ", "_") / str(seed)
            folder.mkdir(parents=True)
            found.append(writer(folder, seed))
        (a, first), (b, second) = found
        row = {"name": name, "paths": [str(a), str(b)], "l2": distance(first, second)}
        sys.stdout.write("LAYOUT " + json.dumps(row) + "\n")
        sys.stdout.flush()
    del held


if __name__ == "__main__":
    main()
