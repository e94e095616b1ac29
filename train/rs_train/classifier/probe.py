"""The probe: a class-balanced linear classifier on frozen features, which every training must beat.

Fine-tuning on few photos can end below it.  So a training fits it too, compares the two by
macro-F1 on the same validation photos, and keeps the better one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.batches.oversampling import Shares, photo_weights
from rs_train.classifier.checkpoint import FitState
from rs_train.classifier.linear_probe import STRENGTHS, Head, fit_head, rows_of_views

__all__ = ["BALANCED", "FrozenFeatures", "probe_is_better"]

BALANCED = 1.0
"""The balance of the probe: each class weighs the same."""


@dataclass(frozen=True)
class FrozenFeatures:
    """Features of the frozen backbone, and what a linear layer needs to be fitted on them.

    Attributes
    ----------
    train : of n photos to learn from, (n, views, channels)
    labels : their class numbers, (n,)
    shares : their shares in oversampling
    val : of m validation photos, (m, views, channels), of which the first view is used
    val_labels : their class numbers, (m,)
    classes : number of classes
    """

    train: NDArray[np.float32]
    labels: NDArray[np.int64]
    shares: Shares
    val: NDArray[np.float32]
    val_labels: NDArray[np.int64]
    classes: int

    def head(self, balance: float, strengths: Sequence[float] = STRENGTHS) -> Head:
        """Fit the linear layer with classes weighed by ``balance``, 0 (by size) to 1 (equal)."""
        weights = photo_weights(self.labels, balance, self.shares)
        return fit_head(
            *rows_of_views(self.train, self.labels, weights),
            self.val[:, 0],
            self.val_labels,
            self.classes,
            strengths,
            self.train.shape[1],
        )


def probe_is_better(state: FitState, note: Callable[[str], object]) -> bool:
    """Return whether the probe did better than the best epoch of a training, and say it.

    False where there was no stage 1, so no frozen features of any worth.
    """
    found = state.stage_1 or {}
    if "probe_macro_f1" not in found:
        return False
    probe, tuned = found["probe_macro_f1"], state.best_score[0]
    kept = "the probe" if probe > tuned else "the fine-tuned model"
    note(
        f"validation macro-F1 {tuned:.3f} fine-tuned, {probe:.3f} of the probe, a class-balanced "
        f"linear classifier on the frozen backbone: {kept} is kept"
    )
    return probe > tuned
