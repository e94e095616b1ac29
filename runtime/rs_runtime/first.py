"""The first photo of a command, decoded while the model is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rs_runtime.engines.limits import cores

if TYPE_CHECKING:
    import numpy as np

    from rs_runtime.kit.manifest import Manifest
    from rs_runtime.photos.ahead import Ahead
    from rs_runtime.photos.photo import PhotoInfo

    Loaded = tuple[list[np.ndarray], PhotoInfo]

__all__ = ["decode_ahead"]


def decode_ahead(
    photo: Path | None, manifest: Manifest, filter: str, load: Callable[..., Loaded]
) -> Ahead[Loaded] | None:
    """Begin to ``load`` a photo for a kit's models; None where that gains nothing.

    ``load`` is :func:`rs_runtime.photos.preprocess.load_each`; ``filter`` as for
    :meth:`Classifier.open`.
    """
    if photo is None or cores() < 2:
        return None
    from rs_runtime.photos.ahead import Ahead

    judge = None if filter == "off" else manifest.filter
    models = [manifest.preprocessing, *([judge.preprocessing] if judge else [])]
    return Ahead((photo, models), lambda: load(photo, models))
