"""The filter: does a photo show an organism at all?

A small model gives one logit per class, such as "birds" (organism) or "document" (not organism).
The softmax over all classes, summed over the organisms, is the uncalibrated probability of an
organism.  Platt scaling of its log odds, fitted on validation photos, gives the calibrated
probability.  Two thresholds turn that into a verdict.  Training, export and rs-classify use this
code for all three steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rs_runtime.engines.engine import load_engine
from rs_runtime.errors import EngineError, FilterError, KitFormatError
from rs_runtime.kit.manifest import NOT_ORGANISM, ORGANISM, UNCERTAIN
from rs_runtime.kit.variants import choose

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rs_runtime.kit.kit import Kit

__all__ = [
    "NOT_ORGANISM",
    "ORGANISM",
    "UNCERTAIN",
    "Filter",
    "FilterVerdict",
    "organism_log_odds",
    "organism_probability",
    "verdict",
]


def organism_log_odds(logits: ArrayLike, organism: ArrayLike) -> NDArray[np.float64]:
    """Return the log odds that photos show an organism, float64 (n,).

    With p = softmax(logits), O the classes that are organisms and N the others,

        log odds = log(sum of p over O / sum of p over N)
                 = logsumexp(logits over O) - logsumexp(logits over N).

    Parameters
    ----------
    logits
        Shape (n, K), finite; n may be 0.
    organism
        Bool, shape (K,): which classes are organisms; at least one is and one is not.

    Raises
    ------
    ValueError
        A shape or type is not as above, O or N is empty, or a logit is not finite.
    """
    kinds, values = np.asarray(organism), np.asarray(logits)
    if kinds.dtype != bool or kinds.ndim != 1 or kinds.all() or not kinds.any():
        raise ValueError(
            f"organism must be booleans (K,) of both kinds, got {kinds.dtype} {kinds.shape} with "
            f"{np.count_nonzero(kinds)} of {kinds.size} true"
        )
    if values.ndim != 2 or values.shape[1] != len(kinds):
        raise ValueError(f"logits must have shape (n, {len(kinds)}), got {values.shape}")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("logits must be finite, got NaN or infinity")
    shown, others = (np.logaddexp.reduce(values[:, kind], axis=1) for kind in (kinds, ~kinds))
    return np.asarray(shown - others)


def organism_probability(
    log_odds: ArrayLike, temperature: float, bias: float = 0.0
) -> NDArray[np.float64]:
    """Return the calibrated probability of an organism: sigmoid(log_odds / temperature + bias).

    It is float64, 0 to 1, in the shape of ``log_odds``, which come from :func:`organism_log_odds`.
    Source: Platt 1999, "Probabilistic Outputs for Support Vector Machines", with
    A = -1 / temperature and B = -bias.  With a bias of 0 it is the temperature scaling of Guo et
    al. 2017, "On Calibration of Modern Neural Networks".

    Raises
    ------
    ValueError
        The temperature is not above 0, temperature or bias is not finite, or log odds are NaN.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be finite and above 0, got {temperature!r}")
    if not math.isfinite(bias):
        raise ValueError(f"bias must be finite, got {bias!r}")
    values = np.asarray(log_odds, np.float64)
    if np.isnan(values).any():
        raise ValueError("log odds must be numbers, got NaN")
    # A tiny temperature may scale log odds to infinity; the sigmoid of that is still right.
    with np.errstate(over="ignore"):
        scaled = values / temperature + bias
    return np.asarray(np.exp(-np.logaddexp(0.0, -scaled)))


def verdict(probability: float, thresholds: Mapping[str, float]) -> str:
    """Return the verdict on a probability, 0 to 1, of an organism.

    ``thresholds`` has 0 <= ``not_organism`` <= ``organism`` <= 1.  The verdict is ``organism`` if
    the probability is at least the second, ``not_organism`` if it is below the first, and
    ``uncertain`` between them.

    Raises
    ------
    ValueError
        A value is outside these ranges, or a threshold is missing.
    """
    low, high = _checked(thresholds)
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must be from 0 to 1, got {probability!r}")
    if probability >= high:
        return ORGANISM
    return NOT_ORGANISM if probability < low else UNCERTAIN


