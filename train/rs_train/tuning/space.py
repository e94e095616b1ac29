"""The search space: which settings ``rs-toolkit tune`` tries, and in which ranges.

docs/tuning.md says why these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rs_toolkit.config.training import TrainConfig
from rs_toolkit.config.tuning import TuneConfig
from rs_toolkit.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["SPACES", "Range", "applied", "as_given", "distributions", "search_space"]


@dataclass(frozen=True)
class Range:
    """The values of one setting: numbers from ``low`` to ``high``, or one of ``choices``.

    ``log``: all orders of magnitude are tried equally often.  Then the setting cannot be 0, and
    where it is given as 0, ``start`` stands for it.
    """

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    start: float = 0.0
    choices: tuple[str, ...] = ()

    def with_value(self, value: Any) -> Range:
        """Return the range extended to hold a value; 0 is not held where it is logarithmic."""
        if self.choices:
            return replace(self, choices=tuple(dict.fromkeys((*self.choices, value))))
        value = value or (self.low if self.log else 0.0)
        return replace(self, low=min(self.low, value), high=max(self.high, value))


SPACES: dict[int, dict[str, Range]] = {
    1: {
        "head_strength": Range(1e-4, 10.0, log=True, start=0.03),
        "balance": Range(0.0, 1.0),
    },
    2: {
        "learning_rate": Range(3e-5, 3e-3, log=True),
        "layer_decay": Range(0.5, 1.0),
        "weight_decay": Range(1e-4, 10.0, log=True, start=1e-4),
        "dropout": Range(0.0, 0.7),
        "label_smoothing": Range(0.0, 0.3),
        "augment": Range(0.0, 1.5),
        "balance": Range(0.0, 1.0),
        "loss": Range(choices=("cross_entropy", "balanced_softmax")),
    },
}
"""By stage, the range of each setting that is tuned."""


def search_space(tune: TuneConfig, config: TrainConfig) -> dict[str, Range]:
    """Return the ranges of the settings that a study tunes, each with the value that was given.

    ConfigError: it was asked for a setting that is not among those of its stage.
    """
    space = SPACES[tune.stage]
    names = [name for part in tune.only.split(",") if (name := part.strip().replace("-", "_"))]
    for name in names:
        if name not in space:
            raise ConfigError(
                f"only: got {name!r}, wanted one or more of: {', '.join(space)} (of stage "
                f"{tune.stage})"
            )
    return {
        name: allowed.with_value(getattr(config, name))
        for name, allowed in space.items()
        if not names or name in names
    }


def distributions(space: dict[str, Range]) -> dict[str, BaseDistribution]:
    """Return a search space as Optuna takes it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        name: CategoricalDistribution(allowed.choices)
        if allowed.choices
        else FloatDistribution(allowed.low, allowed.high, log=allowed.log)
        for name, allowed in space.items()
    }


def as_given(config: TrainConfig, space: dict[str, Range]) -> dict[str, Any]:
    """Return the values that ``config`` has; of a logarithmic range, 0 becomes ``start``."""
    return {
        name: value if (value := getattr(config, name)) or not allowed.log else allowed.start
        for name, allowed in space.items()
    }


def applied(config: TrainConfig, values: dict[str, Any]) -> TrainConfig:
    """Return settings with the values of a trial, whose numbers are rounded to three digits."""
    rounded: dict[str, Any] = {
        name: float(f"{value:.3g}") if isinstance(value, float) else value
        for name, value in values.items()
    }
    if rounded.get("loss", "balanced_softmax") != "balanced_softmax":
        # No other loss has this setting.
        rounded["logit_adjustment"] = 1.0
    return replace(config, **rounded)
