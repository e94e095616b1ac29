"""Scores of a classifier, over all photos and class by class.

Throughout, ``y_true``, ``y_pred`` and ``labels`` are class numbers: integers of shape (n,), 0 to
classes - 1, n >= 1.  ``logits`` are finite numbers of shape (n, classes).  Anything else raises
:class:`rs_toolkit.errors.DataError`.

A class without a photo in ``y_true`` has support 0 and an F1 of 0, and means over classes leave it
out.  Photos wrongly assigned to it still lower the recall of their true classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rs_toolkit.errors import DataError

__all__ = [
    "accuracy",
    "agreement",
    "check_logits",
    "evaluate",
    "expected_calibration_error",
    "in_top_k",
    "macro_f1",
    "per_class",
    "softmax",
    "top_k_accuracy",
    "worst_decile_f1",
]


def softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """Return ``exp(x) / sum(exp(x))`` along the last axis, in float64 and without overflow."""
    from scipy.special import softmax as powers

    return np.asarray(powers(np.asarray(logits, np.float64), axis=-1))


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the share of photos whose predicted class is the true one, 0 to 1."""
    truth, predicted = _pair(y_true, y_pred)
    return float(np.mean(truth == predicted))


def top_k_accuracy(logits: ArrayLike, labels: ArrayLike, k: int = 5) -> float:
    """Return the share of photos whose true class has one of the ``k`` highest logits, 0 to 1.

    Parameters are those of :func:`in_top_k`.  With ``k`` classes or fewer the result is 1.
    """
    return float(np.mean(in_top_k(logits, labels, k)))


def in_top_k(logits: ArrayLike, labels: ArrayLike, k: int = 5) -> NDArray[np.bool_]:
    """Return of each photo whether its true class has one of the ``k`` highest logits, (n,).

    ``k`` is 1 or more.  Equal logits rank by class number, so that k = 1 agrees with ``argmax``.
    """
    scores, truth = check_logits("top-k accuracy", logits, labels)
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < truth[:, None]
    rank = (scores > own).sum(axis=1) + ((scores == own) & earlier).sum(axis=1)
    return np.asarray(rank < k)


def per_class(y_true: ArrayLike, y_pred: ArrayLike, classes: int) -> dict[str, NDArray[Any]]:
    """Return ``support``, ``precision``, ``recall`` and ``f1`` (0 to 1), each of shape (classes,).

    With true positives TP, false positives FP and false negatives FN of a class: precision is
    TP / (TP + FP), recall TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN), each 0 where its
    denominator is 0; support is TP + FN.

    References
    ----------
    van Rijsbergen (1979), Information Retrieval, chapter 7.
    """
    from sklearn.metrics import precision_recall_fscore_support

    truth, given = _pair(y_true, y_pred, classes)
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, given, labels=np.arange(classes), zero_division=0
    )
    return {"support": support, "precision": precision, "recall": recall, "f1": f1}


def macro_f1(y_true: ArrayLike, y_pred: ArrayLike, classes: int) -> float:
    """Return the unweighted mean F1 of the classes that have photos in ``y_true``, 0 to 1.

    The mean of the classes' F1, not the F1 of means (Opitz, Burst 2019, Macro F1 and Macro F1).
    """
    return float(np.mean(_tested_f1(y_true, y_pred, classes)))


