"""The gate: what three verdicts say, and that copies of photos tell nothing new."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_toolkit.metrics.binary import auroc
from rs_toolkit.metrics.classification import macro_f1, per_class, worst_decile_f1
from rs_toolkit.metrics.noninferiority import (
    KEPT,
    LOST,
    UNDECIDED,
    Loss,
    Resamples,
    Verdict,
    dealt_flips,
)
from rs_toolkit.metrics.paired import compare_classifiers, compare_filters, gains, rarest_third

MARGINS = {"macro_f1": 0.02, "rare_macro_f1": 0.05, "worst_decile_f1": 0.05}


def models(
    seed: int, labels: np.ndarray, *, noise: float, looks: int = 1, skill: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return logits (n, looks, classes) of two models, neither of which is better but by chance."""
    generator, classes = np.random.default_rng(seed), int(labels.max()) + 1
    shape = (len(labels), looks, classes)
    logits = generator.normal(size=(len(labels), 1, classes)) + 0.3 * generator.normal(size=shape)
    logits[np.arange(len(labels)), :, labels] += skill
    one, two = (logits + noise * generator.normal(size=shape) for _ in range(2))
    return one.astype(np.float32), two.astype(np.float32)


def compare(labels: np.ndarray, one: Any, two: Any, groups: Any = None, **changes: Any) -> Verdict:
    rare = rarest_third(labels, one.shape[2])
    places = np.arange(len(labels)) if groups is None else groups
    given = {"margins": MARGINS, "error": 0.05, **changes}
    return compare_classifiers(labels, places, one, two, rare, **given)


def losses(verdict: Verdict) -> dict[str, Loss]:
    return {item.metric: item for item in verdict.losses}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 50), st.integers(2, 20))
def test_losses_are_those_of_the_metrics(seed, photos, classes) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, photos)
    one, two = generator.normal(size=(2, photos, 1, classes)).astype(np.float32)
    rare = rarest_third(labels, classes)
    found = losses(compare_classifiers(labels, np.arange(photos), one, two, rare, MARGINS, 0.05))
    given = [logits[:, 0].argmax(1) for logits in (one, two)]
    for name, metric in (("macro_f1", macro_f1), ("worst_decile_f1", worst_decile_f1)):
        before, after = (metric(labels, answers, classes) for answers in given)
        if name == "macro_f1" or before > 0:
            assert found[name].loss == pytest.approx(before - after, abs=1e-9)
        else:
            assert name not in found
    tested = rare & (np.bincount(labels, minlength=classes) > 0)
    if tested.any():
        f1 = [per_class(labels, answers, classes)["f1"][tested].mean() for answers in given]
        assert found["rare_macro_f1"].loss == pytest.approx(f1[0] - f1[1], abs=1e-9)
    assert all(item.low <= item.loss <= item.high for item in found.values())


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 4), st.booleans(), st.integers(1, 3))
def test_copies_of_every_photo_in_its_group_change_nothing(seed, copies, harmed, looks) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 6, 60)
    labels[:6] = np.arange(6)
    groups = generator.integers(0, 30, 60)
    one, two = models(seed, labels, noise=0.4, looks=looks)
    if harmed:
        two[..., 2] -= 100
    once = compare(labels, one, two, groups)
    often = compare(*(np.repeat(part, copies, axis=0) for part in (labels, one, two, groups)))
    assert often.verdict == once.verdict
    for before, after in zip(once.losses, often.losses, strict=True):
        wanted = (before.metric, before.loss, before.low, before.high)
        assert (after.metric, after.loss, after.low, after.high) == pytest.approx(wanted)
    assert [(row.number, row.photos, row.gone) for row in often.fallen] == [
        (row.number, row.photos, row.gone) for row in once.fallen
    ]


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6))
def test_copies_change_nothing_of_a_filter_either(seed) -> None:
    generator = np.random.default_rng(seed)
    truth = np.arange(40) % 2 == 0
    odds = np.where(truth, 2, -2)[:, None] + generator.normal(0, 2, (2, 40, 2))
    groups = generator.integers(0, 20, 40)
    once, often = (
        compare_filters(
            np.repeat(truth, n),
            np.repeat(groups, n),
            *((part, np.sign(part).astype(int)) for part in np.repeat(odds, n, axis=1)),
            {"auroc": 0.01, "right_answers": 0.02},
            0.05,
        )
        for n in (1, 3)
    )
    for before, after in zip(once.losses, often.losses, strict=True):
        assert (after.low, after.high) == pytest.approx((before.low, before.high))


def test_the_same_model_is_kept_even_without_a_margin() -> None:
    labels = np.arange(12) % 4
    one, _ = models(0, labels, noise=0)
    found = compare(labels, one, one, margins=dict.fromkeys(MARGINS, 0.0))
    assert found.verdict == KEPT
    assert {(item.low, item.high) for item in found.losses} == {(0, 0)}
    assert not found.fallen


