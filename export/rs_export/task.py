"""What an export must know of a model to convert, measure and judge it.

There are two tasks: :mod:`rs_export.classify` and :mod:`rs_export.filter`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rs_export.metadata import ModelInfo
from rs_export.recipes import Recipe
from rs_export.result import About, Calibration, Scores
from rs_toolkit.environment import versions
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo

    Inputs = Callable[[], NDArray[np.float32]]
    FineTune = Callable[[keras.Model, Inputs, Progress], Callable[[str], keras.Model]]

__all__ = ["Side", "Task", "created_by", "model_info"]


@dataclass(frozen=True)
class Side:
    """The n photos of one split, and the float model's logits of them and calibration.

    ``labels`` are classes, or whether each photo shows an organism, shape (n,); ``logits`` are
    float32 (n, classes).
    """

    photos: Sequence[Photo]
    labels: NDArray[Any]
    logits: NDArray[np.float32]
    calibration: Calibration


@dataclass(frozen=True)
class Task:
    """A float model with its photos, and the rules by which its variants are judged.

    Attributes
    ----------
    reference, size : name of the float model in reports, and bytes of its file
    load : returns it: input (n, S, S, 3) scaled by ``about.preprocessing``, output logits
    photos : from ``train``, ``val`` or ``test`` to n photos and their labels, shape (n,)
    pixels : from photos to uint8 RGB (n, S, S, 3)
    calibrate : from logits and labels of validation photos to a model's calibration
    scores : from a model's logits and calibration, and the photos that they are of, to its scores
    refusal : from a variant's scores and the float model's to why it must not ship, or None
    info : from a calibration to what the model file says of itself
    headline : which scores of a row to tell while the export runs
    kinds : how many different labels photos must have at least, to calibrate and compare with
    prefix : what the names of variants begin with, before the recipe's name
    fine_tune : prunes, clusters and trains with rounding; None: such recipes are left out
    last_steps : by engine, titles and recipes to try where no other way to round has helped
    """

    about: About
    reference: str
    size: int
    load: Callable[[], keras.Model]
    photos: Callable[[str], tuple[Sequence[Photo], NDArray[Any]]]
    pixels: Callable[[Sequence[Photo]], NDArray[np.uint8]]
    calibrate: Callable[[NDArray[np.float32], NDArray[Any]], Calibration]
    scores: Callable[[NDArray[np.float32], Calibration, Side], Scores]
    refusal: Callable[[Scores, Scores], str | None]
    info: Callable[[Calibration], ModelInfo]
    headline: tuple[str, ...]
    kinds: int = 1
    prefix: str = ""
    fine_tune: FineTune | None = None
    last_steps: Mapping[str, Sequence[tuple[str, Recipe]]] = field(default_factory=dict)


def model_info(about: About, *, name: str, description: str, temperature: float) -> ModelInfo:
    """Return what a model file says of itself."""
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
