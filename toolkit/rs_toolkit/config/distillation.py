"""Settings of the distillation of a filter: one frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass

from rs_toolkit.config.base import Settings, check_fractions, choice, number, text
from rs_toolkit.config.training import BACKBONES, WEIGHTS
from rs_toolkit.data.groups import LEVELS
from rs_toolkit.errors import ConfigError

__all__ = ["DistillConfig"]


@dataclass(frozen=True)
class DistillConfig(Settings):
    """Everything that decides a filter, apart from the photos.

    Two filters with equal settings, data and versions on one machine are the same.
    """

    student: str = text("mobilenetv2-w50", BACKBONES)
    student_weights: str = text("none", WEIGHTS)
    teacher: str = text("none", "an open_clip model, such as BioCLIP; none: labels alone")
    teacher_weights: str = text("", "the teacher's weights: .safetensors, .pt or .bin")
    prompts: str = text("", "TOML file of what photos may show (docs/filter.md)")
    imgsz: int = number(160, 32, 1024, "pixels per side that the student sees")
    resize: str = choice("squash", ("squash", "crop", "pad"), "how a photo becomes square")
    val: float = number(0.15, 0.01, 0.5, "fraction of photos for validation")
    test: float = number(0.15, 0.01, 0.5, "fraction of photos for the test")
    group_by: str = choice(
        "duplicates", LEVELS, "what no split separates: duplicates, species, site or observation"
    )
    splits_from: str = text("", "earlier run or clean folder whose photos keep their side")
    balance: float = number(0.5, 0.0, 1.0, "oversampling of families: 0 none, 1 full balance")
    train_from: str = choice(
        "all", ("all", "head"), "what is trained: all layers, or the head on frozen features"
    )
    batch_norm: str = choice(
        "auto",
        ("auto", "frozen", "train"),
        "batch normalization: trained, or left alone; auto: trained from random weights alone",
    )
    views: int = number(2, 1, 100, "views of a photo that the teacher embeds")
    epochs: int = number(20, 0, 10_000, "most epochs")
    patience: int = number(6, 1, 10_000, "epochs without a better validation AUROC before stop")
    batch_size: int = number(32, 2, 4096, "photos per step")
    learning_rate: float = number(5e-4, 1e-8, 1.0, "peak rate; cosine to a hundredth")
    weight_decay: float = number(1e-2, 0.0, 1.0, "decoupled weight decay (AdamW)")
    cosine_weight: float = number(1.0, 0.0, 100.0, "of 1 - cosine to the teacher's embedding")
    l1_weight: float = number(0.1, 0.0, 100.0, "of smooth L1 to the teacher's embedding")
    verdict_weight: float = number(1.0, 0.0, 100.0, "of the verdict's cross-entropy")
    teacher_share: float = number(
        0.3, 0.0, 1.0, "part that the teacher's probability has in a labelled photo's target"
    )
    augment: float = number(1.0, 0.0, 2.0, "strength of changes of colour")
    seed: int = number(0, 0, 2**31 - 1, "seed of everything random")

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
        """Whether batch normalization is left as it was loaded."""
        if self.batch_norm != "auto":
            return self.batch_norm == "frozen"
        return self.student_weights != "none"
