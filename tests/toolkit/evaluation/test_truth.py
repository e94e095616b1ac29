from __future__ import annotations

import numpy as np

from rs_runtime.kit.manifest import ClassInfo
from rs_runtime.ranks import levels
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.evaluation.scores import judge
from rs_toolkit.evaluation.truth import UNKNOWN, UNLABELLED, true_taxa


def class_info(number: int, name: str, **taxon: str) -> ClassInfo:
    return ClassInfo(number, name, None, {**taxon, "species": name})


CLASSES = (
    class_info(0, "parus major", kingdom="animalia", family="paridae", genus="parus"),
    class_info(1, "parus minor", kingdom="animalia", family="paridae", genus="parus"),
    class_info(
        2, "oenanthe isabellina", kingdom="animalia", family="muscicapidae", genus="oenanthe"
    ),
    class_info(3, "oenanthe crocata", kingdom="plantae", family="apiaceae", genus="oenanthe"),
)
LEVELS = levels(CLASSES, "species")


def photo(path: str = "a.jpg", **names: str) -> Photo:
    return Photo(path, Taxon.from_dict(names))


def truth(**names: str) -> dict[str, str | int]:
    (row,) = true_taxa([photo(**names)], CLASSES, LEVELS).tolist()
    return {
        level.rank: level.names[place] if place >= 0 else place
        for level, place in zip(LEVELS, row, strict=True)
    }


def test_a_known_class_has_the_taxa_of_that_class() -> None:
    # The label's other ranks are missing, or another taxonomy's.
    found = truth(species="parus major", family="somewhere else")
    expected = ("parus major", "parus", "paridae", "animalia")
    assert tuple(found.values()) == expected


def test_of_an_unknown_species_the_family_may_be_known() -> None:
    found = truth(species="parus cinereus", genus="parus", family="paridae", kingdom="animalia")
    assert found["species"] == UNKNOWN
    assert (found["genus"], found["family"]) == ("parus", "paridae")


def test_missing_names_are_no_unknown_taxa() -> None:
    found = truth(family="paridae")
    assert (found["species"], found["genus"]) == (UNLABELLED, UNLABELLED)
    assert found["family"] == "paridae"


def test_namesakes_are_told_apart_by_the_ranks_above() -> None:
    (plant,) = true_taxa([photo(genus="oenanthe", kingdom="plantae")], CLASSES, LEVELS)
    (bird,) = true_taxa([photo(genus="oenanthe", kingdom="animalia")], CLASSES, LEVELS)
    genus = [level.rank for level in LEVELS].index("genus")
    assert plant[genus] == LEVELS[genus].places[3] and bird[genus] == LEVELS[genus].places[2]
    assert truth(genus="oenanthe")["genus"] == UNLABELLED
    assert truth(genus="oenanthe", kingdom="fungi")["genus"] == UNKNOWN


def test_unknown_taxa_and_thresholds_are_counted_as_they_are() -> None:
    photos = [
        photo("a", species="parus major"),
        photo("b", species="parus minor"),
        photo("c", species="parus cinereus", genus="parus", family="paridae"),
        photo("d", family="muscicapidae"),
        photo("e"),
    ]
    rows = np.array(
        [[0.9, 0.05, 0.03, 0.02], [0.5, 0.4, 0.1, 0], [0.5, 0.45, 0.05, 0], [0, 0, 0.4, 0.6]]
    )
    rows = np.vstack([rows, rows[:1]])
    thresholds = {"species": 0.8, "family": 0.55}
    places = true_taxa(photos, CLASSES, LEVELS)
    judged = judge(LEVELS, rows, places, np.arange(5), thresholds)
    assert judged.known.tolist() == [True, True, False, True, False]
    assert judged.unknown.tolist() == [False, False, True, False, False]
    known = judged.only(judged.known)
    species, genus, family, _ = known.ranks()
    assert (species["photos"], species["accuracy"]["value"]) == (2, 0.5)
    assert (genus["photos"], genus["accuracy"]["value"]) == (2, 1.0)
    assert (family["photos"], family["taxa"]) == (3, 2)
    assert family["accuracy"]["value"] == 2 / 3
    named = known.named(thresholds)
    assert named is not None and named["uncertain"] == 0
    assert [(row["rank"], row["named"], row["judged"]) for row in named["ranks"]] == [
        ("species", 1, 1),
        ("family", 2, 2),
    ]
    assert named["ranks"][1]["right"]["value"] == 0.5
    apart = judged.only(judged.unknown)
    assert [row["unknown"] for row in apart.unknown_taxa()] == [1, 0, 0, 0]
    assert apart.unknown_taxa()[2]["accuracy"]["value"] == 1
    assert known.confusions() == [{"true": "parus minor", "named": "parus major", "photos": 1}]


def test_no_threshold_means_uncertain_and_no_thresholds_nothing() -> None:
    rows, places = np.full((1, 4), 0.25), np.zeros((1, len(LEVELS)), np.int64)
    none = judge(LEVELS, rows, places, np.zeros(1, np.int64), {})
    assert none.named({}) == {"ranks": [], "uncertain": 1}
    old = judge(LEVELS, rows, places, np.zeros(1, np.int64), None)
    assert old.named(None) is None


def test_bins_of_confidence_hold_every_photo_and_give_the_calibration_error() -> None:
    from rs_toolkit.metrics.classification import expected_calibration_error

    generator = np.random.default_rng(0)
    rows = generator.dirichlet(np.ones(4), 200)
    places = np.column_stack([generator.integers(0, 4, 200), *[np.zeros(200, int)] * 3])
    judged = judge(LEVELS, rows, places, np.arange(200), None)
    bins = judged.reliability()
    assert sum(row["photos"] for row in bins) == 200
    error = sum(row["photos"] * abs(row["accuracy"] - row["confidence"]) for row in bins) / 200
    assert np.isclose(error, expected_calibration_error(rows, places[:, 0], 10))
    assert judged.selective()[-1]["share"] == 1
    assert np.isclose(judged.selective()[-1]["accuracy"], judged.ranks()[0]["accuracy"]["value"])
