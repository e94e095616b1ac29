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

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rs_toolkit.config.distillation import DistillConfig
    from rs_train.student.lesson import Lesson

__all__ = ["distill_loss", "student_odds"]


def student_odds(logits: Any, lesson: Lesson) -> Any:
    """Return the log odds of an organism, tensor (n,), of logits (n, K).

    As :func:`rs_runtime.filter.organism_log_odds`, with gradients.
    """
    import torch

    organism = torch.from_numpy(lesson.organism)
    return logits[:, organism].logsumexp(1) - logits[:, ~organism].logsumexp(1)


def distill_loss(
    embedding: Any, logits: Any, taught: Any, target: Any, lesson: Lesson, config: DistillConfig
) -> Any:
    """Return the mean loss of n photos, a tensor of no dimension.

    Parameters
    ----------
    embedding, taught
        Unit rows (n, d) of student and teacher; None without a teacher.
    logits
        The student's, (n, K).
    target
        Probability of an organism, (n,), 0 to 1.
    lesson
        Gives the classes and the teacher's calibration.
    config
        Gives the weights a, b and c.
    """
    from torch.nn import functional

    scaled = student_odds(logits, lesson) / lesson.temperature + lesson.bias
    loss = config.verdict_weight * functional.binary_cross_entropy_with_logits(scaled, target)
    if taught is None:
        return loss
    scale = embedding.shape[1] ** 0.5
    cosine = (embedding * taught).sum(1).mean()
    distance = functional.smooth_l1_loss(scale * embedding, scale * taught)
    return loss + config.cosine_weight * (1 - cosine) + config.l1_weight * distance
