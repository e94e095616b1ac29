"""The export task of a classifier: calibration, scores, and what a variant may lose.

Rounding changes logits, so every variant is calibrated on the validation photos anew.  Where the
run was refitted on these photos, each has the calibration of the first model, which was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rs_export.certainty import answered, calibrate, set_scores
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
from rs_toolkit.splits.places import places_of_test

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    first = run.val_logits()
    rare = rarest_third(run.split("train")[1], len(about.classes))

    return Task(
        about=about,
        reference="float",
        size=(run.path / "model.keras").stat().st_size,
        load=run.load_model,
        photos=run.split,
        pixels=run.pixels,
        calibrate=lambda logits, labels, groups: calibrate(
            logits if first is None else first, labels, groups, ranks, settings.min_precision
        ),
        scores=lambda logits, fitted, side: _scores(logits, fitted, side, about.classes, ranks),
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
        fine_tune=lambda model, inputs, progress: (
            Preparer(run, model, inputs, settings.passes, settings.seed, progress).model
        ),
    )


def _about(run: Run) -> About:
    counts = {split: len(run.split(split)[0]) for split in ("train", "val", "test")}
    classes = []
    for item in run.classes:
        taxon = {rank: name for rank, name in item["taxon"].items() if name}
        classes.append(ClassInfo(item["id"], item["name"], item["common_name"], taxon))
    return About(
        name=run.name,
        folder=str(run.path),
        rank=run.rank,
        classes=tuple(classes),
        preprocessing=run.preprocessing,
        calibration=Calibration(run.temperature),
        data_fingerprint=run.data_fingerprint,
        counts={**counts, "classes": len(run.classes)},
        question=places_of_test(run.photos).text,
        refitted=run.refitted,
    )


def _scores(
    logits: NDArray[np.float32],
    fitted: Calibration,
    side: Side,
    classes: Sequence[ClassInfo],
    ranks: Sequence[Level],
) -> Scores:
    """Score a model, overall and per class, and compare it with the float model."""
    names = [item.name for item in classes]
    found = metrics.evaluate(logits, side.labels, names, fitted.temperature)
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
