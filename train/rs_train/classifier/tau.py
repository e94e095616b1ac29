"""The tau-normalized head: outputs of equal reach for rare and common classes, after training.

Training makes the weights of common classes longer, so that their logits rise further.  Dividing
each class's weights by a power tau of their length takes that back; no photo is needed for it but
those that choose tau.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rs_toolkit.metrics.classification import macro_f1

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["choose_tau", "normalized"]

TAUS = tuple(number / 10 for number in range(11))


def normalized(
    kernel: NDArray[np.float32], bias: NDArray[np.float32], mean: NDArray[np.float32], tau: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the kernel and bias of the normalized layer.

    Column c of the kernel is multiplied by (m / its length)**tau, where m is the geometric mean of
    the lengths, so that the logits keep their scale.  The paper has no bias.  Here features are not
    centred: a class's logit for the ``mean`` features is no matter of length, and the bias keeps it
    as it was.  With tau = 0 nothing changes.

    Parameters
    ----------
    kernel, bias, mean
        (channels, classes), (classes,) and (channels,), the mean features of photos.
    tau
        0 to 1.

    References
    ----------
    Kang et al. (2020), Decoupling representation and classifier for long-tailed recognition,
    section 4.3.
    """
    lengths = np.linalg.norm(kernel, axis=0)
    # A class that stage 1 never saw may have no weights.
    live = lengths > 0
    scale = np.ones_like(lengths)
    scale[live] = (np.exp(np.log(lengths[live]).mean()) / lengths[live]) ** tau
    changed = kernel * scale
    return changed, bias + mean @ (kernel - changed)


def choose_tau(
    kernel: NDArray[np.float32],
    bias: NDArray[np.float32],
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
) -> float:
    """Return the tau in 0, 0.1, … 1 with the highest macro-F1; of equal ones, the lowest.

    ``features`` (n, channels) and ``labels`` (n,) are those of validation photos.
    """
    mean, best, best_score = features.mean(0), 0.0, -1.0
    for tau in TAUS:
        changed, moved = normalized(kernel, bias, mean, tau)
        score = macro_f1(labels, (features @ changed + moved).argmax(1), len(bias))
        if score > best_score:
            best, best_score = tau, score
    return best
