"""The synthetic sample: the same every time, long-tailed, and truthful about its faults."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from rs_toolkit.files import sha256_bytes, sha256_file
from rs_toolkit.sample import generate_sample
from rs_toolkit.sample.background import HABITATS, background
from rs_toolkit.sample.draw import ASPECTS, WIDTHS, camera, draw_photo, photo_size
from rs_toolkit.sample.faults import (
    PAPER,
    RESIZED,
    encode,
    jpeg,
    near_duplicate,
    non_organism,
)
from rs_toolkit.sample.generate import VERSION
from rs_toolkit.sample.overlays import OVERLAYS
from rs_toolkit.sample.plan import DAMAGES, FORMATS, NON_ORGANISMS, plan, slot_rng
from rs_toolkit.sample.species import FAMILIES, SPECIES, Species

PHOTOS = 120
RANKS = ["kingdom", "phylum", "class", "order", "family", "genus", "species"]
SLOTS = {slot.path: slot for slot in plan(0, PHOTOS)}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_sample(tmp_path_factory.mktemp("made") / "sample", photos=PHOTOS).parent


@pytest.fixture(scope="module")
def faults(sample: Path) -> dict[str, Any]:
    return json.loads((sample / "truth.json").read_text("utf-8"))["faults"]


@pytest.fixture(scope="module")
def rows(sample: Path) -> list[dict[str, str]]:
    with (sample / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def hashes(root: Path) -> dict[str, str]:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): sha256_file(p) for p in files}


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), dtype=np.float64)


def decoded(path: Any) -> np.ndarray:
    with Image.open(path) as image:
        return pixels(image)


def drawn(species: Species, rng: np.random.Generator) -> np.ndarray:
    """Draw a species anew, without fault or compression."""
    family = next(f for f in FAMILIES if f.name == species.family)
    return pixels(draw_photo(rng, family, species))


def stream(path: str) -> np.random.Generator:
    return slot_rng(0, PHOTOS, SLOTS[path].index)


def differ(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of pixels; infinite if the sizes differ."""
    return float(np.abs(one - other).mean()) if one.shape == other.shape else np.inf


def test_same_seed_gives_same_bytes_in_another_process(sample: Path, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from rs_toolkit.sample import generate_sample;"
        f"generate_sample(pathlib.Path(sys.argv[1]), photos={PHOTOS})"
    )
    again = tmp_path / "again"
    subprocess.run([sys.executable, "-c", code, str(again)], check=True)
    assert hashes(again) == hashes(sample)


def test_other_seed_gives_other_plan_and_pictures() -> None:
    mine, theirs = ([(s.fault, s.original) for s in plan(seed, PHOTOS)] for seed in (0, 1))
    assert mine != theirs
    one, other = (drawn(SPECIES[0], slot_rng(seed, PHOTOS, 0)) for seed in (0, 1))
    assert differ(one, other) > 10


def test_plan_and_photos_share_no_random_stream() -> None:
    streams = [np.random.default_rng([0, 100]), *(slot_rng(0, 100, k) for k in range(100))]
    assert len({int(rng.integers(2**63)) for rng in streams}) == 101


def test_metadata_lists_every_file_once(sample: Path, rows: list[dict[str, str]]) -> None:
    paths = [row["file_path"] for row in rows]
    files = [p.relative_to(sample).as_posix() for p in (sample / "photos").rglob("*.*")]
    assert list(rows[0]) == ["file_path", *RANKS, "common_name"]
    assert len(paths) == PHOTOS
    assert paths == sorted(files)
    assert all(value for row in rows for value in row.values())


