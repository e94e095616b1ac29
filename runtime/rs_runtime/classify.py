"""Photos to calibrated class probabilities."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.engine import load_engine
from rs_runtime.errors import EngineError, EngineMissingError
from rs_runtime.manifest import ENGINES, RANKS, Manifest, Variant
from rs_runtime.ranks import Answer, answers, levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_runtime.kit import Kit

__all__ = ["Classifier", "Prediction", "Score"]

_PACKAGES = {"litert": "ai_edge_litert", "onnxruntime": "onnxruntime"}


@dataclass(frozen=True)
class Score:
    """One class and its calibrated probability, 0 to 1."""

    class_id: int
    name: str
    common_name: str | None
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one photo, best first, and the finest answer that can be given.

    ``answer`` is None if there are no thresholds to judge by.
    """

    path: str
    variant: str
    answer: Answer | None
    top: tuple[Score, ...]

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
        ``litert``, ``onnxruntime``, or ``auto``: the first of these that is installed and that
        the kit has a model for.
    variant
        Name of the model to use; None means the kit's default for the engine.
    threads
        CPU threads; None means all cores, at most 4.
    min_probability
        0 to 1, for every rank in place of the kit's thresholds; None means those.

    Raises
    ------
    KitFormatError
        The kit has no variant of this name.
    EngineMissingError
        No installed engine fits.
    EngineError
        Variant and engine contradict each other, or the engine refused the model.
    """

    def __init__(
        self,
        kit: Kit,
        engine: str = "auto",
        variant: str | None = None,
        threads: int | None = None,
        min_probability: float | None = None,
    ) -> None:
        self.manifest = kit.manifest
        self.variant = _choose(kit.manifest, engine, variant)
        self._engine = load_engine(self.variant.engine, kit.read(self.variant.member), threads)
        self._levels = levels(self.manifest.classes, self.manifest.rank)
        self._thresholds = self.variant.thresholds
        if min_probability is not None:
            self._thresholds = dict.fromkeys((*RANKS, "common_name"), min_probability)
        wanted = self.manifest.preprocessing.size
        if self._engine.size not in (None, wanted):
            raise EngineError(
                f"model {self.variant.name!r} takes {self._engine.size} px, "
                f"its kit prepares {wanted} px; export the kit again"
            )

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the calibrated probabilities of any number of photos.

        Parameters
        ----------
        pixels
            uint8, shape (n, size, size, 3), from :meth:`Preprocessing.load`.

        Returns
        -------
        float32, shape (n, classes), rows that sum to 1: softmax(logits / T), with the variant's
        temperature T (Guo et al. 2017, "On Calibration of Modern Neural Networks").
        """
        logits = self._engine.logits(self.manifest.preprocessing.model_input(pixels))
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
        EngineError
            The engine failed.
        """
        pixels = self.manifest.preprocessing.load(photo)
        rows = self.probabilities(pixels[None])
        row = rows[0]
        answer = answers(rows, self._levels, self._thresholds)[0] if self._thresholds else None
        best = np.argsort(-row, kind="stable")[:top]
        scores = (self._score(int(place), float(row[place])) for place in best)
        return Prediction(str(photo), self.variant.name, answer, tuple(scores))

    def _score(self, place: int, probability: float) -> Score:
        item = self.manifest.classes[place]
        return Score(item.id, item.name, item.common_name, probability)


def _choose(manifest: Manifest, engine: str, name: str | None) -> Variant:
    if name is not None:
        variant = manifest.variant(name)
        if engine not in ("auto", variant.engine):
            raise EngineError(f"variant {name!r} runs on {variant.engine}, not on {engine}")
        return variant
    candidates = _candidates(engine)
    for candidate in candidates:
        default = _default(manifest, candidate)
        if default is not None:
            return default
    offered = ", ".join(sorted({variant.engine for variant in manifest.variants}))
    raise EngineMissingError(
        f"kit {manifest.name!r} has models for {offered}; usable here: "
        f"{', '.join(candidates) or 'none'}; pip install 'rs-toolkit[onnx]', or change the engine"
    )


def _candidates(engine: str) -> list[str]:
    if engine != "auto":
        return [engine]
    from importlib.util import find_spec

    return [name for name in ENGINES if find_spec(_PACKAGES[name]) is not None]


def _default(manifest: Manifest, engine: str) -> Variant | None:
    if engine in manifest.default_variants:
        return manifest.variant(manifest.default_variants[engine])
    return next((item for item in manifest.variants if item.engine == engine), None)
