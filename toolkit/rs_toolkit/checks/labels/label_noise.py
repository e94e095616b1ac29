"""Label noise: photos whose labels are contradicted by the other photos.

:func:`doubt_labels` computes the probability that each label is wrong, from the class probabilities
of :func:`rs_toolkit.checks.labels.out_of_fold.out_of_fold`.

Confident learning (Northcutt, Jiang, Chuang 2021, "Confident learning: estimating uncertainty in
dataset labels", JAIR 70) doubts a photo's label if another class is as probable for this photo as
it is, on average, for the photos labelled with that class.  With many small, similar classes this
is so for a quarter of the right labels, so a label is flagged only if it is also doubted by
:mod:`rs_toolkit.checks.labels.noise_model` (``benchmarks/label_noise.py`` measures each alone).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.checks.findings import Finding
from rs_toolkit.checks.labels.noise_model import fit_share, label_doubt, own_probability
from rs_toolkit.data.photos import Photo

__all__ = ["FILTERS", "LabelDoubts", "doubt_labels", "noise_findings"]

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

FILTERS = ("prune_by_class", "prune_by_noise_rate", "both", "confident_learning")
"""Rules of confident learning, explained at ``cleanlab.filter.find_label_issues``."""

_THRESHOLD = 0.5
_SURE = 0.9
_LEAST_WEIGHT = 0.1


@dataclass(frozen=True)
class LabelDoubts:
    """What the other photos say about each of n labels.

    Attributes
    ----------
    own, doubt
        Out-of-fold probability of the label (cleanlab's self-confidence), and probability that the
        label is wrong; both 0 where the class could not be learnt.
    suggested, better
        The most probable other class, and its out-of-fold probability.
    pruned, flagged
        Whether confident learning doubts the label, and whether the label is reported.
    share
        Estimated share of wrong labels, 0 to 1.
    """

    own: Floats
    doubt: Floats
    suggested: Numbers
    better: Floats
    pruned: Flags
    flagged: Flags
    share: float


def doubt_labels(
    labels: Numbers, probabilities: Floats, *, filter_by: str = FILTERS[0], floor: int = 8
) -> LabelDoubts:
    """Compute the probability that each label is wrong (its doubt), and flag doubtful labels.

    A label is flagged if confident learning doubts it and its doubt reaches 0.5.  A class of fewer
    than ``floor`` photos is too small for confident learning: there, labels whose doubt reaches 0.9
    are flagged.  A label of a class that could not be learnt is never flagged.

    Parameters
    ----------
    labels : shape (n,), n >= 1, 0 to classes - 1
    probabilities : shape (n, classes), classes >= 2
        Result of :func:`rs_toolkit.checks.labels.out_of_fold.out_of_fold`.
    filter_by : one of :data:`FILTERS`
    floor : a number of photos, 0 or more
    """
    classes = probabilities.shape[1]
    own = own_probability(probabilities, labels)
    learnt = own > 0
    share, doubt, pruned = 0.0, np.zeros(len(own)), np.zeros(len(own), np.bool_)
    if learnt.any():
        share = fit_share(own[learnt], classes)
        doubt[learnt] = label_doubt(own[learnt], classes, share)
        pruned[learnt] = _confident_learning(labels[learnt], probabilities[learnt], filter_by)
    small = np.bincount(labels)[labels] < floor
    others = probabilities.copy()
    np.put_along_axis(others, labels[:, None], -1, axis=1)
    return LabelDoubts(
        own=own,
        doubt=doubt,
        suggested=others.argmax(axis=1),
        better=others.max(axis=1),
        pruned=pruned,
        flagged=np.where(small, doubt >= _SURE, pruned & (doubt >= _THRESHOLD)),
        share=share,
    )


def _confident_learning(labels: Numbers, probabilities: Floats, filter_by: str) -> Flags:
    from cleanlab.filter import find_label_issues

    if len(np.unique(labels)) < 2:
        return np.zeros(len(labels), np.bool_)
    with warnings.catch_warnings():
        # It warns about small classes, where doubt_labels does not use its answer.
        warnings.filterwarnings("ignore", "May not flag all label issues", UserWarning)
        # One job, because a process that has loaded TensorFlow must not be forked.
        found = find_label_issues(labels, probabilities, filter_by=filter_by, n_jobs=1)
    return np.asarray(found, np.bool_)


def noise_findings(
    photos: Sequence[Photo], labels: Numbers, class_names: Sequence[str], doubts: LabelDoubts
) -> list[Finding]:
    """Return a finding for each flagged label, the most doubtful first.

    ``score`` is the doubt, ``suggested_label`` the most probable other class, and
    ``suggested_weight`` is max(0.1, 1 - doubt), where 1 - doubt is the probability that the label
    is right.  ``labels``, (n,), are positions in ``class_names``; ``doubts`` were made from them.
    """
    order = np.argsort(doubts.own, kind="stable")
    return [
        Finding(
            photos[row].path,
            "label_noise",
            float(doubts.doubt[row]),
            class_names[doubts.suggested[row]],
            max(_LEAST_WEIGHT, 1 - float(doubts.doubt[row])),
            f"other photos say {class_names[doubts.suggested[row]]} ({doubts.better[row]:.2f}), "
            f"not {class_names[labels[row]]} ({doubts.own[row]:.1g})",
        )
        for row in order[doubts.flagged[order]].tolist()
    ]