def test_taxonomy_is_broad_and_unambiguous() -> None:
    assert len(FAMILIES) >= 12
    assert len(SPECIES) >= 30
    assert len({s.ranks[1] for s in SPECIES}) >= 4
    for names in ([s.ranks[6] for s in SPECIES], [s.common_name for s in SPECIES]):
        assert len(set(names)) == len(SPECIES)
    assert all(len(s.ranks) == 7 for s in SPECIES)
    assert all(len(f.species) >= 2 for f in FAMILIES)
    # No real genus is named so: see the docstring of species.py.
    assert all(s.ranks[5].endswith("ficta") for s in SPECIES)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_long_tail_at_full_size(seed: int) -> None:
    slots = plan(seed, 1000)
    families = Counter(slot.species.family for slot in slots)
    species = Counter(slot.species.slug for slot in slots)
    assert len(slots) == 1000
    assert min(families.values()) >= 6
    assert max(families.values()) >= 10 * min(families.values())
    assert len(species) == len(SPECIES)
    assert max(species.values()) >= 10 * min(species.values())


@pytest.mark.parametrize("seed", range(20))
def test_smallest_sample_keeps_every_family_species_and_fault(seed: int) -> None:
    slots = plan(seed, 100)
    assert {slot.species for slot in slots} == set(SPECIES)
    assert {slot.fault for slot in slots} == {"", *FORMATS, *DAMAGES}
    assert all(n >= 4 for n in Counter(s.species.family for s in slots).values())
    assert len({slot.path for slot in slots}) == 100


def test_full_size_has_every_kind_of_fault_and_no_other() -> None:
    counts = Counter(slot.fault for slot in plan(0, 1000))
    formats = {"grayscale", "palette_png", "palette_gif", "rgba", "cmyk", "sixteen_bit"}
    damages = {"exif_rotated", "truncated", "zero_byte", "exact_duplicates", "near_duplicates"}
    assert set(counts) == {"", *formats, *damages, "wrong_labels", "non_organism"}
    assert counts["wrong_labels"] == 30
    assert counts[""] > 800
    details = Counter((slot.fault, slot.detail) for slot in plan(0, 1000) if slot.detail)
    assert set(details) == {
        *(("near_duplicates", w) for w in ("resized", "recompressed", "cropped", "brightness")),
        *(("near_duplicates", w) for w in ("watermark", "caption", "info_bar")),
        *(("non_organism", kind) for kind in ("document", "chart", "screenshot", "landscape")),
    }


def test_size_on_disk_is_under_20_megabytes_per_thousand(sample: Path) -> None:
    total = sum(p.stat().st_size for p in sample.rglob("*") if p.is_file())
    assert total < 20e6 * PHOTOS / 1000


def test_truth_names_arguments_and_existing_files(sample: Path, faults: dict[str, Any]) -> None:
    truth = json.loads((sample / "truth.json").read_text("utf-8"))
    assert (truth["seed"], truth["photos"]) == (0, PHOTOS)
    assert truth["version"]
    assert set(faults) == {*FORMATS, *DAMAGES}
    named = []
    for entries in faults.values():
        assert entries
        for entry in entries:
            named.append(entry if isinstance(entry, str) else entry.get("path", entry.get("copy")))
    assert len(named) == len(set(named))
    assert all((sample / path).is_file() for path in named)


def test_undamaged_photos_load(sample: Path, faults: dict[str, Any]) -> None:
    least = round(WIDTHS[0] * min(ASPECTS) * RESIZED[0])
    most = round(WIDTHS[-1] * max(ASPECTS))
    broken = {*faults["truncated"], *faults["zero_byte"]}
    for path in sorted((sample / "photos").rglob("*.*")):
        if path.relative_to(sample).as_posix() not in broken:
            height, width, _ = decoded(path).shape
            assert least <= min(height, width) <= max(height, width) <= most


def test_truncated_photos_open_but_do_not_load(sample: Path, faults: dict[str, Any]) -> None:
    for path in faults["truncated"]:
        with Image.open(sample / path) as image, pytest.raises(OSError, match="truncated"):
            image.load()


def test_zero_byte_photos_are_empty(sample: Path, faults: dict[str, Any]) -> None:
    assert all((sample / path).stat().st_size == 0 for path in faults["zero_byte"])


