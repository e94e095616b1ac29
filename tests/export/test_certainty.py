"""Thresholds from fine to coarse, their check on other photos, and what report and card tell."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from rs_export.answers import answers_section
from rs_export.certainty import answered, calibrate, set_scores
from rs_export.result import Calibration
from rs_runtime.ranks import Level
from rs_toolkit.metrics.classification import softmax

SPECIES = Level("species", tuple("abcdefgh"), np.arange(8))
GENUS = Level("genus", tuple("wxyz"), np.arange(8) // 2)
FAMILY = Level("family", tuple("pq"), np.arange(8) // 4)
LEVELS = (SPECIES, GENUS, FAMILY)


def calibrated(seed: int, photos: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of a perfectly calibrated model that knows taxa better than species."""
    generator = np.random.default_rng(seed)
    true = generator.integers(0, 8, photos)
    logits = generator.normal(0, 1, (photos, 8))
    for level, gain in zip(LEVELS, (2.0, 2.5, 3.0), strict=True):
        same = level.places[None] == level.places[true][:, None]
        logits += gain * generator.gamma(2, 0.5, (photos, 1)) * same
    shares = softmax(logits)
    return logits.astype(np.float32), (shares.cumsum(1) > generator.random((photos, 1))).argmax(1)


def test_each_rank_keeps_its_promise_on_the_photos_that_it_names() -> None:
    """Fitted on all photos, a rank was right too rarely on those that finer ranks left."""
    logits, labels = calibrated(0, 40_000)
    shares, named = {level.rank: [] for level in LEVELS}, 0
    for seed in range(1, 9):
        fitted, truth = calibrated(seed, 4000)
        calibration = calibrate(fitted, truth, np.arange(4000), LEVELS, 0.9)
        found = answered(logits, labels, np.arange(len(labels)), LEVELS, calibration)
        for rank, row in found.items():
            shares[rank].append(row["right"] / row["named"])
            named += row["named"]
            assert row["low"] < row["right"] / row["named"] < row["high"]
    assert all(len(found) == 8 for found in shares.values())
    assert min(min(found) for found in shares.values()) > 0.88
    assert named > 8 * 40_000 * 0.5


def test_no_good_threshold_leaves_a_rank_out() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 1, (400, 8)).astype(np.float32)
    labels = generator.integers(0, 8, 400)
    assert calibrate(noise, labels, np.arange(400), LEVELS, 0.9).thresholds == {}
    # A burst of 400 photos is one observation.
    sure = 9 * np.eye(8, dtype=np.float32)[labels]
    assert calibrate(sure, labels, np.zeros(400, int), LEVELS, 0.9).thresholds == {}
    assert calibrate(sure, labels, np.arange(400), LEVELS, 0.9).thresholds["species"] > 0.5


def test_a_homonym_is_not_the_right_answer() -> None:
    # Class 0 is a bird, class 1 a plant; both are of a genus called Oenanthe.
    genus = Level("genus", ("oenanthe", "oenanthe"), np.array([0, 1]))
    logits = np.array([[9.0, 0.0], [9.0, 0.0]], np.float32)
    calibration = Calibration(1.0, {"genus": 0.5})
    found = answered(logits, np.array([0, 1]), np.arange(2), [genus], calibration)
    assert (found["genus"]["named"], found["genus"]["right"]) == (2, 1)


def test_sets_are_checked_on_other_photos() -> None:
    fitted, truth = calibrated(0, 4000)
    calibration = calibrate(fitted, truth, np.arange(4000), LEVELS, 0.9)
    found = set_scores(*calibrated(1, 20_000), calibration)
    for asked, row in found.items():
        assert abs(row["reached"] - float(asked)) < 0.02
    assert found["0.8"]["size"] < found["0.9"]["size"] < found["0.95"]["size"] < 8
    assert set_scores(*calibrated(1, 9), Calibration(1.0)) == {}


def test_report_and_card_name_ranks_that_fell_short() -> None:
    row = {"named": 50, "right": 40, "low": 0.66, "high": 0.9}
    model = SimpleNamespace(
        name="float",
        calibration=Calibration(1.0, {"genus": 0.61}),
        test=SimpleNamespace(answered={"genus": row}, sets={}),
    )
    told = answers_section([model], 100, 0.9)
    assert "| float | 50.0%, 80.0% (0.61) | 50.0% |" in told
    assert "float at genus, 40 of 50 (95% interval 66.0% to 90.0%)" in told
    model.test.answered = {}
    assert "Every answer is `uncertain`" in answers_section([model], 100, 0.9)
