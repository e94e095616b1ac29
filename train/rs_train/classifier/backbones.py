"""Backbones by name, their pretrained weights, and the blocks at which fine-tuning may start.

Every backbone takes pixels in [-1, 1], which is what the runtime's preprocessing gives by default.
What a network needs beyond that (ImageNet's mean and deviation per channel) is a layer of its own,
so that it is in every file that an export makes.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_runtime.errors import reason
from rs_toolkit.environment import keras_home
from rs_toolkit.errors import ConfigError, WeightsError
from rs_toolkit.progress import Progress
from rs_train.classifier import convnext, imagenet, mobilenet, xception
from rs_train.classifier.baseline_cnn import BASELINE_BLOCKS, baseline_cnn
from rs_train.classifier.efficientnet_lite0 import BLOCKS, build_efficientnet_lite0, load_package

if TYPE_CHECKING:
    import keras

__all__ = [
    "BACKBONES",
    "Backbone",
    "build_backbone",
    "copy_weights",
    "load_backbone_weights",
    "register",
]


@dataclass(frozen=True)
class Backbone:
    """A feature extractor that the toolkit can train.

    Attributes
    ----------
    name
        The name that ``--backbone`` takes.
    build
        Takes the input size S in pixels.  Returns a Keras model from (N, S, S, 3) in [-1, 1] to a
        feature map (N, H, W, C): one flat graph of Keras' layers.
    blocks
        Blocks at which fine-tuning may start, from input to output.  Each is the prefix of its
        layers' names, ``block_3`` written as ``block3``.
    start
        The block at which the fine-tuning of pretrained weights starts by default, or ``all``.
    network
        Takes the input size and Keras' ``weights``.  Returns the network of keras.applications
        that has the same layers with weights in the same order; None: there is no such network.
    file
        The file of ImageNet weights that Keras publishes; empty: there is none.
    package
        Loads the ImageNet weights of an installed Python package; None: there is no such package.
    """

    name: str
    build: Callable[[int], keras.Model]
    blocks: tuple[str, ...]
    start: str = "all"
    network: Callable[[int, str | None], keras.Model] | None = None
    file: str = ""
    package: Callable[[keras.Model], None] | None = None

    @property
    def source(self) -> str:
        """What ``--weights`` takes for ImageNet weights: imagenet, package or, if none, empty."""
        return "imagenet" if self.file else "package" if self.package else ""


BACKBONES: dict[str, Backbone] = {}
# Any size: the weights do not depend on it.
_SIZE = 224


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
    model: keras.Model,
    name: str,
    weights: str,
    option: str = "--weights",
    progress: Progress | None = None,
) -> None:
    """Load pretrained weights into a model from :func:`build_backbone`, all of them or none.

    Parameters
    ----------
    weights
        ``imagenet`` (downloaded by Keras), ``package`` (from an installed Python package), ``none``
        (keep the random weights), or the path of an HDF5 file (``.h5``), which holds no code.  The
        file is one of the network of keras.applications without its top, or of the backbone itself
        where keras.applications has none.
    option
        The command-line option that error messages name.
    progress
        Says what is downloaded, before it is.

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
        copy_weights(_published(model, name, advice, progress or Progress()), model)
        return
    path = Path(weights)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; check {option}")
    if path.suffix != ".h5":
        raise WeightsError(f"{path}: got suffix {path.suffix!r}, wanted .h5 (HDF5); {advice}")
    backbone = BACKBONES[name]
    # Xception is that network itself.
    itself: object = backbone.build
    other = None if backbone.network is itself else backbone.network
    network = other(_SIZE, None) if other else model
    try:
        # Keras warns of every layer that the file lacks, and then raises an error anyway.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            network.load_weights(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"{path}: damaged, or not of backbone {name}: {reason(error)}; check {option}"
        raise WeightsError(problem) from None
    if network is not model:
        copy_weights(network, model)


