"""Turn photos into calibrated class probabilities and answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.engines.engine import load_engine
from rs_runtime.errors import EngineError
from rs_runtime.kit.manifest import NOT_ORGANISM, RANKS
from rs_runtime.kit.variants import choose
from rs_runtime.photos.preprocess import load_each
from rs_runtime.ranks import Answer, answers, levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_runtime.filter import Filter, FilterVerdict
    from rs_runtime.kit.kit import Kit
    from rs_runtime.kit.verdict import LossVerdict

__all__ = ["Classifier", "Prediction", "Score"]


@dataclass(frozen=True)
class Score:
    """One class and its calibrated probability, 0 to 1."""

    class_id: int
    name: str
    common_name: str | None
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What the model and the filter say of one photo.

    ``top`` holds the most probable classes, best first.  ``answer`` names the finest taxon that is
    certain enough, if any; it is None without thresholds.  ``filter`` is the filter's verdict, None
    without a filter.  If the photo was not classified because the filter found no
    organism, ``answer`` is None and ``top`` is empty.  ``note`` says what is missing of the photo.
    ``verdict`` says whether shrinking cost the model too much; None where the kit does not say.
    """

    path: str
    variant: str
    answer: Answer | None
    top: tuple[Score, ...]
    filter: FilterVerdict | None = None
    note: str | None = None
    verdict: LossVerdict | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {**asdict(self), "top": [asdict(score) for score in self.top]}


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

    Raises
    ------
    KitFormatError, EngineMissingError, EngineError
        As for :func:`rs_runtime.kit.variants.choose`; EngineError also if the engine refuses the
        model or the model's input size is not the kit's.
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
    ) -> None:
        self.manifest = manifest = kit.manifest
        self.preprocessing = manifest.preprocessing
        self.filter = filter
        self._only_organisms = only_organisms
        offers, owner = manifest.variants, f"kit {manifest.name!r}"
        self.variant = choose(offers, manifest.default_variants, owner, engine, variant)
        self._engine = load_engine(self.variant.engine, kit.read(self.variant.member), threads)
        self._levels = levels(manifest.classes, manifest.rank)
        self._thresholds = self.variant.thresholds
        if min_probability is not None:
            self._thresholds = dict.fromkeys((*RANKS, "common_name"), min_probability)
        wanted = self.preprocessing.size
        if self._engine.size not in (None, wanted):
            raise EngineError(
                f"model {self.variant.name!r} takes {self._engine.size} px, "
                f"its kit prepares {wanted} px; export the kit again"
            )

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
        logits = self._engine.logits(self.preprocessing.model_input(pixels))
        classes = len(self.manifest.classes)
        if logits.shape[1] != classes:
            raise EngineError(
                f"model {self.variant.name!r} gives {logits.shape[1]} classes, "
                f"its kit names {classes}; export the kit again"
            )
        scaled = logits / np.float32(self.variant.temperature)
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

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
        rows = self.probabilities(pixels[None])
        row = rows[0]
        answer = answers(rows, self._levels, self._thresholds)[0] if self._thresholds else None
        scores = []
        for place in np.argsort(-row, kind="stable")[:top]:
            found = self.manifest.classes[place]
            scores.append(Score(found.id, found.name, found.common_name, float(row[place])))
        return Prediction(path, name, answer, tuple(scores), shows, info.note, verdict)