@pytest.mark.parametrize(
    ("fault", "file_format", "mode"),
    [
        ("grayscale", "JPEG", "L"),
        ("palette_png", "PNG", "P"),
        ("palette_gif", "GIF", "P"),
        ("rgba", "PNG", "RGBA"),
        ("cmyk", "JPEG", "CMYK"),
        ("sixteen_bit", "PNG", "I;16"),
        ("exif_rotated", "JPEG", "RGB"),
    ],
)
def test_formats(
    sample: Path, faults: dict[str, Any], fault: str, file_format: str, mode: str
) -> None:
    for path in faults[fault]:
        with Image.open(sample / path) as image:
            assert (image.format, image.mode) == (file_format, mode)


def test_rgba_is_partly_transparent_and_16_bit_uses_its_range(
    sample: Path, faults: dict[str, Any]
) -> None:
    for path in faults["rgba"]:
        with Image.open(sample / path) as image:
            assert image.getchannel("A").getextrema() == (0, 255)
    for path in faults["sixteen_bit"]:
        with Image.open(sample / path) as image:
            assert np.asarray(image).max() > 4095


def check_turned(file: Any, upright: np.ndarray) -> int:
    """Check that a photo is stored turned and shown upright; return its orientation."""
    with Image.open(file) as image:
        assert differ(pixels(ImageOps.exif_transpose(image)), upright) < 8
        assert differ(pixels(image), upright) > 16
        return int(image.getexif()[0x0112])


def test_exif_rotation_is_undone_by_its_orientation(sample: Path, faults: dict[str, Any]) -> None:
    for path in faults["exif_rotated"]:
        check_turned(sample / path, drawn(SLOTS[path].species, stream(path)))
    upright = drawn(SPECIES[0], np.random.default_rng(0))
    image = Image.fromarray(upright.astype(np.uint8))
    files = [encode(np.random.default_rng(k), image, "exif_rotated") for k in range(12)]
    assert {check_turned(io.BytesIO(file), upright) for file in files} == {3, 6, 8}


def test_exact_duplicates_are_equal(sample: Path, faults: dict[str, Any]) -> None:
    for pair in faults["exact_duplicates"]:
        assert sha256_file(sample / pair["original"]) == sha256_file(sample / pair["copy"])


def check_near(how: str, original: np.ndarray, copy: np.ndarray) -> None:
    """Check that a near-duplicate was changed in the given way and no other."""
    height, width = copy.shape[:2]
    down, across = original.shape[0] - height, original.shape[1] - width
    whole = pixels(Image.fromarray(original.astype(np.uint8)).resize((width, height)))
    if how in ("resized", "cropped"):
        assert down > 0
        assert across > 0
        parts = [original[y:, x:][:height, :width] for y in range(down) for x in range(across)]
        closest = min(differ(part, copy) for part in parts)
        # The other of the two ways would be several times further off.
        fit, other = (differ(whole, copy), closest)[:: 1 if how == "resized" else -1]
        assert fit < 6
        assert other > 1.5 * fit
    else:
        gain = copy.mean() / original.mean()
        assert 0 < differ(original, np.clip(copy / gain, 0, 255)) < 8
        assert abs(gain - 1) > 0.1 if how == "brightness" else abs(gain - 1) < 0.02


def test_near_duplicates_were_changed_as_told(sample: Path, faults: dict[str, Any]) -> None:
    ways = {"resized", "recompressed", "cropped", "brightness"}
    assert {pair["how"] for pair in faults["near_duplicates"]} == ways
    for pair in faults["near_duplicates"]:
        check_near(pair["how"], *(decoded(sample / pair[k]) for k in ("original", "copy")))


@pytest.mark.parametrize("how", OVERLAYS)
@pytest.mark.parametrize("seed", range(4))
def test_an_overlay_covers_a_part_and_leaves_the_rest(how: str, seed: int) -> None:
    original = jpeg(draw_photo(np.random.default_rng(seed), FAMILIES[seed], SPECIES[0]))
    copy = decoded(io.BytesIO(near_duplicate(np.random.default_rng(seed), original, how)))
    picture = decoded(io.BytesIO(original))
    beyond = len(copy) - len(picture)
    assert beyond == 0 or (how == "info_bar" and 0 < beyond <= 0.12 * len(picture))
    fits = [copy[y:][: len(picture)] for y in {0, beyond}]
    share = min(float((np.abs(part - picture).max(axis=2) > 30).mean()) for part in fits)
    assert share < 0.3
    assert beyond or share > 0.002


