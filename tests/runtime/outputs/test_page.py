"""The page and the pictures of a run."""

from __future__ import annotations

import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.outputs import page
from rs_runtime.outputs.explain import occlusion


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


def test_photos_in_an_archive_are_said_to_have_no_pictures(classify, cameras, tmp_path) -> None:
    archive = tmp_path / "card.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        writer.write(cameras / "CAM2" / "IMG_0001.JPG", "a.jpg")
    asked = {"--page": "a.html", "--explain": "explained", "--sort-into": "sorted"}
    options = [word for name, place in asked.items() for word in (name, tmp_path / place)]
    code, _, err = classify(archive, *options, "--explain-grid", 1)
    assert code == 0 and "explained 0 photos" in err and "not 1, which are videos" in err
    assert "1 of them without a picture" in err and "1 inputs are in archives" in err
