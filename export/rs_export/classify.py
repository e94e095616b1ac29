"""The export task of a classifier: calibration, scores, and what a variant may lose.

Rounding changes logits, so every variant is calibrated on the validation photos anew.  Where the
run was refitted on these photos, each has the calibration of the first model, which was not; where
it has learned from every photo, that of the models of folds (:mod:`rs_export.folds`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rs_export.certainty import answered, calibrate, set_scores
from rs_export.folds import Fold
from rs_export.result import About, Calibration, Scores
from rs_export.shrink.prepared import Preparer
from rs_export.task import Side, Task, model_info
from rs_runtime.kit.manifest import ClassInfo
from rs_runtime.ranks import Level, levels
from rs_toolkit.config.export import ExportSettings
from rs_toolkit.errors import ExportError
from rs_toolkit.folders.run import Run
from rs_toolkit.metrics import classification as metrics
from rs_toolkit.metrics.paired import compare_classifiers, rarest_third
from rs_toolkit.splits.places import places_of_folds, places_of_test

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rs_export.certainty import Parts

    Calibrate = Callable[[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]], Calibration]

__all__ = ["classifier_task"]

_SCORES = ("accuracy", "top5", "macro_f1", "worst_decile_f1", "ece")


def classifier_task(run: Run, settings: ExportSettings) -> Task:
    """Return the export task of a run's classifier.

    ``Scores.row`` holds accuracy, top5, macro_f1, worst_decile_f1, ece (expected calibration error
    at the model's own temperature) and agreement (share of photos for which the most probable class
    is the float model's).  ExportError: there are no test photos.
    """
    about = _about(run)
    if not about.counts["test"]:
        raise ExportError(f"{run.path}: no test photos to measure on; train again with more photos")
    ranks = levels(about.classes, run.rank)
    first = None if run.learned_all else run.val_logits()
    learned = run.split("all" if run.learned_all else "train")
    rare = rarest_third(learned[1], len(about.classes))

    def calibrated(
        logits: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[np.int64]
    ) -> Calibration:
        fitted_on = logits if first is None else first
        return calibrate(fitted_on, labels, groups, ranks, settings.min_precision)

    return Task(
        about=about,
        reference="float",
        size=(run.path / "model.keras").stat().st_size,
        load=run.load_model,
        photos=lambda side: learned if side == "train" else run.held_out(side),
        pixels=run.pixels,
        calibrate=calibrated,
        scores=lambda logits, fitted, side: _scores(
            logits, _checked(logits, fitted, side, calibrated), side, about.classes, ranks
        ),
        verdict=lambda before, after, _, side, error: compare_classifiers(
            side.labels, side.groups, before, after, rare, settings.margins, error
        ),
        info=lambda fitted: model_info(
            about,
            name=about.name,
            description=f"Names the {about.rank} of the organism in a photo; outputs are logits",
            temperature=fitted.temperature,
        ),
        headline=("macro_f1", "agreement"),
        folds=_folds(run),
        fine_tune=None
        if run.learned_all
        else lambda model, inputs, progress: (
            Preparer(run, model, inputs, settings.passes, settings.seed, progress).model
        ),
    )


def _about(run: Run) -> About:
    counts = {"train": len(run.split("all" if run.learned_all else "train")[0])}
    counts |= {split: len(run.held_out(split)[0]) for split in ("val", "test")}
    classes = []
    for item in run.classes:
        taxon = {rank: name for rank, name in item["taxon"].items() if name}
        classes.append(ClassInfo(item["id"], item["name"], item["common_name"], taxon))
    places, folds = places_of_test(run.photos), 0
    if run.learned_all:
        dealt = run.folds()
        numbers, judged = dealt.numbers.tolist(), dealt.judged.tolist()
        places = places_of_folds(run.split("all")[0], numbers, judged)
        folds = len(set(dealt.numbers[dealt.judged].tolist()))
    return About(
        name=run.name,
        folder=str(run.path),
        rank=run.rank,
        classes=tuple(classes),
        preprocessing=run.preprocessing,
        calibration=Calibration(run.temperature),
        data_fingerprint=run.data_fingerprint,
        counts={**counts, "classes": len(run.classes)},
        question=places.text,
        refitted=run.refitted,
        folds=folds,
    )


def _folds(run: Run) -> tuple[Fold, ...]:
    """Return the models of folds, of a run that has learned from every photo; else none."""
    if not run.learned_all:
        return ()
    folds, (photos, labels) = run.folds(), run.split("all")
    judged = folds.numbers[folds.judged]
    found = []
    for number in folds.names():
        kept = folds.numbers != number
        others = [photo for photo, own in zip(photos, kept, strict=True) if own]
        rows = (judged == number).nonzero()[0]
        if len(rows):
            found.append(Fold(partial(run.load_fold, number), rows, others, labels[kept]))
    return tuple(found)


def _checked(
    logits: NDArray[np.float32], fitted: Calibration, side: Side, calibrate: Calibrate
) -> Parts:
    """Return the calibration to check on each part of the photos.

    Where it is fitted on the photos that check it, a fold has that of the other folds.
    """
    if side.folds is None or (side.folds == side.folds[0]).all():
        return [(slice(None), fitted)]
    return [
        (own, calibrate(logits[~own], side.labels[~own], side.groups[~own]))
        for own in (side.folds == number for number in sorted(set(side.folds.tolist())))
    ]


def _scores(
    logits: NDArray[np.float32],
    fitted: Parts,
    side: Side,
    classes: Sequence[ClassInfo],
    ranks: Sequence[Level],
) -> Scores:
    """Score a model, overall and per class, and compare it with the float model."""
    names = [item.name for item in classes]
    calm = logits.astype("float64")
    for part, own in fitted:
        calm[part] /= own.temperature
    found = metrics.evaluate(calm, side.labels, names)
    before = metrics.per_class(side.labels, side.logits.argmax(axis=1), len(names))["f1"].tolist()
    rows = (
        {"name": new["name"], "support": new["support"], "f1": new["f1"], "change": new["f1"] - old}
        for new, old in zip(found["per_class"], before, strict=True)
    )
    return Scores(
        row={
            **{key: found[key] for key in _SCORES},
            "agreement": metrics.agreement(logits, side.logits),
        },
        per_class=tuple(rows),
        answered=answered(logits, side.labels, side.groups, ranks, fitted),
        sets=set_scores(logits, side.labels, fitted),
    )
