"""What a trained student is worth on photos that it was not trained on, beside its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.filter import organism_log_odds, organism_probability
from rs_toolkit.metrics.binary import auroc, filter_metrics
from rs_train.student.data import DistillData
from rs_train.student.fit import Course
from rs_train.student.portion import Portion, student_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Answers", "answers", "measure"]


@dataclass(frozen=True)
class Answers:
    """What a student makes of n photos as they are.

    Attributes
    ----------
    odds
        Log odds of an organism, float64 (n,).
    cosine
        Of its embeddings to the teacher's, float64 (n,); None without a teacher.
    """

    odds: NDArray[np.float64]
    cosine: NDArray[np.float64] | None


def answers(course: Course, photos: Portion) -> Answers:
    """Ask the student of a course about photos."""
    import torch

    features = student_features(
        course.student, photos, 1, course.preprocessing, course.config.seed, course.progress
    )
    with torch.no_grad():
        embedding, logits = course.student.head(torch.from_numpy(features[:, 0]))
    odds = organism_log_odds(logits.numpy(), course.lesson.organism)
    if photos.taught is None:
        return Answers(odds, None)
    return Answers(odds, (embedding.numpy() * photos.taught[:, 0]).sum(1).astype(np.float64))


def measure(
    found: Answers,
    photos: Portion,
    data: DistillData,
    course: Course,
    calibration: Mapping[str, float],
    thresholds: Mapping[str, float],
) -> dict[str, Any]:
    """Return :func:`rs_toolkit.metrics.binary.filter_metrics` of photos, and the teacher's part.

    Under a teacher there are also ``cosine`` (mean, of the embeddings), ``teacher_auroc`` (on the
    same photos) and ``teacher_agreement`` (share of the photos that both find likelier to show
    the same).
    """
    probability = organism_probability(found.odds, **calibration)
    members = [data.photos[row] for row in photos.rows]
    metrics = filter_metrics(members, probability, photos.truth, thresholds)
    taught = course.lesson.probability()
    if taught is None or found.cosine is None:
        return metrics
    theirs = taught[np.searchsorted(data.rows(), photos.rows)]
    return metrics | {
        "cosine": float(found.cosine.mean()),
        "teacher_auroc": auroc(theirs, photos.truth),
        "teacher_agreement": float(((theirs >= 0.5) == (probability >= 0.5)).mean()),
    }
