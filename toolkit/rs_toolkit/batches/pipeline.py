"""Batches for training and evaluation: pixels from the cache, augmentation on the fly.

Threads make the next batches while the model works on the last one.  Each batch depends on its
number alone, so it does not matter which thread makes it.  TensorFlow's own ``map`` and
``prefetch`` would not overlap: while its operations are to be deterministic, it calls Python
functions one at a time, when their results are wanted.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.batches.mixing import mixed_batch
from rs_toolkit.batches.oversampling import Shares, epoch_order
from rs_toolkit.batches.randaugment import randaugment

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = [
    *("PixelSource", "augment", "changed_batches", "evaluation_batches"),
    *("recolour", "training_epoch"),
]


_MOST_THREADS = 4


@dataclass(eq=False)
class PixelSource:
    """Turns photo numbers, int64 (n,), into uint8 RGB pixels (n, S, S, 3), by calling ``load``.

    ``load`` may take further arrays of shape (n,) that say how each photo is shown.  TensorFlow
    replaces the errors of Python functions by its own.  This class keeps the last error of
    ``load``, so that the user reads, for example, which photo has vanished.  ``waited`` is how many
    seconds have passed in waiting for batches of these pixels.
    """

    load: Callable[..., NDArray[np.uint8]]
    failure: Exception | None = None
    waited: float = 0.0

    def __call__(self, *picks: NDArray[np.int64]) -> NDArray[np.uint8]:
        try:
            return self.load(*picks)
        except Exception as error:
            self.failure = error
            raise

    @contextmanager
    def unburied(self) -> Iterator[None]:
        """Raise the error of ``load`` instead of TensorFlow's error about it."""
        self.failure = None
        try:
            yield
        except Exception:
            if self.failure is not None:
                raise self.failure from None
            raise


def training_epoch(
    pixels: PixelSource,
    labels: NDArray[np.int64],
    preprocessing: Preprocessing,
    *,
    balance: float,
    strength: float,
    batch_size: int,
    seed: int,
    epoch: int,
    shares: Shares,
    crop_scale: float = 0.0,
    operations: tuple[int, int] = (0, 0),
    mixing: tuple[float, float] = (0.0, 0.0),
) -> tf.data.Dataset:
    """Return one epoch of (inputs, labels): oversampled, shuffled, augmented, scaled.

    Oversampling uses the photos' duplicate groups and weights in ``shares``.  Equal arguments
    give equal batches, so that ``--resume`` reaches the result of an uninterrupted run.

    Parameters
    ----------
    strength, crop_scale
        See :func:`augment`.
    operations
        Count and magnitude of :func:`rs_toolkit.batches.randaugment.randaugment`.
    mixing
        ``mixup`` and ``cutmix`` of :func:`rs_toolkit.batches.mixing.mixed_batch`.  If one is above
        0, labels are the targets (n, 3) of that function.
    """
    import tensorflow as tf

    order = epoch_order(labels, balance, seed, epoch, shares)
    batches = changed_batches(
        pixels,
        (order,),
        labels[order],
        preprocessing,
        _augmentation(strength, crop_scale, operations),
        batch_size=batch_size,
        seed=(seed, epoch),
    )
    if not any(mixing):
        return batches
    draw = _drawn((seed, epoch))

    def mix(batch: Any, pair: Any) -> tuple[Any, Any]:
        seeds = tf.stack([draw, tf.cast(batch, tf.int32)])
        return mixed_batch(pair[0], pair[1], mixing[0], mixing[1], seeds)

    return batches.enumerate().map(mix)


def _drawn(seed: tuple[int, ...]) -> int:
    return int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1)  # fits int32


@lru_cache(maxsize=8)
def _augmentation(
    strength: float, crop_scale: float, operations: tuple[int, int]
) -> Callable[[Any, Any], Any]:
    """Return what changes the photos of an epoch, the same function for each epoch."""
    import tensorflow as tf

    def change(images: Any, draw: Any) -> Any:
        if operations[0]:
            shape = images.shape
            change_each = partial(_operated, operations)
            images = tf.numpy_function(change_each, [images, draw], tf.float32)
            images.set_shape(shape)
        return augment(images, strength, draw, crop_scale)

    return change


