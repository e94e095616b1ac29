"""A teacher: a finished run, mostly of a larger network, whose answers a smaller one learns.

A CLIP model may be one too (:mod:`rs_train.classifier.clip_teacher`).

The student sees what the teacher has seen: each photo has a fixed set of views, and a batch shows
one of them, with the teacher's logits of this very view (Beyer et al. 2022, "Knowledge
distillation: a good teacher is patient and consistent").  Only colours are changed further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.batches.pipeline import PixelSource
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.data.remembered import remembered_arrays
from rs_toolkit.errors import DataError, RunError
from rs_toolkit.files import sha256_file
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import Progress
from rs_train.run_folder import begun
from rs_train.teacher.embeddings import VIEWS_VERSION, photo_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_train.classifier.clip_teacher import ClipTeacher

__all__ = ["Lesson", "Teacher", "meet_teacher", "views_of"]

_BATCH = 32


@dataclass(frozen=True, eq=False)
class Lesson:
    """The teacher's ``logits`` of n photos, float32 (n, views, C).

    ``views`` loads the views: it takes photo numbers and as many view numbers.
    """

    views: PixelSource
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Teacher:
    """A finished run; ``sha256`` is the hash of its model's file."""

    run: Run
    sha256: str

    def check(self, photos: Sequence[Photo], classes: Sequence[dict[str, Any]]) -> None:
        """Raise DataError where the teacher cannot teach a student of these photos and classes.

        Its classes must have the same names, and it must not have learned from validation or test
        photos of the student, known by their bytes: their scores would be too good.
        """
        own, wanted = ({str(item["name"]) for item in rows} for rows in (self.run.classes, classes))
        if own != wanted:
            strange = sorted(own ^ wanted)
            raise DataError(
                f"teacher {self.run.path}: got {len(own)} classes of the rank {self.run.rank}, "
                f"wanted the student's {len(wanted)}; {len(strange)} are not in both, such as "
                f"{strange[0]!r}; train both on the same photos, by the same --rank"
            )
        learned = {photo.sha256 for photo in self.run.photos if photo.split == "train"}
        kept_out = [p for p in photos if p.split in ("val", "test") and p.sha256 in learned]
        if kept_out:
            raise DataError(
                f"teacher {self.run.path}: learned from {len(kept_out)} photos that are the "
                f"student's for validation or test, such as {kept_out[0].path}; leave out "
                "--splits-from, so that the teacher's split is kept"
            )

    def lesson(
        self,
        photos: list[Photo],
        root: Path,
        classes: Sequence[dict[str, Any]],
        pixels: PhotoCache,
        config: TrainConfig,
        progress: Progress,
    ) -> Lesson:
        """Return the teacher's answers to views of indexed photos, in the order of ``classes``.

        Each photo is answered once, and the answers are kept in the cache by its content, for every
        student and epoch.  Without augmentation, the only view is the photo itself.

        Parameters
        ----------
        root
            The folder that the photos' paths are relative to.
        pixels
            The student's pixels; the teacher has its own preprocessing.
        """
        count = config.teacher_views if config.augment else 1
        known = PhotoCache(pixels.directory, self.run.preprocessing, pixels.strict)
        model = cache(self.run.load_model)
        side = self.run.preprocessing.size

        def answered(batch: list[Photo]) -> NDArray[np.float32]:
            whole, found = known.stacked(batch, lambda _: root), []
            for view in range(count):
                # Always a full batch: rounding errors can depend on the batch size.
                shown = np.zeros((_BATCH, side, side, 3), np.uint8)
                for row, photo in enumerate(batch):
                    shown[row] = photo_view(whole[row], photo.content, view, config.seed)
                inputs = self.run.preprocessing.model_input(shown)
                found.append(model().predict_on_batch(inputs)[: len(batch)])
            return np.stack(found, axis=1)

        views = f"{self.run.preprocessing.fingerprint()}-{VIEWS_VERSION}.{config.seed}.{count}"
        folder = pixels.directory / "teachers" / f"{self.sha256[:16]}-{views}"
        shape = (count, len(self.run.classes))
        title = "teacher's answers"
        logits = remembered_arrays(photos, folder, shape, answered, progress, title, _BATCH)
        number = {str(item["name"]): int(item["id"]) for item in self.run.classes}
        columns = [number[str(item["name"])] for item in classes]

        return Lesson(views_of(photos, root, pixels, config.seed), logits[:, :, columns])


def views_of(photos: list[Photo], root: Path, pixels: PhotoCache, seed: int) -> PixelSource:
    """Return how to load a student's ``pixels`` of the views that a teacher has answered."""

    def shown(rows: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        chosen = [photos[row] for row in rows]
        each = zip(pixels.stacked(chosen, lambda _: root), chosen, numbers, strict=True)
        return np.stack([photo_view(x, p.content, int(n), seed) for x, p, n in each])

    return PixelSource(shown)


def meet_teacher(config: TrainConfig, folder: Path) -> Teacher | ClipTeacher | None:
    """Open the teacher that the settings name; None: they name none.

    Raises
    ------
    RunError
        It is no finished run, it has learned from its validation photos, or it is not the one that
        the training in ``folder`` began with.
    DataError
        Its index is damaged.
    ConfigError, WeightsError, MissingPackageError
        As for :func:`rs_train.teacher.teacher.load_teacher`.
    """
    if not config.teacher:
        return None
    if config.teacher_weights:
        from rs_train.classifier.clip_teacher import ClipTeacher
        from rs_train.teacher.teacher import load_teacher

        path = Path(config.teacher_weights)
        clip = load_teacher(config.teacher, path)
        teacher: Teacher | ClipTeacher = ClipTeacher(clip, sha256_file(path))
    else:
        run = Run.open(Path(config.teacher))
        path = run.path
        if run.refitted:
            raise RunError(
                f"teacher {run.path}: was trained on its validation photos too, which are the "
                "student's; give one that was trained without --refit"
            )
        teacher = Teacher(run, sha256_file(run.path / "model.keras"))
    before = begun(folder).get("teacher_sha256") if (folder / "config.json").is_file() else None
    if before and before != teacher.sha256:
        raise RunError(
            f"{folder}: began with another teacher ({path} had SHA-256 {before[:12]}…, now "
            f"{teacher.sha256[:12]}…); put the former one back, or choose another --out"
        )
    return teacher
