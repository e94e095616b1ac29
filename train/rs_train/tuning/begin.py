"""The beginning of a study: its folder, its photos and splits, and what must stay the same."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rs_runtime.photos.folder import MARK
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.config.tuning import TuneConfig
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.environment import machine, versions
from rs_toolkit.errors import RunError
from rs_toolkit.files import mark_output, read_json, write_json
from rs_toolkit.folders.locks import locked
from rs_toolkit.progress import Progress
from rs_train.classifier.prepare import RunData, prepare
from rs_train.classifier.teaching import meet_teacher
from rs_train.run_folder import undamaged
from rs_train.tuning.objectives import Objective

__all__ = ["begin_study"]

_STUDY = "study.json"


def begin_study(
    folder: Path,
    data: Path,
    config: TrainConfig,
    tuning: TuneConfig,
    cache: PhotoCache,
    progress: Progress,
    make: Callable[[RunData, dict[str, Any]], Objective],
) -> tuple[TrainConfig, Objective]:
    """Write what a study begins with, or check that it began with the same.

    ``study.json`` holds settings, hashes of photos and weights, versions and machine; ``split`` the
    index, classes and splits, as in a run folder.  ``make`` takes the photos of the study, and
    where they came from, as a run's ``config.json`` records it.  Returns the settings with the rank
    that ``auto`` stands for, and what ``make`` returned.  Nothing is written where that fails, so
    that the same folder can be used once the fault is mended.

    Raises
    ------
    RunError
        The study began with other settings, photos, weights or teacher, its record is damaged, the
        folder holds something else, or the teacher cannot be used.
    DataError
        The photos or the teacher cannot be used; see :func:`rs_train.classifier.prepare.prepare`.
    """
    wanted: dict[str, Any] = {"settings": config.to_dict(), "tune": tuning.to_dict()}
    # Before the photos are read, which takes long.
    _check(folder, wanted)
    with tempfile.TemporaryDirectory() as made:
        prepared = Path(made)
        teacher = meet_teacher(config, prepared)
        found = prepare(data, config, prepared, cache, progress, teacher)
        kept = ("data", "data_root", "data_fingerprint", "weights_sha256", "teacher_sha256")
        begun = read_json(prepared / "config.json")
        sources = {name: begun[name] for name in kept}
        hashes = {"photos_sha256": _hash(found), **{name: sources[name] for name in kept[-2:]}}
        wanted |= hashes
        _check(folder, wanted)
        objective = make(found, sources)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "study.lock"):
            if not _check(folder, wanted):
                mark_output(folder)
                shutil.copytree(prepared, folder / "split", dirs_exist_ok=True)
                about = {"versions": versions(), "machine": machine()}
                write_json(folder / _STUDY, {**wanted, **sources, **about})
    return found.config, objective


def _check(folder: Path, wanted: dict[str, Any]) -> bool:
    """Return whether a folder holds a study; RunError: it is another one, or something else."""
    path = folder / _STUDY
    if not path.is_file():
        others = {item.name for item in folder.glob("*")} - {MARK, "study.lock", "split"}
        if others:
            raise RunError(
                f"{folder}: holds no study, but {min(others)}; choose another --out for a new one"
            )
        return False
    with undamaged(path):
        saved = read_json(path)
        changed = [
            name
            for table in ("settings", "tune")
            for name, value in wanted[table].items()
            if saved[table].get(name) != value
        ]
        hashes = [saved.get(name) for name in wanted if name.endswith("sha256")]
    if changed:
        raise RunError(
            f"{folder}: the study began with other settings ({', '.join(changed)}); restore them, "
            "or choose another --out"
        )
    if hashes != [value for name, value in wanted.items() if name.endswith("sha256")]:
        raise RunError(
            f"{folder}: the study began with other photos, splits, weights or teacher; restore "
            "them, or choose another --out"
        )
    return True


def _hash(data: RunData) -> str:
    """Return the SHA-256 of what decides a score, besides the settings."""
    rows = sorted([p.path, p.split or "", p.group or "", p.weight] for p in data.photos)
    return hashlib.sha256(json.dumps([data.mark, rows]).encode()).hexdigest()
