"""The table of architectures whose symmetries are tested, with hand-counted groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from symmetry_nets import DenseNet, GroupedNet, ViT, mlp, resnet20, resnet50, transformer, vgg11
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A model, its inputs, what counts as its output, and the sizes of its groups.

    ``groups`` are shapes, parents first, counted by hand from the architecture.
    """

    build: Callable[[], nn.Module]
    inputs: Callable[[], Any]
    groups: list[tuple[int, ...]]
    outputs: Callable[[Any], Any] | None = None


def logits(result: Any) -> Tensor:
    return result.logits


def ids() -> dict[str, Tensor]:
    return {"input_ids": torch.arange(14).reshape(2, 7) % 50}


def bert(attention: str = "sdpa") -> nn.Module:
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(
        BertConfig(
            hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
            vocab_size=50, max_position_embeddings=16, attn_implementation=attention,
        )
    )  # fmt: skip


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            n_embd=24, n_layer=2, n_head=4, vocab_size=50, n_positions=16, use_cache=False,
            bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip


def t5() -> nn.Module:
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(
        T5Config(
            d_model=24, d_kv=6, d_ff=40, num_layers=2, num_heads=4, vocab_size=50,
            use_cache=False, feed_forward_proj="gated-gelu",
        )
    )  # fmt: skip


def llama(tied: bool = False) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=24, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
            intermediate_size=50, vocab_size=50, max_position_embeddings=16, use_cache=False,
            tie_word_embeddings=tied,
        )
    )  # fmt: skip


def image(side: int = 16, channels: int = 3) -> Callable[[], Tensor]:
    return lambda: torch.linspace(-1, 1, 2 * channels * side * side).reshape(
        2, channels, side, side
    )


_HEADS = [(4,), (4, 6), (4, 6)]
_STREAMS = [(4,), (8,), (16,)]

CASES: dict[str, Case] = {
    "mlp": Case(lambda: mlp(10, 33, 21, 5), lambda: torch.linspace(-1, 1, 20).reshape(2, 10),
                [(33,), (21,)]),
    "vgg11": Case(vgg11, image(32), [(4,), (8,), (16,), (16,), *[(32,)] * 4, (12,)]),
    "resnet20": Case(resnet20, image(), [*_STREAMS, *[(4,)] * 3, *[(8,)] * 3, *[(16,)] * 3]),
    # A padded shortcut leaves the stream of the stage before in the middle of the next.
    "resnet20-padded": Case(lambda: resnet20(option="A"), image(),
                            [(4,), (2,), (2,), (4,), (4,), *[(4,)] * 3, *[(8,)] * 3, *[(16,)] * 3]),
    "resnet50": Case(resnet50, image(),
                     [(2,), (8,), (16,), (32,), (64,), *[(2,)] * 6, *[(4,)] * 8, *[(8,)] * 12,
                      *[(16,)] * 6]),
    # One group for each piece of a concatenation, and one inside each layer.
    "densenet": Case(DenseNet, image(), [(6,), *[(4,)] * 6, *[(8,)] * 6, (9,), (10,)]),
    "grouped": Case(GroupedNet, image(), [(4,), (4, 3), (4, 6), (7,)]),
    "vit": Case(ViT, image(8), [(24,), *_HEADS * 2, *[(50,)] * 2]),
    "transformer": Case(transformer, lambda: torch.linspace(-1, 1, 70).reshape(2, 5, 7),
                        [(24,), *_HEADS * 4, *[(40,)] * 4]),
    "bert": Case(bert, ids, [(24,), *_HEADS * 2, *[(40,)] * 2], logits),
    "bert-eager": Case(lambda: bert("eager"), ids, [(24,), *_HEADS * 2, *[(40,)] * 2], logits),
    "gpt2": Case(gpt2, ids, [(24,), *_HEADS * 2, *[(96,)] * 2], logits),
    # All self-attention layers of a stack share their relative bias, and so their heads.
    "t5": Case(t5, lambda: {**ids(), "decoder_input_ids": ids()["input_ids"]},
               [(24,), *[(4,)] * 4, *[(4, 6)] * 12, *[(40,)] * 4], logits),
    # Rotary embeddings fix the inner axis of queries and keys; three queries share a key.
    "llama": Case(llama, ids, [(24,), *[(2,), (2, 3), (2, 4)] * 2, *[(50,)] * 2], logits),
    "llama-tied": Case(lambda: llama(True), ids,
                       [(24,), *[(2,), (2, 3), (2, 4)] * 2, *[(50,)] * 2], logits),
}  # fmt: skip


def seeded(name: str) -> nn.Module:
    """Build a model of the table from a fixed seed, in float32 and evaluation mode."""
    torch.manual_seed(0)
    return CASES[name].build().eval()


def noisy_state(model: nn.Module, seed: int = 0, size: float = 0.1) -> dict[str, Tensor]:
    """Return a state dict with noise on every number, so that zeros and ones hide nothing."""
    generator = torch.Generator().manual_seed(seed)
    made: dict[int, Tensor] = {}
    state = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        if id(tensor) in made:
            continue
        kept = tensor.detach().clone()
        if kept.is_floating_point():
            noise = size * torch.randn(kept.shape, generator=generator)
            kept = kept * noise.exp() if name.endswith("running_var") else kept + noise
        made[id(tensor)] = kept
    return {name: made[id(tensor)] for name, tensor in state.items()}
