"""Backbones by name: Xception and narrower versions of it, and two small networks with ReLU6."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_runtime.errors import reason
from rs_toolkit.errors import ConfigError, WeightsError
from rs_train.classifier.efficientnet_lite0 import BLOCKS, build_efficientnet_lite0, load_package

if TYPE_CHECKING:
    import keras

__all__ = ["BACKBONES", "Backbone", "build_backbone", "load_backbone_weights", "register"]


@dataclass(frozen=True)
class Backbone:
    """A feature extractor that the toolkit can train.

    Attributes
    ----------
    name
        The name that ``--backbone`` takes.
    build
        Takes the input size S in pixels.  Returns a Keras model from (N, S, S, 3) in [-1, 1] to a
        feature map (N, H, W, C).
    blocks
        Blocks at which fine-tuning may start, from input to output.  Each is the prefix of its
        layers' names, ``block_3`` written as ``block3``.
    imagenet
        Builds it with the ImageNet weights that Keras publishes; None: there are none.
    package
        Loads the ImageNet weights of an installed Python package; None: there is no such package.
    """

    name: str
    build: Callable[[int], keras.Model]
    blocks: tuple[str, ...]
    imagenet: Callable[[], keras.Model] | None = None
    package: Callable[[keras.Model], None] | None = None


BACKBONES: dict[str, Backbone] = {}
# Momentum of batch normalization.  With Keras' default of 0.99, the moving averages lag a hundred
# steps behind, which can be a whole epoch of a small data set.
_MOMENTUM = 0.9
_MIDDLE = range(5, 13)
_XCEPTION_BLOCKS = tuple(f"block{number}" for number in range(1, 15))
_MINI_BLOCKS = tuple(f"block{number}" for number in range(1, 15) if number not in _MIDDLE)
_MOBILENET_BLOCKS = tuple(f"block{number}" for number in range(1, 17))


def register(backbone: Backbone) -> None:
    """Add a backbone to those that ``--backbone`` takes; ValueError: the name is taken."""
    if backbone.name in BACKBONES:
        raise ValueError(f"backbone {backbone.name!r} is registered already; choose another name")
    BACKBONES[backbone.name] = backbone


def build_backbone(name: str, imgsz: int) -> keras.Model:
    """Build a registered backbone with random weights.

    ConfigError: the name is unknown, or the input is too small for it.
    """
    if name not in BACKBONES:
        raise ConfigError(f"backbone: got {name!r}, wanted one of {', '.join(sorted(BACKBONES))}")
    try:
        return BACKBONES[name].build(imgsz)
    except ValueError as error:
        problem = f"backbone {name} at imgsz {imgsz}: {reason(error)}; raise imgsz"
        raise ConfigError(problem) from None


def load_backbone_weights(
    model: keras.Model, name: str, weights: str, option: str = "--weights"
) -> None:
    """Load pretrained weights into a model from :func:`build_backbone`, all of them or none.

    Parameters
    ----------
    weights
        ``imagenet`` (downloaded by Keras), ``package`` (from an installed Python package), ``none``
        (keep the random weights), or the path of an HDF5 file (``.h5``), which holds no code.
    option
        The command-line option that error messages name.

    Raises
    ------
    WeightsError
        ImageNet weights cannot be downloaded or are not published, no package has weights of this
        backbone, or the file is missing, damaged, or of another architecture.
    MissingPackageError
        The package is not installed.
    """
    if weights == "none":
        return
    advice = f"give a local file: {option} FILE.h5"
    if weights == "package":
        load = BACKBONES[name].package
        if load is None:
            known = ", ".join(item.name for item in BACKBONES.values() if item.package)
            raise WeightsError(
                f"weights package: got backbone {name}, wanted one that a package has weights of: "
                f"{known}; choose that, or {advice}"
            )
        load(model)
        return
    if weights == "imagenet":
        advice += f", or train from scratch: {option} none"
        full = _published(name, advice)
        model.set_weights(full.get_weights())
        return
    path = Path(weights)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; check {option}")
    if path.suffix != ".h5":
        raise WeightsError(f"{path}: got suffix {path.suffix!r}, wanted .h5 (HDF5); {advice}")
    try:
        # Keras warns of every layer that the file lacks, and then raises an error anyway.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            model.load_weights(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"{path}: damaged, or not of backbone {name}: {reason(error)}; check {option}"
        raise WeightsError(problem) from None


def _published(name: str, advice: str) -> keras.Model:
    published = BACKBONES[name].imagenet
    if published is None:
        raise WeightsError(f"weights imagenet: none are published for backbone {name}; {advice}")
    try:
        return published()
    except Exception as error:
        # Keras passes on any error of urllib, ssl or h5py; mostly there is no network.
        problem = f"weights imagenet: cannot be downloaded ({reason(error)}); {advice}"
        raise WeightsError(problem) from None


def _xception(imgsz: int, weights: str | None = None) -> keras.Model:
    import keras

    return keras.applications.Xception(
        weights=weights, include_top=False, input_shape=(imgsz, imgsz, 3)
    )


def _half_mobilenet(imgsz: int, weights: str | None = None) -> keras.Model:
    """Return MobileNetV2 (Sandler et al. 2018) with half of the channels.

    Its only activation is ReLU6; MobileNetV3's hard-swish loses more accuracy in 8 bits.
    """
    import keras

    inputs = keras.Input((imgsz, imgsz, 3), name="photos")
    model = keras.applications.MobileNetV2(
        input_tensor=inputs, alpha=0.5, include_top=False, weights=weights
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    return keras.Model(inputs, model.output, name="mobilenetv2_w50")


def _scaled_xception(width: float, middle: Sequence[int] = _MIDDLE) -> Callable[[int], keras.Model]:
    """Return a function that builds Xception (Chollet 2017) with channel counts times ``width``.

    Layers have the names of ``keras.applications.Xception``; the shortcuts, unnamed there, are
    called ``blockN_shortcut``.  Channel counts are rounded to multiples of 8, with which integer
    kernels are fastest.  ``middle`` are the block numbers of the middle flow, whose inputs and
    outputs have the same shape.
    """

    def channels(count: int) -> int:
        return max(8, round(count * width / 8) * 8)

    def build(imgsz: int) -> keras.Model:
        from keras import Input, Model, layers

        x = inputs = Input((imgsz, imgsz, 3))
        for name, count, strides in (("block1_conv1", 32, 2), ("block1_conv2", 64, 1)):
            x = layers.Conv2D(channels(count), 3, strides=strides, use_bias=False, name=name)(x)
            x = _relu(_normalized(x, name), name)
        for number, count in ((2, 128), (3, 256), (4, 728)):
            x = _down_block(x, number, (channels(count),) * 2, first_relu=number > 2)
        for number in middle:
            shortcut = x
            for part in (1, 2, 3):
                x = _separable(x, f"block{number}_sepconv{part}", channels(728))
            x = layers.Add(name=f"block{number}_add")([x, shortcut])
        x = _down_block(x, 13, (channels(728), channels(1024)), first_relu=True)
        for name, count in (("block14_sepconv1", 1536), ("block14_sepconv2", 2048)):
            x = _relu(_separable(x, name, channels(count), relu_before=False), name)
        return Model(inputs, x, name=f"xception_w{round(width * 100)}")

    return build


def _relu(x: Any, name: str) -> Any:
    from keras import layers

    return layers.Activation("relu", name=f"{name}_act")(x)


def _normalized(x: Any, name: str) -> Any:
    from keras import layers

    return layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_bn")(x)


def _separable(x: Any, name: str, count: int, *, relu_before: bool = True) -> Any:
    from keras import layers

    if relu_before:
        x = _relu(x, name)
    x = layers.SeparableConv2D(count, 3, padding="same", use_bias=False, name=name)(x)
    return _normalized(x, name)


def _down_block(x: Any, number: int, counts: tuple[int, int], *, first_relu: bool) -> Any:
    from keras import layers

    name = f"block{number}"
    shortcut = layers.Conv2D(
        counts[1], 1, strides=2, padding="same", use_bias=False, name=f"{name}_shortcut"
    )(x)
    shortcut = _normalized(shortcut, f"{name}_shortcut")
    x = _separable(x, f"{name}_sepconv1", counts[0], relu_before=first_relu)
    x = _separable(x, f"{name}_sepconv2", counts[1])
    x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
    return layers.Add(name=f"{name}_add")([x, shortcut])


_full = partial(_xception, 299, "imagenet")
_half = partial(_half_mobilenet, 224, "imagenet")
register(Backbone("xception", _xception, _XCEPTION_BLOCKS, imagenet=_full))
register(Backbone("xception-w50", _scaled_xception(0.5), _XCEPTION_BLOCKS))
register(Backbone("xception-w25", _scaled_xception(0.25), _XCEPTION_BLOCKS))
register(Backbone("xception-mini", _scaled_xception(0.1875, middle=()), _MINI_BLOCKS))
register(Backbone("efficientnet_lite0", build_efficientnet_lite0, BLOCKS, package=load_package))
register(Backbone("mobilenetv2-w50", _half_mobilenet, _MOBILENET_BLOCKS, imagenet=_half))
