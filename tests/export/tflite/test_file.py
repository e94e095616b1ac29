"""TFLite files as trees: nothing is left behind."""

from __future__ import annotations

import numpy as np
import pytest

from rs_export.tflite.file import pack, unpack
from rs_runtime.engines.engine import load_engine


@pytest.fixture(scope="module")
def model() -> bytes:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = layers.Input((8, 8, 3), batch_size=1)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs))
    made = keras.Model(inputs, layers.Dense(3, bias_initializer="random_normal")(x))
    return bytes(tf.lite.TFLiteConverter.from_keras_model(made).convert())


def with_buffers_outside(model: bytes) -> bytes:
    """Return the model with its weights behind the flatbuffer, as large models have them."""
    tree = unpack(model)
    outside = [buffer for buffer in tree.buffers if buffer.data is not None and len(buffer.data)]
    datas = [np.asarray(buffer.data, np.uint8).tobytes() for buffer in outside]
    for buffer in outside:
        # 1 reserves the fields; their places are known once the flatbuffer is packed.
        buffer.data, buffer.offset, buffer.size = None, 1, 1
    end = -(-len(pack(tree, len(model))) // 16) * 16
    tail = b""
    for buffer, data in zip(outside, datas, strict=True):
        buffer.offset, buffer.size = end + len(tail), len(data)
        tail += data + b"\0" * (-len(data) % 16)
    return bytes(pack(tree, len(model))).ljust(end, b"\0") + tail


def test_buffers_behind_the_flatbuffer_come_along(model) -> None:
    inputs = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    wanted = load_engine("litert", model).logits(inputs)
    outside = with_buffers_outside(model)
    np.testing.assert_array_equal(load_engine("litert", outside).logits(inputs), wanted)
    whole = bytes(pack(unpack(outside), len(outside)))
    assert all(buffer.offset == 0 for buffer in unpack(whole).buffers)
    np.testing.assert_array_equal(load_engine("litert", whole).logits(inputs), wanted)


def test_packing_is_deterministic_and_keeps_the_numbers(model) -> None:
    inputs = np.ones((1, 8, 8, 3), np.float32)
    one, other = (bytes(pack(unpack(model), len(model))) for _ in range(2))
    assert one == other
    np.testing.assert_array_equal(
        load_engine("litert", one).logits(inputs), load_engine("litert", model).logits(inputs)
    )