def _published(model: keras.Model, name: str, advice: str, progress: Progress) -> keras.Model:
    """Return the network of keras.applications with ImageNet weights; say what is downloaded."""
    backbone = BACKBONES[name]
    if backbone.network is None or not backbone.file:
        raise WeightsError(f"weights imagenet: none are published for backbone {name}; {advice}")
    folder = keras_home() / "models"
    if not (folder / backbone.file).is_file():
        megabytes = 4 * model.count_params() / 1e6
        progress.note(
            f"weights imagenet: Keras downloads {backbone.file} (about {megabytes:.0f} MB) from "
            f"storage.googleapis.com into {folder}"
        )
    try:
        # Keras shows its own progress, and warns of the input size, on which weights do not depend.
        with redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
            return backbone.network(_SIZE, "imagenet")
    except Exception as error:
        # Keras passes on any error of urllib, ssl or h5py; mostly there is no network.
        problem = f"weights imagenet: cannot be downloaded ({reason(error)}); {advice}"
        raise WeightsError(problem) from None


def copy_weights(network: keras.Model, model: keras.Model) -> None:
    """Give a backbone the weights of its network of keras.applications, layer by layer.

    A layer scale, which multiplies the output of the layer before it, goes into that one's weights.
    """
    found: list[list[Any]] = []
    for layer in network.layers:
        # The stem and the downsampling of ConvNeXt are models inside the model.
        for inner in getattr(layer, "layers", [layer]):
            weights = inner.get_weights()
            if type(inner).__name__ == "LayerScale":
                found[-1] = [weight * weights[0] for weight in found[-1]]
            elif weights:
                found.append(weights)
    targets = [layer for layer in model.layers if layer.weights]
    for target, weights in zip(targets, found, strict=True):
        shapes = [tuple(weight.shape) for weight in target.weights]
        target.set_weights(
            [weight.reshape(shape) for weight, shape in zip(weights, shapes, strict=True)]
        )


for _item in (
    Backbone(
        "xception",
        xception.xception,
        xception.XCEPTION_BLOCKS,
        "block9",
        xception.xception,
        "xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
    Backbone("xception-w50", xception.scaled_xception(0.5), xception.XCEPTION_BLOCKS, "block9"),
    Backbone("xception-w25", xception.scaled_xception(0.25), xception.XCEPTION_BLOCKS, "block9"),
    Backbone("xception-mini", xception.scaled_xception(0.1875, ()), xception.MINI_BLOCKS, "block4"),
    Backbone("baseline-cnn", baseline_cnn(), BASELINE_BLOCKS, "block3"),
    Backbone("baseline-cnn-w50", baseline_cnn(2), BASELINE_BLOCKS, "block3"),
    Backbone(
        "efficientnet_lite0", build_efficientnet_lite0, BLOCKS, "block9", package=load_package
    ),
    Backbone(
        "mobilenetv2-w50",
        mobilenet.build_half_mobilenet_v2,
        mobilenet.V2_BLOCKS,
        "block9",
        mobilenet.half_mobilenet_v2,
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.5_224_no_top.h5",
    ),
    Backbone(
        "mobilenetv3-large",
        mobilenet.build_mobilenet_v3,
        mobilenet.V3_BLOCKS,
        "block8",
        mobilenet.mobilenet_v3,
        "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
    ),
    *(
        Backbone(
            f"efficientnetv2-b{number}",
            imagenet.build_efficientnet_v2(number),
            imagenet.efficientnet_v2_blocks(number),
            "block5a",
            imagenet.efficientnet_v2(number),
            f"efficientnetv2-b{number}_notop.h5",
        )
        for number in range(4)
    ),
    *(
        Backbone(
            f"convnext-{size.lower()}",
            convnext.scaled_convnext(f"convnext_{size.lower()}", *shape),
            convnext.convnext_blocks(shape[0]),
            start,
            convnext.convnext(size),
            f"convnext_{size.lower()}_notop.h5",
        )
        for size, shape, start in (
            ("Tiny", convnext.TINY, "block10"),
            ("Base", convnext.BASE, "block19"),
        )
    ),
):
    register(_item)
