"""The one label of a photo, and the ranks above a taxon."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rs_runtime.kit.manifest import ClassInfo
from rs_runtime.outputs.labels import BLANK, FAILURE, TAXON, UNSURE, Labels
from rs_runtime.ranks import Answer
from rs_runtime.results import Failure, Prediction, Score


@pytest.fixture
def labels(manifest) -> Labels:
    """Two genera of one name, a bird's and a plant's, and a species without ranks."""
    bird = {"kingdom": "animalia", "phylum": "chordata", "genus": "oenanthe"}
    plant = {"kingdom": "plantae", "order": "apiales", "genus": "oenanthe"}
    classes = (
        ClassInfo(0, "oenanthe oenanthe", "wheatear", bird),
        ClassInfo(1, "oenanthe crocata", "dropwort", plant),
        ClassInfo(2, "incertae sedis", None, {}),
    )
    return Labels(replace(manifest, rank="species", classes=classes))


def found(answer: Answer | None, *classes: int) -> Prediction:
    top = tuple(Score(i, f"class {i}", None, 0.5) for i in classes)
    return Prediction("a.jpg", "v", answer, top)


def test_of_two_taxa_with_one_name_the_most_probable_class_decides(labels) -> None:
    answer = Answer("genus", "oenanthe", 0.9)
    bird, plant = (labels.of(found(answer, *top)) for top in ((2, 0, 1), (1, 0)))
    assert bird.lineage == {"kingdom": "animalia", "phylum": "chordata", "genus": "oenanthe"}
    assert plant.lineage == {"kingdom": "plantae", "order": "apiales", "genus": "oenanthe"}
    # Not known: only ranks at which both agree, and here no kingdom does.
    assert labels.of(found(answer, 2)).lineage.get("kingdom") is None
    assert bird.remark == "no species is certain enough; genus oenanthe, probability 0.9000"
    assert bird.finest == ("genus", "oenanthe") and bird.common_name is None


def test_a_kit_of_common_names_has_the_ranks_that_are_known(manifest) -> None:
    classes = (ClassInfo(0, "robin", None, {"class": "aves", "family": "muscicapidae"}),)
    labels = Labels(replace(manifest, rank="common_name", classes=classes))
    robin = labels.of(found(Answer("common_name", "robin", 0.9), 0))
    assert robin.finest == ("family", "muscicapidae") and robin.vernacular == "robin"


def test_kinds(labels) -> None:
    species = labels.of(found(Answer("species", "incertae sedis", 0.9), 2))
    assert (species.kind, species.lineage) == (TAXON, {"species": "incertae sedis"})
    unsure = labels.of(found(Answer(None, None, 0.5), 1))
    assert (unsure.kind, unsure.finest, unsure.probability) == (UNSURE, (None, None), 0.5)
    # Kits before 1.5 may have no thresholds.
    assert "no thresholds" in labels.of(found(None, 1)).remark
    assert labels.of(Failure("a.jpg", "is damaged")).kind == FAILURE
    assert BLANK not in {species.kind, unsure.kind}
