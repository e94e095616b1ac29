"""Distillation of a filter from a teacher, or training from labels alone, to a filter folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_runtime.filter import organism_probability
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.files import write_json
from rs_toolkit.folders.filter import write_filter_json
from rs_toolkit.metrics.binary import auroc, filter_metrics
from rs_toolkit.metrics.calibration import fit_platt
from rs_toolkit.metrics.thresholds import fit_thresholds
from rs_toolkit.progress import Progress
from rs_toolkit.splits.assign import SIDES
from rs_train.classifier.checkpoint import Checkpoints, FitState, weights_to_load
from rs_train.classifier.fit_loop import fit, make_deterministic
from rs_train.classifier.model import save_model
from rs_train.run_folder import is_finished, write_environment
from rs_train.student.data import DistillData, kind_of, prepare_distillation
from rs_train.student.fit import StudentCourse
from rs_train.student.lesson import ask_teacher, learn_from_labels, meet_teacher, set_targets
from rs_train.student.portion import StudentPhotos, student_photos
from rs_train.student.student import build_student

__all__ = ["distill"]


def distill(
    data: Path,
    config: DistillConfig,
    out: Path,
    *,
    not_organism: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train a filter, write its folder (:mod:`rs_toolkit.folders.filter`) and return ``out``.

    Parameters
    ----------
    data
        Photos that :func:`rs_toolkit.data.readers.read_dataset` reads.  Those with a label show an
        organism; those without are used only where there is a teacher.
    out, resume
        Folder to write, and whether to continue an interrupted distillation in it; without
        ``resume`` it must not hold one.
    not_organism
        Photos that show no organism, read in the same way; their labels are ignored.  With
        ``blanks`` of the settings, such photos of ``data`` are added to them.

    Raises
    ------
    ToolkitError
        The data, the weights or the settings cannot be used; see each subclass.
    """
    progress = progress or Progress()
    if is_finished(out, "filter.json", "filter", resume, progress):
        return out
    started = time.perf_counter()
    make_deterministic(config.seed)
    weights = weights_to_load(out, config.student_weights)
    # Fail on wrong weights of student or teacher now, before the long work.
    met = meet_teacher(config) if config.has_teacher else None
    build_student(config, weights, progress=progress)
    cache = PhotoCache.default(config.imgsz, config.resize, config.strict_photos)
    found = prepare_distillation(data, not_organism, config, out, cache, progress)
    checkpoints = Checkpoints(out / "checkpoints", f"{config.fingerprint()}-{found.mark[:16]}")
    lesson = ask_teacher(*met, config, found, progress) if met else learn_from_labels()
    verdicts = set_targets(found, lesson, config.teacher_share)
    verdicts.write(out / "verdicts.parquet")
    photos = {
        side: student_photos(side, found, verdicts, lesson, cache, config.seed) for side in SIDES
    }
    student = build_student(config, weights, lesson.text, lesson.scale, progress)
    course = StudentCourse(
        student, photos["train"], photos["val"], lesson, cache.preprocessing, config, progress
    )
    state = fit(course, config, checkpoints, progress, started)
    _finish(out, course, photos["test"], found, state)
    progress.note(f"filter written to {out}")
    return out


def _finish(
    out: Path, course: StudentCourse, test: StudentPhotos, data: DistillData, state: FitState
) -> None:
    """Calibrate on validation photos, measure on both splits, and write the results."""
    val, config = course.val, course.config
    sides = {"test": test, "val": val}
    found = {side: course.ask(photos) for side, photos in sides.items()}
    odds = course.odds(found["val"])
    temperature, bias = fit_platt(odds, val.truth)
    calibration = {"temperature": temperature, "bias": bias}
    probability = organism_probability(odds, temperature, bias)
    families = [kind_of(data.photos[row]) for row in val.rows]
    thresholds = fit_thresholds(probability, val.truth, families)
    metrics: dict[str, Any] = {
        side: _measure(course, photos, found[side], data, calibration, thresholds)
        for side, photos in sides.items()
    }
    save_model(course.student, out / "student.keras")
    write_json(out / "history.json", {"best_epoch": state.best_epoch, "epochs": state.history})
    write_environment(out, config.seed, state.seconds)
    write_json(out / "metrics.json", metrics)
    # Written last: this file marks the filter as finished.
    write_filter_json(
        out,
        classes=course.lesson.classes,
        preprocessing=course.preprocessing,
        calibration=calibration,
        thresholds=thresholds,
        student=config.student,
        teacher=course.lesson.about,
        metrics=metrics,
        data_fingerprint=data.mark,
    )


def _measure(
    course: StudentCourse,
    photos: StudentPhotos,
    found: Mapping[str, NDArray[np.float32]],
    data: DistillData,
    calibration: Mapping[str, float],
    thresholds: Mapping[str, float],
) -> dict[str, Any]:
    """Return :func:`rs_toolkit.metrics.binary.filter_metrics`, and comparisons with the teacher.

    ``found`` is what ``course.ask(photos)`` returned.  With a teacher there are also ``cosine``
    (mean cosine similarity to the teacher's embeddings), ``teacher_auroc`` (the teacher's AUROC)
    and ``teacher_agreement`` (share of photos for which both probabilities are on the same side of
    one half).
    """
    probability = organism_probability(course.odds(found), **calibration)
    members = [data.photos[row] for row in photos.rows]
    metrics = filter_metrics(members, probability, photos.truth, thresholds)
    taught = course.lesson.probability
    if taught is None or photos.taught is None:
        return metrics
    cosine = (found["embedding"] * photos.taught[:, 0]).sum(1).astype(np.float64)
    theirs = taught[np.searchsorted(data.rows(), photos.rows)]
    return metrics | {
        "cosine": float(cosine.mean()),
        "teacher_auroc": auroc(theirs, photos.truth),
        "teacher_agreement": float(((theirs >= 0.5) == (probability >= 0.5)).mean()),
    }
