"""Training settings: one frozen dataclass, read from TOML, overridden by flags."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rs_toolkit.config.base import Settings, check_fractions, choice, flag, number, text
from rs_toolkit.data.groups import LEVELS, LEVELS_TEXT
from rs_toolkit.data.taxonomy import LABELS
from rs_toolkit.errors import ConfigError

__all__ = ["BACKBONES", "PRESETS", "WEIGHTS", "TrainConfig", "read_config", "read_preset"]

BACKBONES = (
    "network: xception, xception-w50, xception-w25, xception-mini, baseline-cnn, "
    "baseline-cnn-w50, efficientnet_lite0, mobilenetv2-w50, mobilenetv3-large, "
    "efficientnetv2-b0 to b3, convnext-tiny or convnext-base; rs-toolkit backbones compares them"
)
KEEP_NAMES = "names of organisms that mean an empty cell otherwise, separated by commas: none, na …"
STRICT_PHOTOS = "leave out photos that lack a few bytes at their end; without it they are used"
WEIGHTS = (
    "initial weights: imagenet (Keras downloads them), package (efficientnet_lite0 only, from an "
    "installed Python package), none (random), or a .h5 file"
)
LOSSES = ("cross_entropy", "balanced_softmax", "focal", "class_balanced")
PRESETS = (
    *("dropout", "label-smoothing", "partial-unfreezing", "smaller-head"),
    *("stronger-augmentation", "weight-decay", "sample"),
)
"""Named settings, each a file in ``presets/``: set-ups against overfitting, and the sample's."""
_MAX_CONFIG_BYTES = 1_000_000


