"""Photos to features of a frozen, pretrained backbone: what cleaning compares photos by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_toolkit.data.remembered import known_arrays
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import atomic_write
from rs_toolkit.progress import Progress
from rs_train.classifier.checkpoint import weights_sha256
from rs_train.classifier.linear_probe import features_folder, frozen_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo, PhotoCache

__all__ = ["embed"]


def embed(
    photos: list[Photo],
    root: Path,
    cache: PhotoCache,
    *,
    backbone: str,
    weights: str,
    progress: Progress,
) -> NDArray[np.float32]:
    """Return the mean feature of each photo and its mirror image, shape (n, channels).

    The features are those of stage 1, and share its cache.  Where every photo is cached, neither
    TensorFlow nor the backbone is loaded.  The photos are readable, their paths start from
    ``root``; ``backbone`` and ``weights`` are as ``rs-toolkit train`` takes them.

    Raises
    ------
    WeightsError
        The weights are missing, damaged, or of another backbone.
    """
    source = f"{backbone}-{(weights_sha256(weights) or Path(weights).name)[:16]}"
    note = cache.directory / "features" / f"{source}-{cache.preprocessing.fingerprint()}.txt"
    if note.is_file():
        known = known_arrays(photos, note.with_name(note.read_text("utf-8")))
        if known is not None and known.ndim == 3:
            return np.asarray(known.mean(axis=1), np.float32)
    quiet_tensorflow()
    import keras

    from rs_train.classifier.backbones import build_backbone, load_backbone_weights

    body = build_backbone(backbone, cache.preprocessing.size)
    load_backbone_weights(body, backbone, weights)
    extractor = keras.Model(body.input, keras.layers.GlobalAveragePooling2D()(body.output))
    found = frozen_features(extractor, photos, root, cache, progress)
    with atomic_write(note) as temporary:
        temporary.write_text(features_folder(extractor, cache).name, "utf-8")
    return np.asarray(found.mean(axis=1), np.float32)
