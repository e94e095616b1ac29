"""Every kind of network goes through the export: conversion, rounding, pruning, fine-tuning.

The small ones have each kind of block once; whole networks are slow tests.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from rs_export.convert import Converter, Quantization
from rs_export.quantize.equalize import equalize
from rs_export.quantize.sensitivity import most_sensitive, sensitivity_table
from rs_export.recipes import Recipe
from rs_export.shrink.sparse import pruned_in_one_shot
from rs_runtime.engines.engine import load_engine
from rs_toolkit.errors import ExportError
from rs_train.classifier.backbones import BACKBONES, build_backbone
from rs_train.classifier.convnext import scaled_convnext

SIDE, PHOTOS = 32, 16
# Where the networks are cut off.
LAST = {"mobilenetv3-large": "block4_project_bn", "efficientnetv2-b0": "block4a_project_bn"}
SMALL = tuple(
    pytest.param(name, marks=pytest.mark.slow if name == "efficientnetv2-b0" else [])
    for name in (*LAST, "convnext")
)
WHOLE = [pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES if name != "tiny"]
INT8, U8S8 = Recipe.parse("tflite_int8"), Recipe.parse("onnx_u8s8")


@cache
def photos() -> Any:
    """Return coarse random patterns as model inputs, (n, S, S, 3)."""
    coarse = np.random.default_rng(0).uniform(-1, 1, (PHOTOS, 8, 8, 3)).astype(np.float32)
    return coarse.repeat(SIDE // 8, 1).repeat(SIDE // 8, 2)


@cache
def model(name: str, side: int = SIDE) -> Any:
    """Return a classifier whose batch normalization has the statistics of the photos."""
    import keras

    keras.utils.set_random_seed(1)
    if name == "convnext":
        body = scaled_convnext("small", (1, 1), (8, 16))(side)
    else:
        body = build_backbone(name.removeprefix("whole "), side)
    x = body.get_layer(LAST[name]).output if name in LAST else body.output
    x = keras.layers.GlobalAveragePooling2D()(x)
    made = keras.Model(body.input, keras.layers.Dense(5, name="predictions")(x))
    norms = [x for x in made.layers if isinstance(x, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    if norms and side == SIDE:
        made(photos(), training=True)
    return made


def likeness(one: Any, other: Any) -> float:
    """Return the correlation of logits, each class without its mean."""
    return float(np.corrcoef((one - one.mean(0)).ravel(), (other - other.mean(0)).ravel())[0, 1])


@cache
def logits(made: Any) -> Any:
    return np.asarray(made(photos(), training=False))


def converted(made: Any, *recipes: Recipe, how: Quantization | None = None) -> float:
    """Return how alike a model and its variants are, at the worst one."""
    with Converter(made, lambda n: photos()[:n], photos=PHOTOS) as converter:
        found = [load_engine(item.engine, converter.convert(item, how)) for item in recipes]
    return min(likeness(engine.logits(photos()), logits(made)) for engine in found)


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_are_rounded_to_8_bits(name) -> None:
    assert converted(model(name), INT8, U8S8) > 0.97


@pytest.mark.parametrize("name", SMALL)
def test_a_network_without_separable_convolutions_is_not_equalized(name) -> None:
    assert equalize(model(name), photos()) is model(name)


def test_sensitive_layers_of_convnext_stay_in_float() -> None:
    made = model("convnext")
    layers = most_sensitive(sensitivity_table(made, photos()), 0.3)
    assert layers
    how = Quantization(PHOTOS, float_layers=layers)
    assert converted(made, Recipe.parse("onnx_u8s8_f30"), how=how) > 0.97


@pytest.mark.parametrize("name", ["convnext"])
def test_pointwise_kernels_are_pruned(name) -> None:
    made = pruned_in_one_shot(model(name), photos(), "sp50")
    kernels = {layer.name: layer.get_weights()[0] for layer in made.layers if layer.weights}
    pruned = {name for name, kernel in kernels.items() if (kernel == 0).mean() == 0.5}
    assert any("expand" in name for name in pruned)
    assert all(kernels[name].shape[:2] == (1, 1) for name in pruned)


def test_only_where_tf_keras_computes_the_same_is_a_network_fine_tuned(one_line) -> None:
    from rs_export.shrink.legacy import legacy_clone

    for name in ("efficientnetv2-b0", "convnext"):
        clone = legacy_clone(model(name))
        found = np.asarray(clone(photos(), training=False))
        assert np.allclose(found, logits(model(name)), atol=1e-4), name
    with pytest.raises(ExportError, match=r"hard_silu.*choose recipes without c, qat") as caught:
        legacy_clone(model("mobilenetv3-large"))
    one_line(str(caught.value))


def test_a_fresh_mobilenet_v3_at_any_bias_becomes_onnx() -> None:
    """tf2onnx failed at a constant added right after a convolution, as where a bias is 0."""
    made = model("mobilenetv3-large")
    assert all(np.any(layer.get_weights()[1]) for layer in made.layers if "excite" in layer.name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnetv2-b0", "convnext"])
def test_training_with_rounding_begins_near_the_float_model(name) -> None:
    from rs_export.shrink.legacy import legacy_clone
    from rs_export.shrink.lighter import to_train

    student, plain, _ = to_train("qat", legacy_clone(model(name)), photos(), 2)
    found = np.asarray(student(photos(), training=False))
    assert likeness(found, logits(model(name))) > 0.9
    assert plain(student).keys() >= {"predictions"}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_networks_are_rounded_to_8_bits(name) -> None:
    if name == "xception":
        pytest.skip("needs 71 pixels; its narrow siblings have its layers")
    assert converted(model(f"whole {name}"), INT8, U8S8) > 0.8
