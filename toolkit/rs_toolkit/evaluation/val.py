"""``rs-toolkit val``: measure a run or a kit on labelled photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.classify import Classifier
from rs_runtime.errors import PhotoError
from rs_runtime.filter import FilterVerdict
from rs_runtime.ranks import levels
from rs_toolkit.data.groups import LEVELS, group_photos
from rs_toolkit.data.photos import SIDES, PhotoCache, default_cache_dir
from rs_toolkit.errors import DataError
from rs_toolkit.evaluation.certainty import set_scores, unknown_scores
from rs_toolkit.evaluation.model import Opened
from rs_toolkit.evaluation.photos import Measured, choose_photos, learned_sides
from rs_toolkit.evaluation.report import Row, print_scores, write_report
from rs_toolkit.evaluation.scores import Judged, judge
from rs_toolkit.evaluation.truth import UNLABELLED, true_taxa
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["validate"]

_BATCH = 16


def validate(
    model: Opened,
    data: Path | None,
    out: Path,
    *,
    split: str | None = None,
    group_by: str | None = None,
    keep_names: str = "",
    coverage: float | None = None,
    strict: bool = False,
    progress: Progress,
) -> Path:
    """Measure a model on labelled photos: print a table, and write files into ``out``.

    ``val.json`` and ``val.html`` hold all scores, ``predictions.csv`` a row for each photo.  Photos
    that the model has learned from, and photos of taxa that it does not know, are counted apart.
    Returns the path of the page.

    Parameters
    ----------
    data, split, keep_names
        As for :func:`rs_toolkit.evaluation.photos.choose_photos`.
    coverage
        Coverage, 0 to 1, at which sets of classes are checked; None: 0.8, 0.9 and 0.95.
    group_by
        What is drawn as a whole for the intervals: see
        :func:`rs_toolkit.data.groups.group_photos`; None: its default.

    Raises
    ------
    ConfigError, DataError
        As :func:`choose_photos`; DataError also if no photo with a label is left to measure on.
    EngineError
        The engine failed.
    """
    classifier = model.classifier
    manifest, cached = classifier.manifest, default_cache_dir()
    cache = PhotoCache(cached, classifier.preprocessing, strict)
    trained_on = manifest.data_fingerprint
    chosen = choose_photos(data, model.run, trained_on, split, cache, keep_names, progress)
    ranks = levels(manifest.classes, manifest.rank)
    truth = true_taxa(chosen.photos, manifest.classes, ranks)
    labelled = (truth != UNLABELLED).any(axis=1)
    if not labelled.any():
        wanted = ", ".join(level.rank for level in ranks)
        raise DataError(
            f"{data or chosen.root}: none of {len(chosen.photos)} photos has a label at a rank of "
            f"the model ({wanted}); give labelled photos, or use rs-toolkit predict"
        )
    rows = np.flatnonzero(labelled).tolist()
    logits, failed, verdicts = _predict(model, chosen, rows, cache, progress)
    rows = [row for row in rows if row not in failed]
    photos = [chosen.photos[row] for row in rows]
    groups = group_photos(photos, group_by or LEVELS[0]).numbers
    probabilities = classifier.calibrated(logits)
    judged = judge(ranks, probabilities, truth[rows], groups, _thresholds(classifier))
    seen = [chosen.seen[row] for row in rows]
    new = np.array([side is None for side in seen])
    _require_new(new, seen, chosen)
    found = {
        **_about(model, data, chosen, len(chosen.photos) - int(labelled.sum()), failed),
        **_scores(judged.only(new), logits[new], classifier, coverage),
        "seen": {
            side: _summary(judged.only(np.array([was == side for was in seen])), classifier)
            for side in SIDES
            if side in seen
        },
        "filter": _filter_counts(model, verdicts),
    }
    written = [
        Row(photo, was, verdict) for photo, was, verdict in zip(photos, seen, verdicts, strict=True)
    ]
    page = write_report(found, judged, written, out, lambda photo: cache.pixels(photo, chosen.root))
    print_scores(found)
    return page


def _predict(
    model: Opened, chosen: Measured, rows: Sequence[int], cache: PhotoCache, progress: Progress
) -> tuple[NDArray[np.float32], dict[int, str], list[FilterVerdict | None]]:
    """Return logits (n, classes), why photos failed by row, and the filter's verdicts."""
    classifier, filter_ = model.classifier, model.classifier.filter
    seen_by_filter = filter_ and PhotoCache(cache.directory, filter_.preprocessing, cache.strict)
    parts: list[NDArray[np.float32]] = []
    failed: dict[int, str] = {}
    verdicts: list[FilterVerdict | None] = []
    for start in range(0, len(rows), _BATCH):
        pixels, others = [], []
        for row in rows[start : start + _BATCH]:
            photo = chosen.photos[row]
            try:
                loaded = cache.pixels(photo, chosen.root)
                others += [seen_by_filter.pixels(photo, chosen.root)] if seen_by_filter else []
                pixels.append(loaded)
            except (PhotoError, DataError, OSError) as error:
                failed[row] = str(error)
        if pixels:
            parts.append(classifier.logits(np.stack(pixels)))
            verdicts += filter_.verdicts(np.stack(others)) if filter_ else [None] * len(pixels)
        progress.update("measure", min(start + _BATCH, len(rows)), len(rows))
    if not parts:
        raise DataError(
            f"none of {len(rows)} photos can be read, such as {next(iter(failed.values()))}; give "
            "the folder of the photos at its new place as DATA"
        )
    for problem in list(failed.values())[:3]:
        progress.note(f"left out: {problem}")
    return np.concatenate(parts), failed, verdicts


