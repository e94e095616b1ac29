"""What a student is to learn: the teacher's embeddings and judgement, and the labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.filter import organism_log_odds, organism_probability
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.data.photos import PhotoCache, default_cache_dir
from rs_toolkit.errors import DataError
from rs_toolkit.folders.filter import Verdicts
from rs_toolkit.metrics.calibration import fit_platt
from rs_toolkit.progress import Progress
from rs_toolkit.splits.assign import SIDES
from rs_train.student.data import DistillData

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_train.teacher.prompts import Prompts
    from rs_train.teacher.teacher import Teacher

__all__ = ["Lesson", "ask_teacher", "learn_from_labels", "meet_teacher", "set_targets"]


@dataclass(frozen=True)
class Lesson:
    """What is taught; without a teacher, the classes alone.

    Attributes
    ----------
    classes
        K rows ``{"name": str, "organism": bool}``.
    text, scale
        Text embeddings (K, dim), rows of length 1, and the scale of the logits.
    embeddings, probability
        The teacher's, of the n photos that are used: float32 (n, views, dim), and the calibrated
        probability of an organism, float64 (n,), by ``temperature`` and ``bias``.
    about
        What is recorded of the teacher.
    """

    classes: list[dict[str, Any]]
    text: NDArray[np.float32] | None = None
    scale: float = 1.0
    embeddings: NDArray[np.float32] | None = None
    probability: NDArray[np.float64] | None = None
    temperature: float = 1.0
    bias: float = 0.0
    about: dict[str, Any] | None = None

    @property
    def organism(self) -> NDArray[np.bool_]:
        """Which classes are organisms, bool (K,)."""
        return np.array([item["organism"] for item in self.classes], bool)


def learn_from_labels() -> Lesson:
    """Return the lesson without a teacher: two classes."""
    names = {"organism": True, "not organism": False}
    return Lesson([{"name": name, "organism": kind} for name, kind in names.items()])


def meet_teacher(config: DistillConfig) -> tuple[Teacher, Prompts]:
    """Load the teacher that the settings name, and read its prompts.

    ConfigError, WeightsError, MissingPackageError: one of the two cannot be had.
    """
    from rs_train.teacher.prompts import read_prompts
    from rs_train.teacher.teacher import load_teacher

    prompts = read_prompts(Path(config.prompts) if config.prompts else None)
    return load_teacher(config.teacher, config.teacher_weights or None), prompts


def ask_teacher(
    teacher: Teacher, prompts: Prompts, config: DistillConfig, data: DistillData, progress: Progress
) -> Lesson:
    """Embed the photos that are used, once each, and calibrate the teacher's judgement.

    The calibration is fitted on the labelled validation photos; where those are of one kind, the
    teacher's own odds stand.  WeightsError: the teacher is broken.
    """
    from rs_train.teacher.embeddings import teacher_embeddings, text_weights

    text = text_weights(teacher, prompts, default_cache_dir())
    cache = PhotoCache(default_cache_dir(), teacher.preprocessing)
    used = data.rows()
    pixels = data.pixels(cache)
    number = {data.photos[row].content: int(row) for row in used}
    embeddings = teacher_embeddings(
        teacher,
        [data.photos[row] for row in used],
        lambda photo: pixels(number[photo.content]),
        default_cache_dir(),
        progress,
        views=config.views,
        seed=config.seed,
    )
    classes = [{"name": item.name, "organism": item.organism} for item in prompts.classes]
    kinds = np.array([item["organism"] for item in classes], bool)
    odds = organism_log_odds(teacher.logits(embeddings[:, 0], text), kinds)
    temperature, bias = _calibrated(odds, used, data)
    about = {
        "name": teacher.name,
        "fingerprint": teacher.fingerprint,
        "prompts": prompts.fingerprint,
        "temperature": temperature,
        "bias": bias,
    }
    probability = organism_probability(odds, temperature, bias)
    return Lesson(
        classes, text, teacher.logit_scale, embeddings, probability, temperature, bias, about
    )


def _calibrated(
    odds: NDArray[np.float64], used: NDArray[np.int64], data: DistillData
) -> tuple[float, float]:
    known = np.isin(used, data.rows("val")) & data.labelled[used]
    truth = ~data.of_data[used[known]]
    if not truth.any() or truth.all():
        return 1.0, 0.0
    return fit_platt(odds[known], ~truth)


def set_targets(data: DistillData, lesson: Lesson, share: float) -> Verdicts:
    """Return each photo's truth and what the student is taught of it.

    A labelled photo's target is its truth, mixed with ``share`` of the teacher's probability; that
    of another photo is the teacher's probability, and its truth what the teacher finds likelier.
    Photos that are not used count as organisms.

    Raises
    ------
    DataError
        A side has photos of one kind alone.
    """
    truth, target = np.ones(len(data.photos), bool), np.ones(len(data.photos))
    used, taught = data.rows(), lesson.probability
    known, shows = data.labelled[used], data.of_data[used]
    if taught is None:
        truth[used], target[used] = shows, shows
    else:
        truth[used] = np.where(known, shows, taught >= 0.5)
        target[used] = np.where(known, (1 - share) * shows + share * taught, taught)
    for side in SIDES:
        kinds = truth[data.rows(side)]
        if kinds.all() or not kinds.any():
            lacking = "no organism" if kinds.all() else "an organism"
            raise DataError(
                f"{side}: got {len(kinds)} photos, none that shows {lacking}; add some"
                + (" with --not-organism FOLDER" if kinds.all() else "")
            )
    return Verdicts(data.of_data, truth, target)