def _operated(
    operations: tuple[int, int], images: NDArray[np.float32], draw: NDArray[np.int32]
) -> NDArray[np.float32]:
    return randaugment(images.astype(np.uint8), *operations, draw.astype(np.int64)).astype("f4")


def changed_batches(
    pixels: PixelSource,
    picks: tuple[NDArray[np.int64], ...],
    targets: Any,
    preprocessing: Preprocessing,
    change: Callable[[Any, Any], Any],
    *,
    batch_size: int,
    seed: tuple[int, ...],
) -> tf.data.Dataset:
    """Return batches of (inputs, targets) in the order given; the last one may be smaller.

    Parameters
    ----------
    picks
        Arrays of shape (n,) that ``pixels`` is called with, a batch at a time.
    targets
        An array of n rows, or a dictionary of such arrays.
    change
        Augmentation: takes float32 images (b, S, S, 3), 0 to 255, and an int32 seed (2,), which
        differs from batch to batch; returns images of the same shape and range.
    """
    import tensorflow as tf

    draw = _drawn(seed)
    finish = _graph(preprocessing, change)

    def make(number: int) -> tuple[NDArray[np.float32], Any]:
        rows = slice(number * batch_size, (number + 1) * batch_size)
        shown = pixels(*(part[rows] for part in picks))
        # On a GPU it would compete with the model.
        with tf.device("CPU"):
            images = finish(tf.constant(shown), tf.constant([draw, number], tf.int32))
        wanted = tf.nest.map_structure(lambda part: part[rows], targets)
        # Unlike images.numpy(), no copy; nor does TensorFlow copy it when it takes it back.
        return np.asarray(images), wanted

    kinds = tf.nest.map_structure(
        lambda part: tf.TensorSpec((None, *part.shape[1:]), part.dtype), targets
    )
    count = -(-len(picks[0]) // batch_size)
    return _made_ahead(make, count, (_images_spec(preprocessing), kinds), pixels)


@lru_cache(maxsize=8)
def _graph(preprocessing: Preprocessing, change: Callable[[Any, Any], Any]) -> Any:
    """Return what makes inputs of pixels and a seed: traced once, for batches of any size."""
    import tensorflow as tf

    side = preprocessing.size
    # As a graph it takes less than half of the time.  Without AutoGraph, which parses source code:
    # in Python 3.11, two threads that do so at once can end in a SystemError.
    return tf.function(
        lambda shown, seed: preprocessing.model_input(change(tf.cast(shown, tf.float32), seed)),
        input_signature=[
            tf.TensorSpec((None, side, side, 3), tf.uint8),
            tf.TensorSpec((2,), tf.int32),
        ],
        autograph=False,
    )


def evaluation_batches(
    pixels: PixelSource, count: int, preprocessing: Preprocessing, batch_size: int
) -> tf.data.Dataset:
    """Return batches of inputs: photos 0 to count - 1, in order, without augmentation."""

    def make(number: int) -> NDArray[np.float32]:
        photos = np.arange(number * batch_size, min(count, (number + 1) * batch_size))
        images: NDArray[np.float32] = preprocessing.model_input(pixels(photos))
        return images

    return _made_ahead(make, -(-count // batch_size), _images_spec(preprocessing), pixels)


def _images_spec(preprocessing: Preprocessing) -> Any:
    import tensorflow as tf

    return tf.TensorSpec((None, preprocessing.size, preprocessing.size, 3), tf.float32)


def _made_ahead(
    make: Callable[[int], Any], count: int, kinds: Any, pixels: PixelSource
) -> tf.data.Dataset:
    """Return ``make(0)`` to ``make(count - 1)``, of the TensorFlow types ``kinds``."""
    import tensorflow as tf

    ahead = _Ahead(make, count, pixels)
    flat = tf.nest.flatten(kinds)

    def take(number: Any) -> Any:
        # Not Dataset.from_generator: under Python 3.11 that lowers the size from which malloc asks
        # the system for memory, for good, which halves the speed of a small network's steps.
        parts = tf.numpy_function(
            lambda chosen: tf.nest.flatten(ahead.take(int(chosen))),
            [number],
            [kind.dtype for kind in flat],
        )
        for part, kind in zip(parts, flat, strict=True):
            part.set_shape(kind.shape)
        return tf.nest.pack_sequence_as(kinds, parts)

    # There is nothing to tune.  At the end of an epoch TensorFlow waits until the thread that tunes
    # wakes up, which in a short epoch takes up to as long as the epoch itself.
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.range(count).map(take).with_options(options)


class _Ahead:
    """Calls ``make`` for the next numbers below ``count`` in threads; each has one at a time."""

    def __init__(self, make: Callable[[int], Any], count: int, pixels: PixelSource) -> None:
        self._make, self._count, self._pixels = make, count, pixels
        self._threads = min(_MOST_THREADS, os.cpu_count() or 1)
        self._begun: dict[int, Future[Any]] = {}
        # TensorFlow may call from a thread for each iterator.
        self._lock = threading.Lock()

    def take(self, number: int) -> Any:
        """Return ``make(number)``, and begin with those after it."""
        with self._lock:
            near = range(number, min(number + self._threads, self._count))
            # An iterator that was abandoned, or another one, has begun the others.
            for other in self._begun.keys() - near:
                self._begun.pop(other).cancel()
            for wanted in near:
                self._begin(wanted)
            future = self._begun.pop(number)
        since = time.perf_counter()
        found = future.result()
        self._pixels.waited += time.perf_counter() - since
        with self._lock:
            if (further := number + self._threads) < self._count:
                self._begin(further)
        return found

    def _begin(self, number: int) -> None:
        if number in self._begun:
            return
        # A thread for each batch, so that none is left over where an epoch ends early.
        pool = ThreadPoolExecutor(1, "batches")
        try:
            self._begun[number] = pool.submit(self._make, number)
        finally:
            pool.shutdown(wait=False)


def augment(images: Any, strength: float, seed: Any, crop_scale: float = 0.0) -> Any:
    """Flip, crop and recolour a batch, a float32 tensor (n, S, S, 3) in [0, 255].

    Strength 0 changes nothing; at 1 each photo is mirrored half the time, cropped to 55-100 % of
    its area at aspect 3:4 to 4:3, and changed by up to 20 % in brightness, 30 % in contrast and
    saturation.  Equal seeds, int32 (2,), give equal changes.

    A ``crop_scale`` above 0 is the least share of the area that a crop keeps, whatever the strength
    (Szegedy et al. 2015, Going deeper with convolutions, section 6, took 0.08).
    """
    import tensorflow as tf

    if strength == 0:
        return images
    least = crop_scale or 1 - 0.45 * min(strength, 1.5)
    side = tf.shape(images)[1]
    uniform = _uniform(images, seed)
    area = uniform(1, least, 1.0)
    aspect = tf.exp(uniform(2, -0.29 * strength, 0.29 * strength))
    height = tf.minimum(1.0, tf.sqrt(area / aspect))
    width = tf.minimum(1.0, tf.sqrt(area * aspect))
    top = uniform(3, 0.0, 1.0) * (1 - height)
    left = uniform(4, 0.0, 1.0) * (1 - width)
    right = left + width
    mirrored = uniform(5, 0.0, 1.0) < 0.5
    start, end = tf.where(mirrored, right, left), tf.where(mirrored, left, right)
    boxes = tf.stack([top, start, top + height, end], 1)
    images = tf.image.crop_and_resize(images, boxes, tf.range(tf.shape(images)[0]), [side, side])
    return recolour(images, strength, seed)


def recolour(images: Any, strength: float, seed: Any) -> Any:
    """Change only the colours of a batch; parameters and result are those of :func:`augment`."""
    import tensorflow as tf

    if strength == 0:
        return images
    uniform = _uniform(images, seed)

    def column(salt: int, reach: float) -> Any:
        return uniform(salt, 1 - reach * strength, 1 + reach * strength)[:, None, None, None]

    mean = tf.reduce_mean(images, [1, 2, 3], keepdims=True)
    images = (images - mean) * column(6, 0.3) + mean * column(7, 0.2)
    gray = tf.reduce_mean(images, 3, keepdims=True)
    return tf.clip_by_value((images - gray) * column(8, 0.3) + gray, 0.0, 255.0)


def _uniform(images: Any, seed: Any) -> Callable[[int, float, float], Any]:
    """Return ``draw(salt, low, high)``: a random number for each photo, float32 (n,)."""
    import tensorflow as tf

    def draw(salt: int, low: float, high: float) -> Any:
        return tf.random.stateless_uniform(
            [tf.shape(images)[0]], seed + tf.constant([0, salt * 100_003]), low, high
        )

    return draw
