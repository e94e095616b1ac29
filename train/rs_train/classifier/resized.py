"""Progressive resizing: the first half of the epochs sees smaller photos, and takes less time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

__all__ = ["resized", "smaller"]


def smaller(model: keras.Model, side: int) -> keras.Model:
    """Return a classifier for photos (N, side, side, 3) that has the layers of ``model``."""
    import keras

    inputs = keras.Input((side, side, 3))
    return keras.models.clone_model(model, inputs, clone_function=lambda layer: layer)


def resized(batches: tf.data.Dataset, side: int) -> tf.data.Dataset:
    """Return batches (inputs, targets) with inputs (N, side, side, 3), by the mean of areas."""
    import tensorflow as tf

    def change(images: Any, targets: Any) -> tuple[Any, Any]:
        return tf.image.resize(images, (side, side), method="area"), targets

    return batches.map(change)
