"""The filter folder: what distillation leaves behind and export reads.

::

    student.keras     float32; input (n, S, S, 3) scaled by Preprocessing; output logits (n, K) of
                      the K classes of filter.json
    filter.json       classes, preprocessing, calibration, thresholds, student, teacher, metrics;
                      written last: its presence says that the folder is finished
    index.parquet     every photo, with its split, or why it is unreadable
    verdicts.parquet  a row a photo of the index: which folder it is from, its truth and target
    config.json       settings (DistillConfig), data_root and not_organism_root
    metrics.json      what filter.json says of the test photos
    history.json      one row an epoch
    environment.json  machine, versions, seconds
    checkpoints/      what ``--resume`` continues from

A folder may come from anywhere, so nothing in it is trusted: types, ranges and sizes are checked,
and what is wrong becomes one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.data.photos import Photo, PhotoCache, default_cache_dir
from rs_toolkit.errors import DataError, RunError
from rs_toolkit.files import atomic_write
from rs_toolkit.folders.filter_json import checked_json, read_filter_json, write_filter_json
from rs_toolkit.folders.keras_model import load_keras_model
from rs_toolkit.splits.assign import SIDES

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["FilterFolder", "Verdicts", "write_filter_json"]

_MAX_MODEL_BYTES = 2**30
_FILES = ("filter.json", "student.keras", "config.json", "index.parquet", "verdicts.parquet")
_VERDICTS = {b"rs_toolkit.verdicts": b"1"}


@dataclass(frozen=True)
class Verdicts:
    """What is known of each of n photos.

    Attributes
    ----------
    of_data
        bool (n,): whether the photo lies in ``data_root``; the others, in ``not_organism_root``.
    truth
        bool (n,): whether it shows an organism, by its label or, where it has none, by the
        teacher.
    target
        float64 (n,), 0 to 1: the probability of an organism that the student was taught.
    """

    of_data: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    target: NDArray[np.float64]

    def write(self, path: Path) -> None:
        """Write a Parquet table of a row a photo, atomically."""
        import pyarrow.parquet

        columns = [self.of_data, self.truth, np.asarray(self.target, np.float64)]
        arrays = [pyarrow.array(column) for column in columns]
        with atomic_write(path) as temporary:
            table = pyarrow.Table.from_arrays(arrays, schema=_verdicts_schema())
            pyarrow.parquet.write_table(table, temporary, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> Verdicts:
        """Read what :meth:`write` wrote.

        Raises
        ------
        RunError
            The file is missing, damaged, or holds something else.
        """
        import pyarrow
        import pyarrow.parquet

        try:
            table = pyarrow.parquet.read_table(path)
            if not table.schema.equals(_verdicts_schema(), check_metadata=True):
                raise ValueError("no verdicts of this version")
            if any(column.null_count for column in table.columns):
                raise ValueError("a value is missing")
            of_data, truth, target = (column.to_numpy() for column in table.columns)
            # NaN compares false.
            if not ((target >= 0) & (target <= 1)).all():
                raise ValueError("a target is not from 0 to 1")
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            reason = " ".join(str(error).split())[:200]
            raise RunError(f"{path}: damaged ({reason}); distil again") from None
        return cls(of_data.astype(bool), truth.astype(bool), target)


def _verdicts_schema() -> Any:
    import pyarrow

    kinds = {"of_data": pyarrow.bool_(), "truth": pyarrow.bool_(), "target": pyarrow.float64()}
    return pyarrow.schema(list(kinds.items()), metadata=_VERDICTS)


@dataclass(frozen=True)
class FilterFolder:
    """A finished filter folder, opened for reading.

    Attributes
    ----------
    path
        The folder; ``path / "student.keras"`` is its model.
    classes
        K rows ``{"name": str, "organism": bool}`` in the order of the logits.
    preprocessing
        What makes the model's input of a photo.
    calibration
        ``temperature`` (above 0) and ``bias`` of the float model: the probability of an organism
        is ``sigmoid(odds / temperature + bias)``.
    thresholds
        ``not_organism`` and ``organism``, 0 <= the first <= the second <= 1.
    student
        The student's name.
    teacher
        What is recorded of the teacher; None: the student learnt from labels alone.
    metrics
        What was measured on the test photos.
    data_fingerprint
        Of the photos; see :func:`rs_toolkit.data.index.fingerprint`.
    photos
        Of the index, usable or not.
    verdicts
        A row for each of them.
    data_root, not_organism_root
        Folders that the photos' paths start from; see :attr:`Verdicts.of_data`.
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
        if not path.is_dir():
            raise RunError(f"{path}: no such filter folder; give one that rs-toolkit distill made")
        if (path / "student.onnx").is_file() and not (path / "student.keras").exists():
            raise RunError(
                f"{path}: made by an earlier version, whose student.onnx is no longer read; distil "
                "again: rs-toolkit distill"
            )
        missing = [name for name in _FILES if not (path / name).is_file()]
        if missing:
            raise RunError(
                f"{path}: not a finished filter ({', '.join(missing)} missing); finish it with "
                f"rs-toolkit distill --resume {path}"
            )
        if (path / "student.keras").stat().st_size > _MAX_MODEL_BYTES:
            raise RunError(f"{path / 'student.keras'}: larger than {_MAX_MODEL_BYTES} bytes")
        about = read_filter_json(path)
        roots = checked_json(path / "config.json", _roots)
        photos, verdicts = _photos(path)
        if not verdicts.of_data.all() and roots[1] is None:
            raise RunError(f"{path / 'config.json'}: not_organism_root is missing; distil again")
        return cls(
            path=path,
            **about,
            photos=photos,
            verdicts=verdicts,
            data_root=roots[0],
            not_organism_root=roots[1],
        )

    @property
    def organism(self) -> NDArray[np.bool_]:
        """Which of the K classes are organisms, bool of shape (K,)."""
        return np.array([item["organism"] for item in self.classes], bool)

    def load_model(self) -> keras.Model:
        """Load the student; its file is treated as untrusted.

        Raises
        ------
        RunError
            The file is damaged, or the model is not of the folder's size and classes.
        """
        path, size = self.path / "student.keras", self.preprocessing.size
        return load_keras_model(path, size, len(self.classes), "distil again")

    def side(self, name: str) -> tuple[list[Photo], NDArray[np.bool_]]:
        """Return the photos of ``train``, ``val`` or ``test`` and whether each shows an organism.

        Returns
        -------
        photos, truth
            n photos in the order of the index, and bool (n,).
        """
        rows = [row for row, photo in enumerate(self.photos) if photo.split == name]
        return [self.photos[row] for row in rows], self.verdicts.truth[rows]

    def pixels(self, photos: Sequence[Photo]) -> NDArray[np.uint8]:
        """Return decoded photos of this folder as uint8 RGB (n, S, S, 3), through the cache.

        Raises
        ------
        DataError, PhotoError
            A photo is not cached, and its file has changed or cannot be read.
        """
        cache = PhotoCache(default_cache_dir(), self.preprocessing)
        return cache.stacked(photos, lambda photo: self._root_of[photo.path, photo.content])

    @cached_property
    def _root_of(self) -> dict[tuple[str, str], Path]:
        # Both folders may hold a photo of one path; of one content too, either will do.
        other = self.not_organism_root or self.data_root
        return {
            (photo.path, photo.content): self.data_root if of_data else other
            for photo, of_data in zip(self.photos, self.verdicts.of_data, strict=True)
        }


def _roots(values: dict[str, Any]) -> tuple[Path, Path | None]:
    data, other = values["data_root"], values["not_organism_root"]
    if not isinstance(data, str) or not isinstance(other, str | None):
        raise ValueError("data_root, not_organism_root: wanted paths")
    return Path(data), None if other is None else Path(other)


def _photos(path: Path) -> tuple[tuple[Photo, ...], Verdicts]:
    from rs_toolkit.data.index import read_index

    try:
        photos = read_index(path / "index.parquet")
    except DataError as error:
        raise RunError(f"{error}, or distil again") from None
    verdicts = Verdicts.read(path / "verdicts.parquet")
    if len(photos) != len(verdicts.truth):
        raise RunError(
            f"{path}: damaged ({len(photos)} photos in index.parquet, {len(verdicts.truth)} in "
            "verdicts.parquet); distil again"
        )
    for photo in photos:
        if photo.split not in (None, *SIDES):
            raise RunError(
                f"{path / 'index.parquet'}: damaged (split {photo.split!r:.60}); distil again"
            )
    return photos, verdicts
