"""Settings of ``rs-toolkit distill``, which trains a filter: one frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass

from rs_toolkit.config.base import Settings, check_fractions, choice, flag, number, text
from rs_toolkit.config.training import BACKBONES, KEEP_NAMES, STRICT_PHOTOS, WEIGHTS
from rs_toolkit.data.groups import LEVELS, LEVELS_TEXT
from rs_toolkit.errors import ConfigError

__all__ = ["DistillConfig"]


@dataclass(frozen=True)
class DistillConfig(Settings):
    """Everything that determines a filter, apart from the photos.

    Equal settings, data and package versions give the same filter on one machine.
    """

    student: str = text("mobilenetv2-w50", BACKBONES)
    student_weights: str = text("none", WEIGHTS)
    teacher: str = text("none", "model of open_clip to learn from (BioCLIP …); none: only labels")
    teacher_weights: str = text("", "file of the teacher's weights: .safetensors, .pt or .bin")
    prompts: str = text("", "TOML file of texts that say what photos may show (docs/filter.md)")
    keep_names: str = text("", KEEP_NAMES)
    imgsz: int = number(160, 32, 1024, "width and height of the filter's input in pixels")
    resize: str = choice("squash", ("squash", "crop", "pad"), "how a photo becomes square")
    strict_photos: bool = flag(STRICT_PHOTOS)
    val: float = number(0.15, 0.01, 0.5, "fraction of photos for validation")
    test: float = number(0.15, 0.01, 0.5, "fraction of photos for the test")
    group_by: str = choice(LEVELS[0], LEVELS, LEVELS_TEXT)
    splits_from: str = text("", "earlier run or clean folder; its photos keep their split")
    blanks: str = choice(
        "none",
        ("none", "other"),
        "use of the data's own blanks, people and vehicles; other: as photos of no organism",
    )
    balance: float = number(0.5, 0.0, 1.0, "oversampling of rare families: 0 none, 1 all equal")
    train_from: str = choice(
        "all", ("all", "head"), "what is trained: all layers, or only the head on frozen features"
    )
    batch_norm: str = choice(
        "auto", ("auto", "frozen", "train"), "batch norm; auto: trained only from random weights"
    )
    views: int = number(2, 1, 100, "views of each photo for the teacher: itself and random ones")
    epochs: int = number(20, 0, 10_000, "maximum number of epochs")
    patience: int = number(6, 1, 10_000, "maximum epochs without a better validation AUROC")
    batch_size: int = number(32, 2, 4096, "photos per batch")
    learning_rate: float = number(5e-4, 1e-8, 1.0, "peak; cosine decay to a hundredth of it")
    weight_decay: float = number(1e-2, 0.0, 1.0, "decoupled weight decay (AdamW)")
    cosine_weight: float = number(1.0, 0, 100, "weight of 1 - cosine to the teacher's embedding")
    l1_weight: float = number(0.1, 0, 100, "weight of smooth L1 to the teacher's embedding")
    verdict_weight: float = number(1.0, 0, 100, "weight of the classification's cross-entropy")
    teacher_share: float = number(
        0.3, 0.0, 1.0, "share of the teacher's probability, besides the label, in a photo's target"
    )
    augment: float = number(1.0, 0.0, 2.0, "strength of random colour changes; 0: none")
    seed: int = number(0, 0, 2**31 - 1, "seed of all random numbers")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fractions(self.val, self.test)
        if self.teacher == "none" and (self.teacher_weights or self.prompts):
            raise ConfigError("--teacher-weights and --prompts need a --teacher; name it")

    @property
    def has_teacher(self) -> bool:
        """Whether the student learns from a teacher."""
        return self.teacher != "none"

    @property
    def frozen_batch_norm(self) -> bool:
        """Whether batch normalization keeps its loaded weights and statistics."""
        if self.batch_norm != "auto":
            return self.batch_norm == "frozen"
        return self.student_weights != "none"
