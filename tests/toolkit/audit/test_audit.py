"""The audit: figures against arithmetic, planted faults found, a page that is safe to open."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image, ImageFilter

from rs_runtime.errors import UnreadablePhotoError
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.audit.html import print_summary, write_audit
from rs_toolkit.audit.statistics import (
    WORST,
    Audit,
    ClassCount,
    Conflict,
    Imbalance,
    Places,
    RankCount,
    audit,
    binned,
    imbalance,
)
from rs_toolkit.checks.findings import FLAGS, Finding
from rs_toolkit.checks.quality import quality_findings, unreadable_findings
from rs_toolkit.data.index import build_index
from rs_toolkit.data.photos import Dataset, Photo, PhotoCache
from rs_toolkit.data.taxonomy import RANKS, Taxon
from rs_toolkit.errors import ConfigError, DataError
from rs_toolkit.sample.draw import draw_photo
from rs_toolkit.sample.faults import encode, jpeg, non_organism
from rs_toolkit.sample.plan import Slot, plan, slot_rng
from rs_toolkit.sample.species import FAMILIES

VOID = {"meta", "img", "br", "line", "rect", "path"}
ATTACK = "a/<script>alert(1)</script>\"onerror='x'&[red]\x1b[31m\u202e.jpg"


def photo(path: str, family: str | None = None, **values: object) -> Photo:
    known = {"sha256": path, "width": 100, "height": 80, "bytes": 1000, "mode": "RGB"}
    return Photo(path, Taxon(kingdom="Animalia", family=family), **{**known, **values})


def grey(photo: Photo) -> np.ndarray:
    return np.full((224, 224, 3), 128, np.uint8)


class Page(HTMLParser):
    """Fails where a tag is not closed in order; keeps what the page shows and loads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def page_of(audit: Audit, folder: Path, photos=(), pixels=grey, title="Photos") -> Page:
    _, html = write_audit(audit, folder, photos, pixels, title)
    return Page(html.read_text("utf-8"))


def printed(audit: Audit) -> str:
    stream = io.StringIO()
    with redirect_stdout(stream), patch.dict(os.environ, COLUMNS="200"):
        print_summary(audit)
    return stream.getvalue()


def test_imbalance_by_hand() -> None:
    figures = imbalance([1, 3])
    # |1 - 3| twice over n^2 = 4 pairs, over twice the mean of 2.
    assert figures.gini == pytest.approx((2 + 2) / 4 / (2 * 2))
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert figures.effective_classes == pytest.approx(math.exp(entropy))
    assert (figures.largest, figures.smallest, figures.ratio) == (3, 1, 3)
    assert imbalance([4, 5, 9, 10, 19, 20, 30, 30]).under == {
        "5": 1 / 8,
        "10": 3 / 8,
        "20": 5 / 8,
    }


def test_balanced_classes_are_all_effective() -> None:
    even = Imbalance(5, 20, 20, 1, 0, pytest.approx(5), {"5": 0, "10": 0, "20": 0})
    assert imbalance([20] * 5) == even
    assert imbalance([7]).effective_classes == 1
    # One class with everything: (n - 1) / n in the limit.
    assert imbalance([1, 1, 1, 10**9]).gini == pytest.approx(3 / 4)


@pytest.mark.parametrize("sizes", [[], [3, 0]])
def test_no_imbalance_without_photos(sizes: list[int], one_line: Callable[..., str]) -> None:
    with pytest.raises(DataError, match="leave empty classes out") as caught:
        imbalance(sizes)
    one_line(str(caught.value))


def test_bins_hold_their_lower_edge() -> None:
    counts = binned([4, 5, 9, 10, 99], (5, 10, 20))
    assert counts == {"< 5": 1, "5–9": 2, "10–19": 1, "≥ 20": 1}
    assert list(counts) == ["< 5", "5–9", "10–19", "≥ 20"]


def test_counts_by_rank_class_mode_and_size() -> None:
    photos = [
        photo("1", "Felidae", width=50, height=4000, mode="L", site="north", observation="x"),
        photo("2", "Felidae", width=70, bytes=9000, site="north", observation="x"),
        photo("3", "Canidae", common_name="Fox", height=700, width=600, site="south"),
        photo("4"),
        photo("5", "Canidae", error="is empty (0 bytes)"),
        photo("6", "Ursidae", error="is truncated (13 bytes)"),
        photo("7", "Ursidae", error="is truncated (5 bytes)"),
    ]
    found = audit(photos, [], "family")
    assert (found.rank, found.rows, found.readable, found.counted) == ("family", 7, 4, "readable")
    assert found.ranks["family"] == RankCount(names=2, labelled=3, unlabelled=1)
    assert found.ranks["kingdom"] == RankCount(1, 4, 0)
    assert found.ranks["species"] == RankCount(0, 0, 4)
    assert found.ranks["common_name"] == RankCount(1, 1, 3)
    assert list(found.ranks) == [*RANKS, "common_name"]
    assert found.classes == (
        ClassCount("felidae", 2, 0),
        ClassCount("canidae", 1, 1),
        ClassCount("ursidae", 0, 2),
    )
    assert found.imbalance == imbalance([2, 1])
    assert list(found.modes.items()) == [("RGB", 3), ("L", 1)]
    assert found.sizes is not None
    assert found.sizes.width == (50, 85, 600)
    assert found.sizes.height == (80, 390, 4000)
    assert found.sizes.bytes == (1000, 1000, 9000)
    sides = {name: count for name, count in found.sizes.shorter_side.items() if count}
    assert sides == {"< 64": 1, "64–127": 2, "512–1023": 1}
    assert found.unreadable[0] == ("5", "is empty (0 bytes)")
    assert list(found.reasons.items()) == [("is truncated (N bytes)", 2), ("is empty (0 bytes)", 1)]
    assert found.sites == Places(names=2, photos=3, largest=2)
    assert found.observations == Places(1, 2, 2)
    assert audit(photos, [], "common_name").classes == (ClassCount("fox", 1, 0),)


