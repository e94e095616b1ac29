"""The import of torch: checked, seeded, and such that torchvision can be imported too."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from rs_toolkit.errors import MissingPackageError

__all__ = ["ready_torch"]

_KEPT: list[Any] = []


def ready_torch() -> Any:
    """Import and seed ``torch``, and return it; afterwards open_clip can be imported.

    open_clip imports torchvision, which fails where its compiled operators ``nms`` and ``qnms`` are
    missing, as beside CPU builds of torch.  Then the two are declared, without an implementation.
    MissingPackageError: torch, torchvision or open_clip is not installed.
    """
    packages = {"torch": "torch", "torchvision": "torchvision", "open_clip": "open_clip_torch"}
    missing = [package for module, package in packages.items() if find_spec(module) is None]
    if missing:
        raise MissingPackageError(
            f"a teacher needs {', '.join(missing)}, which is not installed; "
            "run: bash samples/install-clip.sh"
        )
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        _declare_operators(torch)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    return torch


def _declare_operators(torch: Any) -> None:
    # The operators exist as long as this object, which _KEPT keeps.
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    import torchvision  # noqa: F401
