"""The synthetic sample: the same every time, long-tailed, and truthful about its faults."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from rs_toolkit.errors import ConfigError, DataError
from rs_toolkit.files import sha256_file
from rs_toolkit.sample import generate_sample
from rs_toolkit.sample.plan import DAMAGES, FORMATS, plan
from rs_toolkit.sample.species import FAMILIES, SPECIES

PHOTOS = 120
RANKS = ["kingdom", "phylum", "class", "order", "family", "genus", "species"]


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


def decoded(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64)


def test_same_seed_gives_same_bytes_in_another_process(sample: Path, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from rs_toolkit.sample import generate_sample;"
        f"generate_sample(pathlib.Path(sys.argv[1]), photos={PHOTOS})"
    )
    again = tmp_path / "again"
    subprocess.run([sys.executable, "-c", code, str(again)], check=True)
    assert hashes(again) == hashes(sample)


def test_other_seed_gives_other_pictures(sample: Path, tmp_path: Path) -> None:
    other = generate_sample(tmp_path / "other", seed=1, photos=PHOTOS).parent
    mine, theirs = hashes(sample), hashes(other)
    ordinary = [p for p in mine.keys() & theirs.keys() if p.startswith("photos/")]
    assert len(ordinary) > PHOTOS / 2
    # Both may hold a zero-byte file at the same path.
    assert sum(mine[p] == theirs[p] for p in ordinary) <= 1


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


def test_shares_of_faults_at_full_size() -> None:
    counts = Counter(slot.fault for slot in plan(0, 1000))
    assert counts["wrong_labels"] == 30
    assert counts[""] > 800


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
    broken = {*faults["truncated"], *faults["zero_byte"]}
    for path in sorted((sample / "photos").rglob("*.*")):
        if path.relative_to(sample).as_posix() not in broken:
            assert 70 <= min(decoded(path).shape[:2]) <= 200


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


def test_exif_rotation_is_undone_by_its_orientation(sample: Path, faults: dict[str, Any]) -> None:
    for path in faults["exif_rotated"]:
        with Image.open(sample / path) as image:
            orientation = image.getexif()[0x0112]
            upright = ImageOps.exif_transpose(image)
            assert orientation in (3, 6, 8)
            assert (upright.size == image.size) == (orientation == 3 or image.width == image.height)


def test_exact_duplicates_are_equal_and_near_ones_alike_but_not_equal(
    sample: Path, faults: dict[str, Any]
) -> None:
    for pair in faults["exact_duplicates"]:
        assert sha256_file(sample / pair["original"]) == sha256_file(sample / pair["copy"])
    assert {p["how"] for p in faults["near_duplicates"]} == {
        "resized",
        "recompressed",
        "cropped",
        "brightness",
    }
    for pair in faults["near_duplicates"]:
        thumbs = []
        for path in (sample / pair["original"], sample / pair["copy"]):
            small = Image.fromarray(decoded(path).astype(np.uint8)).convert("L").resize((12, 12))
            thumbs.append(np.asarray(small, dtype=np.float64).ravel())
        assert sha256_file(sample / pair["original"]) != sha256_file(sample / pair["copy"])
        assert np.corrcoef(*thumbs)[0, 1] > 0.6


def test_only_planted_files_are_equal(sample: Path, faults: dict[str, Any]) -> None:
    by_hash: dict[str, list[str]] = {}
    for path, digest in hashes(sample / "photos").items():
        by_hash.setdefault(digest, []).append(f"photos/{path}")
    found = sum(len(paths) - 1 for paths in by_hash.values())
    empty = len(faults["zero_byte"])
    assert found == len(faults["exact_duplicates"]) + max(0, empty - 1)


def test_wrong_labels_are_in_metadata_and_differ_in_family(
    rows: list[dict[str, str]], faults: dict[str, Any]
) -> None:
    given = {row["file_path"]: {rank: row[rank] for rank in RANKS} for row in rows}
    for wrong in faults["wrong_labels"]:
        assert given[wrong["path"]] == wrong["given"]
        assert wrong["given"]["family"] != wrong["true"]["family"]
        assert list(wrong["true"]) == RANKS


def test_non_organism_kinds(faults: dict[str, Any]) -> None:
    kinds = {entry["kind"] for entry in faults["non_organism"]}
    assert kinds == {"document", "chart", "screenshot", "landscape"}


def test_readme_says_synthetic(sample: Path) -> None:
    text = (sample / "README.txt").read_text("utf-8")
    assert "SYNTHETIC" in text
    assert "prove nothing about real animals" in text


def test_progress_counts_every_photo(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    generate_sample(tmp_path / "s", photos=100, progress=lambda done, n: calls.append((done, n)))
    assert calls == [(k, 100) for k in range(1, 101)]
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_finished_sample_is_left_alone_and_others_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    first = generate_sample(folder, photos=100)
    monkeypatch.setattr("rs_toolkit.sample.generate._write", lambda *_: pytest.fail("drew again"))
    assert generate_sample(folder, photos=100) == first
    before = hashes(folder)
    for other in ({"seed": 1, "photos": 100}, {"photos": 101}):
        with pytest.raises(DataError, match=r"not empty.*choose another folder"):
            generate_sample(folder, **other)
    assert hashes(folder) == before
    next((folder / "photos").rglob("*.jpg")).unlink()
    with pytest.raises(DataError, match="all files present"):
        generate_sample(folder, photos=100)


def test_foreign_content_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    (tmp_path / "truth.json").write_text("[]")
    with pytest.raises(DataError, match="not empty"):
        generate_sample(tmp_path, photos=100)
    with pytest.raises(DataError, match="not a folder"):
        generate_sample(tmp_path / "mine.txt", photos=100)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_sample(tmp_path / "s", photos=100, progress=interrupt)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [{"seed": -1}, {"photos": 99}, {"photos": 20_001}])
def test_arguments_out_of_range(tmp_path: Path, arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"sample: .* wanted"):
        generate_sample(tmp_path / "s", **arguments)
