"""The page and the pictures of a run."""

from __future__ import annotations

import json
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.outputs import page
from rs_runtime.outputs.explain import occlusion
from rs_runtime.photos.zipped import archive_of, photo_in_archive


class Tags(HTMLParser):
    """Collects a page's tags with their attributes, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        self.text += data


def test_the_page_shows_answers_and_failures_and_loads_nothing(classify, cameras, tmp_path) -> None:
    code, out, _ = classify(cameras, "--page", tmp_path / "p.html")
    assert code == 1 and "family canidae" in out
    found = Tags(tmp_path / "p.html")
    pictures = [attrs["src"] for tag, attrs in found.tags if tag == "img"]
    assert len(pictures) == 5
    assert all(source.startswith("data:image/jpeg;base64,") for source in pictures)
    names = {tag for tag, _ in found.tags}
    assert not names & {"script", "link", "iframe", "object", "form"}
    targets = [attrs.get(name) for _, attrs in found.tags for name in ("href", "src")]
    assert all(re.match("#g|data:", target) for target in targets if target)
    assert "6 photos, 5 of them shown" in found.text and "bad.jpg" in found.text
    (policy,) = (attrs["content"] for tag, attrs in found.tags if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'")
    order = [found.text.index(name) for name in ("vulpes vulpes", "canidae", "uncertain")]
    assert order == sorted(order)


def test_names_are_escaped(classify, cameras, photo, tmp_path) -> None:
    photo(cameras / "<img src=x onerror=alert(1)>" / "a&b'\".jpg", "fox")
    (cameras / "<script>alert(2)<").mkdir()
    (cameras / "<script>alert(2)<" / "bad.jpg").write_bytes(b"no photo")
    classify(cameras, "--page", tmp_path / "p.html")
    found = Tags(tmp_path / "p.html")
    assert "script" not in {tag for tag, _ in found.tags}
    assert not [attrs for _, attrs in found.tags if "onerror" in attrs]
    assert "<script>alert(2)</bad.jpg" in found.text and "a&b'\".jpg" in found.text


def test_thumbnails_are_bounded(classify, cameras, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(page, "_ON_A_PAGE", 3)
    monkeypatch.setattr(page, "_OF_A_GROUP", 1)
    classify(cameras, "--page", tmp_path / "p.html")
    found = Tags(tmp_path / "p.html")
    assert sum(tag == "img" for tag, _ in found.tags) == 3
    assert "6 photos, 3 of them shown" in found.text


def test_covering_what_matters_lowers_the_probability() -> None:
    side, grid = 28, 7
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[8:12, 20:24] = 255
    before, falls = occlusion(lambda x: x[..., 0].max(axis=(1, 2)) / 255, pixels, grid)
    assert before == 1 and falls.shape == (grid, grid)
    assert np.unravel_index(falls.argmax(), falls.shape) == (2, 4) or falls[2, 5] == falls.max()
    assert falls[2, 5] > 0.9 and falls[6, 0] == 0


@pytest.mark.parametrize("grid", [1, 3])
def test_each_photo_is_drawn(classify, cameras, tmp_path, grid) -> None:
    options = ("--explain", tmp_path / "e", "--explain-grid", grid)
    code, _, err = classify(cameras, *options)
    assert code == 1 and f"the model runs {grid**2 + 1} times more" in err
    drawn = sorted((tmp_path / "e").glob("*.jpg"))
    assert len(drawn) == 5 and drawn[1].name.startswith("CAM1__DCIM__100RECNX__IMG_0002.JPG")
    with Image.open(drawn[0]) as image:
        assert image.size == (448, 466)
    before = [path.stat().st_mtime_ns for path in drawn]
    classify(cameras, *options)
    assert [path.stat().st_mtime_ns for path in drawn] == before


def test_photos_in_an_archive_have_pictures_too(classify, cameras, tmp_path) -> None:
    archive = tmp_path / "card.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        for place in sorted(cameras.rglob("*.*")):
            writer.write(place, place.relative_to(cameras).as_posix())
    for given, name in ((archive, "zipped"), (cameras, "plain")):
        places = ("--page", tmp_path / f"{name}.html", "--explain", tmp_path / name)
        code, _, err = classify(given, *places, "--explain-grid", 1)
        assert code == 1 and "drew 5 pictures" in err and "without a picture" not in err
    zipped, plain = (
        sorted(each.read_bytes() for each in (tmp_path / name).glob("*.jpg"))
        for name in ("zipped", "plain")
    )
    assert zipped == plain and len(plain) == 5
    zipped, plain = (
        sorted(re.findall('data:image/jpeg;base64,([^"]+)', (tmp_path / name).read_text()))
        for name in ("zipped.html", "plain.html")
    )
    assert zipped == plain and len(plain) == 5


def test_an_archive_that_is_gone_costs_only_pictures(classify, cameras, tmp_path) -> None:
    archive = tmp_path / "card.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        writer.write(cameras / "CAM2" / "IMG_0001.JPG", "a.jpg")
    name = f"{archive}/a.jpg"
    found = photo_in_archive(name)
    assert found is not None and found.path == name and archive_of(name) == str(archive)
    assert photo_in_archive(f"{archive}/b.jpg") is None
    assert photo_in_archive(str(archive)) is photo_in_archive(str(cameras)) is None
    del found
    archive.write_bytes(b"PK\3\4 and no more")
    assert photo_in_archive(name) is None
    archive.unlink()
    assert photo_in_archive(name) is archive_of(name) is None


def test_each_box_is_drawn(classify, cameras, tmp_path) -> None:
    with Image.open(cameras / "CAM1" / "DCIM" / "100RECNX" / "IMG_0001.JPG") as image:
        image.paste("blue", (48, 0, 96, 64))
        image.save(tmp_path / "two.png")
    boxes = [
        {"category": category, "conf": 0.9, "bbox": [left, 0, 0.5, 1]}
        for category, left in (("1", 0), ("2", 0), ("1", 0.5))
    ]
    found = {"images": [{"file": "two.png", "detections": boxes}]}
    (tmp_path / "boxes.json").write_text(json.dumps(found))
    options = ("--boxes", tmp_path / "boxes.json", "--explain", tmp_path / "e", "--filter", "off")
    code, _, err = classify(tmp_path / "two.png", *options, "--explain-grid", 1)
    drawn = sorted(each.name for each in (tmp_path / "e").glob("*.jpg"))
    assert code == 0 and "drew 2 pictures" in err
    assert drawn == ["two.png.box-1.explained.jpg", "two.png.box-3.explained.jpg"]
    shown = []
    for name in drawn:
        with Image.open(tmp_path / "e" / name) as image:
            shown.append(np.asarray(image.convert("L"), float)[:448].std())
    # Of the whole frame one half would be brighter.
    assert max(shown) < 3
