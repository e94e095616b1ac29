"""What a converted model is worth, measured in the engine that will run it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rs_export.measure.batches import logits_of
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.metrics.bootstrap import Drop, paired_drops

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo

Model = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]

__all__ = [
    "TITLES",
    "Measured",
    "Model",
    "PhotoSource",
    "beyond",
    "classes_that_fell",
    "drops_of",
    "measure",
    "median_ms",
    "predict",
    "refusal",
]

TITLES = {"macro_f1": "macro-F1", "worst_decile_f1": "worst-decile F1"}
_WARM_UP, _TIMED = 5, 25
_NAMED = 3
_CHUNK = 256


@dataclass(frozen=True)
class Measured:
    """Test results of one variant.

    Attributes
    ----------
    row
        mb (10**6 bytes), accuracy, top5, macro_f1, worst_decile_f1, ece (expected calibration
        error at the variant's own temperature), agreement (share of photos with the float model's
        first class), ms (median milliseconds of one photo).
    per_class
        For each class: name, support, f1, and change of f1 against the float model.
    drops
        How much less ``macro_f1`` and ``worst_decile_f1`` than the float model's, with noise.
    answered
        Photos named, and rightly named, by rank; see :func:`rs_export.calibrate.answered`.
    """

    row: dict[str, float]
    per_class: tuple[dict[str, Any], ...]
    drops: Mapping[str, Drop]
    answered: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


class PhotoSource(Protocol):
    """What photos to measure on come from: a run, or the folder of a filter."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How its photos become pixels, and pixels the model's input."""

    @property
    def classes(self) -> Sequence[Any]:
        """One item a logit."""

    def pixels(self, photos: Sequence[Photo]) -> NDArray[np.uint8]:
        """Return photos as uint8 (n, S, S, 3)."""


def predict(model: Model, source: PhotoSource, photos: Sequence[Photo]) -> NDArray[np.float32]:
    """Return logits, float32 (n, classes); pixels are read by parts, as they can exceed memory."""
    found = [np.empty((0, len(source.classes)), np.float32)]
    for start in range(0, len(photos), _CHUNK):
        pixels = source.pixels(photos[start : start + _CHUNK])
        found.append(logits_of(lambda part: model(source.preprocessing.model_input(part)), pixels))
    return np.concatenate(found)


def median_ms(model: Model, photo: NDArray[np.float32]) -> float:
    """Return the median milliseconds of one photo (S, S, 3): the model alone, after warm-up."""
    seconds = []
    for _ in range(_WARM_UP + _TIMED):
        start = time.perf_counter()
        model(photo[None])
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[_WARM_UP:])) * 1000


def measure(
    logits: NDArray[np.float32],
    reference: NDArray[np.float32],
    labels: NDArray[np.int64],
    names: Sequence[str],
    size: int,
    ms: float,
    temperature: float,
) -> Measured:
    """Evaluate logits (n, classes) of a variant of ``size`` bytes against the float model's."""
    from rs_toolkit.metrics.classification import agreement, evaluate

    result = evaluate(logits, labels, names, temperature)
    before = evaluate(reference, labels, names)
    row: dict[str, float] = {"mb": size / 1e6}
    for key in ("accuracy", "top5", "macro_f1", "worst_decile_f1", "ece"):
        row[key] = float(result[key])
    row["agreement"] = agreement(logits, reference)
    row["ms"] = ms
    per_class = tuple(
        {
            "name": new["name"],
            "support": int(new["support"]),
            "f1": float(new["f1"]),
            "change": float(new["f1"]) - float(old["f1"]),
        }
        for new, old in zip(result["per_class"], before["per_class"], strict=True)
    )
    return Measured(row, per_class, drops_of(logits, reference, labels))


def drops_of(
    logits: NDArray[np.float32], reference: NDArray[np.float32], labels: NDArray[np.int64]
) -> dict[str, Drop]:
    """Return how much less each gated score is than the float model's, both given as logits."""
    return paired_drops(labels, reference.argmax(axis=1), logits.argmax(axis=1), logits.shape[1])


def classes_that_fell(variant: Measured) -> list[dict[str, Any]]:
    """Return the classes with test photos whose F1 is below the float model's, worst first."""
    fallen = [item for item in variant.per_class if item["support"] and item["change"] < 0]
    return sorted(fallen, key=lambda item: (item["change"], item["name"]))


def refusal(variant: Measured, limits: Mapping[str, float]) -> str | None:
    """Return why a variant must not ship, or None.

    Refused: a score that fell by more than its limit (points, hundredths of F1), where the fall
    is also beyond noise: 95 % of paired bootstrap resamples lost something.

    Parameters
    ----------
    variant
        What was measured.
    limits
        Points allowed, by name of the drop.
    """
    key = beyond(variant.drops, limits)
    if key is None:
        return None
    worst = ", ".join(
        f"{item['name']} ({100 * item['change']:+.1f})"
        for item in classes_that_fell(variant)[:_NAMED]
    )
    lost = 100 * variant.drops[key].drop
    return f"{TITLES[key]} fell by {lost:.2f} points, allowed {limits[key]:g}; most: {worst}"


def beyond(drops: Mapping[str, Drop], limits: Mapping[str, float]) -> str | None:
    """Return the first score that fell by more than its limit and beyond noise, or None."""
    for key, limit in limits.items():
        if 100 * drops[key].drop > limit + 1e-6 and drops[key].low > 0:
            return key
    return None
