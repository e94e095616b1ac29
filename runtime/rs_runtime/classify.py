"""Turn photos into calibrated class probabilities and answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.engines.engine import load_engine
from rs_runtime.errors import EngineError, KitFormatError
from rs_runtime.kit.manifest import NOT_ORGANISM, RANKS
from rs_runtime.kit.variants import choose
from rs_runtime.photos.preprocess import load_each
from rs_runtime.ranks import Answer, answers, levels
from rs_runtime.sets import in_set, strangeness, unknown_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_runtime.engines.engine import Engine
    from rs_runtime.filter import Filter, FilterVerdict
    from rs_runtime.kit.kit import Kit
    from rs_runtime.kit.verdict import LossVerdict

__all__ = ["ClassSet", "Classifier", "Prediction", "Score", "Unknown"]


@dataclass(frozen=True)
class Score:
    """One class and its calibrated probability, 0 to 1."""

    class_id: int
    name: str
    common_name: str | None
    probability: float


@dataclass(frozen=True)
class ClassSet:
    """The classes that a photo may show, best first; see :func:`rs_runtime.sets.in_set`."""

    coverage: float
    classes: tuple[Score, ...]


@dataclass(frozen=True)
class Unknown:
    """How strange a photo is to the model, 0 to 1; see :func:`rs_runtime.sets.strangeness`."""

    score: str
    strangeness: float


@dataclass(frozen=True)
class Prediction:
    """What the model and the filter say of one photo.

    ``top`` holds the most probable classes, best first.  ``answer`` names the finest taxon that is
    certain enough, if any; it is None for an old kit without thresholds.  ``filter`` is the
    filter's verdict, None without a filter.  If the photo was not classified because the filter
    found no organism, ``answer`` is None and ``top`` is empty.  ``note`` says what is missing of
    the photo.  ``verdict`` says whether shrinking cost the model too much; None where the kit does
    not say.  ``set`` is None unless a coverage was asked for, ``unknown`` if the kit has none.
    """

    path: str
    variant: str
    answer: Answer | None
    top: tuple[Score, ...]
    filter: FilterVerdict | None = None
    note: str | None = None
    verdict: LossVerdict | None = None
    set: ClassSet | None = None
    unknown: Unknown | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        found = {**asdict(self), "top": [asdict(score) for score in self.top]}
        if self.set:
            found["set"] = {**asdict(self.set), "classes": [item.name for item in self.set.classes]}
        return found


class Classifier:
    """A kit's model, loaded and ready.

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
        CPU threads, at least 1; None means all cores, at most 4.
    min_probability
        0 to 1, for every rank instead of the kit's thresholds; None means the kit's thresholds.
    filter
        Judges each photo first; None means no filter.  The attribute may be replaced at any time.
    only_organisms
        Do not classify photos that the filter judges to show no organism.
    coverage
        0 to 1: also return a set of classes for each photo; None means no sets.

    Raises
    ------
    KitFormatError, EngineMissingError, EngineError
        As for :func:`rs_runtime.kit.variants.choose`; KitFormatError also if the kit has no sets
        for a coverage; EngineError also if the engine refuses the model or the model's input size
        is not the kit's.
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
    ) -> None:
        self.manifest = manifest = kit.manifest
        self.preprocessing = manifest.preprocessing
        self.filter = filter
        self._only_organisms, self._coverage = only_organisms, coverage
        offers, owner = manifest.variants, f"kit {manifest.name!r}"
        self.variant = choose(offers, manifest.default_variants, owner, engine, variant)
        if coverage is not None and self.variant.sets is None:
            raise KitFormatError(
                f"{owner} has no sets of classes for model {self.variant.name!r}; "
                "leave out the coverage, or export the kit again"
            )
        self._engine = self._load(kit, threads)
        self._levels = levels(manifest.classes, manifest.rank)
        self.thresholds = self.variant.thresholds
        if min_probability is not None:
            self.thresholds = dict.fromkeys((*RANKS, "common_name"), min_probability)
        # Before 1.5, no thresholds could also mean that there were no photos to fit them on.
        self.answering = bool(self.thresholds) or manifest.minor >= 5
        wanted = self.preprocessing.size
        if self._engine.size not in (None, wanted):
            raise EngineError(
                f"model {self.variant.name!r} takes {self._engine.size} px, "
                f"its kit prepares {wanted} px; export the kit again"
            )

    def _load(self, kit: Kit, threads: int | None) -> Engine:
        """Load the model; a subclass may run one that is in no kit."""
        return load_engine(self.variant.engine, kit.read(self.variant.member), threads)

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the calibrated probabilities of photos, float32 (n, classes); each row sums to 1.

        They are softmax(logits / T), with the variant's temperature T (Guo et al. 2017, "On
        Calibration of Modern Neural Networks").  ``pixels`` are uint8, (n, size, size, 3), from
        :meth:`Preprocessing.load`, n at least 1.

        Raises
        ------
        EngineError
            The engine failed, or the model's number of classes is not the kit's.
        """
        return self.calibrated(self.logits(pixels))

    def calibrated(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities of :meth:`probabilities` from logits, (n, classes)."""
        scaled = logits / np.float32(self.variant.temperature)
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits, (n, classes); parameters and errors as for :meth:`probabilities`."""
        logits = self._engine.logits(self.preprocessing.model_input(pixels))
        classes = len(self.manifest.classes)
        if logits.shape[1] != classes:
            raise EngineError(
                f"model {self.variant.name!r} gives {logits.shape[1]} classes, "
                f"its kit names {classes}; export the kit again"
            )
        return logits

    def classify(self, photo: Path, top: int = 5) -> Prediction:
        """Classify one photo; ``top`` (at least 1) limits the classes returned.

        Raises
        ------
        PhotoError
            The photo cannot be used.
        FilterError
            The filter failed; the photo can still be classified without it.
        EngineError
            The engine failed.
        """
        models = [self.preprocessing, *([self.filter.preprocessing] if self.filter else [])]
        (pixels, *others), info = load_each(photo, models)
        shows = self.filter.verdicts(others[0][None])[0] if self.filter else None
        path, name, verdict = str(photo), self.variant.name, self.variant.verdict
        if self._only_organisms and shows is not None and shows.verdict == NOT_ORGANISM:
            return Prediction(path, name, None, (), shows, info.note, verdict)
        logits = self.logits(pixels[None])
        rows = self.calibrated(logits)
        answer = answers(rows, self._levels, self.thresholds)[0] if self.answering else None
        places = np.argsort(-rows[0], kind="stable")
        top_scores = self._scores(rows[0], places[:top])
        sets, unknown = self._set(rows, places), self._unknown(logits)
        return Prediction(path, name, answer, top_scores, shows, info.note, verdict, sets, unknown)

    def _scores(self, row: NDArray[np.float32], places: NDArray[np.int64]) -> tuple[Score, ...]:
        found = ((self.manifest.classes[place], float(row[place])) for place in places)
        return tuple(Score(item.id, item.name, item.common_name, p) for item, p in found)

    def _set(self, rows: NDArray[np.float32], places: NDArray[np.int64]) -> ClassSet | None:
        """Return the set of a photo, (1, classes); ``places`` are the classes, best first."""
        spec, coverage = self.variant.sets, self._coverage
        if spec is None or coverage is None:
            return None
        inside = in_set(rows, spec, coverage)[0]
        return ClassSet(coverage, self._scores(rows[0], places[inside[places]]))

    def _unknown(self, logits: NDArray[np.float32]) -> Unknown | None:
        spec = self.variant.unknown
        if spec is None:
            return None
        scores = unknown_score(logits, self.variant.temperature, spec.score)
        return Unknown(spec.score, float(strangeness(scores, spec)[0]))
