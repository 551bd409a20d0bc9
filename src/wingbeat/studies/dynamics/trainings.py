"""How long and on how much each family is trained, by the name of the size that was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

Size = Literal["quick", "full", "trained"]


@dataclass(frozen=True)
class FamilyTraining:
    """How a family is trained and looked at.

    Attributes:
        epochs: passes over the samples.
        samples: training samples.
        how: optimizer and batches in words.
        further: arguments of the task's factory that differ from its own defaults.
        looks: moments of an epoch at which the copies are recorded.
    """

    epochs: int
    samples: int
    how: str
    further: dict[str, Any] = field(default_factory=dict)
    looks: int = 1

    @property
    def words(self) -> str:
        """The training in one line."""
        return f"{self.epochs} epochs of {self.samples:,} samples, {self.how}"


_ADAM: Final = "Adam 0.01, batches of 32"
_CNN: Final = "Adam 0.001, batches of 32"
_ADAMW: Final = "AdamW 0.0005, batches of 16"
TRAININGS: Final[dict[Size, dict[str, FamilyTraining]]] = {
    "full": {
        "dense": FamilyTraining(20, 1000, _ADAM),
        "cnn": FamilyTraining(8, 320, _CNN),
        "transformer": FamilyTraining(8, 192, _ADAMW),
    },
    "quick": {
        "dense": FamilyTraining(5, 1000, _ADAM),
        "cnn": FamilyTraining(4, 320, _CNN),
        "transformer": FamilyTraining(3, 96, _ADAMW),
    },
    # Until the nets have learned. Of ten nets with ReLU and 51 weights two get above 0.95, however
    # long they train (dead units); with GELU 19 of 20 do. CNN Tiny needs 0.002 and six epochs for
    # 0.95; of the transformers' three epochs the last one adds nothing on new sentences.
    "trained": {
        "dense": FamilyTraining(40, 1000, f"GELU, {_ADAM}", {"activation": "gelu"}),
        "cnn": FamilyTraining(
            10, 8000, "Adam 0.002, batches of 32", {"tested": 2000, "lr": 2e-3}, looks=2
        ),
        "transformer": FamilyTraining(
            3,
            6920,
            "AdamW 0.0005 (medium 0.0003), warm-up over 10 %, linear decay, batches of 32",
            {"tested": 872, "batch_size": 32, "lr": 5e-4, "warmup": 0.1},
            looks=2,
        ),
    },
}
"""By size and family: ``quick`` and ``full`` are for a laptop, ``trained`` wants a GPU."""
OF_NETS: Final[dict[str, dict[str, Any]]] = {
    "GPT medium": {"lr": 3e-4},
    "BERT medium": {"lr": 3e-4},
}
"""What nets take in place of their family's, when trained until they have learned."""