def test_one_photo_a_class_cannot_show_that_two_lost_classes_are_noise() -> None:
    labels = np.arange(5)
    one = 5 * np.eye(5, dtype=np.float32)[:, None]
    two = one.copy()
    two[1, 0], two[2, 0] = one[0, 0], one[0, 0]
    found = compare(labels, one, two)
    assert losses(found)["macro_f1"].loss >= 0.5
    assert found.verdict != KEPT


def test_few_photos_without_a_flip_do_not_prove_that_none_flips() -> None:
    labels = np.arange(12) % 3
    one = np.eye(3, dtype=np.float32)[labels][:, None] * np.repeat([0.5, 4], 6)[:, None, None]
    two = one.copy()
    # Photos of large margins lost more of them than others have.
    two[np.arange(6, 12), 0, labels[6:]] -= 2
    assert (one.argmax(2) == two.argmax(2)).all()
    found = compare(labels, one, two)
    assert found.verdict == UNDECIDED
    assert losses(found)["macro_f1"].high == pytest.approx(3 / 12, rel=0.3)
    two = one - 0.1 * (one > 0)
    assert compare(labels, one, two).verdict == KEPT


def test_a_burst_is_one_piece_of_evidence() -> None:
    labels = np.repeat(np.arange(4), 250)
    one, _ = models(2, labels, noise=0.0, skill=9)
    two = one.copy()
    two[:10, 0] = np.roll(one[:10, 0], 1, axis=1)
    assert compare(labels, one, two).verdict == KEPT
    bursts = np.arange(1000) // 10
    assert compare(labels, one, two, bursts).verdict == UNDECIDED


@pytest.mark.parametrize("photos", [3, 30])
def test_a_class_that_is_named_no_more_is_lost_whatever_the_mean_says(photos) -> None:
    labels = np.r_[np.repeat(np.arange(200), 10), np.full(photos, 200)]
    one, two = models(3, labels, noise=0.05, skill=8)
    assert compare(labels, one, two).verdict == KEPT
    two[..., 200] -= 100
    found = compare(labels, one, two)
    assert losses(found)["macro_f1"].verdict == KEPT
    assert (found.verdict, found.fallen[0].number, found.fallen[0].gone) == (LOST, 200, True)
    assert found.to_dict()["metric"] == "recall"


def test_a_class_named_by_another_look_is_not_gone() -> None:
    labels = np.r_[np.repeat(np.arange(20), 20), np.full(3, 20)]
    one, two = models(4, labels, noise=0.01, looks=4, skill=9)
    two[-3:, 0, 20] -= 100
    assert not compare(labels, one, two).gone
    assert compare(labels, one[:, :1], two[:, :1]).gone


def test_every_class_whose_recall_fell_is_listed_with_its_evidence() -> None:
    labels = np.repeat(np.arange(3), 20)
    one, _ = models(5, labels, noise=0, skill=9)
    two = one.copy()
    two[:5, 0], two[20, 0] = one[30, 0], one[0, 0]
    rows = compare(labels, one, two).fallen
    assert [(row.number, row.photos, row.before) for row in rows] == [(0, 20, 1.0), (1, 20, 1.0)]
    assert [row.after for row in rows] == [0.75, 0.95]
    assert rows[0].low > 0 and rows[0].low < 0.25 < rows[0].high


def test_more_looks_narrow_the_limits() -> None:
    labels = np.repeat(np.arange(20), 30)
    one, two = models(6, labels, noise=0.3, looks=6)
    first, all_ = (
        losses(compare(labels, one[:, :looks], two[:, :looks]))["macro_f1"] for looks in (1, 6)
    )
    assert all_.high - all_.low < 0.7 * (first.high - first.low)


def test_limits_hold_as_often_as_they_say() -> None:
    """Two models of the same worth: of 120 pairs, about 6 may pass each limit."""
    labels = np.repeat(np.arange(20), 20)
    beyond = np.zeros(2)
    for seed in range(120):
        one, two = models(seed, labels, noise=0.5)
        found = losses(compare(labels, one, two))["macro_f1"]
        beyond += found.low > 0, found.high < 0
    assert (beyond <= 14).all()


