"""Turn photos into calibrated class probabilities and answers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from rs_runtime.batch import in_order
from rs_runtime.errors import (
    EngineError,
    FilterError,
    KitIntegrityError,
    PhotoError,
    RuntimeKitError,
    UnreadablePhotoError,
)
from rs_runtime.kit.kit import Kit, to_classify
from rs_runtime.kit.manifest import NOT_ORGANISM
from rs_runtime.model import Model
from rs_runtime.photos.exif import Exif
from rs_runtime.photos.folder import shows_video
from rs_runtime.photos.preprocess import load_each
from rs_runtime.photos.stored import photo_name, photo_path
from rs_runtime.results import Failure, PhotoFacts, Prediction, Result

if TYPE_CHECKING:
    from typing_extensions import Self

    from rs_runtime.ahead import Ahead
    from rs_runtime.engines.pool import EnginePool
    from rs_runtime.filter import Filter
    from rs_runtime.first import Loaded
    from rs_runtime.photos.boxes import BoxedPhoto
    from rs_runtime.photos.preprocess import PhotoSource
    from rs_runtime.photos.stored import StoredPhoto
    from rs_runtime.places import Place

    Photo = str | PhotoSource | StoredPhoto | BoxedPhoto

__all__ = ["Classifier"]

# For fewer photos, to load the model once more for each core costs more than it saves.
_FEW = 16
_WITHOUT_FILTER = "photos are not judged by the filter"


def _check_top(top: int) -> None:
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top!r}")


def _warn(problem: str) -> None:
    warnings.warn(problem, RuntimeWarning, stacklevel=3)


class Classifier(Model):
    """A kit's model, loaded and ready; a context manager that frees it.

    Its methods may be called from several threads at the same time, and give the same answers.

    Parameters
    ----------
    kit
        An open kit; it may be closed once the classifier exists.
    engine
        ``litert``, ``onnxruntime``, or ``auto``: the first of these that the kit has a model for
        and that can be imported here.
    variant
        Name of the model; None means the kit's default for the engine.
    threads
        CPU threads, at least 1: of one photo, or the number of photos at a time.  None means all
        cores: of one photo at most 4, of many at most 16.
    min_probability
        0 to 1, for every rank instead of the kit's thresholds; None means the kit's thresholds.
    filter
        Judges each photo first; None means no filter.  The attribute may be replaced at any time.
    only_organisms
        Do not classify photos that the filter judges to show no organism.
    coverage
        0 to 1: also return a set of classes for each photo; None means no sets.
    strict_photos
        Refuse photos that lack a few bytes at their end.
    warn
        Called with one line of text for each problem that does not stop the work.
    frames
        How many frames of a video are classified, at least 1.

    Raises
    ------
    KitFormatError, EngineMissingError, EngineError
        As for :func:`rs_runtime.kit.variants.choose`; KitFormatError also if the kit has no sets
        for a coverage; EngineError also if the engine refuses the model or the model's input size
        is not the kit's.
    ValueError
        A number is out of its range.
    """

    def __init__(
        self,
        kit: Kit,
        engine: str = "auto",
        variant: str | None = None,
        threads: int | None = None,
        min_probability: float | None = None,
        filter: Filter | None = None,
        only_organisms: bool = False,
        coverage: float | None = None,
        strict_photos: bool = False,
        warn: Callable[[str], object] = _warn,
        frames: int = 8,
    ) -> None:
        if frames < 1:
            raise ValueError(f"frames must be at least 1, got {frames!r}")
        super().__init__(kit, engine, variant, threads, min_probability, coverage)
        self.filter, self.only_organisms = filter, only_organisms
        self.strict_photos, self._warn, self.frames = strict_photos, warn, frames
        self._ahead: Ahead[Loaded] | None = None

    @classmethod
    def open(
        cls,
        kit: str | Path | Kit | None = None,
        *,
        engine: str = "auto",
        variant: str | None = None,
        threads: int | None = None,
        min_probability: float | None = None,
        coverage: float | None = None,
        filter: str = "report",
        filter_threshold: float | None = None,
        strict_photos: bool = False,
        public_key: Path | None = None,
        warn: Callable[[str], object] = _warn,
        frames: int = 8,
        measure: Callable[[str], object] | None = None,
        first: Ahead[Loaded] | None = None,
        species: str | Path | Iterable[str] | None = None,
        place: Place | None = None,
        locale: str | None = None,
    ) -> Self:
        """Open a kit and load its model, and its filter if it has one.

        With ``auto`` for the engine and no variant, it is the model that was the fastest on this
        machine (:func:`rs_runtime.fastest.fastest_variant`), once that was measured.

        Parameters
        ----------
        kit
            A .rskit or .rskit.xz file; None: as for :func:`rs_runtime.kit.kit.find_kit`.  Or an
            open kit, whose signature is not checked again.
        filter
            ``report``: use the filter if there is one that can be used; ``on``: also do not
            classify photos that show no organism; ``off``: no filter.
        filter_threshold
            0 to 1, as for :class:`rs_runtime.filter.Filter`.
        public_key
            A PEM file: refuse a kit that it does not verify; None: as ``$RS_PUBLIC_KEY`` says.
        measure
            Measure the kit's models first, if that was not done; called with lines that say so.
            It takes seconds, which many photos make up for.  None: measure nothing.
        first
            The first photo, which :func:`rs_runtime.first.decode_ahead` decodes meanwhile.
        species, place, locale
            As for :meth:`narrow`: what is known of the photos, and the language of common names.

        The other parameters are those of :class:`Classifier`.

        Raises
        ------
        KitError, EngineError, SpeciesListError, PlaceError
            The kit, model, list or place cannot be used; with ``filter="on"``, also the filter.
        ValueError
            ``filter`` is none of the three, or a number is out of its range.
        """
        if filter not in ("report", "on", "off"):
            raise ValueError(f"filter must be report, on or off, got {filter!r}")
        with nullcontext(kit) if isinstance(kit, Kit) else to_classify(kit, public_key) as opened:
            if engine == "auto" and variant is None:
                from rs_runtime.fastest import fastest_variant

                variant = fastest_variant(opened, measure is not None, measure or (lambda _: None))
            others = (None, filter == "on", coverage, strict_photos, warn, frames)
            found = cls(opened, engine, variant, threads, min_probability, *others)
            found._ahead = first
            if filter == "on" or (filter == "report" and opened.manifest.filter is not None):
                found._load_filter(opened, engine, filter_threshold)
            for problem in (found.variant.warning, *found.narrow(species, place, locale)):
                if problem:
                    warn(problem)
        return found

    def _load_filter(self, kit: Kit, engine: str, threshold: float | None) -> None:
        from rs_runtime.filter import Filter

        # Prefer the classifier's engine, which is already loaded.
        spec = kit.manifest.filter
        if spec is not None and self.variant.engine in {item.engine for item in spec.variants}:
            engine = self.variant.engine
        try:
            self.filter = Filter(kit, engine, threshold)
        except RuntimeKitError as error:
            # A filter whose bytes differ is a damaged or forged kit.
            if self.only_organisms or isinstance(error, KitIntegrityError):
                raise
            self._warn(f"{_WITHOUT_FILTER}: {error}")

    def classify(self, photo: Photo, top: int = 5) -> Prediction:
        """Classify one photo.

        Parameters
        ----------
        photo
            A path or a file's bytes, of a photo or a video; a Pillow image, which is turned as its
            EXIF data say; an array, as :func:`rs_runtime.photos.memory.decode_in_memory` has it; a
            :class:`~rs_runtime.photos.stored.StoredPhoto`, such as a ZipPhoto; or a BoxedPhoto.
        top
            Limits the classes of the prediction, at least 1.

        Raises
        ------
        TypeError, ValueError
            The photo is none of these; ``top`` is below 1, or the classifier is closed.
        PhotoError
            The photo cannot be used.
        FilterError
            The filter failed; the photo can still be classified without it.
        EngineError
            The engine failed.
        """
        _check_top(top)
        return self._classify(photo, top, None, self.filter)

    def classify_many(
        self,
        photos: Iterable[Photo | Result | None],
        top: int = 5,
        journal: str | Path | None = None,
    ) -> Generator[Result, None, None]:
        """Classify photos, several at a time, and yield one result for each, in their order.

        A photo that cannot be used costs only itself.  If the filter fails, photos are classified
        without it from then on, unless only organisms are to be classified.  Photos are asked for
        a little before their results are due, so that memory does not grow with their number.

        Parameters
        ----------
        photos, top
            Photos as for :meth:`classify`, and results, which are passed on.  None says that the
            next photo may be long in coming: results that wait are yielded before it is asked for.
        journal
            A file that keeps the answers to paths: after a crash, the same call classifies only
            the photos without one.

        Raises
        ------
        TypeError, ValueError
            As for :meth:`classify`.
        JournalError, OSError
            As for :func:`rs_runtime.journal.resumed`.
        """
        _check_top(top)
        if isinstance(photos, str | bytes):
            raise TypeError("photos must be several, such as a list; of one photo: classify")
        if journal is not None:
            from rs_runtime.journal import resumed

            yield from resumed(self, photos, top, Path(journal))
            return
        photos = iter(photos)
        few = (photo for photo in photos if photo is not None)
        for _, photo in zip(range(0 if self._pool else _FEW), few, strict=False):
            yield self._attempt(photo, top)
        for photo in few:
            pool = self._for_many()
            attempt = partial(self._attempt, top=top, engine=pool)
            rest = chain((photo,), photos)
            yield from (
                in_order(attempt, rest, pool.size + 1)
                if pool
                else map(attempt, chain((photo,), few))
            )

    def _attempt(self, photo: Photo | Result, top: int, engine: EnginePool | None = None) -> Result:
        """Return the result of one photo of many."""
        if isinstance(photo, Prediction | Failure):
            return photo
        try:
            judge = self.filter
            try:
                return self._classify(photo, top, engine, judge)
            except FilterError as error:
                if judge is None or self.only_organisms:
                    raise
                self._drop(judge, error)
                return self._classify(photo, top, engine, None)
        except PhotoError as error:
            return Failure(photo_path(photo), str(error))
        except EngineError as error:
            # Perhaps only this photo was too large for the memory.
            return Failure(photo_path(photo), f"{photo_name(photo)}: {error}", "engine")

    def _drop(self, judge: Filter, error: FilterError) -> None:
        """Go on without a filter that failed, and say so once."""
        with self._lock:
            if self.filter is judge:
                self.filter = None
                self._warn(f"{_WITHOUT_FILTER}: {error}")

    def _classify(
        self, photo: Photo, top: int, engine: EnginePool | None, judge: Filter | None
    ) -> Prediction:
        source = Path(photo) if isinstance(photo, str) else photo
        if not isinstance(source, Path | bytes | Image.Image | np.ndarray):
            from rs_runtime.several import opened

            source = opened(source)
        if shows_video(source) or not isinstance(source, Path | bytes | Image.Image | np.ndarray):
            from rs_runtime.several import classify_several

            return classify_several(self, source, top, engine, judge)
        models = [self.preprocessing, *([judge.preprocessing] if judge else []), *self._small()]
        ahead, self._ahead = self._ahead, None
        # An array cannot be compared with a path.
        known = ahead.take((source, models)) if ahead and isinstance(source, Path) else None
        (pixels, *others), info = known or load_each(source, models)
        if info.note and self.strict_photos:
            raise UnreadablePhotoError(f"{photo_name(photo)} {info.note}; copy it again")
        shows = judge.verdicts(others[0][None])[0] if judge else None
        path, name, verdict = photo_path(photo), self.variant.name, self.variant.verdict
        facts, kept = PhotoFacts(info.width, info.height, info.exif or Exif()), self._kept(others)
        seen = (shows, info.note, verdict)
        if self.only_organisms and shows is not None and shows.verdict == NOT_ORGANISM:
            return Prediction(path, name, None, (), *seen, photo=facts, thumbnail=kept)
        logits = self.logits(pixels[None], engine)
        answer, scores, sets, unknown = self.interpret(logits, top)
        said = (answer, scores, *seen, sets, unknown, facts)
        return Prediction(path, name, *said, thumbnail=kept, **self.beside(logits, top))