def worst_decile_f1(y_true: ArrayLike, y_pred: ArrayLike, classes: int) -> float:
    """Return the mean F1 of the lowest tenth of the classes that have photos, 0 to 1.

    Of m such classes these are the max(1, floor(m / 10)) lowest.
    """
    scores = np.sort(_tested_f1(y_true, y_pred, classes))
    return float(np.mean(scores[: max(1, len(scores) // 10)]))


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15
) -> float:
    """Return the mean distance between confidence and accuracy over equal-width bins, 0 to 1.

    Confidence is the highest of a photo's ``probabilities``, shape (n, classes), which add up to 1.
    Bin b of B >= 1 holds confidences in (b / B, (b + 1) / B]; the distances
    | accuracy - mean confidence | are weighted by the photos in the bin.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger (2017), On calibration of modern neural networks, equation 3.
    """
    scores, truth = check_logits("calibration error", probabilities, labels)
    confidence = scores.max(axis=1)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, (scores.argmax(axis=1) == truth) - confidence, bins)
    return float(np.abs(gaps).sum() / len(truth))


def agreement(logits: ArrayLike, reference: ArrayLike) -> float:
    """Return the share of photos for which two models predict the same class, 0 to 1."""
    one, other = (np.asarray(values).argmax(axis=1) for values in (logits, reference))
    return float(np.mean(np.equal(*_pair(one, other, what="agreement"))))


def evaluate(
    logits: ArrayLike, labels: ArrayLike, class_names: Sequence[str], temperature: float = 1.0
) -> dict[str, Any]:
    """Measure a classifier on labelled photos, and return scores as JSON values.

    ``temperature``, above 0, divides the logits before the softmax and changes ``ece`` only.

    Returns
    -------
    dict
        ``accuracy``, ``top5``, ``macro_f1``, ``worst_decile_f1``, ``ece`` (15 bins), each 0 to 1;
        ``n`` (number of photos); ``per_class``, one ``{name, support, precision, recall, f1}`` per
        class, in the order of ``class_names``; ``untested``, names of classes without photos.
    """
    scores, truth = check_logits("evaluate", logits, labels)
    classes = scores.shape[1]
    if classes != len(class_names):
        raise DataError(f"evaluate: got {classes} logits a photo and {len(class_names)} classes")
    predicted = scores.argmax(axis=1)
    columns = per_class(truth, predicted, classes)
    rows = [
        {"name": name, **{key: values[number].item() for key, values in columns.items()}}
        for number, name in enumerate(class_names)
    ]
    return {
        "accuracy": accuracy(truth, predicted),
        "top5": top_k_accuracy(scores, truth),
        "macro_f1": macro_f1(truth, predicted, classes),
        "worst_decile_f1": worst_decile_f1(truth, predicted, classes),
        "ece": expected_calibration_error(softmax(scores / temperature), truth),
        "n": len(truth),
        "per_class": rows,
        "untested": [row["name"] for row in rows if not row["support"]],
    }


def _tested_f1(y_true: ArrayLike, y_pred: ArrayLike, classes: int) -> NDArray[np.float64]:
    result = per_class(y_true, y_pred, classes)
    return np.asarray(result["f1"][result["support"] > 0], np.float64)


def _pair(
    y_true: ArrayLike, y_pred: ArrayLike, classes: int | None = None, what: str = "metrics"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    truth, predicted = np.asarray(y_true), np.asarray(y_pred)
    are_numbers = {truth.dtype.kind, predicted.dtype.kind} <= {"i", "u"}
    if truth.ndim != 1 or truth.shape != predicted.shape or not truth.size or not are_numbers:
        raise DataError(
            f"{what}: got {truth.dtype} {truth.shape} and {predicted.dtype} {predicted.shape}; "
            "wanted class numbers (n,) twice, n >= 1"
        )
    low, high = min(truth.min(), predicted.min()), max(truth.max(), predicted.max())
    if classes is not None and not 0 <= low <= high < classes:
        raise DataError(
            f"{what}: got class numbers {low} to {high}, wanted 0 to {classes - 1}; "
            "do the labels belong to this model?"
        )
    return truth.astype(np.int64), predicted.astype(np.int64)


def check_logits(
    what: str, logits: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Check logits and labels as described in the module's docstring; return them as arrays.

    Raises
    ------
    DataError
        They are anything else; the message begins with ``what`` they are for.
    """
    scores = np.asarray(logits, np.float64)
    if scores.ndim != 2:
        raise DataError(f"{what}: got scores of shape {scores.shape}, wanted (n, classes)")
    truth, _ = _pair(labels, np.zeros(len(scores), np.int64), scores.shape[1], what)
    if not np.isfinite(scores).all():
        raise DataError(f"{what}: some scores are not finite; the model is broken")
    return scores, truth
