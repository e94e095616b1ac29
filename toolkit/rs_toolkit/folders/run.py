"""The run folder: what training writes and export reads.

::

    config.json       settings (TrainConfig), data root, number of photos by split
    classes.json      trained rank, classes with their taxa, preprocessing
    index.parquet     every photo: hash, size, mode, taxon, split, or why it is unreadable
    splits.json       photos by split, and what the split could not do as asked
    model.keras       float32; input (N, S, S, 3) scaled by Preprocessing; output logits (N, C)
    calibration.json  temperature fitted on validation photos
    val_logits.npy    after a refit: the first model's logits of the validation photos
    folds.json        after a refit on every photo: the fold of each; test_logits.npy and the test's
                      scores are then out of fold, of all photos
    epochs.csv        one row per epoch, while training runs; tensorboard/: the same, if asked for
    history.json      the same rows, the best epoch, and stage 1
    test_logits.npy   logits of the test photos, in the order of the index: float32 (n, C)
    metrics.json      validation and test: overall and per class; after a refit, validation is that
                      of the first model, whose test scores are kept too
    confusion.png     confusion matrix of the test photos
    run.html          page of curves, scores, confusions and worst classes
    environment.json  machine, device, versions, seconds
    checkpoints/      what ``--resume`` continues from; refit/ has a refit's, and its epochs;
                      refit/fold-N/ has the model of a fold, and the logits of its photos
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.errors import PhotoError
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.data.index import read_index
from rs_toolkit.data.photos import SIDES, Photo, PhotoCache, default_cache_dir
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.data.remembered import write_array
from rs_toolkit.errors import RunError
from rs_toolkit.files import read_json
from rs_toolkit.folders.finished import load_keras_model, require_files
from rs_toolkit.folders.folds import Folds, fold_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    from numpy.typing import NDArray

__all__ = ["History", "Run", "read_history", "read_metrics", "write_logits"]

_FIGURES = (
    *("epoch", "loss", "seconds", "input_wait", "train_macro_f1", "val_macro_f1"),
    *("train_accuracy", "val_accuracy"),
)
_FILES = ("config.json", "classes.json", "index.parquet", "model.keras", "calibration.json")


@dataclass(frozen=True)
class Run:
    """A finished training run, opened for reading."""

    path: Path
    config: dict[str, Any]
    rank: str
    classes: list[dict[str, Any]]
    preprocessing: Preprocessing
    photos: tuple[Photo, ...]
    temperature: float
    data_root: Path
    data_fingerprint: str

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open a finished run folder.

        Raises
        ------
        RunError
            The folder is missing or not finished, or a JSON file of it is damaged.
        DataError
            Its index is damaged.
        """
        require_files(path, _FILES, "run", "train")
        try:
            saved = read_json(path / "config.json")
            classes = read_json(path / "classes.json")
            for number, item in enumerate(classes["classes"]):
                if item["id"] != number or not {"name", "common_name", "taxon"} <= set(item):
                    raise ValueError(f"class {number} of classes.json is incomplete")
            return cls(
                path=path,
                config=saved["settings"],
                rank=classes["rank"],
                classes=classes["classes"],
                preprocessing=Preprocessing.from_dict(classes["preprocessing"]),
                photos=read_index(path / "index.parquet"),
                temperature=float(read_json(path / "calibration.json")["temperature"]),
                data_root=Path(saved["data_root"]),
                data_fingerprint=saved["data_fingerprint"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path}: a file of the run is damaged ({error}); train again") from None

    def moved(self, data: Path) -> Run:
        """Return the run with its photos read from ``data``, as train takes it.

        Raises
        ------
        RunError
            None of the run's photos is there.
        DataError, MetadataError
            ``data`` cannot be read.
        """
        paths = [photo.path for photo in self.photos if photo.split]
        # Any folder that holds them will do, whatever else is in it.
        for read in (False, True):
            root = (read_dataset(data).root if read else data).resolve()
            if any((root / path).is_file() for path in paths):
                return replace(self, data_root=root)
        some = f", such as {paths[0]}" if paths else ""
        raise RunError(
            f"{data}: holds none of the photos that {self.path} was trained on{some}; give the "
            "folder that was given to train, at its new place"
        )

    @property
    def name(self) -> str:
        """Name of the run's folder, after which its kit is named."""
        return self.path.resolve().name

    @property
    def refitted(self) -> bool:
        """Whether the model has learned from the validation photos too, in a second training."""
        return bool(self.config.get("refit", "none") != "none")

    @property
    def learned(self) -> tuple[str, ...]:
        """The sides of the photos that the model's weights come from."""
        return {"val": ("train", "val"), "all": SIDES}.get(
            str(self.config.get("refit")), ("train",)
        )

    @property
    def learned_all(self) -> bool:
        """Whether the model has learned from every photo; its score is then that of folds."""
        return self.config.get("refit") == "all"

    def split(self, name: str) -> tuple[list[Photo], NDArray[np.int64]]:
        """Return the n photos of train, val, test or all of these, and class numbers (n,)."""
        number = {item["name"]: item["id"] for item in self.classes}
        sides = SIDES if name == "all" else (name,)
        photos = [photo for photo in self.photos if photo.split in sides]
        labels = [number[str(photo.label(self.rank))] for photo in photos]
        return photos, np.asarray(labels, np.int64)

    def held_out(self, name: str) -> tuple[list[Photo], NDArray[np.int64]]:
        """Return the n photos on which calibration (``val``) or score (``test``) rests.

        With them come their class numbers, (n,).  Of a model that has learned from every photo,
        both are all photos that the folds judged.
        """
        if not self.learned_all:
            return self.split(name)
        photos, labels = self.split("all")
        kept = self.folds().judged
        return [photo for photo, own in zip(photos, kept, strict=True) if own], labels[kept]

    def folds(self) -> Folds:
        """Return the folds of a model that has learned from every photo; RunError: damaged."""
        return Folds.read(self.path, len(self.split("all")[0]))

    def val_logits(self) -> NDArray[np.float32] | None:
        """Return the logits to calibrate with after a refit, (n, C), of ``held_out("val")``.

        They are those of the first model or of the folds' models, as the run's model has learned
        from these photos.  None: there was no refit, and the model's own logits are to be used.
        RunError: they are missing or damaged.
        """
        return self._needed("test" if self.learned_all else "val") if self.refitted else None

    def test_logits(self) -> NDArray[np.float32] | None:
        """Return the kept logits of the n photos of ``held_out("test")``, (n, C).

        None where there are none (of an earlier release), or not those of this run.  RunError: so
        it is where the run's model, which has learned from every photo, cannot make them again.
        """
        return self._needed("test") if self.learned_all else self._kept_logits("test")

    def _needed(self, side: str) -> NDArray[np.float32]:
        found = self._kept_logits(side)
        if found is None:
            path = _logits_file(self.path, side)
            raise RunError(f"{path}: damaged, missing, or not of this run; train again")
        return found

    def _kept_logits(self, side: str) -> NDArray[np.float32] | None:
        shape = len(self.held_out(side)[0]), len(self.classes)
        try:
            # Mapped: the size that a file claims for itself is compared before it is read.
            kept = np.lib.format.open_memmap(_logits_file(self.path, side), mode="r")
        except (OSError, ValueError, EOFError):
            return None
        sound = kept.shape == shape and kept.dtype == np.float32
        return np.array(kept) if sound and np.isfinite(kept).all() else None

    def pixels(self, photos: Sequence[Photo]) -> NDArray[np.uint8]:
        """Return the pixels of photos of this run; raises as :meth:`PhotoCache.stacked` does.

        RunError: photos are not cached, and the folder that they were in is gone.
        """
        cache = PhotoCache(default_cache_dir(), self.preprocessing)
        try:
            return cache.stacked(photos, lambda photo: self.data_root)
        except PhotoError:
            if self.data_root.is_dir():
                raise
            raise RunError(
                f"{self.path}: its photos are no longer in {self.data_root}; give their new place "
                "with export --data, or put them back"
            ) from None

    def load_model(self) -> keras.Model:
        """Load the run's model; raises as :func:`load_keras_model` does."""
        return self._load(self.path)

    def load_fold(self, number: int) -> keras.Model:
        """Load the model that was trained without a fold; raises as :meth:`load_model` does."""
        return self._load(fold_folder(self.path, number))

    def _load(self, folder: Path) -> keras.Model:
        path, size = folder / "model.keras", self.preprocessing.size
        return load_keras_model(path, size, len(self.classes), "train again")


def write_logits(run: Path, side: str, logits: NDArray[np.float32]) -> None:
    """Keep the logits of the photos of ``val`` or ``test`` in a run, which reads them."""
    write_array(_logits_file(run, side), logits)


def _logits_file(run: Path, side: str) -> Path:
    return run / f"{side}_logits.npy"


@dataclass(frozen=True)
class History:
    """The epochs of a training, as history.json has them; a figure that is not there is None.

    A row holds ``epoch`` (0: before the first), ``loss``, ``seconds``, ``input_wait`` (share of the
    steps' time spent waiting for photos), and ``macro_f1`` and ``accuracy`` on ``val`` and on as
    many ``train`` photos: ``val_macro_f1`` and so on.  If ``probe_kept``,
    a linear classifier on the frozen backbone was better than each epoch, and is the run's model.
    """

    best_epoch: int
    epochs: tuple[dict[str, float | None], ...]
    probe_kept: bool = False

    @property
    def best(self) -> dict[str, float | None]:
        """The row of the best epoch; without figures where no epoch's model is kept."""
        empty: dict[str, float | None] = dict.fromkeys(_FIGURES)
        if self.probe_kept:
            return empty
        return next((row for row in self.epochs if row["epoch"] == self.best_epoch), empty)


def read_history(run: Path) -> History:
    """Return the epochs of a run; RunError: the file is missing or damaged."""
    path = run / "history.json"
    try:
        saved = read_json(path)
        rows = tuple({name: _finite(row.get(name)) for name in _FIGURES} for row in saved["epochs"])
        return History(int(saved["best_epoch"]), rows, saved.get("probe_kept") is True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path}: damaged or missing ({error}); train again") from None


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(float(value)) else None


def read_metrics(run: Path) -> dict[str, Any]:
    """Return the content of a finished run's metrics.json.

    Raises
    ------
    RunError
        The file is missing or damaged.
    """
    path = run / "metrics.json"
    try:
        metrics: dict[str, Any] = read_json(path)
        for key in ("n", "accuracy", "top5", "macro_f1", "worst_decile_f1"):
            float(metrics["test"][key])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: damaged or missing ({error}); train again") from None
    return metrics
