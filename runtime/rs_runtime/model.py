"""One model of a kit: from pixels to logits, calibrated probabilities and answers."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.engines.engine import default_threads, load_engine
from rs_runtime.errors import EngineError, KitFormatError
from rs_runtime.kit.manifest import RANKS
from rs_runtime.kit.variants import choose
from rs_runtime.narrowing import Narrowing
from rs_runtime.ranks import Answer, answers
from rs_runtime.results import ClassSet, Original, Score, Unknown
from rs_runtime.sets import in_set, strangeness, unknown_score

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Self

    from rs_runtime.engines.engine import Engine
    from rs_runtime.engines.pool import EnginePool
    from rs_runtime.kit.kit import Kit
    from rs_runtime.photos.preprocess import Preprocessing
    from rs_runtime.ranks import Level

__all__ = ["Model"]


class Model(Narrowing):
    """A kit's model, loaded and ready; parameters and errors as for a Classifier.

    Attributes
    ----------
    keep_all
        Keep the probabilities of all classes with each answer, as sequences need them.
    keep_thumbnails
        Keep what :func:`rs_runtime.cameras.judge_cameras` needs of each photo.
    """

    def __init__(
        self,
        kit: Kit,
        engine: str = "auto",
        variant: str | None = None,
        threads: int | None = None,
        min_probability: float | None = None,
        coverage: float | None = None,
    ) -> None:
        for name, share in (("min_probability", min_probability), ("coverage", coverage)):
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {share!r}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads!r}")
        manifest = kit.manifest
        super().__init__(manifest)
        self.preprocessing = manifest.preprocessing
        offers, owner = manifest.variants, f"kit {manifest.name!r}"
        self.variant = choose(offers, manifest.default_variants, owner, engine, variant)
        if coverage is not None and self.variant.sets is None:
            raise KitFormatError(
                f"{owner} has no sets of classes for model {self.variant.name!r}; "
                "leave out the coverage, or export the kit again"
            )
        self.coverage, self.keep_thumbnails = coverage, False
        self.thresholds = self.variant.thresholds
        if min_probability is not None:
            self.thresholds = dict.fromkeys((*RANKS, "common_name"), min_probability)
        # Before 1.5, no thresholds could also mean that there were no photos to fit them on.
        self.answering = bool(self.thresholds) or manifest.minor >= 5
        self.keep_all = False
        self._threads = threads
        # The model's file, until it is loaded again for many photos.
        self._model = b""
        loaded = self._load(kit)
        self._engine: Engine | None = loaded
        self._pool: EnginePool | None = None
        self._lock = threading.Lock()
        wanted = self.preprocessing.size
        if loaded.size not in (None, wanted):
            raise EngineError(
                f"model {self.variant.name!r} takes {loaded.size} px, "
                f"its kit prepares {wanted} px; export the kit again"
            )

    def close(self) -> None:
        """Free the model's memory, once no other thread uses it; what follows is a ValueError."""
        self._engine, self._pool, self._model = None, None, b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self, kit: Kit) -> Engine:
        """Load the model; a subclass may run one that is in no kit."""
        self._model = kit.read(self.variant.member)
        return load_engine(self.variant.engine, self._model, self._threads)

    def _for_many(self) -> EnginePool | None:
        """Return what runs the model on several photos at a time; None if nothing does."""
        from rs_runtime.engines.pool import EnginePool, load_pool

        with self._lock:
            if self._engine and (self._threads or default_threads()) == 1:
                # It is what a pool of one would be: a second copy only takes memory.
                self._pool = self._pool or EnginePool([self._engine])
                self._model = b""
            elif self._model:
                # Without memory for a second copy, the first one answers all photos.
                with contextlib.suppress(EngineError):
                    self._pool = load_pool(self.variant.engine, self._model, self._threads)
                self._model = b""
            return self._pool

    def _small(self) -> list[Preprocessing]:
        """Return what makes the pixels of a thumbnail, if thumbnails are kept."""
        if not self.keep_thumbnails:
            return []
        from rs_runtime.background import view_of

        return [view_of(self.preprocessing)]

    def _kept(self, views: list[NDArray[np.uint8]]) -> str | None:
        """Return the thumbnail, of which the last of a photo's views are the pixels, if any."""
        if not self.keep_thumbnails:
            return None
        from rs_runtime.background import thumbnail

        return thumbnail(views[-1])

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the calibrated probabilities of photos, float32 (n, classes); each row sums to 1.

        With a list of species they are those among its classes; the others have 0.  With a place,
        those of classes that are not expected there are multiplied by its weight first.

        They are softmax(logits / T), with the variant's temperature T (Guo et al. 2017, "On
        Calibration of Modern Neural Networks").  ``pixels`` are uint8, (n, size, size, 3), from
        :meth:`Preprocessing.load`, n at least 1.

        Raises
        ------
        EngineError
            The engine failed, or the model's number of classes is not the kit's.
        """
        return self.calibrated(self.logits(pixels))

    def calibrated(
        self, logits: NDArray[np.float32], among_all: bool = False
    ) -> NDArray[np.float32]:
        """Return the probabilities of :meth:`probabilities` from logits, (n, classes).

        ``among_all`` leaves the list of species and the place aside.
        """
        scaled = logits / np.float32(self.variant.temperature)
        if self.weights is not None and not among_all:
            scaled = scaled + np.log(self.weights)
        if self.allowed is not None and not among_all:
            scaled = np.where(self.allowed, scaled, np.float32(-np.inf))
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def logits(
        self, pixels: NDArray[np.uint8], engine: Engine | EnginePool | None = None
    ) -> NDArray[np.float32]:
        """Return logits, (n, classes); parameters and errors as for :meth:`probabilities`.

        ``engine`` has this model loaded too; None means the classifier's own.
        """
        used = engine or self._engine
        if used is None:
            raise ValueError(
                f"the classifier of kit {self.manifest.name!r} is closed; open it again"
            )
        logits = used.logits(self.preprocessing.model_input(pixels))
        classes = len(self.manifest.classes)
        if logits.shape[1] != classes:
            raise EngineError(
                f"model {self.variant.name!r} gives {logits.shape[1]} classes, "
                f"its kit names {classes}; export the kit again"
            )
        return logits

    def interpret(
        self, logits: NDArray[np.float32], top: int
    ) -> tuple[Answer | None, tuple[Score, ...], ClassSet | None, Unknown | None]:
        """Return what the logits of one photo, (1, classes), say.

        These are ``answer``, ``top``, ``set`` and ``unknown`` of
        :class:`rs_runtime.results.Prediction`.
        """
        rows = self.calibrated(logits)
        every = rows if self.favoured is None else self.calibrated(logits, among_all=True)
        places = np.argsort(-rows[0], kind="stable")
        if self.allowed is not None:
            places = places[self.allowed[places]]
        answer, scores = self._answer(rows, self._levels), self._scores(rows[0], places[:top])
        # A set without its classes that are not on the list holds every class that is.
        return answer, scores, self._set(rows[0], every, places), self._unknown(logits)

    def beside(self, logits: NDArray[np.float32], top: int) -> dict[str, Any]:
        """Return ``original`` and ``kept`` of a Prediction; parameters as :meth:`interpret`."""
        found: dict[str, Any] = {}
        if self.keep_all:
            import base64

            scaled = logits[0].astype(np.float64) / self.variant.temperature
            kept = (scaled - np.logaddexp.reduce(scaled)).astype("<f4")
            found["kept"] = base64.b64encode(kept.tobytes()).decode()
        if (favoured := self.favoured) is not None:
            rows = self.calibrated(logits, among_all=True)
            places = np.argsort(-rows[0], kind="stable")
            found["original"] = Original(
                self._answer(rows, self._all_levels),
                self._scores(rows[0], places[:top]),
                self._set(rows[0], rows, places),
                min(1.0, float(rows[0][favoured].sum(dtype=np.float64))),
            )
        return found

    def _answer(self, rows: NDArray[np.float32], ranks: tuple[Level, ...]) -> Answer | None:
        return answers(rows, ranks, self.thresholds)[0] if self.answering else None

    def _scores(self, row: NDArray[np.float32], places: NDArray[np.int64]) -> tuple[Score, ...]:
        found = ((self.manifest.classes[place], float(row[place])) for place in places)
        return tuple(Score(item.id, item.name, item.common_name, p) for item, p in found)

    def _set(
        self, told: NDArray[np.float32], rows: NDArray[np.float32], places: NDArray[np.int64]
    ) -> ClassSet | None:
        """Return the set of a photo by its probabilities among all classes, (1, classes).

        ``places`` are the classes that it may hold, best first; ``told`` are their probabilities.
        """
        spec, coverage = self.variant.sets, self.coverage
        if spec is None or coverage is None:
            return None
        inside = in_set(rows, spec, coverage)[0]
        return ClassSet(coverage, self._scores(told, places[inside[places]]))

    def _unknown(self, logits: NDArray[np.float32]) -> Unknown | None:
        spec = self.variant.unknown
        if spec is None:
            return None
        scores = unknown_score(logits, self.variant.temperature, spec.score)
        return Unknown(spec.score, float(strangeness(scores, spec)[0]))
