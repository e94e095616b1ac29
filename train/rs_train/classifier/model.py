"""The classifier: backbone, global average pooling, dropout, one dense layer of logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rs_toolkit.errors import ConfigError
from rs_train.classifier.backbones import BACKBONES, build_backbone

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["build_classifier", "feature_extractor", "freeze_below", "set_head"]

_HEAD = "predictions"


def build_classifier(name: str, imgsz: int, classes: int, dropout: float = 0.0) -> keras.Model:
    """Build a classifier with random weights.

    Returns
    -------
    keras.Model
        From (N, imgsz, imgsz, 3) in [-1, 1] to float32 logits (N, classes).  One flat graph
        with the backbone's own layer names, so that converters and weight transfer see them.
    """
    import keras

    backbone = build_backbone(name, imgsz)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(backbone.output)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    # float32 under every precision: sums over classes lose too much in bfloat16.
    logits = keras.layers.Dense(classes, name=_HEAD, dtype="float32")(x)
    return keras.Model(backbone.input, logits, name=backbone.name)


def feature_extractor(model: keras.Model) -> keras.Model:
    """Return the part of a classifier before dropout: inputs to (N, channels) features."""
    import keras

    return keras.Model(model.input, model.get_layer("avg_pool").output)


def set_head(model: keras.Model, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """Put a fitted linear head, (channels, classes) and (classes,), into a classifier."""
    model.get_layer(_HEAD).set_weights([kernel, bias])


def freeze_below(model: keras.Model, name: str, block: str) -> None:
    """Make only ``block`` and what follows trainable, without its batch normalization.

    Batch normalization stays frozen as a whole: its statistics, gamma and beta.

    ``all`` trains every layer, batch normalization too: the setting for random weights, whose
    statistics are not worth keeping (see
    :attr:`rs_toolkit.config.training.TrainConfig.first_block`).

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
        upper = upper or layer.name.startswith(f"{block}_")
        layer.trainable = upper and not isinstance(layer, keras.layers.BatchNormalization)
