"""What a classifier or a filter lost against its reference, by a paired bootstrap over groups.

Both ``compare`` functions take n photos, with V looks at each, and give a verdict of
:mod:`rs_toolkit.metrics.noninferiority`; :func:`gains` gives intervals without a margin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rs_toolkit.metrics.intervals import Estimate
from rs_toolkit.metrics.noninferiority import (
    LEFT,
    ClassLoss,
    Loss,
    Resamples,
    Verdict,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["compare_classifiers", "compare_filters", "gains", "rarest_third"]

Logits = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_TAIL = 0.025
_WELL, _FEWEST = 0.5, 3  # least recall, and photos, of a class that is named well


def rarest_third(labels: ArrayLike, classes: int) -> Flags:
    """Return which classes are the third with the fewest training ``labels``, bool (classes,).

    Of equally rare classes those with lower numbers are taken; one class at least is.
    """
    order = np.argsort(np.bincount(np.asarray(labels, np.int64), minlength=classes), kind="stable")
    return np.isin(np.arange(classes), order[: max(1, classes // 3)])


def compare_classifiers(
    labels: Ints,
    groups: Ints,
    reference: Logits,
    other: Logits,
    rare: Flags,
    margins: Mapping[str, float],
    error: float,
) -> Verdict:
    """Compare a classifier with its reference.

    The losses are that of macro-F1; and two that can only refuse, because so few photos hardly ever
    prove anything: of macro-F1 over the rarest classes, and, where the reference's own is above 0,
    of the worst tenth of the classes.

    Parameters
    ----------
    labels, groups
        True class, 0 to C - 1, and group of each photo, (n,).
    reference, other
        Logits of the two models, (n, V, C); the first look is the photo as it is.
    rare
        Which classes are the rarest, bool (C,); see :func:`rarest_third`.
    margins
        Largest loss, 0 to 1, of ``macro_f1``, ``rare_macro_f1`` and ``worst_decile_f1``.
    error
        How often a limit may be wrong, 0 to 1.
    """
    before, after = (_true_margins(logits, labels) for logits in (reference, other))
    drawn = Resamples(groups, before, after)
    tables = _Tables(labels, drawn, reference, other)
    f1, recall = tables.losses(rare)
    first = _Tables(labels, drawn, reference[:, :1], other[:, :1]).at_hand(rare)
    tested = tables.support > 0
    about = {"macro_f1": tested, "rare_macro_f1": tested & rare, "worst_decile_f1": tested}
    losses = []
    for name, chosen in about.items():
        if chosen.any() and (name != "worst_decile_f1" or tables.decile > 0):
            concerned = len(np.unique(drawn.place[chosen[labels]]))
            limits = drawn.limits(f1[name], error, concerned, int(chosen.sum()), first[name])
            losses.append(Loss(name, *limits, margins[name], name == "macro_f1"))
    fallen = _fallen(labels, drawn, reference, other, recall, error)
    return Verdict(tuple(losses), fallen, reference.shape[1])


def gains(labels: Ints, groups: Ints, reference: Logits, other: Logits) -> dict[str, Estimate]:
    """Return by how much ``accuracy`` and ``macro_f1`` of a classifier are above its reference's.

    Each is -1 to 1, with the limits of its 95 % interval: those of the bootstrap of
    :func:`compare_classifiers`, which scores both classifiers on the same draws of groups.

    Parameters
    ----------
    labels, groups
        True class, 0 to C - 1, and group of each of n >= 1 photos, (n,).
    reference, other
        Logits of the two classifiers, (n, C).
    """
    one, two = reference[:, None], other[:, None]
    drawn = Resamples(groups, _true_margins(one, labels), _true_margins(two, labels))
    tables = _Tables(labels, drawn, one, two)
    right = [(logits.argmax(axis=1) == labels).astype(float) for logits in (reference, other)]
    change = np.bincount(drawn.place, right[0] - right[1], drawn.count)
    photos = np.bincount(drawn.place, minlength=drawn.count)
    with np.errstate(invalid="ignore"):
        accuracy = [weights @ change / (weights @ photos) for weights in drawn]
    f1, _ = tables.losses(np.ones(reference.shape[1], bool))
    losses = {"accuracy": (np.concatenate(accuracy), 1)}
    losses["macro_f1"] = (f1["macro_f1"], int((tables.support > 0).sum()))
    found = {}
    for name, (values, means) in losses.items():
        loss, low, high = drawn.limits(values, _TAIL, drawn.count, means)
        known = drawn.count > 1
        found[name] = Estimate(0.0 - loss, -high if known else None, -low if known else None)
    return found


def compare_filters(
    truth: Flags,
    groups: Ints,
    reference: tuple[Floats, NDArray[np.int64]],
    other: tuple[Floats, NDArray[np.int64]],
    margins: Mapping[str, float],
    error: float,
) -> Verdict:
    """Compare a filter with its reference.

    The losses are those of the area under the ROC curve (over the looks at all photos), and of the
    share of right answers: that an organism is one, or that another photo shows none.

    Parameters
    ----------
    truth, groups
        Whether each photo shows an organism, and its group, (n,).
    reference, other
        Of each model, calibrated log odds, and answers: -1 (no organism), 0 (uncertain) or 1; (n,
        V) each.
    margins
        Largest loss, 0 to 1, of ``auroc`` and ``right_answers``.
    """
    sign = np.where(truth, 1, -1)[:, None]
    before, after = (sign * odds for odds, _ in (reference, other))
    drawn = Resamples(groups, before, after)
    right = [(answers == sign).mean(axis=1) for _, answers in (reference, other)]
    change = np.bincount(drawn.place, right[0] - right[1], drawn.count)
    photos = np.bincount(drawn.place, minlength=drawn.count)
    areas, answers = [], []
    for weights in drawn:
        answers.append(weights @ change / (weights @ photos))
        of_photos = weights[:, drawn.place]
        one, two = (_areas(odds, truth, of_photos) for odds, _ in (reference, other))
        areas.append(one - two)
    columns = {"auroc": np.concatenate(areas), "right_answers": np.concatenate(answers)}
    once = np.ones((1, len(truth)))
    seen = [
        {
            "auroc": float(_areas(odds[:, :1], truth, once)[0]),
            "right_answers": float((named[:, :1] == sign).mean()),
        }
        for odds, named in (reference, other)
    ]
    first = {name: seen[0][name] - seen[1][name] for name in columns}
    losses = [
        Loss(name, *drawn.limits(values, error, drawn.count, 2, first[name]), margins[name])
        for name, values in columns.items()
    ]
    return Verdict(tuple(losses), (), reference[0].shape[1])


class _Tables:
    """Photos, right answers and answers of two models by group and class, as sparse matrices."""

    def __init__(self, labels: Ints, drawn: Resamples, *models: Logits) -> None:
        from scipy.sparse import csr_array

        _, looks, classes = models[0].shape
        self._drawn, shape = drawn, (drawn.count, classes)
        # Each look counts as one: whole numbers are added without rounding.
        rows, ones = np.repeat(drawn.place, looks), np.ones(len(labels) * looks)
        truth = np.repeat(labels, looks)

        def table(columns: Ints, weights: Floats) -> csr_array:
            return csr_array((weights, (rows, columns)), shape=shape)

        self._support = table(truth, ones)
        self._models = []
        for logits in models:
            given = logits.argmax(axis=2).ravel()
            self._models.append((table(truth, ones * (given == truth)), table(given, ones)))
        self.support = np.bincount(labels, minlength=classes)
        self.decile = float(_worst_decile(self._scores(np.ones((1, drawn.count)))[1][0])[0])

    def losses(self, rare: Flags) -> tuple[dict[str, Floats], Floats]:
        """Return the losses of each score, (rounds,), and of each class's recall, (rounds, C)."""
        scores: dict[str, list[Floats]] = {}
        recalls = []
        for weights in self._drawn:
            recall, f1 = self._scores(weights)
            for name, loss in _losses(f1, rare).items():
                scores.setdefault(name, []).append(loss)
            recalls.append(recall[0] - recall[1])
        return {name: np.concatenate(parts) for name, parts in scores.items()}, np.vstack(recalls)

    def at_hand(self, rare: Flags) -> dict[str, float]:
        """Return the losses of each score on the photos at hand."""
        f1 = self._scores(np.ones((1, self._drawn.count)))[1]
        return {name: float(loss[0]) for name, loss in _losses(f1, rare).items()}

    def _scores(self, weights: Floats) -> tuple[list[Floats], list[Floats]]:
        """Return recalls and F1 of each model, (rounds, C); NaN where a class was not drawn."""
        turned = np.ascontiguousarray(weights.T)
        support = _product(self._support, turned)
        support = np.where(support > 0, support, np.nan)
        hits_given = [[_product(part, turned) for part in parts] for parts in self._models]
        return (
            [hits / support for hits, _ in hits_given],
            [2 * hits / (support + given) for hits, given in hits_given],
        )


