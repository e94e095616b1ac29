"""Features of photos from a frozen, pretrained backbone; cleaning and stage 1 use them."""

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

__all__ = ["embed", "embed_views", "frozen_features"]

_BATCH = 32
_VIEWS = 2  # the photo and its mirror image


def embed(
    photos: list[Photo],
    root: Path,
    cache: PhotoCache,
    *,
    backbone: str,
    weights: str,
    progress: Progress,
) -> NDArray[np.float32]:
    """Return the mean of each photo's features and its mirror image's, shape (n, channels).

    Takes and raises what :func:`embed_views` does.
    """
    views = embed_views(photos, root, cache, backbone=backbone, weights=weights, progress=progress)
    return np.asarray(views.mean(axis=1), np.float32)


def embed_views(
    photos: list[Photo],
    root: Path,
    cache: PhotoCache,
    *,
    backbone: str,
    weights: str,
    progress: Progress,
) -> NDArray[np.float32]:
    """Return the features of each photo and of its mirror image, shape (n, 2, channels).

    These are the features of stage 1 (:func:`frozen_features`), from the same cache.  Where every
    photo is in the cache, neither TensorFlow nor the backbone is loaded.

    Parameters
    ----------
    photos, root
        Readable photos, and the folder that their paths are relative to.
    backbone, weights
        As ``rs-toolkit train`` takes them.

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
            return known
    quiet_tensorflow()
    import keras

    from rs_train.classifier.backbones import build_backbone, load_backbone_weights

    body = build_backbone(backbone, cache.preprocessing.size)
    load_backbone_weights(body, backbone, weights, progress=progress)
    extractor = keras.Model(body.input, keras.layers.GlobalAveragePooling2D()(body.output))
    found = frozen_features(extractor, photos, root, cache, progress)
    with atomic_write(note) as temporary:
        temporary.write_text(_features_folder(extractor, cache).name, "utf-8")
    return found


def frozen_features(
    extractor: keras.Model, photos: list[Photo], root: Path, cache: PhotoCache, progress: Progress
) -> NDArray[np.float32]:
    """Return the features of each photo and of its mirror image, shape (n, 2, channels).

    They are kept on disk, one small file per photo: an interrupted computation continues where it
    stopped, and a second one computes nothing.  The photos' paths are relative to ``root``.
    """

    def embedded(batch: list[Photo]) -> NDArray[np.float32]:
        # Always a full batch: rounding errors can depend on the batch size.
        images = np.zeros((_BATCH, *extractor.input_shape[1:]), np.float32)
        pixels = cache.stacked(batch, lambda _: root)
        images[: len(batch)] = cache.preprocessing.model_input(pixels)
        views = [extractor.predict_on_batch(x) for x in (images, images[:, :, ::-1])]
        return np.stack(views, 1)[: len(batch)]

    folder = _features_folder(extractor, cache)
    shape = (_VIEWS, int(extractor.output_shape[-1]))
    return remembered_arrays(photos, folder, shape, embedded, progress, "frozen features", _BATCH)


def _features_folder(extractor: keras.Model, cache: PhotoCache) -> Path:
    """Return the cache folder; its name depends on all weights and on the preprocessing."""
    digest = hashlib.sha256()
    for weight in extractor.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    name = f"{digest.hexdigest()[:16]}-{cache.preprocessing.fingerprint()}"
    return cache.directory / "features" / name
