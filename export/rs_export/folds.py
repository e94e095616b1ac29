"""Measuring a model that has learned from every photo: by the models of folds of them.

Each fold's model is converted by the recipe of the one that ships, and measured on the photos that
it has not learned from, so that every photo is evidence on what the recipe loses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rs_export.convert import Converter, Quantization
from rs_export.recipes import Recipe
from rs_runtime.engines.engine import load_engine
from rs_toolkit.config.export import ExportSettings

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo

    Model = Callable[[NDArray[np.float32]], NDArray[np.float32]]
    Choose = Callable[[Sequence[Photo], NDArray[np.int64], int], NDArray[np.float32]]

__all__ = ["Fold", "FoldModels", "Part"]


@dataclass(frozen=True)
class Fold:
    """A model that is measured in place of the one that ships.

    Attributes
    ----------
    load : returns the float model
    rows : which of the measured photos it is measured on, (m,)
    photos, labels : the n photos that it has learned from, and their class numbers (n,)
    """

    load: Callable[[], keras.Model]
    rows: NDArray[np.int64]
    photos: Sequence[Photo]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """A model, and the photos that it is measured on, by number; None: all."""

    model: Model
    rows: NDArray[np.int64] | None = None


class FoldModels(contextlib.AbstractContextManager["FoldModels"]):
    """The models of folds and their conversion; a context manager, as :class:`Converter` is.

    ``choose`` takes photos, their labels and a number n, and returns n of them as model inputs.
    """

    def __init__(self, folds: Sequence[Fold], settings: ExportSettings, choose: Choose) -> None:
        self._threads = settings.threads
        self.floats: list[Part] = []
        self._converters: list[Converter] = []
        for fold in folds:
            model = fold.load()

            def representative(count: int, fold: Fold = fold) -> NDArray[np.float32]:
                return choose(fold.photos, fold.labels, count)

            self.floats.append(Part(model.predict_on_batch, fold.rows))
            photos = settings.calibration_photos
            self._converters.append(Converter(model, representative, photos=photos))

    def __exit__(self, *error: object) -> None:
        for converter in self._converters:
            converter.__exit__(*error)

    def convert(self, recipe: Recipe, how: Quantization) -> list[Part]:
        """Return each model converted; ExportError, EngineError: as for one model."""
        engines = [
            load_engine(recipe.engine, converter.convert(recipe, how), self._threads)
            for converter in self._converters
        ]
        rows = [part.rows for part in self.floats]
        return [Part(engine.logits, own) for engine, own in zip(engines, rows, strict=True)]
