"""A backbone that compiles in a second, for tests of everything around the network.

Registered as ``tiny`` by tests/conftest.py, and by path in the processes that tests start.
"""

from __future__ import annotations

from typing import Any

from rs_train.classifier.backbones import BACKBONES, Backbone, register


def build(imgsz: int) -> Any:
    """Two blocks: a convolution, then a separable one, each with batch normalization."""
    from keras import Input, Model, layers

    inputs = Input((imgsz, imgsz, 3))
    x = layers.Conv2D(12, 3, strides=2, use_bias=False, name="block1_conv1")(inputs)
    x = layers.BatchNormalization(momentum=0.8, name="block1_conv1_bn")(x)
    x = layers.ReLU(name="block1_conv1_act")(x)
    x = layers.SeparableConv2D(24, 3, strides=2, use_bias=False, name="block2_sepconv1")(x)
    x = layers.BatchNormalization(momentum=0.8, name="block2_sepconv1_bn")(x)
    x = layers.ReLU(name="block2_sepconv1_act")(x)
    return Model(inputs, x, name="tiny")


if "tiny" not in BACKBONES:
    register(Backbone("tiny", build, ("block1", "block2"), imagenet=False))
