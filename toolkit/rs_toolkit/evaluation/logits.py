"""Logits of a run's own photos: those that training kept, or else computed once and remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.engines.engine import Engine
from rs_toolkit.data.photos import default_cache_dir
from rs_toolkit.data.remembered import remembered
from rs_toolkit.files import sha256_file
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KerasEngine", "run_logits", "tested_logits"]

_BATCH = 16


class KerasEngine(Engine):
    """The Keras model of a run as an engine; raises as :meth:`Run.load_model` does."""

    name = "keras"
    _batch = _BATCH

    def __init__(self, run: Run) -> None:
        self._model, self.size = run.load_model(), run.preprocessing.size

    def _run(self, stored: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self._model.predict_on_batch(stored))


def run_logits(
    run: Run, side: str, engine: Callable[[], Engine], title: str, progress: Progress
) -> NDArray[np.float32]:
    """Return the logits of the n photos of ``train``, ``val`` or ``test``, (n, classes).

    They are remembered by the content of the model and the photos; ``engine`` returns the run's
    model where they are not, and ``title`` is shown while they are computed.

    Raises
    ------
    PhotoError, RunError, DataError
        As :meth:`Run.pixels`, where they are not remembered.
    """
    photos, _ = run.split(side)

    def compute() -> NDArray[np.float32]:
        model, parts = engine(), [np.zeros((0, len(run.classes)), np.float32)]
        for start in range(0, len(photos), _BATCH):
            pixels = run.pixels(photos[start : start + _BATCH])
            parts.append(model.logits(run.preprocessing.model_input(pixels)))
            progress.update(title, min(start + _BATCH, len(photos)), len(photos))
        return np.concatenate(parts)

    inputs = (sha256_file(run.path / "model.keras"), str(run.preprocessing.to_dict()))
    names = (photo.content for photo in photos)
    return remembered(default_cache_dir(), "run-logits-1", (*inputs, *names), compute)


def tested_logits(run: Run, progress: Progress) -> NDArray[np.float32]:
    """Return the logits of a run's n test photos, (n, classes); raises as :func:`run_logits`."""
    kept = run.test_logits()
    if kept is not None:
        return kept
    title = f"test photos of {run.name}"
    return run_logits(run, "test", lambda: KerasEngine(run), title, progress)
