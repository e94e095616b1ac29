"""The classifier: backbone, global average pooling, dropout, one dense layer of logits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_toolkit.errors import ConfigError
from rs_toolkit.files import atomic_write, require_space
from rs_train.classifier.backbones import BACKBONES, build_backbone

if TYPE_CHECKING:
    import keras

__all__ = [
    *("block_numbers", "build_classifier", "copy_weights", "feature_extractor", "freeze_below"),
    "save_model",
]

_HEAD = ("bottleneck", "predictions")


def build_classifier(
    name: str, imgsz: int, classes: int, dropout: float = 0.0, bottleneck: int = 0
) -> keras.Model:
    """Build a classifier with random weights.

    It maps (N, imgsz, imgsz, 3) in [-1, 1] to float32 logits (N, classes).  It is one flat graph
    with the backbone's own layer names, which converters and the transfer of weights need.

    A ``bottleneck`` of k units, fewer than channels and classes, gives the head fewer weights: k *
    (channels + classes) instead of channels * classes.  It is linear, so that :func:`copy_weights`
    makes one layer of both again (Sainath et al. 2013, "Low-rank matrix factorization for deep
    neural network training with high-dimensional output targets").
    """
    import keras

    backbone = build_backbone(name, imgsz)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(backbone.output)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    if bottleneck:
        x = keras.layers.Dense(bottleneck, use_bias=False, name=_HEAD[0], dtype="float32")(x)
    # Always float32: softmax over the classes loses too much precision in bfloat16.
    logits = keras.layers.Dense(classes, name=_HEAD[1], dtype="float32")(x)
    return keras.Model(backbone.input, logits, name=backbone.name)


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of a classifier to one that may have another bottleneck, or none.

    A bottleneck of the source is multiplied out.  That of the target gets the nearest matrices by
    least squares: the truncated singular value decomposition (Eckart, Young 1936).
    """
    # Layer by layer: the order of a model's weights depends on which layers are frozen.
    for one, other in zip(_body(source), _body(target), strict=True):
        other.set_weights(one.get_weights())
    *first, last = (source.get_layer(name).get_weights() for name in _HEAD if _has(source, name))
    kernel, bias = last
    if first:
        kernel = first[0][0] @ kernel
    if _has(target, _HEAD[0]):
        units = target.get_layer(_HEAD[0]).units
        left, scale, right = np.linalg.svd(kernel, full_matrices=False)
        root = np.sqrt(scale[:units])
        target.get_layer(_HEAD[0]).set_weights([left[:, :units] * root])
        kernel = root[:, None] * right[:units]
    target.get_layer(_HEAD[1]).set_weights([kernel, bias])


def _body(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if layer.name not in _HEAD]


def _has(model: keras.Model, name: str) -> bool:
    return any(layer.name == name for layer in model.layers)


def feature_extractor(model: keras.Model) -> keras.Model:
    """Return a classifier or student cut off after its pooling: inputs to (N, channels)."""
    import keras

    return keras.Model(model.input, model.get_layer("avg_pool").output)


def freeze_below(model: keras.Model, name: str, block: str) -> None:
    """Make only ``block`` and the layers after it trainable, except for batch normalization.

    All of batch normalization stays frozen: its statistics, gamma and beta.  The block ``all``
    makes every layer trainable, batch normalization too: for random weights, which have no
    statistics worth keeping.  The block ``auto`` is the one at which the backbone ``name`` starts
    by default, ``last`` only its last.  ConfigError: it has no such block.
    """
    import keras

    blocks, start = BACKBONES[name].blocks, BACKBONES[name].start
    block = {"auto": start, "last": blocks[-1]}.get(block, block)
    if block == "all":
        model.trainable = True
        return
    if block not in blocks:
        raise ConfigError(
            f"fine_tune_from: got {block!r}, wanted auto, last, all or one of {', '.join(blocks)}"
        )
    first = blocks.index(block) + 1
    numbers = block_numbers(model, name)
    for layer in model.layers:
        frozen = numbers[layer.name] < first or isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = not frozen


def block_numbers(model: keras.Model, name: str) -> dict[str, int]:
    """Return the block of each layer of a classifier, by the layer's name.

    The blocks of the backbone ``name`` count from 1; layers before them have 0, and layers after
    the backbone one number more than its last block.  Layers without a block in their name, such as
    shortcuts, belong to the block before them.
    """
    blocks = BACKBONES[name].blocks
    numbers, number = {}, 0
    for layer in model.layers:
        title = layer.name.replace("block_", "block")
        found = [place for place, block in enumerate(blocks, 1) if title.startswith(f"{block}_")]
        head = len(blocks) + 1 if layer.name == "avg_pool" else 0
        number = max(number, head, *found)
        numbers[layer.name] = number
    return numbers


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model as a ``.keras`` file, atomically; OSError: the disk is full."""
    # HDF5 crashes the process on a full disk.
    require_space(path.parent, 2 * 4 * model.count_params() + 2**20)
    with atomic_write(path) as temporary:
        model.save(temporary)
