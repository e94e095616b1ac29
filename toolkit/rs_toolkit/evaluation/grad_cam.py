"""Where in a photo a classifier found what it names: Grad-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["grad_cam", "lit"]

_DARKEST = 0.2


def grad_cam(
    model: keras.Model, inputs: NDArray[np.float32], classes: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """Return how much each place of the last feature map speaks for a class, (n, h, w), 0 to 1.

    The map is the sum of the features' channels, each weighted by the mean gradient of the class's
    logit, without what is negative, and divided by its maximum.

    Parameters
    ----------
    model
        A classifier whose layer ``avg_pool`` takes the feature map; None is returned for others.
    inputs, classes
        Inputs of the model, (n, S, S, 3), and a class number for each, (n,).

    References
    ----------
    Selvaraju et al. (2017), Grad-CAM: visual explanations from deep networks via gradient-based
    localization, equations 1 and 2.
    """
    import keras
    import tensorflow as tf

    pool = next((layer for layer in model.layers if layer.name == "avg_pool"), None)
    if pool is None:
        return None
    body, head = keras.Model(model.input, pool.input), keras.Model(pool.input, model.output)
    features = tf.convert_to_tensor(body(inputs, training=False))
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = head(features, training=False)
        chosen = tf.gather(logits, classes, batch_dims=1)
    weights = np.mean(tape.gradient(chosen, features), axis=(1, 2), keepdims=True)
    maps = np.maximum((weights * features.numpy()).sum(axis=-1), 0)
    most = maps.max(axis=(1, 2), keepdims=True)
    return np.asarray(maps / np.where(most > 0, most, 1), np.float32)


def lit(pixels: NDArray[np.uint8], places: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a photo (S, S, 3) that is dark where a map (h, w) of 0 to 1 is low."""
    size = (pixels.shape[1], pixels.shape[0])
    wide = Image.fromarray(places).resize(size, Image.Resampling.BILINEAR)
    light = _DARKEST + (1 - _DARKEST) * np.clip(np.asarray(wide), 0, 1)
    return np.asarray(np.rint(pixels * light[..., None]), np.uint8)
