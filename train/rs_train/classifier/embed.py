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

__all__ = ["Embedding", "embed", "embed_views", "frozen_features"]

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
    return Embedding(backbone, weights, progress)(photos, root, cache)


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
    return Embedding(backbone, weights, progress).views(photos, root, cache)


class Embedding:
    """:func:`embed` with a backbone that stays in memory, for photos that come in parts.

    Parameters are those of :func:`embed_views`.  All photos must come from caches of one
    preprocessing.
    """

    def __init__(self, backbone: str, weights: str, progress: Progress) -> None:
        self._backbone, self._weights, self._progress = backbone, weights, progress
        self._extractor: keras.Model | None = None

    def __call__(self, photos: list[Photo], root: Path, cache: PhotoCache) -> NDArray[np.float32]:
        """Return what :func:`embed` does."""
        return np.asarray(self.views(photos, root, cache).mean(axis=1), np.float32)

    def views(self, photos: list[Photo], root: Path, cache: PhotoCache) -> NDArray[np.float32]:
        """Return what :func:`embed_views` does."""
        source = f"{self._backbone}-{self._weights_id()}"
        note = cache.directory / "features" / f"{source}-{cache.preprocessing.fingerprint()}.txt"
        if note.is_file():
            known = known_arrays(photos, note.with_name(note.read_text("utf-8")))
            if known is not None and known.ndim == 3:
                return known
        if self._extractor is None:
            self._extractor = self._built(cache.preprocessing.size)
        found = frozen_features(self._extractor, photos, root, cache, self._progress)
        with atomic_write(note) as temporary:
            temporary.write_text(_features_folder(self._extractor, cache).name, "utf-8")
        return found

    def _weights_id(self) -> str:
        return (weights_sha256(self._weights) or Path(self._weights).name)[:16]

    def _built(self, size: int) -> keras.Model:
        quiet_tensorflow()
        import keras

        from rs_train.classifier.backbones import build_backbone, load_backbone_weights

        body = build_backbone(self._backbone, size)
        load_backbone_weights(body, self._backbone, self._weights, progress=self._progress)
        return keras.Model(body.input, keras.layers.GlobalAveragePooling2D()(body.output))


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
