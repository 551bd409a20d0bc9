"""Nets for fine-tuning: a pretrained body with a fresh head, and a language model of answers."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from wingbeat.errors import RequestError, nearest

Pooling = Literal["mean", "first", "last"]
HEAD_STD = 0.02
"""Standard deviation of a fresh head's weights, as in BERT."""


class SentenceClassifier(nn.Module):
    """A pretrained encoder (``body``) and a linear layer on its pooled last layer (``head``).

    Args:
        body: gives ``last_hidden_state`` (batch, length, width) from ``input_ids`` and
            ``attention_mask``.
        width: of its states.
        classes: number of scores.
        pooling: "mean" over the sentence's tokens (as MiniLM was trained), "first" token (BERT's
            [CLS]) or "last" token (causal models).

    Raises:
        RequestError: an unknown pooling.
    """

    def __init__(
        self, body: nn.Module, width: int, classes: int = 2, pooling: Pooling = "mean"
    ) -> None:
        super().__init__()
        known = ("mean", "first", "last")
        if pooling not in known:
            raise RequestError(f"pooling is {pooling!r}: {nearest(pooling, known)}")
        self.body, self.pooling = body, pooling
        self.head = nn.Linear(width, classes)
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.bias)

    @property
    def _is_bert(self) -> bool:
        config: Any = getattr(self.body, "config", None)
        return getattr(config, "model_type", "") == "bert" and not config.is_decoder

    def _added(self, mask: Tensor) -> Tensor:
        """Return what a mask adds to the scores of attention, (batch, 1, 1, length).

        BERT looks at a mask of two axes in Python, whether it shuts out anything at all, and a
        step that reads values cannot be recorded; one of four axes it takes as it is. A causal
        model would lose its own mask by that, and keeps the one of two axes.
        """
        dtype = self.head.weight.dtype
        return (mask == 0)[:, None, None, :].to(dtype) * torch.finfo(dtype).min

    def forward(self, inputs: Tensor) -> Tensor:
        """Return scores (batch, classes) of (batch, 2, length) int64: token numbers and mask."""
        ids, mask = inputs.unbind(1)
        seen = self._added(mask) if self._is_bert else mask
        states = self.body(input_ids=ids, attention_mask=seen).last_hidden_state
        scores: Tensor = self.head(pooled(states, mask, self.pooling))
        return scores


class LanguageModel(nn.Module):
    """A causal model of transformers that gives its scores as a plain tensor.

    Args:
        body: gives ``logits`` (batch, length, vocabulary) from ``input_ids``, ``attention_mask``.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, inputs: Tensor) -> Tensor:
        """Return scores of the token after each place, (batch, length, vocabulary).

        Args:
            inputs: (batch, 2, length) int64: token numbers and mask.
        """
        ids, mask = inputs.unbind(1)
        scores: Tensor = self.body(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return scores


def pooled(states: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Return one vector for each sentence, (batch, width).

    Args:
        states: (batch, length, width).
        mask: (batch, length), 1 at the sentence's tokens, which come first, else 0.
        pooling: see `SentenceClassifier`.

    Example:
        >>> states = torch.tensor([[[1.0], [3.0], [100.0]]])
        >>> mask = torch.tensor([[1, 1, 0]])
        >>> [pooled(states, mask, how).item() for how in ("mean", "first", "last")]
        [2.0, 1.0, 3.0]
    """
    if pooling == "first":
        return states[:, 0]
    weights = mask.to(states.dtype)
    if pooling == "last":
        place = torch.arange(mask.shape[1], device=mask.device)
        weights = (place == mask.sum(dim=1, keepdim=True) - 1).to(states.dtype)
    return (states * weights[..., None]).sum(dim=1) / weights.sum(dim=1, keepdim=True)


def answer_loss(model: nn.Module, batch: Any) -> Tensor:
    """Return the mean cross entropy over the answers' tokens of (inputs, answered, place).

    ``answered`` (batch, length) is 1 at each token of the answer, the end included: the prompt is
    read but not learned. Every answer token of the batch weighs the same.
    """
    inputs, answered, _ = batch
    logs = torch.log_softmax(model(inputs)[:, :-1], dim=-1)
    found = logs.gather(-1, inputs[:, 0, 1:, None])[..., 0]
    weights = answered[:, 1:].to(found.dtype)
    loss: Tensor = -(found * weights).sum() / weights.sum()
    return loss


def final_scores(model: nn.Module, batch: Any) -> Tensor:
    """Return the scores (batch, vocabulary) of the final answer's first token, given all before."""
    inputs, _, place = batch
    scores = model(inputs)
    at = torch.arange(inputs.shape[-1], device=inputs.device) == place[:, None] - 1
    chosen: Tensor = (scores * at.to(scores.dtype)[..., None]).sum(dim=1)
    return chosen


def final_token(batch: Any) -> Tensor:
    """Return the final answer's first token (batch,) of (inputs, answered, place)."""
    inputs, _, place = batch
    found: Tensor = inputs[:, 0].gather(1, place[:, None])[:, 0]
    return found
