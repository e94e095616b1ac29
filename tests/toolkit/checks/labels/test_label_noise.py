"""Label noise and outliers, on features made here: Gaussian blobs with planted faults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.checks.labels import out_of_fold as out_of_fold_module
from rs_toolkit.checks.labels import outliers
from rs_toolkit.checks.labels.label_noise import FILTERS, doubt_labels, noise_findings
from rs_toolkit.checks.labels.noise_model import fit_share, label_doubt, own_probability
from rs_toolkit.checks.labels.out_of_fold import group_numbers, out_of_fold
from rs_toolkit.checks.labels.outliers import find_outliers, outlier_findings
from rs_toolkit.checks.run import Checks
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError
from rs_toolkit.progress import Progress

SIZES = (60, 40, 30, 20, 12, 12, 8, 5, 5, 4, 4, 4)
CLASSES = len(SIZES)


@dataclass(frozen=True)
class Blobs:
    features: np.ndarray
    true: np.ndarray
    given: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        return self.true != self.given


def blobs(share: float = 0.1, seed: int = 0, spread: float = 0.55) -> Blobs:
    """A long tail of classes that overlap a little, some labels moved to another class."""
    generator = np.random.default_rng(seed)
    true = np.repeat(np.arange(CLASSES), SIZES)
    centres = generator.normal(size=(CLASSES, 24))
    features = centres[true] + spread * generator.normal(size=(len(true), 24))
    moved = generator.choice(len(true), round(share * len(true)), replace=False)
    labels = true.copy()
    labels[moved] = (true[moved] + generator.integers(1, CLASSES, len(moved))) % CLASSES
    return Blobs(features.astype(np.float32), true, labels)


@pytest.fixture(scope="module")
def noisy() -> Blobs:
    return blobs()


@pytest.fixture(scope="module")
def probabilities(noisy) -> np.ndarray:
    return out_of_fold(noisy.features, noisy.given, classes=CLASSES)


def photos(count: int, groups: dict[int, str] | None = None) -> list[Photo]:
    return [Photo(f"{n}.jpg", Taxon(), group=(groups or {}).get(n)) for n in range(count)]


# The classifiers.


def test_probabilities_are_distributions_that_know_the_classes(noisy, probabilities) -> None:
    assert probabilities.shape == (len(noisy.true), CLASSES)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert np.mean(probabilities.argmax(axis=1) == noisy.true) > 0.93


def test_a_seed_gives_one_result(noisy, probabilities) -> None:
    again = out_of_fold(noisy.features, noisy.given, classes=CLASSES)
    other = out_of_fold(noisy.features, noisy.given, classes=CLASSES, seed=1)
    assert np.array_equal(again, probabilities)
    assert not np.allclose(other, probabilities)


def test_small_blocks_give_the_same(noisy, probabilities, monkeypatch) -> None:
    monkeypatch.setattr(out_of_fold_module, "_ROWS", 7)
    monkeypatch.setattr(out_of_fold_module, "_COLUMNS", 11)
    assert np.allclose(out_of_fold(noisy.features, noisy.given, classes=CLASSES), probabilities)


def test_a_copy_gives_its_label_away_unless_it_is_grouped(noisy) -> None:
    row = int(np.flatnonzero(noisy.wrong)[0])
    features = np.concatenate([noisy.features, noisy.features[[row] * 3]])
    labels = np.concatenate([noisy.given, noisy.given[[row] * 3]])
    names = [None if n != row and n < len(noisy.given) else "burst" for n in range(len(labels))]
    alone = out_of_fold(features, labels, classes=CLASSES)
    grouped = out_of_fold(features, labels, names, classes=CLASSES)
    assert own_probability(alone, labels)[row] > 0.5
    assert own_probability(grouped, labels)[row] < 0.01


def test_a_group_counts_as_one_photo(noisy) -> None:
    """Fifty copies of an odd photo, grouped, pull as much as one."""

    def with_copies(count: int, name: str | None) -> np.ndarray:
        features = np.concatenate([noisy.features, np.zeros((count, 24), np.float32)])
        labels = np.append(noisy.given, [CLASSES - 1] * count)
        names = [None] * len(noisy.given) + [name] * count
        return out_of_fold(features, labels, names, classes=CLASSES)[: len(noisy.given)]

    one = with_copies(1, "odd")
    assert np.allclose(with_copies(50, "odd"), one, atol=1e-3)
    assert not np.allclose(with_copies(50, None), one, atol=1e-1)


def test_a_class_that_could_not_be_learnt_has_probability_0_and_is_never_flagged(noisy) -> None:
    """One photo, and two copies of one: no other fold shows the class."""
    features = np.concatenate([noisy.features, noisy.features[[0, 1, 1]]])
    labels = np.append(noisy.given, [CLASSES, CLASSES + 1, CLASSES + 1])
    names = [None] * (len(labels) - 2) + ["copies"] * 2
    probabilities = out_of_fold(features, labels, names, classes=CLASSES + 2)
    found = doubt_labels(labels, probabilities)
    assert found.own[-3:].tolist() == [0, 0, 0]
    assert found.doubt[-3:].tolist() == [0, 0, 0]
    assert not found.flagged[-3:].any()
    assert (found.own[:-3] > 0).all()
    assert found.flagged[:-3].any()
    # Nor do they pass for noise in the estimate.
    assert found.share < 0.15


def test_a_class_that_could_be_learnt_never_has_probability_0(noisy, monkeypatch) -> None:
    monkeypatch.setattr(out_of_fold_module, "_STRENGTH", 1e9)
    probabilities = out_of_fold(100 * noisy.features, noisy.given, classes=CLASSES)
    assert (probabilities > 0).all()


def test_a_class_of_two_photos_can_be_learnt() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [2, 2, 10])
    features = 4 * generator.normal(size=(3, 8))[labels] + generator.normal(size=(14, 8))
    assert (own_probability(out_of_fold(features, labels, classes=3), labels) > 0).all()


def test_two_photos_of_two_classes_are_no_error() -> None:
    probabilities = out_of_fold(np.eye(2), np.array([0, 1]), classes=2)
    assert probabilities.tolist() == [[0, 1], [1, 0]]
    assert not doubt_labels(np.array([0, 1]), probabilities).flagged.any()


def test_features_that_tell_nothing_doubt_nothing() -> None:
    labels = np.repeat([0, 1, 2], 10)
    probabilities = out_of_fold(np.ones((30, 5)), labels, classes=3)
    assert np.isfinite(probabilities).all()
    assert not doubt_labels(labels, probabilities).flagged.any()


# The noise model.


def drawn(share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels that are drawn from them, but for a share of wrong ones."""
    generator = np.random.default_rng(seed)
    table = generator.dirichlet(np.full(20, 0.03), 3000) + 1e-12
    table /= table.sum(axis=1, keepdims=True)
    labels = (generator.random((3000, 1)) > table.cumsum(axis=1)).sum(axis=1).clip(0, 19)
    wrong = generator.random(3000) < share
    labels[wrong] = (labels[wrong] + generator.integers(1, 20, wrong.sum())) % 20
    return table, labels


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_the_share_of_wrong_labels_is_found(share) -> None:
    table, labels = drawn(share)
    assert fit_share(own_probability(table, labels), 20) == pytest.approx(share, abs=0.02)


