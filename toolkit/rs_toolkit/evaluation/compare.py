"""``rs-toolkit compare``: runs side by side, in pairs on the test photos that they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.data.groups import group_photos
from rs_toolkit.data.photos import Photo
from rs_toolkit.errors import ConfigError, RunError
from rs_toolkit.evaluation.logits import tested_logits
from rs_toolkit.evaluation.scores import values
from rs_toolkit.folders.run import History, Run, read_history
from rs_toolkit.metrics.intervals import macro_f1_estimate, share_estimate
from rs_toolkit.metrics.paired import gains
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["compare_runs"]


@dataclass(frozen=True)
class _Tested:
    """A run with the logits (n, classes) of its n test photos."""

    name: str
    run: Run
    history: History
    photos: list[Photo]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]

    @property
    def names(self) -> list[str]:
        return [str(item["name"]) for item in self.run.classes]


def compare_runs(paths: Sequence[Path], progress: Progress) -> dict[str, Any]:
    """Return scores of finished runs, and how each differs from the first, as JSON values.

    Photos are the same where their bytes and boxes are, whatever their names.

    Returns
    -------
    dict
        ``runs``: for each its scores on its own test photos, as estimates with limits; ``best``,
        the row of its best epoch, ``gap``, training less validation macro-F1 there, and all
        ``epochs``; ``against_first``: gains on the shared test photos, None for the first run and
        where none are shared.  ``settings``: those that differ, with a value for each run.
        ``notes``: what a reader must know.

    Raises
    ------
    ConfigError
        There are fewer than two runs, or one is named twice.
    RunError
        A run is missing, not finished or damaged, or has no test photos.
    PhotoError, DataError
        A run of an earlier release kept no logits, and its test photos cannot be read.
    """
    if len(paths) < 2:
        raise ConfigError(f"compare: got {len(paths)} run, wanted two or more")
    if len({path.resolve() for path in paths}) < len(paths):
        raise ConfigError("compare: got the same run twice; name each once")
    named = zip(paths, _names(paths), strict=True)
    tested = [_opened(path, name, progress) for path, name in named]
    notes: list[str] = []
    rows = [
        {**_alone(item), "against_first": _paired(tested[0], item, notes) if place else None}
        for place, item in enumerate(tested)
    ]
    if any(row["gap"] is None for row in rows):
        notes.append("no gap: an earlier release measured no score on training photos")
    notes += [_refit_note(item) for item in tested if item.run.refitted]
    return {"runs": rows, "settings": _differing(tested), "notes": notes}


def _refit_note(item: _Tested) -> str:
    photos, second = "the validation photos", "scores on test photos its second's"
    if item.run.learned_all:
        photos = "every photo"
        second = "scores those of other models, by folds, on all photos"
    first = "gap and epochs are its first model's"
    return f"{item.name} was trained again with {photos}: {first}, {second}"


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the runs' names: those of their folders, or where these are equal their paths."""
    names = [path.resolve().name for path in paths]
    counts = Counter(names)
    return [
        name if counts[name] == 1 else str(path) for name, path in zip(names, paths, strict=True)
    ]


def _opened(path: Path, name: str, progress: Progress) -> _Tested:
    run = Run.open(path)
    photos, labels = run.held_out("test")
    if not photos:
        raise RunError(f"{path}: has no test photos; leave it out")
    return _Tested(name, run, read_history(path), photos, labels, tested_logits(run, progress))


def _alone(item: _Tested) -> dict[str, Any]:
    groups, given = group_photos(item.photos).numbers, item.logits.argmax(axis=1)
    best = item.history.best
    train, val = best["train_macro_f1"], best["val_macro_f1"]
    return {
        "name": item.name,
        "path": str(item.run.path),
        "preset": item.run.config.get("preset", ""),
        "rank": item.run.rank,
        "classes": len(item.names),
        "photos": len(item.photos),
        "groups": len(set(groups.tolist())),
        "accuracy": values(share_estimate(given == item.labels, groups)),
        "macro_f1": values(macro_f1_estimate(item.labels, given, len(item.names), groups)),
        "best": best,
        "gap": None if train is None or val is None else train - val,
        "epochs": list(item.history.epochs),
    }


def _paired(first: _Tested, other: _Tested, notes: list[str]) -> dict[str, Any] | None:
    """Return the gains of a run on the test photos that it shares with the first."""
    if first.run.rank != other.run.rank:
        notes.append(f"{other.name} names another rank than {first.name}: not compared in pairs")
        return None
    place = {photo.content: row for row, photo in enumerate(other.photos)}
    shared = [row for row, photo in enumerate(first.photos) if photo.content in place]
    theirs = [place[first.photos[row].content] for row in shared]
    agreed = [
        (row, their)
        for row, their in zip(shared, theirs, strict=True)
        if first.names[first.labels[row]] == other.names[other.labels[their]]
    ]
    if len(agreed) < len(shared):
        notes.append(
            f"{len(shared) - len(agreed)} photos have another label in {other.name} than in "
            f"{first.name}: left out of the pairs"
        )
    if not agreed:
        notes.append(
            f"{other.name} shares no test photo with {first.name}: not compared in pairs; train "
            f"with --splits-from {first.run.path}"
        )
        return None
    if len(shared) < max(len(first.photos), len(other.photos)):
        notes.append(
            f"{other.name} shares {len(shared)} of its {len(other.photos)} test photos with "
            f"{first.name}: only these are compared in pairs"
        )
    rows, their_rows = (np.array(column) for column in zip(*agreed, strict=True))
    names = sorted({*first.names, *other.names})
    number = {name: place for place, name in enumerate(names)}
    labels = np.array([number[first.names[label]] for label in first.labels[rows]], np.int64)
    groups = group_photos([first.photos[row] for row in rows]).numbers
    logits = (_among(first, rows, number), _among(other, their_rows, number))
    found = {name: values(gain) for name, gain in gains(labels, groups, *logits).items()}
    return {"photos": len(rows), "groups": len(set(groups.tolist())), **found}


def _among(item: _Tested, rows: NDArray[np.int64], number: dict[str, int]) -> NDArray[np.float32]:
    """Return logits of photos for the classes in ``number``; those that the run lacks come last."""
    logits = item.logits[rows]
    found = np.full((len(rows), len(number)), logits.min() - 1, np.float32)
    found[:, [number[name] for name in item.names]] = logits
    return found


def _differing(tested: Sequence[_Tested]) -> dict[str, list[Any]]:
    """Return the settings that are not the same in all runs; None: a run does not know one."""
    keys = dict.fromkeys(key for item in tested for key in item.run.config)
    found = {key: [item.run.config.get(key) for item in tested] for key in keys}
    return {key: column for key, column in found.items() if any(v != column[0] for v in column)}
