"""Photos to features of a frozen, pretrained backbone: what cleaning compares photos by."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_toolkit.data.remembered import known_arrays, remembered_arrays
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import atomic_write
from rs_toolkit.progress import Progress
from rs_train.classifier.checkpoint import weights_sha256

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo, PhotoCache

__all__ = ["embed", "frozen_features"]

_BATCH = 32
_VIEWS = 2  # as it is, and mirrored


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
        temporary.write_text(_features_folder(extractor, cache).name, "utf-8")
    return np.asarray(found.mean(axis=1), np.float32)


def frozen_features(
    extractor: keras.Model, photos: list[Photo], root: Path, cache: PhotoCache, progress: Progress
) -> NDArray[np.float32]:
    """Return features of each photo as it is and mirrored, shape (n, 2, channels).

    Kept on disk, one small file a photo, so that an interrupted pass goes on where it stopped and a
    second run embeds nothing.  ``root`` is the folder that the photos' paths start from.
    """

    def embedded(batch: list[Photo]) -> NDArray[np.float32]:
        # Always a full batch: a smaller one may be rounded differently.
        images = np.zeros((_BATCH, *extractor.input_shape[1:]), np.float32)
        pixels = cache.stacked(batch, lambda _: root)
        images[: len(batch)] = cache.preprocessing.model_input(pixels)
        views = [extractor.predict_on_batch(x) for x in (images, images[:, :, ::-1])]
        return np.stack(views, 1)[: len(batch)]

    folder = _features_folder(extractor, cache)
    shape = (_VIEWS, int(extractor.output_shape[-1]))
    return remembered_arrays(photos, folder, shape, embedded, progress, "frozen features", _BATCH)


def _features_folder(extractor: keras.Model, cache: PhotoCache) -> Path:
    """Return where features are kept: its name changes with any weight or with the pixels."""
    digest = hashlib.sha256()
    for weight in extractor.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    name = f"{digest.hexdigest()[:16]}-{cache.preprocessing.fingerprint()}"
    return cache.directory / "features" / name