def test_the_doubt_is_bayes_rule() -> None:
    # (0.1 * 0.4 / 4) / (0.9 * 0.6 + 0.1 * 0.4 / 4)
    assert label_doubt(np.array([0.6]), 5, 0.1)[0] == pytest.approx(0.01 / 0.55)
    assert label_doubt(np.array([1.0, 0.5]), 5, 0.0).tolist() == [0, 0]
    assert (np.diff(label_doubt(np.linspace(0.001, 1, 50), 5, 0.1)) < 0).all()


def test_doubts_are_right_as_often_as_they_say() -> None:
    table, labels = drawn(0.2, seed=1)
    clean = drawn(0.0, seed=1)[1]
    doubt = doubt_labels(labels, table).doubt
    wrong = labels != clean
    assert wrong[doubt > 0.9].mean() > 0.9
    assert wrong[doubt < 0.1].mean() < 0.1
    assert doubt.mean() == pytest.approx(wrong.mean(), abs=0.02)


@pytest.mark.parametrize("power", [0.5, 2.0])
def test_sharpening_undoes_a_wrong_temperature(power) -> None:
    table, labels = drawn(0.1)
    table = np.maximum(table, 1e-6) / np.maximum(table, 1e-6).sum(axis=1, keepdims=True)
    bent = table**power / (table**power).sum(axis=1, keepdims=True)
    assert np.abs(out_of_fold_module._sharpen(bent, labels, np.arange(3000)) - table).mean() < 0.003
    assert np.abs(bent - table).mean() > 0.006


# Flags.


@pytest.mark.parametrize("filter_by", FILTERS)
def test_planted_wrong_labels_are_flagged(noisy, probabilities, filter_by) -> None:
    found = doubt_labels(noisy.given, probabilities, filter_by=filter_by)
    hits = (found.flagged & noisy.wrong).sum()
    assert hits / noisy.wrong.sum() >= 0.8
    assert hits / found.flagged.sum() >= 0.9
    assert found.share == pytest.approx(0.1, abs=0.03)
    right = found.suggested[found.flagged & noisy.wrong] == noisy.true[found.flagged & noisy.wrong]
    assert right.mean() > 0.9


