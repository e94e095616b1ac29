"""How long a training takes, from a few timed steps: to fit it to a budget, or to say it aloud."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.progress import Progress, duration

__all__ = [
    *("TIMED", "Forecast", "averages", "epochs_left", "seconds_a_step", "seconds_an_epoch"),
]

TIMED = 8
"""Steps that are timed; the first two also compile."""

_LONG = 3600.0  # seconds, from which advice is given


def averages(config: TrainConfig | DistillConfig) -> bool:
    """Return whether averaged weights are validated beside the last ones."""
    return isinstance(config, TrainConfig) and config.average != "none"


def seconds_a_step(ends: Sequence[float]) -> float:
    """Return the duration of a step, given when each of the first :data:`TIMED` steps ended."""
    return float(np.median(np.diff(ends)[1:]))


def seconds_an_epoch(
    config: TrainConfig | DistillConfig, steps: int, step: float, judged: float
) -> float:
    """Return the seconds that an epoch takes, with those of a refit, which repeats it.

    ``steps`` of an epoch take ``step`` seconds each, and one validation ``judged``.
    """
    passes = config.passes if isinstance(config, TrainConfig) else 1.0
    return steps * step * passes + judged * (1 + averages(config))


def epochs_left(config: TrainConfig | DistillConfig, small: int, planned: int, done: int) -> float:
    """Return how many epochs like the last one take as long as those that are left.

    The first ``small`` epochs show photos of ``config.first_size``.  Each later one is taken to be
    longer by the ratio of the areas, which is the most that it can be.
    """
    smaller = max(min(small, planned) - done, 0)
    larger = max(planned - max(small, done), 0)
    if isinstance(config, TrainConfig) and small > 0 and done <= small:
        return smaller + larger * (config.imgsz / config.first_size) ** 2
    return smaller + larger


class Forecast:
    """Says how long the planned epochs take, once the first steps of the first one are timed.

    ``judged`` are the seconds of one validation.  ``small`` is that of :func:`epochs_left`.
    ``repeats``: it is a refit, whose length is no longer to be chosen.
    """

    def __init__(
        self,
        config: TrainConfig | DistillConfig,
        judged: float,
        progress: Progress,
        small: int = 0,
        repeats: bool = False,
    ) -> None:
        self._config, self._judged, self._progress = config, judged, progress
        self._epochs = epochs_left(config, small, config.epochs, 0)
        self._repeats = repeats
        self._ends: list[float] = []

    def step(self, steps: int) -> None:
        """Note that a step has ended, of so many in an epoch; the shortest trainings are silent."""
        self._ends.append(time.perf_counter())
        if len(self._ends) != TIMED or steps <= TIMED:
            return
        config, step = self._config, seconds_a_step(self._ends)
        seconds = self._epochs * seconds_an_epoch(config, steps, step, self._judged)
        # Neither a filter's training nor one with a first size has a time budget.
        timed = isinstance(config, TrainConfig) and not config.first_size
        shorter = "--time 1h fits the epochs to an hour" if timed else "--epochs"
        advice = f". Too long? Stop it, and begin a new one: {shorter}" * (
            seconds > _LONG and not self._repeats
        )
        self._progress.note(
            f"{config.epochs} epochs of {steps} steps take at most about {duration(seconds)} "
            f"({step:.2g} s a step){advice}"
        )
