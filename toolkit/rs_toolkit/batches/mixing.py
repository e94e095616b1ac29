"""Photos of a batch mixed in pairs: mixup blends two, cutmix pastes a part of one into another."""

from __future__ import annotations

from typing import Any

__all__ = ["mixed_batch"]


def mixed_batch(
    images: Any, labels: Any, mixup: float, cutmix: float, seed: Any
) -> tuple[Any, Any]:
    """Mix each photo of a batch with the next one.

    The share s of a photo in its mixture is drawn from the distribution Beta(a, a).  Mixup: s *
    photo + (1 - s) * next.  Cutmix: a box of the share 1 - s of the area, at a random place and cut
    at the edge, shows the next photo; then s is what is left of the photo.  With both, each photo
    is mixed by one of them, at random.

    Parameters
    ----------
    images, labels
        Tensors: float32 (n, S, S, 3) and class numbers (n,).
    mixup, cutmix
        a of each, 0 or more; 0 switches it off, and one of them is on.
    seed
        int32 (2,); equal ones give equal mixtures.

    Returns
    -------
    images, targets
        Targets are float32 (n, 3): class of the photo, class of the next one, share s.

    References
    ----------
    Zhang, Cisse, Dauphin, Lopez-Paz (2018), mixup: beyond empirical risk minimization, equation 2;
    Yun et al. (2019), CutMix: regularization strategy to train strong classifiers, equations 1, 2.
    """
    import tensorflow as tf

    count = tf.shape(images)[0]
    others, classes = tf.roll(images, 1, 0), tf.cast(labels, tf.float32)

    def uniform(salt: int) -> Any:
        return tf.random.stateless_uniform([count], seed + tf.constant([0, salt * 100_003]))

    chosen = uniform(21) < 0.5 if mixup and cutmix else tf.fill([count], bool(mixup))
    strength = tf.where(chosen, mixup, cutmix)
    # A beta variate from two gamma variates; with a small a, both may be too small for float32.
    first, second = (
        tf.random.stateless_gamma([count], seed + tf.constant([0, salt]), strength) + 1e-30
        for salt in (22 * 100_003, 23 * 100_003)
    )
    share = first / (first + second)
    inside = _boxes(tf.shape(images)[1], share, uniform(24), uniform(25))
    cut = 1 - tf.reduce_mean(inside, [1, 2, 3])
    weight = tf.where(chosen[:, None, None, None], 1 - share[:, None, None, None], inside)
    share = tf.where(chosen, share, cut)
    targets = tf.stack([classes, tf.roll(classes, 1, 0), share], 1)
    return images * (1 - weight) + others * weight, targets


def _boxes(side: Any, share: Any, x: Any, y: Any) -> Any:
    """Return float32 (n, S, S, 1): 1 in a box of the share 1 - ``share`` around (x, y), 0 to 1."""
    import tensorflow as tf

    half = tf.sqrt(1 - share)[:, None] / 2
    places = (tf.cast(tf.range(side), tf.float32) + 0.5)[None] / tf.cast(side, tf.float32)
    rows, columns = (
        tf.cast(tf.abs(places - centre[:, None]) < half, tf.float32) for centre in (y, x)
    )
    return rows[:, :, None, None] * columns[:, None, :, None]