def test_sound_labels_are_left_alone() -> None:
    sound = blobs(share=0.0, seed=3)
    found = doubt_labels(sound.given, out_of_fold(sound.features, sound.given, classes=CLASSES))
    assert found.flagged.sum() <= 2
    assert found.share < 0.02


def test_the_worst_are_ranked_first(noisy, probabilities) -> None:
    own = doubt_labels(noisy.given, probabilities).own
    first = np.argsort(own)[: 2 * noisy.wrong.sum()]
    assert noisy.wrong[first].sum() == noisy.wrong.sum()


def doubtful_table() -> tuple[np.ndarray, np.ndarray]:
    """Classes of 20, 20 and 5.  Rows 0 (large) and 40 (small) are doubted, by less than 0.9.

    Rows 43 and 44 (small) are doubted by more; but nothing speaks for one other class than 43's.
    """
    labels = np.repeat([0, 1, 2], [20, 20, 5])
    table = np.full((45, 3), 0.015)
    np.put_along_axis(table, labels[:, None], 0.97, axis=1)
    table[0], table[40] = [0.02, 0.97, 0.01], [0.97, 0.01, 0.02]
    table[43], table[44] = [0.5, 0.499999, 1e-6], [0.999998, 1e-6, 1e-6]
    return labels, table


def test_in_a_small_class_only_great_doubt_is_flagged_whatever_confident_learning_says() -> None:
    labels, table = doubtful_table()
    for filter_by in FILTERS:
        found = doubt_labels(labels, table, filter_by=filter_by, floor=8)
        assert ((found.doubt[[0, 40]] > 0.5) & (found.doubt[[0, 40]] < 0.9)).all()
        assert np.flatnonzero(found.flagged).tolist() == [0, 43, 44]
    assert np.flatnonzero(found.pruned).tolist() == [0, 40, 44]
    assert np.flatnonzero(doubt_labels(labels, table, floor=100).flagged).tolist() == [43, 44]
    none = doubt_labels(labels, table, filter_by="confident_learning", floor=0)
    assert np.flatnonzero(none.flagged).tolist() == [0, 40, 44]


def test_a_flag_needs_both_verdicts(noisy, probabilities) -> None:
    found = doubt_labels(noisy.given, probabilities, floor=0)
    assert np.array_equal(found.flagged, found.pruned & (found.doubt >= 0.5))
    assert (found.pruned & (found.doubt < 0.5)).any()


def test_what_is_suggested_is_the_best_other_class(noisy, probabilities) -> None:
    found = doubt_labels(noisy.given, probabilities)
    assert (found.suggested != noisy.given).all()
    ordered = np.sort(probabilities, axis=1)
    sound = probabilities.argmax(axis=1) == noisy.given
    assert np.array_equal(found.better, np.where(sound, ordered[:, -2], ordered[:, -1]))
    assert np.array_equal(own_probability(probabilities, found.suggested), found.better)


def test_filters_differ() -> None:
    hard = blobs(spread=1.2)
    table = out_of_fold(hard.features, hard.given, classes=CLASSES)
    sets = {
        tuple(np.flatnonzero(doubt_labels(hard.given, table, filter_by=name).pruned))
        for name in FILTERS
    }
    assert len(sets) == len(FILTERS)


# Findings.


def test_findings_say_what_the_doubts_are(noisy, probabilities) -> None:
    names = [f"family{n}" for n in range(CLASSES)]
    doubts = doubt_labels(noisy.given, probabilities)
    found = noise_findings(photos(len(noisy.given)), noisy.given, names, doubts)
    assert len(found) == doubts.flagged.sum()
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
    for item in found:
        row = int(item.path.removesuffix(".jpg"))
        assert (item.flag, item.score) == ("label_noise", doubts.doubt[row])
        assert item.suggested_weight == max(0.1, 1 - doubts.doubt[row])
        assert item.suggested_label == names[doubts.suggested[row]]
        assert item.suggested_label != names[noisy.given[row]]
        assert names[noisy.given[row]] in item.detail


# Outliers.


