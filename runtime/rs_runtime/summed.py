"""One answer from several views of a photo: the boxes of a detector, or the frames of a video."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["of_boxes", "of_frames"]

# Of a detector that gives boxes without confidence.
_LEAST_WEIGHT = 1e-6


def of_frames(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of the logits of a video's frames, (n, classes), as (1, classes).

    All frames show the same scene.  The mean of logits is, after softmax, the normalized geometric
    mean of the probabilities: a class must be probable in most frames.
    """
    return logits.mean(axis=0, keepdims=True, dtype=np.float32)


def of_boxes(
    logits: NDArray[np.float32], weights: Sequence[float], temperature: float
) -> NDArray[np.float32]:
    """Return logits, (1, classes), of a photo with boxes of which each may hold another animal.

    After calibration they give the mean of the boxes' probabilities, each box with its weight: how
    probable each class is for an animal of this photo.  The mean of logits would not do: a zebra
    beside a lion could give a third class that is the second best of both.  With one box the
    logits are that box's.

    Parameters
    ----------
    logits
        (n, classes), n at least 1, in the units of the model.
    weights
        The detector's confidence in each box, 0 to 1.
    temperature
        That of the model's calibration: probabilities are softmax(logits / temperature).

    Notes
    -----
    With p_i = softmax(z_i / T), L_i = logsumexp(z_i / T) and weights w_i that sum to 1, the result
    is T (log sum_i w_i p_i + sum_i w_i L_i).  The second term is the same for all classes; it keeps
    the energy, by which strange photos are told, that of the boxes' mean.
    """
    if len(logits) == 1:
        return logits
    scaled = logits.astype(np.float64) / temperature
    heights = np.logaddexp.reduce(scaled, axis=1, keepdims=True)
    positive = np.maximum(np.asarray(weights, np.float64), _LEAST_WEIGHT)[:, None]
    shares = positive / positive.sum()
    mean = np.logaddexp.reduce(scaled - heights + np.log(shares), axis=0)
    summed = temperature * (mean + (shares * heights).sum())
    return summed[None].astype(np.float32)
