"""What a filter is worth, and the thresholds that follow from it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError
from rs_toolkit.metrics.binary import auroc, filter_metrics, flagged_by
from rs_toolkit.metrics.thresholds import fit_thresholds


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    generator = np.random.default_rng(0)
    # Few values, hence many ties.
    scores, truth = generator.integers(0, 9, 300), generator.random(300) < 0.3
    pairs = scores[truth][:, None] - scores[~truth][None, :]
    assert auroc(scores, truth) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())


@pytest.mark.parametrize(
    ("scores", "truth"), [([1, 2], [1, 1]), ([1, 2], [0, 0]), ([1, 2], [1]), ([1, np.nan], [0, 1])]
)
def test_auroc_needs_both_kinds(scores, truth) -> None:
    with pytest.raises(DataError, match="AUROC"):
        auroc(scores, truth)


def photo(family: str | None) -> Photo:
    return Photo("x.jpg", Taxon(phylum="chordata", family=family))


def test_metrics_of_a_filter_that_dislikes_ducks() -> None:
    photos = [photo("anatidae")] * 10 + [photo("corvidae")] * 20 + [photo("rare")] * 3
    photos += [Photo("page.jpg", Taxon())] * 4
    probability = np.concatenate([[0.1] * 3, [0.9] * 27, [0.1] * 3, [0.1, 0.2, 0.5, 0.9]])
    truth = np.arange(37) < 33
    found = filter_metrics(photos, probability, truth, {"not_organism": 0.2, "organism": 0.6})
    assert (found["organisms"], found["others"]) == (33, 4)
    assert found["flagged"] == pytest.approx(6 / 33)
    assert found["found"] == pytest.approx(1 / 4)
    assert found["uncertain"] == pytest.approx(2 / 37)
    assert found["accuracy"] == pytest.approx((27 + 2) / 37)
    # Three photos are too few to be held to a limit.
    assert found["worst_family"] == {"name": "anatidae", "photos": 10, "flagged": 3}
    assert [row["flagged"] for row in found["families"]] == [3, 0, 3]
    assert found["phyla"] == [{"name": "chordata", "photos": 33, "flagged": 6}]


def test_what_has_no_name_comes_last() -> None:
    rows = flagged_by(
        "family", [photo(None), photo("b"), photo("a")], np.array([True, False, True])
    )
    assert [(row["name"], row["flagged"]) for row in rows] == [("a", 1), ("b", 0), (None, 1)]


def test_the_lower_threshold_spares_organisms() -> None:
    organisms = np.linspace(0.3, 1, 200)
    found = fit_thresholds(organisms, np.ones(200, bool), [None] * 200)
    # Of 201, the new photo among them, two are at or below it.
    assert (organisms <= found["not_organism"]).sum() == 2


@pytest.mark.parametrize("count", [99, 150, 199, 500])
def test_the_limits_hold_for_new_photos_and_not_only_for_those_fitted_on(count) -> None:
    rng, organisms, others = np.random.default_rng(count), beta(6, 2), beta(2, 6)
    truth, shares = np.arange(2 * count) < count, []
    for _ in range(1000):
        drawn = np.append(*(kind.rvs(count, random_state=rng) for kind in (organisms, others)))
        found = fit_thresholds(drawn, truth, [None] * len(truth))
        # Of all photos that there could be: flagged organisms, and others that pass.
        shares.append((organisms.cdf(found["not_organism"]), others.sf(found["organism"])))
    error = 4 * np.std(shares, axis=0) / np.sqrt(len(shares))
    assert np.all(np.mean(shares, axis=0) - error <= (0.01, 0.02))


def test_the_lower_threshold_spares_every_class_of_ten() -> None:
    organisms = np.concatenate([np.full(1000, 0.99), [0.05, 0.08] + [0.9] * 8])
    names = ["many"] * 1000 + ["few"] * 10
    truth = np.ones(1010, bool)
    spared = fit_thresholds(organisms, truth, names)["not_organism"]
    assert spared == 0.05
    # Nine photos have no say: a single one would be more than the limit.
    assert fit_thresholds(organisms[:-1], truth[:-1], names[:-1])["not_organism"] == 0.5


def test_the_lower_threshold_is_a_half_at_most() -> None:
    found = fit_thresholds(np.full(50, 0.9), np.ones(50, bool), [None] * 50)
    assert found == {"not_organism": 0.5, "organism": 0.5}


def test_what_is_like_neither_kind_is_left_between_the_thresholds() -> None:
    probability = np.concatenate([np.linspace(0.9, 1, 100), np.linspace(0, 0.01, 100)])
    truth = np.arange(200) < 100
    found = fit_thresholds(probability, truth, [None] * 200)
    assert (probability[~truth] < found["not_organism"]).mean() == 0.99
    assert found["not_organism"] < 0.02
    assert found["organism"] == 0.5


def test_others_do_not_reach_the_upper_threshold_however_many_they_are() -> None:
    organisms, others = np.linspace(0.6, 1, 300), np.linspace(0.1, 0.8, 100)
    for times in (1, 50):
        probability = np.concatenate([organisms, np.repeat(others, times)])
        truth = np.arange(len(probability)) < 300
        found = fit_thresholds(probability, truth, [None] * len(truth))["organism"]
        # One of a hundred may; the next lower one would be the second.
        assert (others >= found).sum() == 1
        assert others[-2] < found <= others[-2] + 1e-9


def test_a_filter_that_takes_others_for_organisms() -> None:
    found = fit_thresholds(np.array([0.6, 0.7, 0.8]), np.array([True, False, False]), [None] * 3)
    assert found["not_organism"] == 0.5
    assert found["organism"] > 0.8


def test_thresholds_need_organisms() -> None:
    with pytest.raises(DataError, match="thresholds"):
        fit_thresholds(np.array([0.1]), np.array([False]), [None])