@dataclass(frozen=True)
class FilterVerdict:
    """What a filter says of one photo.

    ``verdict`` is ``organism``, ``not_organism`` or ``uncertain``; ``probability``, 0 to 1, is the
    calibrated probability of an organism; ``variant`` names the model.
    """

    verdict: str
    probability: float
    variant: str


class Filter:
    """A kit's filter, loaded and ready.

    Parameters
    ----------
    kit
        An open kit; it may be closed once the filter exists.
    engine
        As for :class:`rs_runtime.classify.Classifier`.
    threshold
        0 to 1, replaces both of the kit's thresholds, so that no verdict is ``uncertain``; None
        means the kit's.

    Raises
    ------
    KitFormatError
        The kit has no filter.
    EngineMissingError
        The filter has no model for an engine that can be used.
    FilterError
        The engine is broken or refused the model, or the model does not fit its kit.
    ValueError
        The threshold is out of range.
    """

    def __init__(self, kit: Kit, engine: str = "auto", threshold: float | None = None) -> None:
        spec = kit.manifest.filter
        owner = f"kit {kit.manifest.name!r}"
        if spec is None:
            raise KitFormatError(f"{owner} has no filter; use none, or export the kit with one")
        self.spec = spec
        self.preprocessing = spec.preprocessing
        self.thresholds = dict(spec.thresholds)
        if threshold is not None:
            self.thresholds = {NOT_ORGANISM: threshold, ORGANISM: threshold}
        _checked(self.thresholds)
        self.variant = choose(
            spec.variants, spec.default_variants, f"the filter of {owner}", engine
        )
        self._organism = np.array([item.organism for item in spec.classes])
        model = kit.read(self.variant.member)
        try:
            # The model is too small to gain from more threads, and the threads of a second pool
            # would take cores from the classifier while they wait.
            self._engine = load_engine(self.variant.engine, model, threads=1)
        except EngineError as error:
            raise FilterError(f"filter {self.variant.name!r}: {error}") from error
        wanted = spec.preprocessing.size
        if self._engine.size not in (None, wanted):
            raise FilterError(
                f"filter {self.variant.name!r} takes {self._engine.size} px, "
                f"its kit prepares {wanted} px; export the kit again"
            )

    def judge(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the calibrated probabilities, float64 (n,), 0 to 1, that photos show an organism.

        ``pixels`` are uint8, (n, size, size, 3), from the filter's own preprocessing, n at least 1.

        Raises
        ------
        FilterError
            The engine failed, or the model does not fit its kit.
        """
        try:
            logits = self._engine.logits(self.preprocessing.model_input(pixels))
        except EngineError as error:
            raise FilterError(f"filter {self.variant.name!r}: {error}") from error
        if logits.shape[1] != len(self._organism):
            raise FilterError(
                f"filter {self.variant.name!r} gives {logits.shape[1]} classes, "
                f"its kit names {len(self._organism)}; export the kit again"
            )
        log_odds = organism_log_odds(logits, self._organism)
        return organism_probability(log_odds, self.variant.temperature, self.variant.bias)

    def verdicts(self, pixels: NDArray[np.uint8]) -> list[FilterVerdict]:
        """Return the verdicts on photos; parameters and errors as for :meth:`judge`."""
        return [
            FilterVerdict(verdict(p, self.thresholds), p, self.variant.name)
            for p in self.judge(pixels).tolist()
        ]


def _checked(thresholds: Mapping[str, float]) -> tuple[float, float]:
    missing = [name for name in (NOT_ORGANISM, ORGANISM) if name not in thresholds]
    if missing:
        raise ValueError(f"thresholds lack {', '.join(missing)}")
    low, high = thresholds[NOT_ORGANISM], thresholds[ORGANISM]
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f"thresholds must be 0 <= not_organism <= organism <= 1, got {low!r} and {high!r}"
        )
    return low, high
