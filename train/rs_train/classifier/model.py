"""The classifier: backbone, global average pooling, dropout, one dense layer of logits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rs_toolkit.errors import ConfigError
from rs_toolkit.files import atomic_write, require_space
from rs_train.classifier.backbones import BACKBONES, build_backbone

if TYPE_CHECKING:
    import keras

__all__ = ["build_classifier", "feature_extractor", "freeze_below", "save_model"]


def build_classifier(name: str, imgsz: int, classes: int, dropout: float = 0.0) -> keras.Model:
    """Build a classifier with random weights.

    From (N, imgsz, imgsz, 3) in [-1, 1] to float32 logits (N, classes): one flat graph with the
    backbone's own layer names, so that converters and weight transfer see them.
    """
    import keras

    backbone = build_backbone(name, imgsz)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(backbone.output)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    # float32 under every precision: sums over classes lose too much in bfloat16.
    logits = keras.layers.Dense(classes, name="predictions", dtype="float32")(x)
    return keras.Model(backbone.input, logits, name=backbone.name)


def feature_extractor(model: keras.Model) -> keras.Model:
    """Return the part of a classifier or student up to its pooling: inputs to (N, channels)."""
    import keras

    return keras.Model(model.input, model.get_layer("avg_pool").output)


def freeze_below(model: keras.Model, name: str, block: str) -> None:
    """Make only ``block`` and what follows trainable, without its batch normalization.

    Batch normalization stays frozen as a whole: its statistics, gamma and beta.  ``all`` trains it
    too, and every layer: for random weights, whose statistics are not worth keeping.

    Raises
    ------
    ConfigError
        The backbone has no such block.
    """
    import keras

    if block == "all":
        model.trainable = True
        return
    blocks = BACKBONES[name].blocks
    if block not in blocks:
        raise ConfigError(
            f"fine_tune_from: got {block!r}, wanted auto, all or one of {', '.join(blocks)}"
        )
    upper = False
    for layer in model.layers:
        upper = upper or layer.name.replace("block_", "block").startswith(f"{block}_")
        layer.trainable = upper and not isinstance(layer, keras.layers.BatchNormalization)


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model as a ``.keras`` file, whole or not at all; OSError: the disk is full."""
    # HDF5 crashes the process on a full disk.
    require_space(path.parent, 2 * 4 * model.count_params() + 2**20)
    with atomic_write(path) as temporary:
        model.save(temporary)
