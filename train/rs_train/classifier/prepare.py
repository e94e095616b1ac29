"""Preparation of a run's data: the index, the classes and the splits."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from rs_runtime.kit.manifest import MAX_TEXT
from rs_toolkit.audit.statistics import conflicts
from rs_toolkit.checks.duplicates.search import group_near_duplicates
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.index import fingerprint, read_index
from rs_toolkit.data.photos import Photo, PhotoCache, unlabelled
from rs_toolkit.data.readers import open_data
from rs_toolkit.data.readers.reading import some
from rs_toolkit.data.taxonomy import RANKS
from rs_toolkit.errors import DataError
from rs_toolkit.files import read_json, write_json
from rs_toolkit.garbage import rarely_collecting
from rs_toolkit.progress import Progress
from rs_toolkit.splits.rank import settle_rank
from rs_toolkit.splits.table import EarlierSides, make_splits
from rs_train.classifier.checkpoint import weights_sha256
from rs_train.classifier.clip_teacher import ClipTeacher
from rs_train.classifier.teaching import Teacher
from rs_train.run_folder import resumed, write_begun

__all__ = ["RunData", "prepare"]


class RunData(NamedTuple):
    """All photos of a run with their splits, and one row per class, as in ``classes.json``.

    The photos' paths are relative to ``root``; ``mark`` is the photos' fingerprint.  ``config`` has
    the rank that ``auto`` stands for.
    """

    photos: tuple[Photo, ...]
    classes: list[dict[str, Any]]
    root: Path
    mark: str
    config: TrainConfig

    def side(self, *names: str) -> list[Photo]:
        """Return the photos of ``train``, ``val`` or ``test``, or of several of these."""
        return [photo for photo in self.photos if photo.split in names]


@rarely_collecting()
def prepare(
    data: Path,
    config: TrainConfig,
    run: Path,
    cache: PhotoCache,
    progress: Progress,
    teacher: Teacher | ClipTeacher | None = None,
) -> RunData:
    """Index, label and split a data set, and write the result into the run folder.

    Where the folder ``run`` holds an index already, that is read instead, so that a resumed run
    has the photos and splits that it began with.  Photos that ``teacher`` knows keep their side in
    its split, unless ``config.splits_from`` names another.

    Raises
    ------
    DataError
        There is no readable photo, there are fewer than two classes, a class name is too long for
        a kit, there can be no splits (see :func:`rs_toolkit.splits.table.make_splits`), or the
        teacher does not fit (see :meth:`rs_train.classifier.teaching.Teacher.check`).
    RunError
        The run began with other settings, or one of its files is damaged.
    """
    if (run / "index.parquet").is_file() and (run / "config.json").is_file():
        with resumed(run, config) as saved:
            classes = read_json(run / "classes.json")["classes"]
            root, mark = Path(saved["data_root"]), str(saved["data_fingerprint"])
            return RunData(read_index(run / "index.parquet"), classes, root, mark, config)
    if config.splits_from:
        # Fail on a wrong path now, before every photo is opened.
        EarlierSides.read(Path(config.splits_from))
    dataset, photos = open_data(data, cache, progress, config.keep_names)
    for photo in photos:
        if photo.error:
            progress.note(f"left out: {photo.path}: {photo.error}")
    if config.group_by != "photo":
        roots, judged = [dataset.root] * len(photos), len(photos) * (dataset.source == "clean")
        photos = group_near_duplicates(photos, roots, cache.directory, progress, judged)
    config = settle_rank(photos, config, progress)
    if nameless := unlabelled(photos, config.rank):
        progress.note(
            f"left out: {len(nameless)} photos without a {config.rank}, such as {nameless[0].path}"
        )
    _note_conflicts(photos, config.rank, progress)
    # A clean folder has splits already.  The settings that are recorded stay as they were given.
    taught = isinstance(teacher, Teacher) and config.teacher
    kept = config.splits_from or taught or str(data) * (dataset.source == "clean")
    photos, report = make_splits(photos, replace(config, splits_from=kept))
    for text in (*report.notes(), report.question):
        progress.note(text)
    classes = _class_table(photos, config.rank)
    if teacher:
        teacher.check(photos, classes)
    found = RunData(photos, classes, dataset.root.resolve(), fingerprint(photos), config)
    preprocessing = cache.preprocessing.to_dict()
    table = {"rank": config.rank, "preprocessing": preprocessing, "classes": classes}
    write_json(run / "classes.json", table)
    write_json(run / "splits.json", asdict(report))
    sources = {
        "data": str(data),
        "data_root": str(found.root),
        "data_fingerprint": found.mark,
        "weights_sha256": weights_sha256(config.weights),
        "teacher_sha256": teacher and teacher.sha256,
    }
    write_begun(run, config, photos, sources)
    return found


def _note_conflicts(photos: tuple[Photo, ...], rank: str, progress: Progress) -> None:
    """Name photos whose bytes stand under several classes."""
    usable = {photo.path: photo for photo in photos if photo.error is None}
    twice = []
    for found in conflicts(usable.values()):
        labels = {path: label for path, _ in found.photos if (label := usable[path].label(rank))}
        if len(set(labels.values())) > 1:
            twice.append(" = ".join(f"{path} ({label})" for path, label in labels.items()))
    if twice:
        count = f"{len(twice)} photo{'s' if len(twice) > 1 else ''}"
        progress.note(f"in several classes, as copies of the same bytes: {count}: {some(twice)}")


def _class_table(photos: tuple[Photo, ...], rank: str) -> list[dict[str, Any]]:
    """Return one row per class, in alphabetical order: id, name, common name, taxon to ``rank``."""
    members: dict[str, list[Photo]] = {}
    for photo in photos:
        if photo.split:
            members.setdefault(str(photo.label(rank)), []).append(photo)
    depth = RANKS.index(rank) + 1 if rank in RANKS else len(RANKS)
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(sorted(members)):
        if len(name) > MAX_TEXT:
            raise DataError(
                f"class {name[:40]!r}…: got a name of {len(name)} characters, wanted at most "
                f"{MAX_TEXT}; shorten it in the data"
            )
        taxa = Counter(photo.taxon.names[:depth] for photo in members[name])
        ranked = zip(RANKS, taxa.most_common(1)[0][0], strict=False)
        taxon = {level: value for level, value in ranked if value}
        common = _common_name(members[name])
        rows.append({"id": number, "name": name, "common_name": common, "taxon": taxon})
    return rows


def _common_name(photos: list[Photo]) -> str | None:
    """Return the common names of a class's photos, at most three, the most frequent first."""
    counts = Counter(photo.common_name for photo in photos if photo.common_name)
    names = [name for name, _ in counts.most_common()]
    text = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return text[:MAX_TEXT] or None
