"""A small clean folder to review, as ``rs-toolkit clean`` would leave it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from rs_toolkit.checks.findings import Finding, write_findings
from rs_toolkit.data.index import write_index
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.files import sha256_file, write_json

ORDERS = {"discidae": "rotunda", "quadridae": "angulata", "trigonidae": "angulata"}
COLOURS = {"discidae": (200, 60, 50), "quadridae": (60, 150, 70), "trigonidae": (60, 80, 190)}
MARKUP = "discidae/<img src=x onerror=alert(1)>&amp;.jpg"
BROKEN = "trigonidae/3.jpg"
GROUP = ("quadridae/1.jpg", "quadridae/2.jpg", "quadridae/3.jpg")
# Worst first, as the page shows them.
ITEMS = (BROKEN, GROUP[0], "discidae/0.jpg", "quadridae/0.jpg", MARKUP)


def clean_folder(parent: Path, side: int = 96) -> Path:
    """Make a data set of 15 photos in three families, its clean folder, and return the latter."""
    root, folder = parent / "data", parent / "clean"
    folder.mkdir(parents=True)
    names = [f"{family}/{n}.jpg" for family, n in zip(ORDERS, (6, 5, 4), strict=True)
             for n in range(n)]  # fmt: skip
    names[1] = MARKUP
    photos = [_photo(root, name, seed, side) for seed, name in enumerate(names)]
    write_index(folder / "index.parquet", photos)
    write_findings(folder / "findings.parquet", _findings())
    settings = {"data_root": str(root), "rank": "family", "classes": sorted(ORDERS)}
    write_json(folder / "clean.json", settings)
    return folder


def _photo(root: Path, name: str, seed: int, side: int) -> Photo:
    family = name.split("/")[0]
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    taxon = Taxon(kingdom="animalia", order=ORDERS[family], family=family, genus=f"{family[:-4]}us")
    group = "burst" if name in GROUP else None
    photo = Photo(
        path=name, taxon=taxon, split="train", common_name=f"common {family}", group=group
    )
    if name == BROKEN:
        path.write_text("no picture")
        return replace(photo, sha256=sha256_file(path), error="is no JPEG")
    _draw(family, seed, side).save(path, quality=92)
    return replace(photo, sha256=sha256_file(path), width=side * 4 // 3, height=side, mode="RGB")


def _draw(family: str, seed: int, side: int) -> Image.Image:
    generator = np.random.default_rng(seed)
    noise = generator.integers(90, 200, (9, 12, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((side * 4 // 3, side), Image.Resampling.BICUBIC)
    x, y = (int(part) for part in generator.integers(side // 12, side // 3, 2))
    box = (x, y, x + side // 2, y + side // 2)
    corners = {"discidae": 32, "quadridae": 4, "trigonidae": 3}[family]
    centre = (x + side // 4, y + side // 4, side // 4)
    ImageDraw.Draw(image).regular_polygon(centre, corners, fill=COLOURS[family])
    ImageDraw.Draw(image).rectangle(box, outline=(255, 255, 255))
    return image


def _findings() -> list[Finding]:
    return [
        Finding("discidae/0.jpg", "label_noise", 0.93, "quadridae", 0.2, "quadridae: 0.91"),
        Finding(MARKUP, "outlier", 0.6, detail="<b>far</b> from its class"),
        Finding("quadridae/0.jpg", "label_noise", 0.8, "trigonidae", 0.5),
        Finding("quadridae/0.jpg", "blurred", 0.4),
        Finding(BROKEN, "unreadable", 1.0, None, 0.0, "is no JPEG"),
        Finding(GROUP[1], "near_duplicate", 0.97, detail=f"the same picture as {GROUP[0]}"),
        Finding(GROUP[2], "near_duplicate", 0.95, detail=f"the same picture as {GROUP[0]}"),
    ]