def test_unknown_rank_is_refused() -> None:
    with pytest.raises(ConfigError, match="'tribe'"):
        audit([photo("a")], [], "tribe")


def test_same_bytes_with_two_labels_come_first(tmp_path: Path) -> None:
    lion = Taxon(order="Carnivora", family="Felidae", genus="Panthera", species="leo")
    same = photo("b.jpg", sha256="1")
    photos = [
        replace(same, taxon=lion),
        replace(same, path="a.jpg", taxon=replace(lion, genus="Felis", species="Felis catus")),
        replace(same, path="c.jpg", taxon=Taxon(order="Carnivora")),
        # Neither a missing label, nor another box, nor an unreadable file disagrees.
        photo("d.jpg", "Canidae", sha256="2"),
        photo("e.jpg", sha256="2"),
        photo("f.jpg", "Ursidae", sha256="2", box="0,0,0.5,0.5"),
        photo("g.jpg", "Canidae", sha256="3", error="is empty"),
        photo("h.jpg", "Ursidae", sha256="3", error="is empty"),
        photo("i.jpg", "Canidae", sha256=""),
        photo("j.jpg", "Ursidae", sha256=""),
    ]
    found = audit(photos, [], "family")
    labels = (("a.jpg", "felis"), ("b.jpg", "panthera"), ("c.jpg", None))
    assert found.conflicts == (Conflict("genus", labels),)
    shown = page_of(found, tmp_path).text
    assert -1 < shown.index("Same bytes") < shown.index("felis") < shown.index("Labels")
    assert printed(found).startswith("same bytes, different genus: a.jpg: felis; b.jpg: panthera;")


def test_flags_name_the_worst_first() -> None:
    findings = [Finding(f"{n:02d}.jpg", "dark", 0.5 + n / 100) for n in range(30)]
    findings += [Finding("b.jpg", "dark", 1.0), Finding("a.jpg", "dark", 1.0)]
    photos = [photo(finding.path) for finding in findings]
    found = audit(photos, findings, "family", checked=("blank", "dark"))
    assert list(found.flags) == ["blank", "dark"]
    assert (found.flags["blank"].photos, found.flags["blank"].worst) == (0, ())
    assert (found.flags["dark"].photos, found.flags["dark"].share) == (32, 1)
    named = [finding.path for finding in found.flags["dark"].worst]
    assert named[:4] == ["a.jpg", "b.jpg", "29.jpg", "28.jpg"]
    assert len(named) == WORST


def test_without_labels(tmp_path: Path) -> None:
    found = audit([photo("a.jpg"), photo("b.jpg")], [], "species")
    assert (found.classes, found.imbalance) == ((), None)
    assert "photos listed" in printed(found)
    assert "2" in page_of(found, tmp_path).text


def test_without_rows(tmp_path: Path) -> None:
    found = audit([], [], "family", checked=FLAGS)
    assert (found.rows, found.flags["dark"].share) == (0, 0)
    page_of(found, tmp_path)


def test_twelve_thousand_absent_photos_are_counted_at_once(tmp_path: Path) -> None:
    photos = [
        photo(f"{n}.jpg", f"family {n % 200}", sha256="", error="does not exist")
        for n in range(12_000)
    ]
    begin = time.perf_counter()
    found = audit(photos, unreadable_findings(photos), "family")
    page = page_of(found, tmp_path, photos, grey)
    assert time.perf_counter() - begin < 5
    assert (found.readable, found.counted, found.sizes) == (0, "all", None)
    assert found.imbalance == imbalance([60] * 200)
    assert "counted over all rows" in page.text
    assert "and 11,800 more in audit.json" in page.text
    assert len(json.loads((tmp_path / "audit.json").read_text())["unreadable"]) == 12_000


def test_json_holds_the_whole_audit(tmp_path: Path) -> None:
    found = audit([photo("a.jpg", "felidae")], [Finding("a.jpg", "dark", 0.7)], "family")
    data, _ = write_audit(found, tmp_path / "new", (), grey, "Photos")
    assert json.loads(data.read_text("utf-8")) == json.loads(json.dumps(asdict(found)))
    assert json.loads(data.read_text())["flags"]["dark"]["worst"][0]["path"] == "a.jpg"


