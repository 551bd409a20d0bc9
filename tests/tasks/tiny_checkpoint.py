"""A BERT of a few hundred weights in a folder of Hugging Face's format, with its word pieces."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

_MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_WORDS = ["the", "film", "story", "is", "not", "never", "dull", "very", "warm", "witty", "slow"]
_SIGNS = [",", "but", ".", "and", "of"]
PIECES = [*_MARKS, *_WORDS, *_SIGNS, *"abcdefghijklmnopqrstuvwxyz"]


def write_bert(folder: Path, *, prefix: str = "", tokenizer: bool = True) -> Path:
    """Write config.json, vocab.txt and model.safetensors; ``prefix`` goes before each name."""
    folder.mkdir(parents=True, exist_ok=True)
    config = transformers.BertConfig(
        vocab_size=len(PIECES),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=40,
    )
    config.save_pretrained(folder)
    torch.manual_seed(7)
    model = transformers.BertModel(config, add_pooling_layer=False)
    for parameter in model.parameters():  # norms and biases too are then worth reading
        parameter.data.normal_(std=0.3)
    tensors = {prefix + name: t.detach().clone() for name, t in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors")
    if tokenizer:
        (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return folder


def change(folder: Path, **tensors: torch.Tensor | None) -> Path:
    """Replace tensors of the file by the end of their name; None takes them out."""
    path = folder / "model.safetensors"
    own = load_file(path)
    for ending, tensor in tensors.items():
        (name,) = [n for n in own if n.replace(".", "_").endswith(ending)]
        if tensor is None:
            del own[name]
        else:
            own[name] = tensor
    save_file(own, path)
    return folder