def test_only_planted_files_are_equal(sample: Path, faults: dict[str, Any]) -> None:
    by_hash: dict[str, list[str]] = {}
    for path, digest in hashes(sample / "photos").items():
        by_hash.setdefault(digest, []).append(f"photos/{path}")
    found = sum(len(paths) - 1 for paths in by_hash.values())
    empty = len(faults["zero_byte"])
    assert found == len(faults["exact_duplicates"]) + max(0, empty - 1)


def test_wrong_labels_are_in_metadata_and_photos_show_the_true_species(
    sample: Path, rows: list[dict[str, str]], faults: dict[str, Any]
) -> None:
    labels = {row["file_path"]: {rank: row[rank] for rank in RANKS} for row in rows}
    species = {s.ranks: s for s in SPECIES}
    for wrong in faults["wrong_labels"]:
        path = wrong["path"]
        assert labels[path] == wrong["given"]
        assert wrong["given"]["family"] != wrong["true"]["family"]
        true, given = (
            drawn(species[tuple(wrong[k][rank] for rank in RANKS)], stream(path))
            for k in ("true", "given")
        )
        picture = decoded(sample / path)
        assert differ(picture, true) < 8
        assert differ(picture, given) > 2 * differ(picture, true)


def paper(picture: np.ndarray) -> float:
    """Share of pixels that have the colour of the paper, or nearly."""
    return float((np.abs(picture - PAPER).max(axis=2) < 8).mean())


def test_non_organisms_show_paper_or_an_empty_landscape(
    sample: Path, faults: dict[str, Any]
) -> None:
    kinds = {entry["kind"] for entry in faults["non_organism"]}
    assert kinds == {"document", "chart", "screenshot", "landscape"}
    for entry in faults["non_organism"]:
        picture, rng = decoded(sample / entry["path"]), stream(entry["path"])
        if entry["kind"] == "landscape":
            size = photo_size(rng)
            empty = background(rng, HABITATS[int(rng.integers(len(HABITATS)))], size)
            assert differ(picture, pixels(camera(rng, empty))) < 8
        else:
            organism = drawn(SLOTS[entry["path"]].species, rng)
            assert paper(picture) > 0.3 > 10 * paper(organism)
            assert differ(picture, organism) > 40


def test_readme_says_synthetic(sample: Path) -> None:
    text = (sample / "README.txt").read_text("utf-8")
    assert "SYNTHETIC" in text
    assert "prove nothing about real animals" in text


# By VERSION: a hash of the plan, and the contrast of one photo per family and one picture per
# kind of non-organism; no hash of pixels, for sines and blurs are rounded differently elsewhere.
GOLDEN_PLAN = {"3": "d1ab59c6bb3b7a5447531dbeacbb5d093f9ed82aa56ac68a90e13e7f155fc7b3"}
GOLDEN_CONTRAST = {
    "3": """25.72 54.62 40.07 41.14 33.86 33.73 36.44 32.10 39.36 67.10 44.78 70.51
        45.38 29.54 32.11 44.13 77.08 56.49 72.03 22.06"""
}


def test_golden_plan_and_pictures() -> None:
    changed = "the sample changed: raise VERSION in generate.py, then renew the golden values"
    assert sha256_bytes(repr(plan(0, 1000)).encode()) == GOLDEN_PLAN.get(VERSION), changed
    pictures = [drawn(f.species[0], slot_rng(0, 1000, k)) for k, f in enumerate(FAMILIES)]
    pictures += [pixels(non_organism(slot_rng(0, 1000, 0), kind)) for kind in NON_ORGANISMS]
    contrast = [round(float(picture.std()), 2) for picture in pictures]
    golden = [float(value) for value in GOLDEN_CONTRAST[VERSION].split()]
    assert contrast == pytest.approx(golden, abs=0.04), changed
