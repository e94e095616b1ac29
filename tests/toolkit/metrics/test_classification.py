from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_toolkit.errors import DataError
from rs_toolkit.metrics import classification as metrics


@st.composite
def problems(draw):
    """Random truth, scores with ties, and a number of classes, some of them untested."""
    classes = draw(st.integers(2, 30))
    count = draw(st.integers(1, 80))
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    truth = generator.integers(0, max(1, classes - draw(st.integers(0, 3))), count)
    logits = generator.normal(0, 2, (count, classes)).round(draw(st.sampled_from([0, 3])))
    logits[np.arange(count), truth] += draw(st.sampled_from([0, 2]))
    return truth, logits, classes


@settings(deadline=None)
@given(problems())
def test_scores_agree_with_scikit_learn(problem) -> None:
    from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

    truth, logits, classes = problem
    predicted = logits.argmax(1)
    everything = np.arange(classes)
    assert metrics.accuracy(truth, predicted) == pytest.approx(accuracy_score(truth, predicted))
    ours = metrics.per_class(truth, predicted, classes)
    theirs = precision_recall_fscore_support(truth, predicted, labels=everything, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), theirs, strict=True):
        assert np.allclose(ours[name], values), name
    tested = np.unique(truth)
    macro = f1_score(truth, predicted, labels=tested, average="macro", zero_division=0)
    assert metrics.macro_f1(truth, predicted, classes) == pytest.approx(macro)


def test_top_k_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import top_k_accuracy_score

    generator = np.random.default_rng(0)
    truth, logits = generator.integers(0, 12, 500), generator.normal(0, 1, (500, 12))
    for k in (1, 2, 5, 11):
        theirs = top_k_accuracy_score(truth, logits, k=k, labels=np.arange(12))
        assert metrics.top_k_accuracy(logits, truth, k) == pytest.approx(theirs)


@settings(deadline=None)
@given(problems())
def test_top_1_is_accuracy_even_with_ties(problem) -> None:
    truth, logits, classes = problem
    assert metrics.top_k_accuracy(logits, truth, 1) == metrics.accuracy(truth, logits.argmax(1))
    assert metrics.top_k_accuracy(logits, truth, classes) == 1


def test_constant_scores_are_not_right() -> None:
    assert metrics.top_k_accuracy(np.zeros((10, 10)), np.arange(10), 5) == 0.5


def test_softmax_is_exact_and_does_not_overflow() -> None:
    assert np.allclose(metrics.softmax([[0, np.log(3)]]), [[0.25, 0.75]])
    assert np.allclose(metrics.softmax([[1e4, 1e4 - np.log(3)]]), [[0.75, 0.25]])


def test_untested_classes_cost_recall_and_are_listed() -> None:
    """Class 2 has no photo, and takes one photo from class 1."""
    logits = np.eye(3)[[0, 0, 1, 2]]
    result = metrics.evaluate(logits, np.array([0, 0, 1, 1]), ["a", "b", "c"])
    assert [row["name"] for row in result["per_class"]] == ["a", "b", "c"]
    assert [row["support"] for row in result["per_class"]] == [2, 2, 0]
    assert [row["f1"] for row in result["per_class"]] == pytest.approx([1, 2 / 3, 0])
    assert result["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert result["untested"] == ["c"]


@pytest.mark.parametrize(("classes", "wanted"), [(5, 0), (19, 0), (20, 1 / 3), (30, 5 / 9)])
def test_worst_decile(classes, wanted) -> None:
    """F1 is 0, 2/3, 1, 1, …; the tenth of 5 or 19 classes is one, of 20 two, of 30 three."""
    truth = np.arange(classes)
    predicted = truth.copy()
    predicted[0] = 1
    assert metrics.worst_decile_f1(truth, predicted, classes) == pytest.approx(wanted)


def test_untested_classes_are_not_the_worst() -> None:
    assert metrics.worst_decile_f1([0, 1], [0, 1], 30) == 1


def test_calibration_error_by_hand() -> None:
    """Bins of 1/15: 0.9 is in the 14th (right, wrong), 0.6 in the 9th (right)."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    wanted = (2 * abs(0.5 - 0.9) + 1 * abs(1 - 0.6)) / 3
    assert metrics.expected_calibration_error(probabilities, [0, 1, 1]) == pytest.approx(wanted)


@settings(deadline=None)
@given(problems(), st.integers(1, 20))
def test_calibration_error_agrees_with_its_definition(problem, bins) -> None:
    truth, logits, _ = problem
    probabilities = metrics.softmax(logits)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    wanted = 0.0
    for low in range(bins):
        inside = (confidence > low / bins) & (confidence <= (low + 1) / bins)
        if inside.any():
            wanted += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    ours = metrics.expected_calibration_error(probabilities, truth, bins)
    assert ours == pytest.approx(wanted, abs=1e-9)


def test_agreement() -> None:
    assert metrics.agreement([[1, 0], [0, 1]], [[5, 2], [3, 1]]) == 0.5
    with pytest.raises(DataError, match="agreement"):
        metrics.agreement([[1, 0]], [[1, 0], [0, 1]])


@settings(deadline=None)
@given(problems(), st.sampled_from([0.5, 1.0, 3.0]))
def test_evaluate_is_json_and_temperature_changes_only_calibration(problem, temperature) -> None:
    truth, logits, classes = problem
    names = [f"c{n}" for n in range(classes)]
    plain = metrics.evaluate(logits, truth, names)
    warm = metrics.evaluate(logits, truth, names, temperature)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    scaled = metrics.softmax(logits / temperature)
    assert warm.pop("ece") == metrics.expected_calibration_error(scaled, truth)
    plain.pop("ece")
    assert warm == plain
    assert sum(row["support"] for row in plain["per_class"]) == plain["n"]


@pytest.mark.parametrize(
    ("logits", "labels", "names", "said"),
    [
        ([[0.0, np.nan]], [0], ["a", "b"], "not finite"),
        ([[0.0, np.inf]], [1], ["a", "b"], "not finite"),
        ([[0.0, 1.0]], [2], ["a", "b"], "0 to 1"),
        ([[0.0, 1.0]], [-1], ["a", "b"], "0 to 1"),
        ([[0.0, 1.0]], [0.5], ["a", "b"], "class numbers"),
        ([[0.0, 1.0]], [0, 1], ["a", "b"], "wanted"),
        ([0.0, 1.0], [0, 1], ["a", "b"], "shape"),
        (np.zeros((0, 2)), [], ["a", "b"], "n >= 1"),
        ([[0.0, 1.0]], [0], ["a"], "2 logits a photo and 1 classes"),
    ],
)
def test_nonsense_is_refused(logits, labels, names, said) -> None:
    with pytest.raises(DataError, match=said):
        metrics.evaluate(logits, labels, names)


def test_predictions_out_of_range_are_refused() -> None:
    with pytest.raises(DataError, match="0 to 1"):
        metrics.per_class([0, 1], [0, 2], 2)
