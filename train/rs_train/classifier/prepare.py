"""From a data set to the fixed inputs of a run: index, classes, splits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from rs_runtime.kit.manifest import MAX_TEXT
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.index import fingerprint, read_index, write_index
from rs_toolkit.data.open import open_data
from rs_toolkit.data.photos import Photo, PhotoCache, unlabelled
from rs_toolkit.data.taxonomy import RANKS
from rs_toolkit.errors import DataError, RunError
from rs_toolkit.files import read_json, sha256_file, write_json
from rs_toolkit.progress import Progress
from rs_toolkit.splits.table import EarlierSides, make_splits
from rs_train.run_folder import begun, require_same, undamaged

__all__ = ["class_table", "prepare", "require_same_weights", "saved_config"]


def prepare(
    data: Path, config: TrainConfig, run: Path, cache: PhotoCache, progress: Progress
) -> tuple[tuple[Photo, ...], list[dict[str, Any]], Path, str]:
    """Index, label and split a data set, and write that down in the run folder.

    A run folder that holds an index already is read instead, so that a resumed run has the
    photos and splits that it began with.

    Returns
    -------
    photos, classes, root, fingerprint
        All photos with their splits, the class table, the folder their paths start from, and
        the fingerprint of the data.

    Raises
    ------
    DataError
        Nothing to train on: no readable photo, or fewer than two classes; or the splits cannot
        be made as the settings ask (see :func:`rs_toolkit.splits.table.make_splits`).
    """
    index, settings = run / "index.parquet", run / "config.json"
    if index.is_file() and settings.is_file():
        return _prepared(run, config)
    if config.splits_from:
        # A wrong path should fail before every photo is opened.
        EarlierSides.read(Path(config.splits_from))
    dataset, photos = open_data(data, cache, progress)
    for photo in photos:
        if photo.error:
            progress.note(f"left out: {photo.path}: {photo.error}")
    if nameless := unlabelled(photos, config.rank):
        progress.note(
            f"left out: {len(nameless)} photos without a {config.rank}, such as {nameless[0].path}"
        )
    # A clean folder has sides already; the run's settings stay as they were given.
    kept = config.splits_from or (str(data) if dataset.source == "clean" else "")
    photos, report = make_splits(photos, replace(config, splits_from=kept))
    for text in report.notes():
        progress.note(text)
    classes = class_table(photos, config.rank)
    mark = fingerprint(photos)
    write_index(index, photos)
    write_json(
        run / "classes.json",
        {
            "rank": config.rank,
            "preprocessing": cache.preprocessing.to_dict(),
            "classes": classes,
        },
    )
    write_json(run / "splits.json", report.to_dict())
    counts = Counter(photo.split or "left out" for photo in photos)
    write_json(
        settings,
        {
            "settings": config.to_dict(),
            "data": str(data),
            "data_root": str(dataset.root.resolve()),
            "data_fingerprint": mark,
            "counts": dict(sorted(counts.items())),
            "weights_sha256": _weights_sha256(config.weights),
        },
    )
    return photos, classes, dataset.root.resolve(), mark


def _prepared(
    run: Path, config: TrainConfig
) -> tuple[tuple[Photo, ...], list[dict[str, Any]], Path, str]:
    """Read what an earlier session prepared."""
    saved = begun(run)
    with undamaged(run):
        require_same(run, saved["settings"], config)
        classes = read_json(run / "classes.json")["classes"]
        root, mark = Path(saved["data_root"]), str(saved["data_fingerprint"])
        return read_index(run / "index.parquet"), classes, root, mark


def _weights_sha256(weights: str) -> str | None:
    path = Path(weights)
    return sha256_file(path) if weights not in ("none", "imagenet") and path.is_file() else None


def require_same_weights(run: Path, config: TrainConfig) -> None:
    """Raise RunError where the weights file is no longer the one that a run began with.

    A run that has not begun is not checked, nor is a file that is gone: where a checkpoint
    replaces it, it is not needed, and where it is needed, loading it says that it is missing.
    """
    if not (run / "config.json").is_file():
        return
    before, now = begun(run).get("weights_sha256"), _weights_sha256(config.weights)
    if before and now and before != now:
        raise RunError(
            f"{run}: began with other weights ({config.weights} had SHA-256 {before[:12]}…, now "
            f"{now[:12]}…); put the former file back, or choose another --out"
        )


def saved_config(run: Path) -> tuple[TrainConfig, Path]:
    """Return the settings and the data path that a run began with.

    Raises
    ------
    RunError
        The folder is no run, or its settings are damaged.
    """
    saved = begun(run)
    with undamaged(run / "config.json"):
        return TrainConfig(**saved["settings"]), Path(saved["data"])


def class_table(photos: tuple[Photo, ...], rank: str) -> list[dict[str, Any]]:
    """Return one row a class, in alphabetical order: id, name, common name, taxon down to rank.

    Raises
    ------
    DataError
        A name is longer than a kit can hold.
    """
    members: dict[str, list[Photo]] = {}
    for photo in photos:
        if photo.split:
            members.setdefault(str(photo.label(rank)), []).append(photo)
    depth = RANKS.index(rank) + 1 if rank in RANKS else len(RANKS)
    rows = []
    for number, name in enumerate(sorted(members)):
        if len(name) > MAX_TEXT:
            raise DataError(
                f"class name {name[:40]!r}… has {len(name)} characters, wanted at most {MAX_TEXT}"
            )
        taxa = Counter(
            tuple(photo.taxon.at(level) for level in RANKS[:depth]) for photo in members[name]
        )
        taxon = dict(zip(RANKS, taxa.most_common(1)[0][0], strict=False))
        rows.append(
            {
                "id": number,
                "name": name,
                "common_name": _common_name(members[name]),
                "taxon": {level: value for level, value in taxon.items() if value},
            }
        )
    return rows


def _common_name(photos: list[Photo]) -> str | None:
    """Return the class's common name, or up to three of its members' where it has many."""
    names = [
        name for name, _ in Counter(p.common_name for p in photos if p.common_name).most_common()
    ]
    text = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return text[:MAX_TEXT] or None
