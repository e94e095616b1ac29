"""Folds: whole groups, each class spread evenly, and photos that no fold's model can name."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.splits.folds import deal_folds, judged_folds
from rs_toolkit.splits.places import places_of_folds


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), min_size=2, max_size=30),
    st.integers(2, 6),
    st.integers(0, 5),
)
def test_folds_hold_whole_groups_and_each_class_evenly(groups, folds, seed) -> None:
    labels = np.array([label for label, size in groups for _ in range(size)])
    group = np.array([number for number, (_, size) in enumerate(groups) for _ in range(size)])
    fold = deal_folds(labels, group, folds, np.random.default_rng(seed))
    assert all(len(set(fold[group == number])) == 1 for number in range(len(groups)))
    _, first = np.unique(group, return_index=True)
    for label in range(5):
        counts = np.bincount(fold[first][labels[first] == label], minlength=folds)
        assert counts.max() - counts.min() <= 1


def test_a_class_that_is_learned_in_one_fold_only_is_not_judged() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, 2])
    folds = np.array([0, 1, 2, 0, 0, 1, 2])
    learned = np.array([True, True, True, True, True, True, False])
    # Class 1 is one group; class 2 is learned from its first photo alone.
    assert judged_folds(labels, folds, learned).tolist() == [0, 1, 2, -1, -1, -1, 2]


def test_a_site_of_a_photo_that_is_not_judged_was_learned_too() -> None:
    photos = [Photo(f"{site}.png", Taxon(), site=site) for site in "abca"]
    folds, all_of_them = [0, 1, 2, 1], [True] * 4
    assert places_of_folds(photos, folds, all_of_them).at_trained_sites == 2
    found = places_of_folds(photos, folds, [True, True, True, False])
    assert (found.places, found.test_photos, found.at_trained_sites) == ("same", 3, 1)