def test_page_is_self_contained_and_the_same_every_time(tmp_path: Path) -> None:
    photos = [photo(f"{n}.jpg", f"family {n % 7}") for n in range(40)]
    findings = [Finding(item.path, "blank", 1.0, detail="empty") for item in photos]
    found = audit(photos, findings, "family")
    page = page_of(found, tmp_path / "one", photos, grey)
    assert len(page.links) == WORST
    for link in page.links:
        with Image.open(io.BytesIO(base64.b64decode(link.split("base64,")[1]))) as image:
            assert (image.format, image.size) == ("JPEG", (112, 112))
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    html = (tmp_path / "one" / "audit.html").read_bytes()
    assert not re.search(rb"https?:|//|@import|url\(", re.sub(rb'"data:[^"]*"', b"", html))
    assert {"svg", "img", "table"} <= set(page.tags)
    assert not {"script", "link", "iframe"} & set(page.tags)
    page_of(found, tmp_path / "two", photos, grey)
    assert html == (tmp_path / "two" / "audit.html").read_bytes()


def test_names_and_paths_cannot_break_out(tmp_path: Path) -> None:
    photos = [
        photo(ATTACK, ATTACK, sha256="1", mode=ATTACK),
        photo("b.jpg", "felidae", sha256="1", site=ATTACK),
        photo(ATTACK + "2", error=ATTACK + " \ud800"),
    ]
    findings = [Finding(ATTACK, flag, 1.0, suggested_label=ATTACK, detail=ATTACK) for flag in FLAGS]
    found = audit(photos, findings, "family")
    page = page_of(found, tmp_path, photos, grey, ATTACK)
    assert "script" not in page.tags
    assert not [name for name in page.attributes if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>\"onerror='x'&[red][31m.jpg") > 8
    shown = printed(found)
    assert "[red]" in shown
    assert not {"\x1b", "\u202e"} & set(page.text + shown)


def test_photo_without_pixels_gets_no_thumbnail(tmp_path: Path) -> None:
    def pixels(photo: Photo) -> np.ndarray:
        raise UnreadablePhotoError("does not exist")

    photos = [photo("a.jpg", "felidae")]
    findings = [Finding("a.jpg", "dark", 0.9), Finding("gone.jpg", "blank", 1.0)]
    page = page_of(audit(photos, findings, "family"), tmp_path, photos, pixels)
    assert page.links == []
    assert "a.jpg" in page.text and "gone.jpg" in page.text


def sample_file(slot: Slot) -> bytes:
    """Draw one photo of the sample, with its fault."""
    rng = slot_rng(0, 100, slot.index)
    if slot.fault == "non_organism":
        return encode(rng, non_organism(rng, slot.detail), "")
    family = next(family for family in FAMILIES if family.name == slot.species.family)
    return encode(rng, draw_photo(rng, family, slot.species), slot.fault)


def worsened(data: bytes, how: str) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        image = image.convert("RGB").resize((224, 224))
    blurred = image.filter(ImageFilter.GaussianBlur(3))
    return jpeg(blurred if how == "blurred" else image.point(lambda level: level // 5))


def test_planted_faults_are_found(tmp_path: Path) -> None:
    slots = plan(0, 100)
    files = {
        slot.fault + slot.detail + slot.path: sample_file(slot)
        for slot in slots
        if slot.fault in ("truncated", "zero_byte", "non_organism")
    }
    sound = [sample_file(slot) for slot in [s for s in slots if not s.fault][:40:4]]
    for number, data in enumerate(sound):
        files[f"sound{number}"] = data
        files |= {f"{how}{number}": worsened(data, how) for how in ("dark", "blurred")}
    rows = []
    for number, (name, data) in enumerate(files.items()):
        (tmp_path / str(number)).write_bytes(data)
        rows.append(Photo(str(number), Taxon(), common_name=name))
    cache = PhotoCache(tmp_path / "cache", Preprocessing(size=224))
    photos = build_index(Dataset(tmp_path, tuple(rows), "csv"), cache)

    def pixels(photo: Photo) -> np.ndarray:
        return cache.pixels(photo, tmp_path)

    def planted(*starts: str) -> set[str]:
        return {str(n) for n, name in enumerate(files) if name.startswith(starts)}

    findings = [*unreadable_findings(photos), *quality_findings(photos, pixels)]
    found = {flag: {row.path for row in findings if row.flag == flag} for flag in FLAGS}
    assert found["unreadable"] == planted("truncated", "zero_byte")
    # A landscape with an edge in it is no blank frame.
    landscapes = planted("non_organismlandscape")
    assert found["blank"] & landscapes
    assert found["blank"] <= landscapes | planted("dark")
    assert found["dark"] == planted("dark")
    assert found["blurred"] >= planted("blurred")
    # The sample's own camera is out of focus at times.
    assert len(found["blurred"] & planted("sound")) <= 2
    result = audit(photos, findings, "family")
    assert {path for path, _ in result.unreadable} == found["unreadable"]
    page = page_of(result, tmp_path, photos, pixels)
    assert len(page.links) == sum(len(found[flag]) for flag in ("blank", "dark", "blurred"))
