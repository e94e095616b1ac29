"""Boxes from a file of MegaDetector: which boxes, of which photo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rs_runtime.errors import InputError
from rs_runtime.photos.boxes import BoxedPhoto
from rs_runtime.results import Failure
from rs_runtime.sources import detections
from rs_runtime.sources.detections import Detections

BOX = [0.1, 0.2, 0.3, 0.4]
NAMES = {"1": "animal", "2": "person", "3": "vehicle"}


def detected(conf: float, category: str = "1", bbox: list[float] = BOX) -> dict[str, Any]:
    return {"category": category, "conf": conf, "bbox": bbox}


@pytest.fixture
def write(tmp_path):
    """Write a file of boxes; return its path."""

    def made(images: list[dict[str, Any]], **others: Any) -> Path:
        place = tmp_path / "boxes.json"
        whole = {"images": images, "detection_categories": NAMES, "info": {}, **others}
        place.write_text(json.dumps(whole))
        return place

    return made


def boxes(found: BoxedPhoto | Failure) -> list[tuple[str, float]]:
    assert isinstance(found, BoxedPhoto)
    return [(box.category, box.confidence) for box in found.boxes]


def problem(found: BoxedPhoto | Failure) -> str:
    assert isinstance(found, Failure) and found.kind == "photo" and "\n" not in found.problem
    return found.problem


def test_boxes_from_the_threshold_on_of_known_categories(write) -> None:
    found = [detected(0.9), detected(0.2), detected(0.1999), detected(0.5, "2"), detected(1, "9")]
    file = write([{"file": "a.jpg", "detections": found}, {"file": "b.jpg", "detections": []}])
    read = Detections(file, None, "/card")
    wanted = [("animal", 0.9), ("animal", 0.2), ("person", 0.5)]
    assert boxes(read.boxed(Path("/card/a.jpg"))) == wanted
    assert boxes(read.boxed(Path("/card/b.jpg"))) == []
    assert read.boxed(Path("/card/a.jpg")).boxes[0].box == pytest.approx((0.1, 0.2, 0.3, 0.4))
    assert len(boxes(Detections(file, 0.0, "/card").boxed(Path("/card/a.jpg")))) == 4
    assert len(boxes(Detections(file, 0.6, "/card").boxed(Path("/card/a.jpg")))) == 1


@pytest.mark.parametrize(
    ("info", "count"),
    [
        ({}, 2),
        (None, 2),
        ({"detector_metadata": {"typical_detection_threshold": 0.8}}, 1),
        ({"detector_metadata": {"typical_detection_threshold": 0.06}}, 3),
        ({"detector_metadata": {"typical_detection_threshold": "high"}}, 2),
        ({"detector_metadata": None}, 2),
    ],
)
def test_the_file_may_recommend_a_threshold(write, info, count) -> None:
    found = [detected(conf) for conf in (0.9, 0.3, 0.1, 0.01)]
    file = write([{"file": "a.jpg", "detections": found}], info=info)
    assert len(boxes(Detections(file, None, "/card").boxed(Path("/card/a.jpg")))) == count


@pytest.mark.parametrize("name", ["sub/a.jpg", "sub\\a.jpg", "./sub/a.jpg", "card/sub/a.jpg"])
def test_photos_are_found_by_the_end_of_their_path(write, monkeypatch, tmp_path, name) -> None:
    read = Detections(write([{"file": name, "detections": [detected(0.9)]}]), None, "/disk/card")
    assert boxes(read.boxed(Path("/disk/card/sub/a.jpg")))
    problem(read.boxed(Path("/disk/card/a.jpg")))
    problem(read.boxed(Path("/disk/card/other/a.jpg")))
    monkeypatch.chdir(tmp_path)
    here = Detections(tmp_path / "boxes.json", None, str(tmp_path / "card"))
    assert boxes(here.boxed(Path("card/sub/a.jpg")))


def test_a_photo_of_the_same_name_in_another_folder_is_not_mistaken(write) -> None:
    """The detector was given 100MEDIA alone, and all of the card is classified."""
    file = write([{"file": "1.jpg", "detections": [detected(0.9)]}])
    read = Detections(file, None, "/card")
    assert "is not in boxes" in problem(read.boxed(Path("/card/101MEDIA/1.jpg")))
    assert "is not in boxes" in problem(read.boxed(Path("/card/100MEDIA/1.jpg")))
    assert boxes(Detections(file, None, "/card/100MEDIA").boxed(Path("/card/100MEDIA/1.jpg")))
    # The longest end counts.
    both = [{"file": "1.jpg", "detections": []}, {"file": "sub/1.jpg", "detections": [detected(1)]}]
    assert boxes(Detections(write(both), None, "/card/sub").boxed(Path("/card/sub/1.jpg")))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ({"failure": "Failure image access", "detections": None}, "Failure image access"),
        ({"failure": "two\nlines\x1b[2J"}, "two lines"),
        ({}, "must each have"),
        ({"detections": None}, "must each have"),
        ({"detections": [{"category": "1", "conf": 0.9}]}, "must each have"),
        ({"detections": [detected(1.5)]}, "must each have"),
        ({"detections": [detected(True)]}, "must each have"),
        ({"detections": [detected(0.9, bbox=[0, 0, 1])]}, "must each have"),
        ({"detections": [detected(0.9, bbox=["0", 0, 1, 1])]}, "must each have"),
        ({"detections": [detected(0.9, bbox=[0.5, 0.5, 0.6, 0.5])]}, "leaves the photo"),
        ({"detections": [detected(0.9, bbox=[0.5, 0.5, 0.0, 0.5])]}, "has no area"),
        ({"detections": [detected(float("nan"))]}, "must each have"),
        ({"detections": [detected(0.9, bbox=[float("nan"), 0, 1, 1])]}, "leaves the photo"),
    ],
)
def test_a_photo_without_usable_boxes_has_a_reason(write, image, words) -> None:
    good = {"file": "b.jpg", "detections": [detected(0.9)]}
    read = Detections(write([{"file": "a.jpg", **image}, good]), None, "/card")
    told = problem(read.boxed(Path("/card/a.jpg")))
    assert words in told and "'/card/a.jpg'" in told
    assert boxes(read.boxed(Path("/card/b.jpg"))) == [("animal", 0.9)]


def test_a_photo_that_is_there_twice_has_no_boxes(write) -> None:
    read = Detections(write([{"file": "a.jpg", "detections": []}] * 2), None, "/card")
    assert "twice" in problem(read.boxed(Path("/card/a.jpg")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no such JSON"),
        ("[]", "is no such JSON"),
        ('{"images": [{"file": "a.jpg", "detections": []}', "is no such JSON"),
        ('{"images": [' + "[" * 100_000, "is no such JSON"),
        ('{"images" 1}', "is no such JSON"),
        ('{"images": [{"detections": []}]}', "without 'file'"),
        ('{"images": [7]}', "without 'file'"),
        ("{}", "no list of 'images'"),
        ('{"images": [], "detection_categories": {"1": "bird"}}', "names no category 'animal'"),
        ('{"images": [], "detection_categories": [1]}', "names no category 'animal'"),
        ('{"images": [], "info": {"format_version": "2.0"}}', "wanted 1.x"),
        ("\xff\xfe", "is no such JSON"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, text, words, one_line) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(InputError) as caught:
        Detections(file, None, "/card")
    assert words in one_line(str(caught.value)) and str(file) in str(caught.value)


def test_other_names_of_animals_and_no_categories(write) -> None:
    images = [{"file": "a.jpg", "detections": [detected(0.9, "5")]}]
    for names in ({"5": "Animal "}, {"4": "\x1b[2J", "5": "ANIMAL"}):
        read = Detections(write(images, detection_categories=names), None, "/")
        assert boxes(read.boxed(Path("/a.jpg"))) == [("animal", 0.9)]
    place = write([{"file": "a.jpg", "detections": [detected(0.9)]}])
    place.write_text(place.read_text().replace("detection_categories", "others"))
    assert boxes(Detections(place, None, "/").boxed(Path("/a.jpg"))) == [("animal", 0.9)]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
def test_a_file_is_read_in_parts(write, monkeypatch, chunk) -> None:
    """It may be larger than the memory."""
    images = [{"file": f"ä{n}.jpg", "detections": [detected(0.123456)] * n} for n in range(9)]
    file = write(images, info={"format_version": "1.4"}, number=12345, summary="x" * 300)
    monkeypatch.setattr(detections, "_CHUNK", chunk)
    read = Detections(file, 0.1, "/card")
    for n in range(9):
        assert boxes(read.boxed(Path(f"/card/ä{n}.jpg"))) == [("animal", 0.123456)] * n