def test_a_photo_like_no_other_of_its_class_is_an_outlier() -> None:
    sound = blobs(share=0.0, spread=0.3)
    features = sound.features.copy()
    features[7] = np.random.default_rng(1).normal(size=24)
    found = outlier_findings(
        photos(len(features)), features, sound.given, [f"f{n}" for n in range(CLASSES)]
    )
    assert found[0].path == "7.jpg"
    assert found[0].flag == "outlier" and found[0].score > 0.997
    assert found[0].suggested_label is None
    assert len(found) < 0.05 * len(features)
    measured = find_outliers(features, sound.given)
    expected = measured.typical / measured.own[7]
    assert found[0].suggested_weight == pytest.approx(max(0.1, expected))


def test_copies_of_an_outlier_do_not_hide_it() -> None:
    sound = blobs(share=0.0, spread=0.3)
    odd = np.random.default_rng(1).normal(size=(1, 24)).repeat(4, axis=0)
    features, labels = np.concatenate([sound.features, odd]), np.append(sound.given, [0] * 4)
    count = len(sound.given)
    names = [f"f{n}" for n in range(CLASSES)]
    burst = photos(len(labels), {count + n: "burst" for n in range(4)})
    found = outlier_findings(burst, features, labels, names)
    assert {item.path for item in found} >= {f"{count + n}.jpg" for n in range(4)}
    alone = outlier_findings(photos(len(labels)), features, labels, names)
    assert f"{count}.jpg" not in {item.path for item in alone}


def test_distances_are_to_the_kth_nearest_other_group(monkeypatch) -> None:
    monkeypatch.setattr(outliers, "_NEIGHBOUR", 2)
    angles = np.radians([0, 1, 10, 20, 30, 60, 90])
    features = 5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    labels = np.array([0, 0, 0, 0, 0, 0, 1])
    groups = ["copies", "copies", *[None] * 5]
    found = find_outliers(features, labels, groups)
    assert found.own[0] == pytest.approx(1 - np.cos(np.radians(20)), abs=1e-5)
    assert found.own[3] == pytest.approx(1 - np.cos(np.radians(10)), abs=1e-5)
    assert np.isnan(found.own[6]) and found.score[6] == 0
    assert found.any[6] == pytest.approx(1 - np.cos(np.radians(60)), abs=1e-5)


def test_one_odd_photo_does_not_make_its_small_class_odd() -> None:
    angles = np.radians([0, 1, 2, 80])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = find_outliers(features, np.zeros(4, int))
    assert found.own[3] > 0.5
    assert found.own[:3].max() < 0.001


def test_the_score_is_the_normal_share() -> None:
    """Distances of median 1 and median deviation 1 / 1.4826: the score of 3 is erf(2 / sqrt 2)."""
    from rs_toolkit.checks.labels.outliers import _scores

    unit = 1 / 1.4826
    score, typical = _scores(np.array([1 - unit, 1 - unit, 1, 1 + unit, 3.0, np.nan]))
    assert typical == 1
    assert score.tolist() == pytest.approx([0, 0, 0, 0.5, 0.9545, 0], abs=2e-4)


def test_equal_photos_are_no_outliers() -> None:
    found = find_outliers(np.ones((10, 4)), np.zeros(10, int))
    assert found.score.max() == 0
    assert outlier_findings(photos(10), np.ones((10, 4)), np.zeros(10, int), ["a"]) == []
    assert find_outliers(np.zeros((1, 4)), np.zeros(1, int)).score.tolist() == [0]


# Bad input.


class Cache:
    """Stands for a cache of pixels that nobody asks for."""

    directory, preprocessing = Path(), Preprocessing(size=32)


def test_features_that_are_not_finite_are_refused(one_line) -> None:
    def embed(photos: list[Photo], root: Path, cache: object) -> np.ndarray:
        return np.array([[1, 2], [np.nan, 1], [1, 1]], np.float32)

    with pytest.raises(DataError, match=r"1\.jpg: its features are not finite") as caught:
        Checks(photos(3), Path(), Cache(), embed, Progress())
    one_line(str(caught.value))


@pytest.mark.parametrize(
    ("families", "group"), [(("felidae", "canidae"), "burst"), (("felidae", "felidae"), None)]
)
def test_labels_that_cannot_be_compared_are_no_error(families, group) -> None:
    """All photos are copies of each other, or of one class."""
    used = [
        Photo(f"{n}.jpg", Taxon(family=family), group=group, split="train")
        for n, family in enumerate(families)
    ]
    checks = Checks(used, Path(), Cache(), lambda *_: np.eye(2, dtype=np.float32), Progress())
    assert checks.labels(used, TrainConfig(rank="family")) == []


def test_group_numbers_keep_lone_photos_apart() -> None:
    numbers = group_numbers(["b", None, "a", None, "b"], 5)
    assert numbers[0] == numbers[4]
    assert len(set(numbers.tolist())) == 4
    assert len(set(group_numbers(None, 3).tolist())) == 3
