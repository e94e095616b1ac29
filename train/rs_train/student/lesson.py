"""A student's training targets, from the teacher's embeddings and probabilities and from labels."""

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
    """What the teacher gives a student to learn; without a teacher, only the classes.

    Attributes
    ----------
    classes
        K rows ``{"name": str, "organism": bool}``.
    text, scale
        The teacher's text embeddings (K, dim), rows of length 1, and the scale of its logits.
    embeddings
        The teacher's embeddings of the n photos that are used, float32 (n, views, dim).
    probability
        The teacher's calibrated probability of an organism, float64 (n,).
    temperature, bias
        The teacher's calibration; see :func:`rs_runtime.filter.organism_probability`.
    about
        What ``filter.json`` records of the teacher.
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
    """Return the lesson without a teacher: two classes, organism and not organism."""
    names = {"organism": True, "not organism": False}
    return Lesson([{"name": name, "organism": kind} for name, kind in names.items()])


def meet_teacher(config: DistillConfig) -> tuple[Teacher, Prompts]:
    """Load the teacher that the settings name, and read its prompts.

    Errors are those of :func:`load_teacher` and :func:`read_prompts`.
    """
    from rs_train.teacher.prompts import read_prompts
    from rs_train.teacher.teacher import load_teacher

    prompts = read_prompts(Path(config.prompts) if config.prompts else None)
    return load_teacher(config.teacher, config.teacher_weights or None), prompts


def ask_teacher(
    teacher: Teacher, prompts: Prompts, config: DistillConfig, data: DistillData, progress: Progress
) -> Lesson:
    """Embed the photos that are used, and calibrate the teacher's probabilities.

    The calibration is fitted on the labelled validation photos; where these are all of organisms,
    or all of none, there is no calibration.  WeightsError: the teacher's embeddings are not finite.
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
    shows = data.organism[used[known]]
    if shows.all() or not shows.any():
        return 1.0, 0.0
    return fit_platt(odds[known], shows)


def set_targets(data: DistillData, lesson: Lesson, share: float) -> Verdicts:
    """Return the truth and the training target of each photo.

    The target of a labelled photo is (1 - share) * truth + share * p, where p is the teacher's
    probability of an organism.  Without a label the target is p, and the truth is whether p is at
    least one half.  Photos that are not used count as organisms.

    Raises
    ------
    DataError
        The photos of a split all show organisms, or none does.
    """
    truth, target = np.ones(len(data.photos), bool), np.ones(len(data.photos))
    used, taught = data.rows(), lesson.probability
    known, shows = data.labelled[used], data.organism[used]
    if taught is None:
        truth[used], target[used] = shows, shows
    else:
        truth[used] = np.where(known, shows, taught >= 0.5)
        target[used] = np.where(known, (1 - share) * shows + share * taught, taught)
    for side in SIDES:
        kinds = truth[data.rows(side)]
        if kinds.all() or not kinds.any():
            got, lacking = ("all", "no organism") if kinds.all() else ("none", "an organism")
            others = ": --not-organism FOLDER, or --blanks other if the data have some"
            advice = others if kinds.all() else " to the data"
            raise DataError(
                f"{side} split: {got} of the {len(kinds)} photos show an organism, wanted photos "
                f"with and without one; add photos of {lacking}{advice}"
            )
    return Verdicts(data.of_data, truth, target)
