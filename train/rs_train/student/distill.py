"""From a teacher, or from labels alone, to a finished filter folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from rs_runtime.filter import organism_probability
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.data.photos import PhotoCache, default_cache_dir
from rs_toolkit.environment import machine, versions
from rs_toolkit.files import write_json
from rs_toolkit.folders.filter import write_filter_json
from rs_toolkit.metrics.platt import fit_platt
from rs_toolkit.metrics.thresholds import fit_thresholds
from rs_toolkit.progress import Progress
from rs_toolkit.splits.assign import SIDES
from rs_train.run_folder import is_finished
from rs_train.student.checkpoint import DistillState, StudentCheckpoints
from rs_train.student.data import DistillData, kind_of, prepare_distillation
from rs_train.student.fit import Course, fit_student
from rs_train.student.lesson import ask_teacher, learn_from_labels, meet_teacher, set_targets
from rs_train.student.measure import answers, measure
from rs_train.student.onnx_file import write_student_onnx
from rs_train.student.portion import Portion, portion
from rs_train.student.student import build_student, get_student
from rs_train.teacher.torch_setup import ready_torch

__all__ = ["distill"]

_COMPARED = 16  # photos whose logits are compared between torch and ONNX


def distill(
    data: Path,
    config: DistillConfig,
    out: Path,
    *,
    not_organism: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train a filter and write its folder; see :mod:`rs_toolkit.folders.filter`.

    Parameters
    ----------
    data
        Photos that :func:`rs_toolkit.data.readers.read_dataset` reads.  Those with a label show an
        organism; the others are used only where there is a teacher to judge them.
    config
        Settings.
    out
        The folder to write; it must not hold a filter already unless ``resume``.
    not_organism
        Photos that show no organism, read in the same way; labels do not matter.
    resume
        Continue an interrupted distillation; a finished one is left alone.
    progress
        Where to show progress; silent by default.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    ToolkitError
        The data, the weights or the settings cannot be used; see each subclass.
    """
    progress = progress or Progress()
    if is_finished(out, "filter.json", "filter", resume, progress):
        return out
    started = time.perf_counter()
    get_student(config.student)
    ready_torch(config.seed)
    preprocessing = Preprocessing(size=config.imgsz, resize=config.resize)
    # A checkpoint replaces all pretrained weights; their file may be gone by now.
    resumed = StudentCheckpoints.begun(out / "checkpoints")
    weights = "none" if resumed else config.student_weights
    # Before any long work: wrong weights, of student or teacher, should fail in seconds.
    met = meet_teacher(config) if config.has_teacher else None
    build_student(config.student, weights, config.imgsz, config.seed)
    cache = PhotoCache(default_cache_dir(), preprocessing)
    found = prepare_distillation(data, not_organism, config, out, cache, progress)
    mark = f"{config.fingerprint()}-{found.mark[:16]}"
    checkpoints = StudentCheckpoints(out / "checkpoints", mark)
    lesson = ask_teacher(*met, config, found, progress) if met else learn_from_labels()
    verdicts = set_targets(found, lesson, config.teacher_share)
    verdicts.write(out / "verdicts.parquet")
    portions = {side: portion(side, found, verdicts, lesson, cache) for side in SIDES}
    student = build_student(
        config.student, weights, config.imgsz, config.seed, lesson.text, lesson.scale
    )
    course = Course(
        student, portions["train"], portions["val"], lesson, preprocessing, config, progress
    )
    state = fit_student(course, checkpoints, started)
    _finish(out, course, portions["test"], found, state)
    progress.note(f"filter written to {out}")
    return out


def _finish(
    out: Path, course: Course, test: Portion, data: DistillData, state: DistillState
) -> None:
    """Calibrate on validation photos, measure on test photos, and write the results."""
    val, config = course.val, course.config
    sides = {"test": test, "val": val}
    found = {side: answers(course, photos) for side, photos in sides.items()}
    temperature, bias = fit_platt(found["val"].odds, val.truth)
    calibration = {"temperature": temperature, "bias": bias}
    probability = organism_probability(found["val"].odds, temperature, bias)
    families = [kind_of(data.photos[row]) for row in val.rows]
    thresholds = fit_thresholds(probability, val.truth, families)
    metrics: dict[str, Any] = {
        side: measure(found[side], photos, data, course, calibration, thresholds)
        for side, photos in sides.items()
    }
    shown = np.arange(min(_COMPARED, len(test.rows)))
    images = test.images(shown, np.zeros_like(shown), config.seed)
    inputs = course.preprocessing.model_input(images)
    metrics["onnx"] = write_student_onnx(course.student, inputs, out / "student.onnx")
    write_json(out / "history.json", {"best_epoch": state.best_epoch, "epochs": state.history})
    environment = {"machine": machine(), "versions": versions(), "seed": config.seed}
    write_json(out / "environment.json", {**environment, "seconds": round(state.seconds, 1)})
    write_json(out / "metrics.json", metrics)
    # Last: its presence says that the filter is finished.
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
