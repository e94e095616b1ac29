"""The filter folder: what distillation writes and export reads.

::

    student.keras     float32; input (n, S, S, 3) scaled by Preprocessing; output logits (n, K) of
                      the K classes of filter.json
    filter.json       classes, preprocessing, calibration, thresholds, student, teacher, metrics;
                      written last: its presence says that the folder is finished
    index.parquet     every photo, with its split, or why it is unreadable
    verdicts.parquet  one row per photo of the index: see Verdicts
    config.json       settings (DistillConfig), data_root and not_organism_root
    metrics.json      the metrics of filter.json: those of the test photos
    epochs.csv        one row per epoch, while training runs
    history.json      the same rows, and the best epoch
    environment.json  machine, versions, seconds
    checkpoints/      what ``--resume`` continues from

A folder may come from somebody else, so types, ranges and sizes of what is in it are checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.kit.json_node import JsonNode
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.data.index import read_index
from rs_toolkit.data.photos import Photo, PhotoCache, default_cache_dir
from rs_toolkit.data.table import read_table, write_table
from rs_toolkit.errors import DataError, RunError
from rs_toolkit.folders.filter_json import checked_json, read_filter_json, write_filter_json
from rs_toolkit.folders.finished import load_keras_model, require_files

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["FilterFolder", "Verdicts", "write_filter_json"]

_MAX_MODEL_BYTES = 2**30
_FILES = ("filter.json", "student.keras", "config.json", "index.parquet", "verdicts.parquet")
_VERDICTS = {b"rs_toolkit.verdicts": b"1"}


@dataclass(frozen=True)
class Verdicts:
    """Where each of n photos comes from, and what it shows; three arrays of shape (n,).

    ``of_data``, bool: whether it lies in ``data_root``, not in ``not_organism_root``.  ``truth``,
    bool: whether it shows an organism, by its label or, if it has none, by the teacher.
    ``target``, float64, 0 to 1: the probability of an organism that the student was trained on.
    """

    of_data: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    target: NDArray[np.float64]

    def write(self, path: Path) -> None:
        """Write a Parquet table with one row per photo, atomically."""
        schema = _verdicts_schema()
        columns = (getattr(self, name).tolist() for name in schema.names)
        rows = (dict(zip(schema.names, row, strict=True)) for row in zip(*columns, strict=True))
        write_table(path, rows, schema)

    @classmethod
    def read(cls, path: Path) -> Verdicts:
        """Read what :meth:`write` wrote.

        Raises
        ------
        DataError
            The file is missing or damaged, or holds something else.
        """
        rows = read_table(path, _verdict, [_verdicts_schema()], "verdicts", "copy it again")
        of_data, truth, target = zip(*rows, strict=True) if rows else ((), (), ())
        return cls(np.array(of_data, bool), np.array(truth, bool), np.array(target, np.float64))


def _verdict(row: dict[str, Any]) -> tuple[bool, bool, float]:
    if None in row.values():
        raise ValueError("a value is missing")
    # NaN compares false.
    if not 0 <= row["target"] <= 1:
        raise ValueError("a target is not from 0 to 1")
    return row["of_data"], row["truth"], row["target"]


def _verdicts_schema() -> Any:
    import pyarrow

    kinds = {"of_data": pyarrow.bool_(), "truth": pyarrow.bool_(), "target": pyarrow.float64()}
    return pyarrow.schema(list(kinds.items()), metadata=_VERDICTS)


@dataclass(frozen=True)
class FilterFolder:
    """A finished filter folder, opened for reading.

    Attributes
    ----------
    classes
        K rows ``{"name": str, "organism": bool}`` in the order of the logits.
    calibration
        ``temperature`` (above 0) and ``bias`` of the float model: the probability of an organism
        is ``sigmoid(log odds / temperature + bias)``.
    thresholds
        ``not_organism`` and ``organism``, 0 <= ``not_organism`` <= ``organism`` <= 1.
    teacher
        What is recorded about the teacher; None if the student was trained on labels alone.
    metrics
        What was measured on the test photos.
    photos, verdicts
        All photos of the index, also those that cannot be used, and a row of verdicts for each.
    """

    path: Path
    classes: list[dict[str, Any]]
    preprocessing: Preprocessing
    calibration: dict[str, float]
    thresholds: dict[str, float]
    student: str
    teacher: dict[str, Any] | None
    metrics: dict[str, Any]
    data_fingerprint: str
    photos: tuple[Photo, ...]
    verdicts: Verdicts
    data_root: Path
    not_organism_root: Path | None

    @classmethod
    def open(cls, path: Path) -> FilterFolder:
        """Open a finished filter folder.

        Raises
        ------
        RunError
            The folder is missing, lacks a file, or a file of it is damaged.
        """
        if (path / "student.onnx").is_file() and not (path / "student.keras").exists():
            raise RunError(
                f"{path}: made by an earlier version, whose student.onnx is no longer read; distil "
                "again: rs-toolkit distill"
            )
        require_files(path, _FILES, "filter", "distill")
        if (path / "student.keras").stat().st_size > _MAX_MODEL_BYTES:
            raise RunError(f"{path / 'student.keras'}: larger than {_MAX_MODEL_BYTES} bytes")
        about = read_filter_json(path)
        data_root, other_root = checked_json(path / "config.json", _roots)
        photos, verdicts = _photos(path)
        if not verdicts.of_data.all() and other_root is None:
            raise RunError(f"{path / 'config.json'}: not_organism_root is missing; distil again")
        return cls(
            path=path,
            **about,
            photos=photos,
            verdicts=verdicts,
            data_root=data_root,
            not_organism_root=other_root,
        )

    @property
    def organism(self) -> NDArray[np.bool_]:
        """Which of the K classes are organisms, bool of shape (K,)."""
        return np.array([item["organism"] for item in self.classes], bool)

    def load_model(self) -> keras.Model:
        """Load the student's model; raises as :func:`load_keras_model` does."""
        path, size = self.path / "student.keras", self.preprocessing.size
        return load_keras_model(path, size, len(self.classes), "distil again")

    def side(self, name: str) -> tuple[list[Photo], NDArray[np.bool_]]:
        """Return the n photos of ``train``, ``val`` or ``test``, and their truth, bool (n,).

        They are in the order of the index; for the truth see :class:`Verdicts`.
        """
        rows = [row for row, photo in enumerate(self.photos) if photo.split == name]
        return [self.photos[row] for row in rows], self.verdicts.truth[rows]

    def pixels(self, photos: Sequence[Photo]) -> NDArray[np.uint8]:
        """Return the pixels of photos of this folder; see :meth:`PhotoCache.stacked`."""
        cache = PhotoCache(default_cache_dir(), self.preprocessing)
        return cache.stacked(photos, lambda photo: self._root_of[photo.path, photo.content])

    @cached_property
    def _root_of(self) -> dict[tuple[str, str], Path]:
        # Both folders may hold a photo with this path; with the same content, either will do.
        other = self.not_organism_root or self.data_root
        return {
            (photo.path, photo.content): self.data_root if of_data else other
            for photo, of_data in zip(self.photos, self.verdicts.of_data, strict=True)
        }


def _roots(node: JsonNode) -> tuple[Path, Path | None]:
    data, other = node.get("data_root").value, node.get("not_organism_root").value
    if not isinstance(data, str) or not isinstance(other, str | None):
        raise ValueError("data_root, not_organism_root: wanted paths")
    return Path(data), None if other is None else Path(other)


def _photos(path: Path) -> tuple[tuple[Photo, ...], Verdicts]:
    try:
        photos = read_index(path / "index.parquet")
        verdicts = Verdicts.read(path / "verdicts.parquet")
    except DataError as error:
        raise RunError(f"{error}, or distil again") from None
    if len(photos) != len(verdicts.truth):
        raise RunError(
            f"{path}: damaged ({len(photos)} photos in index.parquet, {len(verdicts.truth)} in "
            "verdicts.parquet); distil again"
        )
    return photos, verdicts
