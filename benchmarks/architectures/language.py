"""Models of transformers, made small, with random weights: text, sound, images and both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.architectures.case import Case

# What sizes are called; a configuration takes those that it knows.
_SMALL: Mapping[str, Any] = {
    "hidden_size": 32, "n_embd": 32, "d_model": 32, "dim": 32, "word_embed_proj_dim": 32,
    "embedding_size": 32, "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2,
    "encoder_layers": 2, "decoder_layers": 2, "num_decoder_layers": 2,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "d_kv": 8, "intermediate_size": 48, "hidden_dim": 48, "d_ff": 48, "n_inner": 48,
    "ffn_dim": 48, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24, "num_experts": 4, "num_local_experts": 4,
    "num_experts_per_tok": 2, "vocab_size": 50, "max_position_embeddings": 32,
    "n_positions": 32, "n_ctx": 32, "max_seq_len": 32, "rotary_dim": 4, "use_cache": False,
    "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "decoder_start_token_id": 0,
    "state_size": 8, "conv_kernel": 4, "expand": 2, "time_step_rank": 4, "image_size": 32,
    "patch_size": 8, "num_channels": 3, "sliding_window": 8, "rotary_pct": 0.5,
}  # fmt: skip


def logits(result: Any) -> Tensor:
    """Pick what a model predicts."""
    found: Tensor = result.logits if hasattr(result, "logits") else result[0]
    return found


def last_hidden(result: Any) -> Tensor:
    """Pick the last hidden state."""
    found: Tensor = result.last_hidden_state
    return found


def _tokens() -> dict[str, Tensor]:
    return {"input_ids": (torch.arange(14).reshape(2, 7) * 3) % 47 + 3}


def _both() -> dict[str, Tensor]:
    return {**_tokens(), "decoder_input_ids": (torch.arange(10).reshape(2, 5) * 7) % 47 + 3}


def _image(side: int = 32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"pixel_values": torch.randn(2, 3, side, side, generator=generator)}


def _sound() -> dict[str, Tensor]:
    return {"input_values": torch.randn(2, 800, generator=torch.Generator().manual_seed(0))}


@dataclass(frozen=True)
class Small:
    """A configuration and a class of transformers, the sizes that are its own, and its inputs."""

    config: str
    model: str
    own: Mapping[str, Any]
    inputs: Callable[[], dict[str, Tensor]] = _tokens
    outputs: Callable[[Any], Any] = logits

    def build(self) -> nn.Module:
        """Make the model."""
        import transformers

        kind: Any = getattr(transformers, f"{self.config}Config")
        aliases: dict[str, str] = getattr(kind, "attribute_map", {})
        known = set(kind().to_dict()) | set(aliases)
        sizes = {k: v for k, v in _SMALL.items() if k in known and aliases.get(k) not in self.own}
        sizes |= self.own
        made = kind(**sizes)
        made.use_cache = False
        found: nn.Module = getattr(transformers, self.model)(made)
        return found


def _causal(config: str, **own: Any) -> Small:
    return Small(config, f"{config}ForCausalLM", own)


def _masked(config: str, **own: Any) -> Small:
    return Small(config, f"{config}ForMaskedLM", own)


def _decoding(config: str, **own: Any) -> Small:
    return Small(config, f"{config}ForConditionalGeneration", own, _both)


def _seeing(config: str, side: int = 32, **own: Any) -> Small:
    image = partial(_image, side)
    return Small(config, f"{config}ForImageClassification", own, image)


MODELS: Mapping[str, Small] = {
    "bert": _masked("Bert"),
    "roberta": _masked("Roberta", max_position_embeddings=40),
    "distilbert": _masked("DistilBert"),
    "albert": _masked("Albert", embedding_size=16),
    "electra": _masked("Electra", embedding_size=16),
    "mpnet": _masked("MPNet", max_position_embeddings=40),
    "camembert": _masked("Camembert", max_position_embeddings=40),
    "deberta": _masked("Deberta"),
    "deberta-v2": _masked("DebertaV2"),
    "squeezebert": _masked("SqueezeBert", embedding_size=32),
    "mobilebert": _masked("MobileBert", embedding_size=16, intra_bottleneck_size=16),
    "modernbert": _masked("ModernBert"),
    "convbert": _masked("ConvBert", embedding_size=32),
    "fnet": _masked("FNet"),
    "nystromformer": _masked("Nystromformer", segment_means_seq_len=7, num_landmarks=7),
    "roformer": _masked("RoFormer", embedding_size=32),
    "xlm": Small("XLM", "XLMWithLMHeadModel", {"emb_dim": 32}),
    "gpt2": Small("GPT2", "GPT2LMHeadModel", {}),
    "openai-gpt": Small("OpenAIGPT", "OpenAIGPTLMHeadModel", {}),
    "gpt-neo": _causal("GPTNeo", attention_types=[[["global", "local"], 1]], window_size=4),
    "gpt-neox": _causal("GPTNeoX"),
    "gptj": _causal("GPTJ"),
    "codegen": _causal("CodeGen"),
    "gpt-bigcode": _causal("GPTBigCode"),
    "opt": _causal("OPT"),
    "bloom": _causal("Bloom"),
    "falcon": _causal("Falcon"),
    "mpt": _causal("Mpt"),
    "xglm": _causal("XGLM"),
    "biogpt": _causal("BioGpt"),
    "llama": _causal("Llama"),
    "mistral": _causal("Mistral"),
    "mixtral": _causal("Mixtral"),
    "qwen2": _causal("Qwen2"),
    "qwen3": _causal("Qwen3"),
    "qwen2-moe": _causal("Qwen2Moe"),
    "gemma": _causal("Gemma"),
    "gemma2": _causal("Gemma2"),
    "phi": _causal("Phi"),
    "phi3": _causal("Phi3"),
    "olmo": _causal("Olmo"),
    "olmo2": _causal("Olmo2"),
    "olmoe": _causal("Olmoe"),
    "starcoder2": _causal("Starcoder2"),
    "stablelm": _causal("StableLm"),
    "cohere": _causal("Cohere"),
    "granite": _causal("Granite"),
    "glm": _causal("Glm"),
    "nemotron": _causal("Nemotron"),
    "persimmon": _causal("Persimmon"),
    "mamba": _causal("Mamba"),
    "t5": _decoding("T5"),
    "t5-gated": _decoding("T5", feed_forward_proj="gated-gelu"),
    "mt5": _decoding("MT5"),
    "bart": _decoding("Bart"),
    "mbart": _decoding("MBart"),
    "pegasus": _decoding("Pegasus"),
    "marian": Small("Marian", "MarianMTModel", {}, _both),
    "blenderbot": _decoding("Blenderbot"),
    "m2m-100": _decoding("M2M100"),
    "vit": _seeing("ViT"),
    "deit": _seeing("DeiT"),
    "beit": _seeing("Beit"),
    "dinov2": _seeing("Dinov2"),
    "vit-msn": _seeing("ViTMSN"),
    "convnext": _seeing("ConvNext", side=64, image_size=64, patch_size=4,
                        hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 2, 1], num_stages=4),
    "convnextv2": _seeing("ConvNextV2", side=64, image_size=64, patch_size=4,
                          hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 2, 1], num_stages=4),
    "resnet": _seeing("ResNet", embedding_size=8, hidden_sizes=[8, 12, 16, 20],
                      depths=[1, 1, 1, 1]),
    "regnet": _seeing("RegNet", hidden_sizes=[16, 16, 32, 32], depths=[1, 1, 1, 1], groups_width=8),
    "swin": _seeing("Swin", embed_dim=12, depths=[1, 1], num_heads=[2, 4], patch_size=4,
                    window_size=2),
    "segformer": _seeing("Segformer", hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1],
                         num_attention_heads=[1, 2, 3, 4]),
    "poolformer": _seeing("PoolFormer", hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], side=64),
    "pvt": _seeing("Pvt", side=64, image_size=64, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1],
                   num_attention_heads=[1, 2, 3, 4]),
    "clip-vision": Small("CLIPVision", "CLIPVisionModel", {}, _image, last_hidden),
    "siglip-vision": Small("SiglipVision", "SiglipVisionModel", {}, _image, last_hidden),
    "wav2vec2": Small("Wav2Vec2", "Wav2Vec2ForCTC", {
        "conv_dim": (16, 16), "conv_kernel": (10, 3), "conv_stride": (5, 2),
        "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4, "vocab_size": 20}, _sound),
    "hubert": Small("Hubert", "HubertForCTC", {
        "conv_dim": (16, 16), "conv_kernel": (10, 3), "conv_stride": (5, 2),
        "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4, "vocab_size": 20}, _sound),
}  # fmt: skip


def cases() -> Iterator[Case]:
    """Yield the models that can be built."""
    if find_spec("transformers"):
        for name, small in MODELS.items():
            yield Case(f"transformers/{name}", small.build, small.inputs, small.outputs)
