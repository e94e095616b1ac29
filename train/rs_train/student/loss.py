"""The loss of a distillation.

Feature distillation is the strongest simple loss of CLIP-KD (Yang et al. 2024, "CLIP-KD: an
empirical study of CLIP model distillation"); the verdict has a loss of its own, since that is
what the student is for:

    L = a (1 - cos(e, e*)) + b smoothL1(sqrt(d) e, sqrt(d) e*) + c BCE(odds / t + h, target)

with the embeddings e and e* of student and teacher, of length 1 in d dimensions, the log odds of
an organism and the teacher's calibration t, h.  Without a teacher, L is the last term, t is 1 and
h is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rs_toolkit.config.distillation import DistillConfig
    from rs_train.student.lesson import Lesson

__all__ = ["Loss", "losses"]

Loss = Callable[[Any, Any], Any]
"""From what is wanted and what a student gave, n rows each, to the mean of n losses."""


def losses(lesson: Lesson, config: DistillConfig) -> list[Loss]:
    """Return a loss for each of :func:`rs_train.student.student.outputs_of`; L is their sum.

    Parameters
    ----------
    lesson
        Gives the classes and the teacher's calibration.
    config
        Gives the weights a, b and c.
    """
    verdict = _verdict_loss(lesson, config)
    return [verdict] if lesson.embeddings is None else [_embedding_loss(config), verdict]


def _embedding_loss(config: DistillConfig) -> Loss:
    """Return the loss of unit rows (n, d) against the teacher's."""
    from keras import losses, ops

    def loss(taught: Any, embedding: Any) -> Any:
        scale = embedding.shape[1] ** 0.5
        cosine = ops.sum(embedding * taught, axis=1)
        distance = losses.huber(scale * taught, scale * embedding, delta=1.0)
        return ops.mean(config.cosine_weight * (1 - cosine) + config.l1_weight * distance)

    return loss


def _verdict_loss(lesson: Lesson, config: DistillConfig) -> Loss:
    """Return the loss of logits (n, K) against probabilities of an organism (n,)."""
    from keras import ops

    shown, others = (np.flatnonzero(lesson.organism == kind) for kind in (True, False))

    def loss(target: Any, logits: Any) -> Any:
        # As rs_runtime.filter.organism_log_odds, with gradients.
        odds = ops.logsumexp(ops.take(logits, shown, axis=1), axis=1)
        odds = odds - ops.logsumexp(ops.take(logits, others, axis=1), axis=1)
        scaled = odds / lesson.temperature + lesson.bias
        wanted = ops.cast(ops.reshape(target, (-1,)), "float32")
        return config.verdict_weight * ops.mean(
            ops.binary_crossentropy(wanted, scaled, from_logits=True)
        )

    return loss
