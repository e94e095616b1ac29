"""Calibration of a variant: its temperature, and from which probability on a name is given.

Rounding moves logits, so every variant has a calibration of its own, fitted on validation photos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rs_runtime.ranks import Level, finest_taxa
from rs_toolkit.metrics.calibration import fit_temperature
from rs_toolkit.metrics.classification import softmax
from rs_toolkit.metrics.thresholds import acceptance_threshold

__all__ = ["Calibration", "answered", "calibrate"]


@dataclass(frozen=True)
class Calibration:
    """What turns a variant's logits into answers.

    Attributes
    ----------
    temperature
        Above 0: probabilities are ``softmax(logits / temperature)``; of a filter
        ``sigmoid(odds / temperature + bias)``.
    thresholds
        Least probability at which a taxon is named, by rank; see :mod:`rs_runtime.ranks`.
    bias
        Of a filter alone; see :func:`rs_runtime.filter.organism_probability`.
    """

    temperature: float
    thresholds: Mapping[str, float] = field(default_factory=dict)
    bias: float = 0.0


def calibrate(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    levels: Sequence[Level],
    precision: float,
) -> Calibration:
    """Fit a variant's calibration on validation photos.

    Parameters
    ----------
    logits, labels
        The variant's, shape (n, classes), and the classes, (n,); n >= 1.
    levels
        Ranks to answer with.
    precision
        Share of the names given that must be right, above 0 and at most 1.
    """
    temperature = fit_temperature(logits, labels)
    probabilities = softmax(logits / temperature)
    thresholds = {}
    for level in levels:
        taxa = level.probabilities(probabilities)
        right = taxa.argmax(axis=1) == level.places[labels]
        threshold = acceptance_threshold(taxa.max(axis=1), right, precision)
        if threshold is not None:
            thresholds[level.rank] = threshold
    return Calibration(temperature, thresholds)


def answered(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    levels: Sequence[Level],
    calibration: Calibration,
) -> dict[str, dict[str, int]]:
    """Count test photos by the rank they were named at, and how many of those names were right.

    Returns
    -------
    dict
        For every rank with a threshold ``{"named", "right"}``; photos left over were not named.
    """
    probabilities = softmax(logits / calibration.temperature)
    ranks = [level.rank for level in levels if level.rank in calibration.thresholds]
    counts = {rank: {"named": 0, "right": 0} for rank in ranks}
    found = finest_taxa(probabilities, levels, calibration.thresholds)
    for taxon, label in zip(found, labels, strict=True):
        if taxon is not None:
            count = counts[taxon.level.rank]
            count["named"] += 1
            count["right"] += int(taxon.level.places[label] == taxon.place)
    return counts
