"""The export task: what the pipeline needs to know of a model to convert, measure and judge it.

There are two tasks: :mod:`rs_export.classify` and :mod:`rs_export.filter`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rs_export.folds import Fold
from rs_export.metadata import ModelInfo
from rs_export.recipes import Recipe
from rs_export.result import About, Calibration, Scores
from rs_toolkit.environment import versions
from rs_toolkit.metrics.noninferiority import Verdict
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo

    Inputs = Callable[[], NDArray[np.float32]]
    Judge = Callable[
        [NDArray[np.float32], NDArray[np.float32], Calibration, "Side", float], Verdict
    ]
    FineTune = Callable[[keras.Model, Inputs, Progress], Callable[[str], keras.Model]]

__all__ = ["Side", "Task", "created_by", "model_info"]


@dataclass(frozen=True)
class Side:
    """The n photos of one split, and the float model's logits (n, classes) and calibration.

    ``labels`` (n,) are class numbers, or for a filter whether each photo shows an organism.
    ``groups`` (n,) are equal numbers for photos that are no independent evidence.  ``folds`` (n,)
    are the photos' folds where models of folds are measured, on which it is calibrated too.
    """

    photos: Sequence[Photo]
    labels: NDArray[Any]
    groups: NDArray[np.int64]
    logits: NDArray[np.float32]
    calibration: Calibration
    folds: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Task:
    """A float model with its photos, and the rules by which its variants are judged.

    Attributes
    ----------
    reference, size : the float model's name in reports, and the size of its file in bytes
    load : returns the float model: input (n, S, S, 3) scaled by ``about.preprocessing``, logits out
    photos : takes ``train``, ``val`` or ``test``; returns n photos and their labels (n,)
    pixels : takes photos; returns uint8 RGB (n, S, S, 3)
    calibrate : takes a model's logits, and the labels and groups of validation photos; returns its
        calibration
    scores : takes a model's logits and calibration, and the photos; returns the model's scores
    verdict : takes the float model's and a variant's logits (n, V, classes) of V looks at each
        photo, the variant's calibration, the photos, and how often a limit may be wrong
    info : takes a calibration; returns the metadata of the model file
    headline : names of the scores to show while the export runs
    kinds : least number of different labels that validation photos need to be used
    prefix : text before the recipe's name in the names of variants
    fine_tune : prunes, clusters and trains with rounding; None: no such recipes can be made
    folds : models that are measured in place of the model, which has learned from every photo
    last_steps : titles and recipes of the last mending steps, by engine
    """

    about: About
    reference: str
    size: int
    load: Callable[[], keras.Model]
    photos: Callable[[str], tuple[Sequence[Photo], NDArray[Any]]]
    pixels: Callable[[Sequence[Photo]], NDArray[np.uint8]]
    calibrate: Callable[[NDArray[np.float32], NDArray[Any], NDArray[np.int64]], Calibration]
    scores: Callable[[NDArray[np.float32], Calibration, Side], Scores]
    verdict: Judge
    info: Callable[[Calibration], ModelInfo]
    headline: tuple[str, ...]
    kinds: int = 1
    prefix: str = ""
    fine_tune: FineTune | None = None
    folds: Sequence[Fold] = ()
    last_steps: Mapping[str, Sequence[tuple[str, Recipe]]] = field(default_factory=dict)


def model_info(about: About, *, name: str, description: str, temperature: float) -> ModelInfo:
    """Return the metadata of a model file."""
    return ModelInfo(
        name=name,
        description=description,
        rank=about.rank,
        labels=tuple(item.name for item in about.classes),
        common_names=tuple(getattr(item, "common_name", None) for item in about.classes),
        preprocessing=about.preprocessing,
        temperature=temperature,
        data_fingerprint=about.data_fingerprint,
        created_by=created_by(),
    )


def created_by() -> str:
    """Return the program's name and version."""
    return f"rs-toolkit {versions().get('rs-toolkit', 'unknown')}"