def _require_new(new: NDArray[np.bool_], seen: Sequence[str | None], chosen: Measured) -> None:
    if not new.any():
        counts = ", ".join(f"{n} {side}" for side, n in Counter(filter(None, seen)).items())
        raise DataError(
            f"{chosen.root}: the model has learned from all photos with labels ({counts}), so that "
            "scores would say nothing; give others, or ask for these with --split train"
        )


def _about(
    model: Opened, data: Path | None, chosen: Measured, unlabelled: int, failed: dict[int, str]
) -> dict[str, Any]:
    classifier = model.classifier
    manifest, variant = classifier.manifest, classifier.variant
    return {
        "model": {
            "kind": model.kind,
            "name": manifest.name,
            "variant": variant.name,
            "engine": variant.engine,
            "rank": manifest.rank,
            "classes": len(manifest.classes),
            "temperature": variant.temperature,
            "thresholds": dict(classifier.thresholds),
        },
        "data": {
            "path": str(data) if data is not None else None,
            "root": str(chosen.root),
            "split": chosen.split,
            "photos": len(chosen.photos),
            "unlabelled": unlabelled,
            "unreadable": len(chosen.unreadable) + len(failed),
            "learned_from_checked": model.run is not None,
            "learned": list(learned_sides(model.run)),
        },
    }


def _scores(
    judged: Judged, logits: NDArray[np.float32], classifier: Classifier, coverage: float | None
) -> dict[str, Any]:
    known, unknown = judged.only(judged.known), judged.only(judged.unknown)
    thresholds, variant = _thresholds(classifier), classifier.variant
    return {
        "photos": len(known.truth),
        "groups": len(set(known.groups.tolist())),
        "ranks": known.ranks(),
        "named": known.named(thresholds),
        "unknown": {
            "photos": len(unknown.truth),
            "ranks": unknown.unknown_taxa(),
            "named": unknown.named(thresholds),
        },
        "sets": set_scores(known, variant, coverage),
        "strangeness": unknown_scores(judged, logits, variant),
        "reliability": known.reliability(),
        "selective": known.selective(),
        "per_class": known.classes(),
        "confusions": known.confusions(),
    }


def _thresholds(classifier: Classifier) -> Mapping[str, float] | None:
    return classifier.thresholds if classifier.answering else None


def _summary(judged: Judged, classifier: Classifier) -> dict[str, Any]:
    known = judged.only(judged.known)
    return {
        "photos": len(judged.truth),
        "ranks": known.ranks(),
        "named": known.named(_thresholds(classifier)),
    }


def _filter_counts(
    model: Opened, verdicts: Sequence[FilterVerdict | None]
) -> dict[str, int] | None:
    if model.classifier.filter is None:
        return None
    counts = Counter(found.verdict for found in verdicts if found is not None)
    return {name: counts[name] for name in ("organism", "uncertain", "not_organism")}
