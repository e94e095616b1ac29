from __future__ import annotations

import numpy as np
import pytest

from rs_runtime.kit.manifest import ClassInfo
from rs_runtime.ranks import Answer, answers, levels

CLASSES = tuple(
    ClassInfo(number, species, None, {key: name for key, name in taxon.items() if name})
    for number, (species, taxon) in enumerate(
        (
            ("turdus merula", {"genus": "turdus", "order": "passeriformes", "class": "aves"}),
            ("turdus pilaris", {"genus": "turdus", "order": "passeriformes", "class": "aves"}),
            ("anas crecca", {"genus": "anas", "order": "anseriformes", "class": "aves"}),
            ("a duck", {"genus": "", "order": "anseriformes", "class": "aves"}),
        )
    )
)


def test_levels_are_the_ranks_that_tell_classes_apart() -> None:
    found = levels(CLASSES, "species")
    assert [level.rank for level in found] == ["species", "genus", "order"]
    assert found[1].names == ("anas", "turdus")
    assert found[1].places.tolist() == [1, 1, 0, -1]
    assert [level.rank for level in levels(CLASSES, "order")] == ["order"]
    assert [level.rank for level in levels(CLASSES, "common_name")] == [
        "common_name",
        "genus",
        "order",
    ]


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ((0.8, 0.1, 0.1, 0.0), ("species", "turdus merula", 0.8)),
        ((0.5, 0.4, 0.1, 0.0), ("genus", "turdus", 0.9)),
        ((0.0, 0.0, 0.4, 0.6), ("order", "anseriformes", 1.0)),
        ((0.3, 0.2, 0.3, 0.2), (None, None, 0.3)),
    ],
)
def test_the_finest_rank_above_its_threshold_is_the_answer(row, wanted) -> None:
    thresholds = {"species": 0.7, "genus": 0.8, "order": 0.9}
    [found] = answers(np.array([row], np.float32), levels(CLASSES, "species"), thresholds)
    assert (found.rank, found.name) == wanted[:2]
    assert found.probability == pytest.approx(wanted[2])


def test_ranks_without_a_threshold_are_never_the_answer() -> None:
    sure = np.array([[1.0, 0, 0, 0]])
    found = levels(CLASSES, "species")
    assert answers(sure, found, {}) == [Answer(None, None, 1.0)]
    assert answers(sure, found, {"order": 0.5, "tribe": 0})[0].rank == "order"
    assert answers(np.zeros((0, 4)), found, {"order": 0.5}) == []


def test_a_threshold_that_is_met_exactly_is_met() -> None:
    row = np.array([[0.5, 0.25, 0.25, 0.0]])
    assert answers(row, levels(CLASSES, "species"), {"species": 0.5})[0].rank == "species"


def homonyms(*taxa: dict[str, str]) -> tuple[ClassInfo, ...]:
    return tuple(
        ClassInfo(number, f"species {number}", None, {"genus": "oenanthe", **taxon})
        for number, taxon in enumerate(taxa)
    )


BIRD = {"kingdom": "animalia", "family": "muscicapidae"}
PLANT = {"kingdom": "plantae", "family": "apiaceae"}


@pytest.mark.parametrize(
    ("taxa", "places"),
    [
        ((BIRD, PLANT, BIRD), [0, 1, 0]),
        # What is known of one only does not set them apart.
        ((BIRD, PLANT, {"kingdom": "plantae"}, {"family": "muscicapidae"}), [0, 1, 1, 0]),
        # It could be either.
        ((BIRD, PLANT, {}), [0, 1, -1]),
        ((BIRD, {}, {"genus": "anas"}), [1, 1, 0]),
    ],
)
def test_homonyms_are_told_apart_by_the_ranks_above(taxa, places) -> None:
    found = {level.rank: level for level in levels(homonyms(*taxa), "species")}
    assert found["genus"].places.tolist() == places
    assert set(found["genus"].names) <= {"oenanthe", "anas"}


def test_probabilities_of_homonyms_are_not_added_up() -> None:
    row = np.array([[0.3, 0.4, 0.3]])
    classes = homonyms(BIRD, PLANT, BIRD)
    [found] = answers(row, levels(classes, "species"), {"genus": 0.5})
    assert (found.name, found.probability) == ("oenanthe", pytest.approx(0.6))
