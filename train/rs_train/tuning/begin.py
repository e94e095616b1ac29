"""The beginning of a study: its folder, its photos and splits, and what must stay the same."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
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

__all__ = ["begin_study"]

_STUDY = "study.json"


def begin_study(
    folder: Path,
    data: Path,
    config: TrainConfig,
    tuning: TuneConfig,
    cache: PhotoCache,
    progress: Progress,
) -> tuple[RunData, dict[str, Any]]:
    """Write what a study begins with, or check that it began with the same.

    ``study.json`` holds settings, hashes of photos and weights, versions and machine; ``split`` the
    index, classes and splits, as in a run folder.  Returns the photos of the study, and where they
    came from, as a run's ``config.json`` records it.

    Raises
    ------
    RunError
        The study began with other settings, photos or weights, or with another teacher, its record
        is damaged, or the folder holds something else.
    DataError
        The photos or the teacher cannot be used; see :func:`rs_train.classifier.prepare.prepare`.
    """
    wanted = {"settings": config.to_dict(), "tune": tuning.to_dict()}
    # Before the photos are read, which takes long.
    _check(folder, wanted)
    teacher = meet_teacher(config, folder / "split")
    with tempfile.TemporaryDirectory() as made:
        prepared = Path(made)
        found = prepare(data, config, prepared, cache, progress, teacher)
        kept = ("data", "data_root", "data_fingerprint", "weights_sha256", "teacher_sha256")
        begun = read_json(prepared / "config.json")
        sources = {name: begun[name] for name in kept}
        hashes = {"photos_sha256": _hash(found), "weights_sha256": sources["weights_sha256"]}
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "study.lock"):
            if not _check(folder, {**wanted, **hashes}):
                mark_output(folder)
                shutil.copytree(prepared, folder / "split", dirs_exist_ok=True)
                about = {"versions": versions(), "machine": machine()}
                write_json(folder / _STUDY, {**wanted, **hashes, **sources, **about})
    return found, sources


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
        hashes = [saved[name] for name in wanted if name.endswith("sha256")]
    if changed:
        raise RunError(
            f"{folder}: the study began with other settings ({', '.join(changed)}); restore them, "
            "or choose another --out"
        )
    if hashes != [value for name, value in wanted.items() if name.endswith("sha256")]:
        raise RunError(
            f"{folder}: the study began with other photos, splits or weights; restore them, or "
            "choose another --out"
        )
    return True


def _hash(data: RunData) -> str:
    """Return the SHA-256 of what decides a score, besides the settings."""
    rows = sorted([p.path, p.split or "", p.group or "", p.weight] for p in data.photos)
    return hashlib.sha256(json.dumps([data.mark, rows]).encode()).hexdigest()
