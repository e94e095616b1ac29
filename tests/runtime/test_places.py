"""Places and languages: what a kit's ranges make of answers, and which names it tells."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rs_runtime import Classifier, Place, PlaceError, Range
from rs_runtime.cli import main
from rs_runtime.journal import settings_of
from rs_runtime.kit.kit import write_kit
from rs_runtime.kit.manifest import ClassInfo
from rs_runtime.kit.sets import SetSpec, UnknownSpec
from rs_runtime.places import expected_classes, localized

KENYA = Range(("KEN", "TZA"), ((33.9, -4.7, 41.9, 5.5),))
PACIFIC = Range(("FJI",), ((170.0, -25.0, -170.0, -10.0),))
CLASSES = (
    ClassInfo(0, "panthera leo", "lion", {"genus": "panthera"}, {"sw": "simba"}, KENYA),
    ClassInfo(1, "panthera onca", "jaguar", {"genus": "panthera"}, {"pt": "onça"}, PACIFIC),
    ClassInfo(2, "capra hircus", None, {"genus": "capra"}, {"sw": "mbuzi", "pt-BR": "cabra"}),
)


@pytest.fixture
def kit(onnx_kit, manifest, onnx_models) -> Path:
    """A kit of three species, for red, green and blue photos; the last one has no range."""
    variant = replace(
        manifest.variants[1],
        thresholds={"species": 0.5, "genus": 0.5},
        temperature=4.0,
        sets=SetSpec((1 / 3,) * 3, (0.5, 0.9), (1.5, 0.3)),
        unknown=UnknownSpec("energy", (0.0, 1.0, 2.0)),
    )
    changed = replace(
        manifest, rank="species", classes=CLASSES, variants=(variant,), default_variants={}
    )
    write_kit(onnx_kit, changed, {"models/b.onnx": onnx_models["float"]})
    return onnx_kit


@pytest.mark.parametrize(
    ("place", "inside"),
    [
        (("KEN", None, None), True),
        (("FJI", None, None), False),
        ((None, 0.0, 37.0), True),
        ((None, 5.5, 41.9), True),
        ((None, 5.6, 37.0), False),
        ((None, 0.0, 33.8), False),
        (("KEN", 0.0, 37.0), True),
        (("KEN", 0.0, 0.0), False),
        (("FJI", 0.0, 37.0), False),
    ],
)
def test_ranges_hold_places(place, inside) -> None:
    assert KENYA.holds(*place) is inside


def test_ranges_across_the_antimeridian_and_of_one_kind() -> None:
    for longitude, inside in ((175, True), (-175, True), (180, True), (169, False), (0, False)):
        assert PACIFIC.holds(None, -18, longitude) is inside
    countries, boxes = Range(("KEN",)), Range(boxes=KENYA.boxes)
    assert countries.holds(None, 0, 37) is None and boxes.holds("KEN", None, None) is None
    # What the range does not tell of decides nothing.
    assert countries.holds("KEN", 80, 0) is True and boxes.holds("FJI", 0, 37) is True


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ({}, "give a country"),
        ({"latitude": 1.0}, "give both"),
        ({"longitude": 1.0, "country": "KEN"}, "give both"),
        ({"latitude": 91.0, "longitude": 0.0}, "latitude must be from -90 to 90"),
        ({"latitude": 1.0, "longitude": -181.0}, "longitude must be from -180 to 180"),
        ({"latitude": float("nan"), "longitude": 0.0}, "latitude must be"),
        ({"country": "UK"}, "three letters"),
        ({"country": "KEN", "weight": 1.5}, "weight of a place must be from 0 to 1"),
        ({"country": "KEN", "weight": float("nan")}, "weight of a place"),
    ],
)
def test_places_that_are_none(place, problem, one_line) -> None:
    with pytest.raises(PlaceError, match=problem) as caught:
        Place(**place)
    one_line(str(caught.value))


@pytest.mark.parametrize(
    ("place", "classes", "problem"),
    [
        (Place("KEN"), [replace(item, range=None) for item in CLASSES], "has no ranges; leave out"),
        (Place(None, 1, 1), [replace(CLASSES[0], range=Range(("KEN",)))], "give the country"),
        (Place("KEN"), [replace(CLASSES[0], range=Range(boxes=KENYA.boxes))], "give latitude"),
        (Place("KNE"), CLASSES, r"3 countries, such as KEN$"),
        (Place(None, 80, 0), CLASSES, "no class whose range holds 80, 0; check the place"),
    ],
)
def test_ranges_that_do_not_tell_of_a_place(place, classes, problem, one_line) -> None:
    with pytest.raises(PlaceError, match=problem) as caught:
        expected_classes(place, classes, "africa")
    one_line(str(caught.value))


def test_classes_without_a_range_are_expected_and_told(kit) -> None:
    found = expected_classes(Place("ken"), CLASSES, "africa")
    assert found.classes.tolist() == [True, False, True]
    assert found.warning is not None and "1 of 3 classes have no such range" in found.warning
    assert expected_classes(Place("KEN"), CLASSES[:2], "africa").warning is None


def _logits(*probabilities: float) -> np.ndarray:
    return 4 * np.log(np.array([probabilities], np.float32))


def opened(kit: Path, *parts: object, **settings) -> Classifier:
    return Classifier.open(kit, place=Place(*parts), warn=lambda _: None, **settings)


def test_a_place_multiplies_odds_and_keeps_the_answer_without_it(kit) -> None:
    logits = _logits(0.09, 0.9, 0.01)
    with Classifier.open(kit, coverage=0.9) as plain, opened(kit, "KEN", coverage=0.9) as placed:
        without, (answer, top, sets, unknown) = (
            plain.interpret(logits, 3),
            placed.interpret(logits, 3),
        )
        original = placed.beside(logits, 3)["original"]
    weighted = np.array([0.09, 0.9 * 0.01, 0.01])
    expected = weighted / weighted.sum()
    assert [score.name for score in top] == ["panthera leo", "capra hircus", "panthera onca"]
    assert np.allclose([score.probability for score in top], expected[[0, 2, 1]], atol=1e-5)
    assert (answer.name, without[0].name) == ("panthera leo", "panthera onca")
    assert (original.answer, original.top, original.set) == without[:3]
    assert original.listed == pytest.approx(0.1, abs=1e-5)
    # Sets and strangeness are found without a place, so that they keep what they promise.
    assert {item.name for item in sets.classes} == {item.name for item in without[2].classes}
    assert unknown == without[3]


def test_weights_from_leaving_out_to_none(kit) -> None:
    logits = _logits(0.004, 0.99, 0.006)
    with opened(kit, "KEN", None, None, 0.0) as hard:
        answer, top, *_ = hard.interpret(logits, 3)
        assert [score.name for score in top] == ["capra hircus", "panthera leo"]
        assert top[0].probability == pytest.approx(0.6, abs=1e-5)
        assert answer.name == "capra hircus"
    with opened(kit, "KEN", None, None, 1.0) as same, Classifier.open(kit) as plain:
        assert same.interpret(logits, 3) == plain.interpret(logits, 3)
        assert same.beside(logits, 3)["original"].listed == pytest.approx(0.01, abs=1e-5)
    # A vagrant that the model is sure of is still named, with less certainty.
    with opened(kit, "KEN", None, None, 0.01) as vagrant:
        sure = vagrant.interpret(_logits(1e-6, 0.999998, 1e-6), 1)
    assert sure[0].name == "panthera onca" and 0.9 < sure[0].probability < 0.9999


def test_a_list_and_a_place(kit) -> None:
    with opened(kit, "KEN", species=["panthera"]) as both:
        assert both.favoured.tolist() == [True, False, False]
        _, top, *_ = both.interpret(_logits(0.09, 0.9, 0.01), 3)
        assert [score.name for score in top] == ["panthera leo", "panthera onca"]
    with pytest.raises(PlaceError, match="no class on the species list is expected in KEN"):
        opened(kit, "KEN", species=["panthera onca"])


def test_journals_tell_places_apart(kit) -> None:
    found = []
    for settings in ({}, {"place": Place("KEN")}, {"place": Place("FJI")},
                     {"place": Place("KEN", weight=0.5)}, {"place": Place("KEN", weight=0)},
                     {"place": Place("KEN", weight=1)}, {"place": Place("FJI", weight=1)},
                     {"locale": "sw"}):  # fmt: skip
        with Classifier.open(kit, warn=lambda _: None, **settings) as classifier:
            found.append(json.dumps(settings_of(classifier, 5)))
    assert len(set(found)) == len(found)
    with Classifier.open(kit, place=Place(None, 0, 37), warn=lambda _: None) as same:
        assert json.dumps(settings_of(same, 5)) == found[1]


@pytest.mark.parametrize(
    ("locale", "names"),
    [
        ("sw", ["simba", "jaguar", "mbuzi"]),
        ("SW", ["simba", "jaguar", "mbuzi"]),
        ("sw_KE", ["simba", "jaguar", "mbuzi"]),
        ("pt-br", ["lion", "onça", "cabra"]),
        ("pt", ["lion", "onça", None]),
    ],
)
def test_names_in_a_language(manifest, locale, names) -> None:
    found, problem = localized(replace(manifest, classes=CLASSES), locale)
    assert [item.common_name for item in found.classes] == names
    assert problem is None


def test_languages_that_a_kit_lacks(manifest) -> None:
    given = replace(manifest, classes=CLASSES)
    found, problem = localized(given, "de")
    assert found == given and "in 'de'; it has: pt, pt-BR, sw" in problem
    assert localized(manifest, "de")[1].endswith("no other languages")


def test_the_command_takes_places_and_languages(kit, colour_photos, capsys) -> None:
    given = [str(colour_photos), "--kit", str(kit), "--json"]
    place = ["--lat", "-18", "--lon", "-175", "--locale", "sw"]
    assert main([*given, *place, "--place-weight", "0"]) == 0
    out, err = capsys.readouterr()
    rows = {Path(row["path"]).name: row for row in map(json.loads, out.splitlines())}
    red = rows["a.jpg"]
    assert {item["name"] for item in red["top"]} == {"panthera onca", "capra hircus"}
    assert red["original"]["top"][0]["common_name"] == "simba"
    assert "1 of 3 classes have no such range" in err
    assert "1 photo probably of something that is not expected" in err
    assert main([str(colour_photos / "a.jpg"), "--kit", str(kit), "--country", "FJI"]) == 0
    assert "among all classes: species panthera leo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--country", "ENG"], "has no class whose range holds ENG; the kit's ranges tell of"),
        (["--country", "England"], "three letters of ISO 3166-1"),
        (["--lat", "-.5"], "latitude and longitude go together"),
        (["--lat", "1"], "latitude and longitude go together"),
        (["--lat", "nan", "--lon", "1"], "latitude must be"),
        (["--place-weight", "0.5"], "--place-weight needs --country"),
        (["--country", "KEN", "--place-weight", "2"], "must be a number from 0 to 1"),
    ],
)
def test_the_command_refuses_places(kit, colour_photos, capsys, options, problem) -> None:
    assert main([str(colour_photos), "--kit", str(kit), *options]) == 2
    out, err = capsys.readouterr()
    assert not out and problem in err and err.count("\n") == 1


def test_what_is_known_of_photos_replaces_what_was_known(kit) -> None:
    grey = np.full((40, 40, 3), 128, np.uint8)
    known = (
        {"place": Place("KEN", weight=0.1), "locale": "sw"},
        {"place": Place("FJI", weight=0)},
        {"species": ["panthera leo"]},
        {"place": Place("KEN", weight=0.1), "species": ["panthera"]},
        {},
    )

    def told(classifier: Classifier) -> object:
        return classifier.classify(grey), settings_of(classifier, 5)

    with Classifier.open(kit) as again:
        for each in known:
            again.narrow(**each)
            with Classifier.open(kit, **each) as new:
                assert told(again) == told(new)
