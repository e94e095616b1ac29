"""What a converted filter is worth against the student that it was made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from rs_runtime.filter import NOT_ORGANISM, ORGANISM, organism_log_odds, organism_probability
from rs_toolkit.metrics.binary import auroc
from rs_toolkit.metrics.platt import fit_platt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["FilterScores", "Judge", "Scaling", "filter_refusal"]

MAX_AUROC_DROP = 0.01
MIN_AGREEMENT = 0.98


@dataclass(frozen=True)
class Scaling:
    """A model's own Platt scaling; see :func:`rs_runtime.filter.organism_probability`."""

    temperature: float
    bias: float


@dataclass(frozen=True)
class FilterScores:
    """What photos of one side say of a model.

    Attributes
    ----------
    cosine
        Mean cosine of its logits to the student's, -1 to 1, both less the student's mean logits:
        what all photos have in common says nothing of any.
    agreement
        Share of the photos with the student's verdict.
    auroc
        Area under the curve of the odds, organisms against others.
    flagged, found
        Share of the organisms, and of the others, with the verdict ``not_organism``.
    uncertain
        Share of all photos without a verdict.
    """

    cosine: float
    agreement: float
    auroc: float
    flagged: float
    found: float
    uncertain: float

    def to_dict(self) -> dict[str, float]:
        """Return the fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Judge:
    """Turns logits into scores.

    Attributes
    ----------
    organism
        Which of the K classes are organisms, bool (K,).
    thresholds
        ``not_organism`` and ``organism``.
    """

    organism: NDArray[np.bool_]
    thresholds: Mapping[str, float]

    def scaling(self, logits: NDArray[np.float32], truth: NDArray[np.bool_]) -> Scaling:
        """Fit a model's scaling to its own logits (n, K) of validation photos of both kinds."""
        return Scaling(*fit_platt(organism_log_odds(logits, self.organism), truth))

    def scores(
        self,
        logits: NDArray[np.float32],
        scaling: Scaling,
        reference: NDArray[np.float32],
        reference_scaling: Scaling,
        truth: NDArray[np.bool_],
    ) -> FilterScores:
        """Compare a model's logits (n, K) with the student's, on photos of both kinds."""
        given, wanted = (
            self._verdicts(logits, scaling),
            self._verdicts(reference, reference_scaling),
        )
        return FilterScores(
            cosine=_mean_cosine(logits, reference),
            agreement=float((given == wanted).mean()),
            auroc=auroc(organism_log_odds(logits, self.organism), truth),
            flagged=float((given[truth] < 0).mean()),
            found=float((given[~truth] < 0).mean()),
            uncertain=float((given == 0).mean()),
        )

    def _verdicts(self, logits: NDArray[np.float32], scaling: Scaling) -> NDArray[np.int64]:
        """Return -1 (no organism), 0 (uncertain) or 1 for each photo."""
        odds = organism_log_odds(logits, self.organism)
        probability = organism_probability(odds, scaling.temperature, scaling.bias)
        sure = probability >= self.thresholds[ORGANISM]
        return np.where(sure, 1, -(probability < self.thresholds[NOT_ORGANISM]).astype(np.int64))


def filter_refusal(scores: FilterScores, reference: FilterScores) -> str | None:
    """Return why a model must not ship, or None.

    Refused: an area under the curve that is more than 0.01 below the student's, or other verdicts
    than the student's on more than 2 % of the photos.
    """
    drop = reference.auroc - scores.auroc
    if drop > MAX_AUROC_DROP + 1e-9:
        return f"AUROC fell by {drop:.4f} to {scores.auroc:.4f}, allowed {MAX_AUROC_DROP:g}"
    if scores.agreement < MIN_AGREEMENT - 1e-9:
        return (
            f"{scores.agreement:.1%} of the verdicts are the student's, wanted {MIN_AGREEMENT:.0%}"
        )
    return None


def _mean_cosine(logits: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    centre = reference.mean(axis=0, dtype=np.float64)
    one, other = logits - centre, reference - centre
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(np.mean((one * other).sum(axis=1) / np.maximum(lengths, 1e-12)))