def _product(table: csr_array, turned: Floats) -> Floats:
    """Return sums of a table's rows, (rounds, C), weighted by ``turned``, (groups, rounds)."""
    return np.asarray((table.T @ turned).T)


def _losses(f1: list[Floats], rare: Flags) -> dict[str, Floats]:
    """Return what each score lost, (rounds,); F1 of the two models are (rounds, C)."""
    measures = {
        "macro_f1": _mean,
        "rare_macro_f1": lambda values: _mean(values[:, rare]),
        "worst_decile_f1": _worst_decile,
    }
    return {name: measure(f1[0]) - measure(f1[1]) for name, measure in measures.items()}


def _mean(scores: Floats) -> Floats:
    """Return the mean of each row's known values; NaN where there is none."""
    known = np.isfinite(scores)
    with np.errstate(invalid="ignore"):
        return np.where(known, scores, 0).sum(axis=1) / known.sum(axis=1)


def _worst_decile(scores: Floats) -> Floats:
    """Return the mean of the lowest tenth of each row's known values, of one at least."""
    ordered = np.sort(scores, axis=1)  # NaN comes last
    known = np.isfinite(scores).sum(axis=1, keepdims=True)
    return _mean(np.where(np.arange(scores.shape[1]) < np.maximum(known // 10, 1), ordered, np.nan))


def _true_margins(logits: Logits, labels: Ints) -> Floats:
    """Return the true class's logit less the best other's, (n, V)."""
    own = np.arange(logits.shape[2]) == labels[:, None, None]
    best = np.where(own, -np.inf, logits).max(axis=2)
    return np.asarray(np.where(own, logits, 0).sum(axis=2) - best, np.float64)


def _areas(odds: Floats, truth: Flags, weights: Floats) -> Floats:
    """Return areas under the ROC curve, (rounds,); ``weights`` of the photos are (rounds, n)."""
    looks = odds.shape[1]
    order = np.argsort(odds.ravel(), kind="stable")
    scores, photo = odds.ravel()[order], order // looks
    drawn = weights[:, photo]
    others = np.cumsum(np.where(truth[photo], 0, drawn), axis=1)
    below = np.concatenate([np.zeros((len(weights), 1)), others], axis=1)
    ends = (np.searchsorted(scores, scores, side) for side in ("left", "right"))
    # Of others with the same score, half count as lower.
    lower = sum(below[:, end] for end in ends) / 2
    positive = np.where(truth[photo], drawn, 0)
    pairs = positive.sum(axis=1) * others[:, -1]
    with np.errstate(invalid="ignore"):
        return np.asarray((positive * lower).sum(axis=1) / pairs)


def _fallen(
    labels: Ints,
    drawn: Resamples,
    reference: Logits,
    other: Logits,
    recall: Floats,
    error: float,
) -> tuple[ClassLoss, ...]:
    """Return the classes whose recall fell: those named no more first, then by their loss."""
    right = [logits.argmax(axis=2) == labels[:, None] for logits in (reference, other)]
    # A photo that is there twice tells no more than once.
    told = np.column_stack([drawn.place, labels, reference[:, 0]])
    distinct = labels[np.unique(told, axis=0, return_index=True)[1]]
    found = []
    for number in np.flatnonzero(recall[0] > 0):
        of_class, photos = labels == number, int((distinct == number).sum())
        before, after = (float(hits[of_class].mean()) for hits in right)
        well = right[0][of_class, 0].mean() >= _WELL and photos >= _FEWEST
        groups = len(np.unique(drawn.place[of_class]))
        _, low, high = drawn.limits(recall[:, number], error, groups, 1)
        gone = bool(well and after <= LEFT * before)
        found.append(ClassLoss(int(number), photos, before, after, low, high, gone))
    return tuple(sorted(found, key=lambda item: (not item.gone, item.after - item.before)))
