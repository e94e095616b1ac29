"""Lists of species: what they allow, and what is kept of the answer among all classes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rs_runtime import Classifier
from rs_runtime.cli import main
from rs_runtime.errors import SpeciesListError
from rs_runtime.journal import settings_of
from rs_runtime.kit.kit import write_kit
from rs_runtime.kit.manifest import ClassInfo
from rs_runtime.kit.sets import SetSpec, UnknownSpec
from rs_runtime.species import allowed_classes, read_species, spellings

CATS = {"kingdom": "animalia", "order": "carnivora", "family": "felidae", "genus": "panthera"}
CLASSES = (
    ClassInfo(0, "panthera leo", "lion", {**CATS, "species": "panthera leo"}),
    ClassInfo(1, "panthera pardus", "leopard", {**CATS, "species": "panthera pardus"}),
    ClassInfo(
        *(2, "capra hircus", "goat"),
        {"kingdom": "animalia", "order": "artiodactyla", "family": "bovidae", "genus": "capra"},
    ),
)


@pytest.fixture
def kit(onnx_kit, manifest, onnx_models) -> Path:
    """A kit of three species, of which two are cats: red, green and blue photos."""
    variant = replace(
        manifest.variants[1],
        thresholds={"species": 0.5, "genus": 0.5, "family": 0.5},
        temperature=4.0,
        sets=SetSpec((1 / 3,) * 3, (0.5, 0.9), (1.5, 0.3)),
        unknown=UnknownSpec("energy", (0.0, 1.0, 2.0)),
    )
    changed = replace(
        manifest, rank="species", classes=CLASSES, variants=(variant,), default_variants={}
    )
    write_kit(onnx_kit, changed, {"models/b.onnx": onnx_models["float"]})
    return onnx_kit


@pytest.fixture
def written(tmp_path):
    """Write a list and return its path."""

    def write(text: str | bytes, name: str = "list.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        "# Namibia\n\n Panthera leo # a lion\r\nCapra hircus\n",
        "\ufeffPanthera leo\nCapra hircus",
        'count,scientificName\n3,Panthera leo\n4,"Capra hircus"\n',
        "count;ScientificName\n3;Panthera leo\n4;Capra hircus\n",
        "scientificName\tn\nPanthera leo\t1\nCapra hircus\t2\n\n",
        '"scientificName"\nPanthera leo\nCapra hircus\n',
    ],
)
def test_lists_and_tables_are_read(written, text) -> None:
    assert read_species(written(text)) == ("Panthera leo", "Capra hircus")


@pytest.mark.parametrize(
    ("names", "allowed"),
    [
        (["PANTHERA  LEO"], [1, 0, 0]),
        (["panthera_leo"], [1, 0, 0]),
        (["Felidae"], [1, 1, 0]),
        (["Panthera", "Bovidae"], [1, 1, 1]),
        (["Panthera leo (Linnaeus, 1758)"], [1, 0, 0]),
        (["Felidae Fischer de Waldheim, 1817"], [1, 1, 0]),
        (["Panthera leo melanochaita"], [1, 0, 0]),
        (["Panthera leo melanochaita (Smith, 1842)"], [1, 0, 0]),
    ],
)
def test_names_of_any_rank_allow_their_classes(names, allowed) -> None:
    found = allowed_classes(names, CLASSES, "list")
    assert found.classes.astype(int).tolist() == allowed
    assert (found.warning is None) == (sum(allowed) > 1)


@pytest.mark.parametrize(
    "name", ["lion", "Panthera (Uncia) uncia Schreber, 1775", "Panthera Uncia", "Panthera sp."]
)
def test_other_names_allow_nothing(name) -> None:
    with pytest.raises(SpeciesListError, match="allows no class of the kit"):
        allowed_classes([name], CLASSES, "list")


def test_a_long_name_takes_no_long_time() -> None:
    name = "a " * 5_000 + "x"
    assert [*spellings(name)] == [name]


def test_unknown_names_are_counted_with_the_nearest_name() -> None:
    names = ["Felidae", "Panthera loe", *(f"Other {i}" for i in range(5)), "Other 1"]
    warning = allowed_classes(names, CLASSES, "list").warning
    assert warning is not None
    assert "allows 2 of 3 classes; names that the kit does not know: 6 (" in warning
    assert "'Panthera loe' (perhaps 'panthera leo'); 'Other 0'" in warning
    assert warning.endswith("and 3 more)")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "has no names"),
        ("# nothing\n\n", "has no names"),
        ("Ursus arctos\n", "allows no class of the kit: it has no 'Ursus arctos'"),
        ("species,count\nPanthera leo,3\n", "a table needs a column scientificName"),
        ("Panthera leo\n".encode("utf-16"), "no text in UTF-8"),
        (b"x" * 10_000_001, "larger than 10000000 bytes"),
        (None, "cannot be read: No such file"),
    ],
)
def test_lists_of_no_use_end_the_command(
    kit, colour_photos, written, tmp_path, capfd, one_line, content, problem
) -> None:
    path = tmp_path / "none.txt" if content is None else written(content)
    code = main([str(colour_photos), "--kit", str(kit), "--species", str(path)])
    out, err = capfd.readouterr()
    assert (code, out) == (2, "") and problem in one_line(err, "rs-classify")


def test_other_classes_have_no_probability_and_the_rest_is_renormalized(kit, colour_photos) -> None:
    photo = colour_photos / "a.jpg"
    with Classifier.open(kit, coverage=0.9) as whole:
        before = whole.classify(photo)
    with Classifier.open(kit, coverage=0.9, species=["Panthera pardus", "Bovidae"]) as some:
        found = some.classify(photo)
        pixels = some.preprocessing.load(photo)
        assert some.probabilities(pixels[None])[0][0] == 0
    by_name = {score.name: score.probability for score in before.top}
    part = by_name["panthera pardus"] + by_name["capra hircus"]
    assert [score.name for score in found.top] == [
        score.name for score in before.top if score.name != "panthera leo"
    ]
    for score in found.top:
        np.testing.assert_allclose(score.probability, by_name[score.name] / part, rtol=1e-5)
    assert found.original is not None and found.original.listed == pytest.approx(part)
    original = found.original
    assert (original.answer, original.top) == (before.answer, before.top)
    assert (original.set, found.unknown) == (before.set, before.unknown)
    assert found.to_dict()["original"]["set"] == before.to_dict()["set"]
    assert before.original is None and found.differs


def test_a_set_is_the_set_among_all_classes_less_what_is_not_listed(kit, colour_photos) -> None:
    with (
        Classifier.open(kit, coverage=0.9) as whole,
        Classifier.open(kit, coverage=0.9, species=["Panthera pardus", "Bovidae"]) as some,
    ):
        for name in ("a.jpg", "b.JPG", "sub/c.jpg"):
            before = whole.classify(colour_photos / name).set
            found = some.classify(colour_photos / name).set
            assert before is not None and found is not None
            expected = [each.name for each in before.classes if each.name != "panthera leo"]
            assert [each.name for each in found.classes] == expected


def test_a_rank_that_all_listed_classes_share_is_no_answer(kit, colour_photos) -> None:
    with Classifier.open(kit, species=["Felidae"], min_probability=0.8) as classifier:
        goat = classifier.classify(colour_photos / "sub" / "c.jpg")
    # Both cats are as probable; both are felidae, for certain, but so would be every photo.
    assert goat.answer is not None and goat.answer.name is None
    assert goat.original is not None and goat.original.listed < 0.5


def test_table_lines_and_files_tell_both(kit, colour_photos, written, tmp_path, capfd) -> None:
    path = written("Panthera pardus\nCapra hircus\nUrsus arctos\n")
    base = [str(colour_photos), "--kit", str(kit), "--species", str(path)]
    assert main(base) == 0
    out, err = capfd.readouterr()
    assert "allows 2 of 3 classes; names that the kit does not know: 1 (" in err.splitlines()[0]
    assert out.count("among all classes: species panthera leo (") == 1
    assert "; the expected classes have " in out
    assert main([*base, "--json"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [row["original"]["answer"]["name"] for row in rows] == [
        *("panthera leo", "panthera pardus", "capra hircus")
    ]
    assert "panthera leo" not in [score["name"] for score in rows[0]["top"]]
    table = tmp_path / "a.csv"
    assert main([*base, "-o", str(table)]) == 0
    header, first, *_ = table.read_text().splitlines()
    assert header.endswith(",original_rank,original_name,original_probability,listed")
    assert ",species,panthera leo,0." in first
    assert main([*base, "--format", "camtrap-dp", "-o", str(tmp_path / "package")]) == 2
    told = (tmp_path / "package.partial" / "observations.csv").read_text()
    assert told.count("; among all classes: species panthera leo 0.") == 1


def test_a_journal_keeps_both_and_knows_the_list(
    kit, colour_photos, written, tmp_path, capfd, monkeypatch
) -> None:
    journal = tmp_path / "run.journal"
    base = [str(colour_photos), "--kit", str(kit), "--json", "--journal", str(journal)]
    listed = [*base, "--species", str(written("Bovidae\nPanthera pardus\n"))]
    assert main(base) == 0 and main(listed) == 0
    first = capfd.readouterr().out.splitlines()
    assert first[:3] != first[3:]
    monkeypatch.setattr("rs_runtime.classify.load_each", None)
    # Another list with the same classes.
    same = [*base, "--species", str(written("Capra\nPanthera pardus\n", "other.txt"))]
    assert main(same) == 0
    assert capfd.readouterr().out.splitlines() == first[3:]


def test_settings_without_a_list_are_not_those_of_a_list_of_everything(kit) -> None:
    with Classifier.open(kit) as whole, Classifier.open(kit, species=["animalia"]) as some:
        assert settings_of(whole, 5) != settings_of(some, 5)
    with pytest.raises(SpeciesListError):
        Classifier.open(kit, species=[])


def test_photos_that_show_nothing_listed_are_counted(
    onnx_kit, colour_photos, written, capfd
) -> None:
    listed = str(written("red\n"))
    assert main([str(colour_photos), "--kit", str(onnx_kit), "--species", listed]) == 0
    _, last = capfd.readouterr().err.splitlines()
    assert "warning: 2 photos probably of something that is not expected" in last