def test_gains_are_those_of_the_metrics_and_their_limits_hold() -> None:
    labels, missed = np.arange(150) % 15, {"accuracy": 0, "macro_f1": 0}
    for seed in range(40):
        one, two = (logits[:, 0] for logits in models(seed, labels, noise=1.0))
        found = gains(labels, np.arange(150), one, two)
        answers = [logits.argmax(axis=1) for logits in (one, two)]
        before, after = (macro_f1(labels, given, 15) for given in answers)
        assert found["macro_f1"].value == pytest.approx(after - before)
        before, after = (float((given == labels).mean()) for given in answers)
        assert found["accuracy"].value == pytest.approx(after - before)
        # Neither model is better, so an interval of 95 % misses 0 in 2 of 40 on average.
        for name, gain in found.items():
            missed[name] += not gain.low <= 0 <= gain.high
    assert max(missed.values()) <= 6


def test_one_group_tells_no_limits_of_a_gain() -> None:
    labels = np.array([0, 1, 1])
    one, two = np.eye(2, dtype=np.float32)[[0, 0, 1]], np.eye(2, dtype=np.float32)[labels]
    found = gains(labels, np.zeros(3, np.int64), one, two)["accuracy"]
    assert (found.value, found.low, found.high) == (pytest.approx(1 / 3), None, None)


def test_changes_dealt_to_other_photos() -> None:
    margins = np.array([1.0, 2.0, -1.0, -3.0])
    assert dealt_flips(margins, np.zeros(4)) == 0
    # Minus 1.5 turns one of the four, plus 4 both that were wrong.
    assert dealt_flips(margins, np.array([-1.5, 4.0])) == pytest.approx((1 + 2) / 2 / 4)


def test_draws_are_seeded_and_the_same_in_parts(monkeypatch) -> None:
    margins = np.ones((30, 1))
    whole = np.concatenate(list(Resamples(np.arange(30), margins, margins, rounds=50)))
    assert whole.shape == (51, 30) and (whole[0] == 1).all()
    monkeypatch.setattr("rs_toolkit.metrics.noninferiority._CELLS", 320)
    parts = np.concatenate(list(Resamples(np.arange(30), margins, margins, rounds=50)))
    assert (parts == whole).all()


def test_areas_are_those_of_the_metric() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random(60) < 0.4
    odds = np.round(generator.normal(truth, 1.0, (2, 60)), 1)[..., None]
    answers = np.zeros((60, 1), int)
    found = losses(
        compare_filters(
            truth, np.arange(60), (odds[0], answers), (odds[1], answers),
            {"auroc": 0.01, "right_answers": 0.02}, 0.05,
        )
    )  # fmt: skip
    wanted = auroc(odds[0, :, 0], truth) - auroc(odds[1, :, 0], truth)
    assert found["auroc"].loss == pytest.approx(wanted)
    assert found["right_answers"].loss == 0


def test_the_rarest_third() -> None:
    assert rarest_third([0, 0, 1, 2, 2, 2, 4], 5).tolist() == [False, False, False, True, False]
    assert rarest_third([0, 0, 1], 6).tolist() == [False, False, True, True, False, False]


def test_the_verdict_is_of_the_loss_that_decides() -> None:
    def loss(low: float, high: float, needed: bool = True) -> Loss:
        return Loss("a" if needed else "b", (low + high) / 2, low, high, 0.02, needed)

    assert Verdict((loss(-0.01, 0.01), loss(0.0, 0.3, False))).verdict == KEPT
    refused = Verdict((loss(-0.01, 0.01), loss(0.03, 0.3, False)))
    assert (refused.verdict, refused.to_dict()["metric"]) == (LOST, "b")
    assert Verdict((loss(-0.01, 0.03), loss(-0.1, 0.01, False))).verdict == UNDECIDED


def test_a_loss_seen_on_the_photos_as_they_are_is_not_outvoted_by_other_looks() -> None:
    labels = np.repeat(np.arange(20), 20)
    one, _ = models(7, labels, noise=0, looks=6, skill=9)
    two = one.copy()
    wrong = np.arange(0, 400, 20)
    two[wrong, 0] = np.roll(one, 20, axis=0)[wrong, 0]
    found = losses(compare(labels, one, two))["macro_f1"]
    as_is = losses(compare(labels, one[:, :1], two[:, :1]))["macro_f1"]
    assert found.loss < 0.02 < found.high == as_is.loss
    assert found.verdict == UNDECIDED


def test_a_filter_s_answers_on_the_photos_as_they_are_count_too() -> None:
    truth = np.arange(200) % 2 == 0
    odds = np.repeat(np.where(truth, 4.0, -4.0)[:, None], 6, axis=1)
    answers = np.where(odds > 0, 1, -1)
    changed = answers.copy()
    changed[:10, 0] = 0
    found = losses(
        compare_filters(
            truth, np.arange(200), (odds, answers), (odds, changed),
            {"auroc": 0.01, "right_answers": 0.02}, 0.05,
        )
    )["right_answers"]  # fmt: skip
    assert found.loss == pytest.approx(10 / 200 / 6)
    assert found.high >= 0.05 > found.margin and found.verdict == UNDECIDED