@dataclass(frozen=True)
class TrainConfig(Settings):
    """Everything that decides a training run, apart from the photos.

    Two runs with equal settings, data and versions on one machine give the same model.
    """

    preset: str = choice(
        "", ("", *PRESETS), "named settings to begin with, which all other settings override"
    )
    backbone: str = text("xception", BACKBONES)
    weights: str = text("imagenet", WEIGHTS)
    rank: str = choice(
        "family",
        ("auto", *LABELS),
        "rank of the classes: kingdom … species, or common_name; auto: the finest with enough "
        "photos a class",
    )
    keep_names: str = text("", KEEP_NAMES)
    imgsz: int = number(224, 32, 1024, "width and height of the model's input in pixels")
    first_size: int = number(
        0, 0, 1024, "imgsz of the first half of the epochs, to save time; 0: as imgsz"
    )
    resize: str = choice("squash", ("squash", "crop", "pad"), "how a photo becomes square")
    strict_photos: bool = flag(STRICT_PHOTOS)
    val: float = number(0.15, 0.01, 0.5, "fraction of photos for validation")
    test: float = number(0.2, 0.01, 0.5, "fraction of photos for the test")
    stratify_by: str = choice(
        "", ("", *LABELS), "rank whose proportions are kept in every split; empty: as --rank"
    )
    group_by: str = choice(LEVELS[0], LEVELS, LEVELS_TEXT)
    splits_from: str = text("", "earlier run or clean folder; its photos keep their split")
    balance: float = number(0.5, 0.0, 1.0, "oversampling: 0 none, 0.5 square root, 1 all equal")
    head_strength: float = number(
        0.0,
        0.0,
        1e6,
        "C of stage 1, the inverse strength of its L2 penalty; 0: the best on validation photos",
    )
    epochs: int = number(20, 0, 10_000, "maximum number of epochs of fine-tuning (stage 2)")
    time: str = text(
        "", "time for the whole training (30m, 2h, 90s), which then sets the number of epochs"
    )
    patience: int = number(
        6, 0, 10_000, "maximum epochs without a better validation macro-F1; 0: never stop early"
    )
    batch_size: int = number(32, 1, 4096, "photos per batch")
    learning_rate: float = number(1e-4, 1e-8, 1.0, "peak in stage 2; cosine decay to a hundredth")
    layer_decay: float = number(
        1.0,
        0.1,
        1.0,
        "factor of the rate from each block to the one before it; 1: one rate for all",
    )
    head_rate: float = number(1.0, 0.01, 1000.0, "factor of the rate of the last layer")
    average: str = choice(
        "none",
        ("none", "ema", "swa"),
        "average of the weights, validated beside the last ones: none, ema (exponential, over an "
        "epoch or so) or swa (the mean of the last quarter of the steps)",
    )
    weight_decay: float = number(
        1e-4,
        0.0,
        1000.0,
        "decoupled weight decay (AdamW): a step shrinks weights by the rate times this",
    )
    loss: str = choice("cross_entropy", LOSSES, f"loss of stage 2: {', '.join(LOSSES)}")
    logit_adjustment: float = number(
        1.0, 0.0, 10.0, "factor of the log class frequencies that balanced_softmax adds in training"
    )
    label_smoothing: float = number(0.1, 0.0, 0.9, "label smoothing of the loss")
    dropout: float = number(0.3, 0.0, 0.95, "dropout before the last layer")
    bottleneck: int = number(
        0, 0, 4096, "smaller head: units of a linear layer before the last one; 0: none"
    )
    tau_head: bool = flag(
        "after training, even out the lengths of the classes' weights (tau-normalized head), as "
        "far as validation macro-F1 rises"
    )
    augment: float = number(1.0, 0.0, 2.0, "strength of flips, crops and colour changes; 0: none")
    crop_scale: float = number(
        0.0, 0.0, 1.0, "least share of a photo that a crop keeps; 0: as augment has it, 0.55 at 1"
    )
    randaugment: int = number(
        0, 0, 10, "number of random operations on each photo (RandAugment), beside augment; 0: none"
    )
    randaugment_magnitude: int = number(9, 0, 10, "strength of the operations of randaugment")
    mixup: float = number(
        0.0, 0.0, 10.0, "blends photos in pairs, by shares from Beta(a, a) with this a; 0: none"
    )
    cutmix: float = number(
        0.0, 0.0, 10.0, "pastes a part of one photo into another, likewise; 0: none"
    )
    fine_tune_from: str = text(
        "auto",
        "first block that stage 2 trains, last (only the last block) or all; auto: the backbone's "
        "(block9 of Xception), or all if weights is none",
    )
    teacher: str = text(
        "",
        "folder of a finished run of the same classes, mostly a larger network, to learn from; or "
        "with teacher_weights a model of open_clip",
    )
    teacher_weights: str = text(
        "", "file of the weights of a teacher of open_clip (BioCLIP …): .safetensors, .pt or .bin"
    )
    teacher_weight: float = number(
        0.9, 0.0, 1.0, "share of the teacher's answers in the loss; the labels have the rest"
    )
    teacher_temperature: float = number(
        4.0, 0.1, 100.0, "how much the teacher's and the student's answers are softened"
    )
    teacher_views: int = number(
        8, 1, 100, "views of each photo that the teacher answers: itself and random ones"
    )
    refit: str = choice(
        "none",
        ("none", "val", "all"),
        "val: train again on training and validation photos, for as many epochs as were best; the "
        "calibration stays that of the first model; all: on every photo, with score and "
        "calibration by folds",
    )
    refit_folds: int = number(5, 2, 20, "number of folds that judge a refit on all photos")
    precision: str = choice(
        "float32",
        ("float32", "mixed_bfloat16", "mixed_float16"),
        "number format of stage 2: float32, mixed_bfloat16 or mixed_float16",
    )
    seed: int = number(0, 0, 2**31 - 1, "seed of all random numbers")

    def unrepeated(self) -> TrainConfig:
        """Return the settings of the same training without a refit."""
        return replace(self, refit="none", refit_folds=TrainConfig.refit_folds)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fractions(self.val, self.test)
        _ = self.seconds
        for name in ("teacher_weights", "teacher_weight", "teacher_temperature", "teacher_views"):
            if not self.teacher and (got := getattr(self, name)) != getattr(TrainConfig, name):
                raise ConfigError(f"{name}: got {got} without a teacher; name one, or leave it out")
        if self.logit_adjustment != 1 and self.loss != "balanced_softmax":
            raise ConfigError(
                f"logit_adjustment: got {self.logit_adjustment} with the loss {self.loss}, which "
                "has none; set the loss to balanced_softmax, or leave it out"
            )
        self._check_views()
        if self.refit != "all" and self.refit_folds != TrainConfig.refit_folds:
            raise ConfigError(
                f"refit_folds: got {self.refit_folds} with refit {self.refit}, which has no folds; "
                "set refit to all, or leave it out"
            )
        if self.teacher and not self.teacher_weights and self.refit == "all":
            raise ConfigError(
                "refit: got all with a teacher, which has learned from photos that a fold judges; "
                "set refit to val or none, or leave the teacher out"
            )

    def _check_views(self) -> None:
        for name in ("crop_scale", "randaugment", "mixup", "cutmix"):
            if self.teacher and (got := getattr(self, name)):
                raise ConfigError(
                    f"{name}: got {got} with a teacher, which answers its own views; leave it out"
                )
        magnitude = self.randaugment_magnitude
        if not self.randaugment and magnitude != TrainConfig.randaugment_magnitude:
            raise ConfigError(
                f"randaugment_magnitude: got {magnitude} with randaugment 0; set that above 0, or "
                "leave it out"
            )
        if self.first_size and not 32 <= self.first_size < self.imgsz:
            raise ConfigError(
                f"first_size: got {self.first_size}, wanted less than imgsz, {self.imgsz}, and 32 "
                "or more, or 0"
            )
        if self.first_size and self.time:
            raise ConfigError(
                f"first_size: got {self.first_size} with a time budget, which counts all epochs as "
                "equal; set epochs instead of time, or leave first_size out"
            )
        if self.crop_scale and not self.augment:
            raise ConfigError(
                f"crop_scale: got {self.crop_scale} with augment 0, which crops nothing; set "
                "augment above 0, or leave it out"
            )

    @property
    def seconds(self) -> float | None:
        """The time budget in seconds; None: there is none."""
        if not self.time:
            return None
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", self.time.strip())
        if not found or not 0 < float(found[1]) < 1e6:
            raise ConfigError(f"time: got {self.time!r}, wanted a time such as 30m, 2h or 90s")
        return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]

    @property
    def passes(self) -> float:
        """Epochs of the first training that take as long as one of it and of its refits."""
        # Each of K folds leaves 1 / K of the photos out; the last model learns from all.
        learned = {"none": 0.0, "val": 1 - self.test, "all": float(self.refit_folds)}[self.refit]
        return 1 + learned / (1 - self.val - self.test)

    @property
    def stratum(self) -> str:
        """Rank whose proportions the splits keep."""
        return self.stratify_by or self.rank

    @property
    def first_block(self) -> str:
        """First block that stage 2 trains; auto is the backbone's, all is for random weights."""
        is_random = self.weights == "none" and self.fine_tune_from == "auto"
        return "all" if is_random else self.fine_tune_from


def read_config(path: Path) -> dict[str, Any]:
    """Read a settings file: TOML, or JSON where its suffix is ``.json``.

    Raises
    ------
    ConfigError
        The file is missing, too large, not valid TOML or JSON, or holds no table of settings.
    """
    kind, parse = ("JSON", json.loads) if path.suffix == ".json" else ("TOML", tomllib.loads)
    try:
        if (size := path.stat().st_size) > _MAX_CONFIG_BYTES:
            wanted = f"wanted a file of settings of at most {_MAX_CONFIG_BYTES}"
            raise ConfigError(f"{path}: got {size} bytes, {wanted}; check the path")
        values = parse(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not a {kind} file: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: got {str(values)[:40]!r}, wanted an object of named settings")
    return values


def read_preset(name: str) -> dict[str, Any]:
    """Return the settings of one of :data:`PRESETS`, and its name as ``preset``.

    ``sample`` is for the synthetic sample: a small model that trains in minutes on a CPU.

    Raises
    ------
    ConfigError
        There is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"preset: got {name!r}, wanted one of: {', '.join(PRESETS)}")
    return {**read_config(Path(__file__).parent / "presets" / f"{name}.toml"), "preset": name}
