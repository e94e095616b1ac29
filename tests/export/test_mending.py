"""Equalization and bias correction: the function stays, the numbers get better."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rs_export.convert import Converter
from rs_export.quantize.equalize import _ranges, equalize
from rs_export.recipes import RECIPES
from rs_runtime.engines.engine import load_engine

SIDE = 24


def uneven(layers: Any, values: np.random.Generator) -> None:
    """Give batch normalization and depthwise kernels channels of very different size."""
    for layer in layers:
        spread = [
            np.exp(values.normal(0, 0.7, weight.shape[-2 if weight.ndim == 4 else -1]))
            for weight in layer.get_weights()[:1]
        ]
        weights = layer.get_weights()
        weights[0] = weights[0] * (spread[0][:, None] if weights[0].ndim == 4 else spread[0])
        layer.set_weights(weights)


@pytest.fixture(scope="module")
def model() -> Any:
    """A stem, two separable convolutions in line, a third on a branch, and a dense top."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = layers.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(16, 3, strides=2, use_bias=False)(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)
    x = layers.SeparableConv2D(16, 3, padding="same", use_bias=False, name="first")(x)
    stream = layers.BatchNormalization(name="branching")(x)
    x = layers.Activation("relu")(stream)
    x = layers.SeparableConv2D(16, 3, padding="same", use_bias=False, name="second")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Add()([x, stream])
    x = layers.GlobalAveragePooling2D()(x)
    # A bias of zeros would be left out of the converted graph.
    model = keras.Model(inputs, layers.Dense(5, bias_initializer="random_normal")(x))
    values = np.random.default_rng(1)
    uneven(
        [
            layer
            for layer in model.layers
            if isinstance(layer, layers.BatchNormalization | layers.SeparableConv2D)
        ],
        values,
    )
    return model


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(2).uniform(-1, 1, (40, SIDE, SIDE, 3)).astype(np.float32)


def test_equalized_model_computes_the_same(model, inputs) -> None:
    before = [weight.copy() for weight in model.get_weights()]
    wanted, got = (m.predict(inputs, verbose=0) for m in (model, equalize(model, inputs)))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_channels_become_even_where_that_is_allowed(model, inputs) -> None:
    layers = [model.get_layer(name) for name in ("first", "second")]
    (fed, between), (fed_after, between_after) = (
        _ranges(m, layers, inputs) for m in (model, equalize(model, inputs))
    )
    for name in ("first", "second"):
        assert between[name].min() < 0.4 * between[name].max()
        assert between_after[name].min() > 0.99 * between_after[name].max()
    assert fed_after["first"].min() > 0.99 * fed_after["first"].max()
    # What feeds the second also goes to the sum, so it must stay as it is.
    np.testing.assert_allclose(fed_after["second"], fed["second"], rtol=1e-4)


def test_a_model_without_separable_convolutions_is_left_alone(inputs) -> None:
    import keras

    plain = keras.Sequential([keras.layers.Input((SIDE, SIDE, 3)), keras.layers.Flatten()])
    assert equalize(plain, inputs) is plain


@pytest.mark.parametrize("name", ["tflite_int8", "onnx_u8s8"])
def test_mended_models_are_nearer_to_float_than_plain_ones(
    model, inputs, name, monkeypatch
) -> None:
    recipe = RECIPES[name]
    wanted = model.predict(inputs, verbose=0)

    def error() -> tuple[float, float]:
        with Converter(model, lambda count: inputs) as converter:
            logits = load_engine(recipe.engine, converter.convert(recipe)).logits(inputs)
        difference = logits - wanted
        return float(np.abs(difference.mean(axis=0)).max()), float((difference**2).mean())

    shift, noise = error()
    monkeypatch.setattr("rs_export.convert.correct_bias", lambda data, *_: data)
    shift_uncorrected, _ = error()
    monkeypatch.setattr("rs_export.convert.equalize", lambda model, _: model)
    _, noise_plain = error()
    assert shift < shift_uncorrected
    assert noise < 0.7 * noise_plain
