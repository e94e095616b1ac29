"""Sets of classes and the unknown score of a model, checked on labelled photos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.kit.manifest import Variant
from rs_runtime.sets import STRANGE, in_set, strangeness, unknown_score
from rs_toolkit.evaluation.scores import Judged, values
from rs_toolkit.metrics.binary import auroc
from rs_toolkit.metrics.intervals import share_estimate
from rs_toolkit.metrics.sets import CHECKED

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["set_scores", "unknown_scores"]


def set_scores(
    judged: Judged, variant: Variant, asked: float | None
) -> list[dict[str, Any]] | None:
    """Return for each coverage how often the true class was in the set, and the sets' mean size.

    ``asked`` is a coverage, 0 to 1; None: those of :data:`CHECKED`.  Photos without a known class
    are left out.  None where the model has no sets, or there is no such photo.
    """
    kept = judged.truth[:, 0] >= 0
    if variant.sets is None or not kept.any():
        return None
    true, groups = judged.truth[kept, 0], judged.groups[kept]
    rows = []
    for coverage in CHECKED if asked is None else (asked,):
        inside = in_set(judged.probabilities[kept], variant.sets, coverage)
        reached = share_estimate(inside[np.arange(len(true)), true], groups)
        size = float(inside.sum(axis=1).mean())
        rows.append({"coverage": coverage, "reached": values(reached), "mean_size": size})
    return rows


def unknown_scores(
    judged: Judged, logits: NDArray[np.float32], variant: Variant
) -> dict[str, Any] | None:
    """Return how well the model's strangeness tells photos of unknown taxa from the others.

    ``auroc`` is None without photos of both kinds; ``strange`` are the shares of photos of
    ``known`` and ``unknown`` taxa that rs-classify would call strange.  None where the model has no
    unknown score.
    """
    if variant.unknown is None:
        return None
    scores = unknown_score(logits, variant.temperature, variant.unknown.score)
    strange = strangeness(scores, variant.unknown)
    known, unknown = judged.known, judged.unknown
    both = known | unknown
    shares = {
        name: float((strange[kept] >= STRANGE).mean()) if kept.any() else None
        for name, kept in (("known", known), ("unknown", unknown))
    }
    area = auroc(-scores[both], unknown[both]) if known.any() and unknown.any() else None
    return {"score": variant.unknown.score, "auroc": area, "strange": shares}
