"""``check``, ``split``, ``clean`` and ``review`` as a user meets them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Two families of noise, one photo twice, one cut short."""
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    generator, root = np.random.default_rng(0), tmp_path / "photos"
    for family in ("canidae", "felidae"):
        (root / family).mkdir(parents=True)
        for n in range(8):
            coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((64, 64)).save(root / family / f"{n}.jpg")
    (root / "felidae/copy.jpg").write_bytes((root / "felidae/0.jpg").read_bytes())
    (root / "canidae/cut.jpg").write_bytes((root / "canidae/0.jpg").read_bytes()[:200])
    return root


def test_check_prints_a_summary_and_writes_a_page(run, photos, tmp_path) -> None:
    code, out, _ = run("check", photos, "--imgsz", 64)
    assert code == 0
    page = tmp_path / "check" / "photos" / "audit.html"
    assert out.strip().endswith("audit.html") and page.stat().st_size > 1000
    found = json.loads(page.with_suffix(".json").read_text())
    assert "felidae/copy.jpg" in json.dumps(found) and "canidae/cut.jpg" in json.dumps(found)


def test_split_opens_no_photo(run, photos, tmp_path) -> None:
    for photo in photos.rglob("*.jpg"):
        photo.write_bytes(b"")
    code, out, _ = run("split", photos, "--out", tmp_path / "sides.csv", "--seed", 3)
    assert code == 0 and "train" in out
    with (tmp_path / "sides.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18 and {row["side"] for row in rows} == {"train", "val", "test"}


def test_clean_writes_a_folder_that_training_takes(run, photos, tmp_path) -> None:
    arguments = ("clean", photos, "--weights", "none", "--imgsz", 64)
    code, out, err = run(*arguments)
    assert code == 0, err
    folder = tmp_path / "clean" / "photos"
    assert "exact duplicate 1" in out and "unreadable 1" in out
    assert json.loads((folder / "clean.json").read_text())["classes"] == ["canidae", "felidae"]
    code, out, err = run("split", folder, "--out", tmp_path / "sides.csv", "--splits-from", folder)
    assert code == 0, err


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (("check", "absent"), "absent"),
        (("split", "absent"), "absent"),
        (("clean", "absent", "--weights", "none"), "absent"),
        (("review", "absent"), "absent"),
        (("clean", "photos", "--weights", "absent.h5"), "absent.h5"),
        (("clean", "photos", "--weights", "none", "--policy", "absent.toml"), "absent.toml"),
        (("split", "photos", "--group-by", "site"), "site"),
        (("split", "photos", "--group-by", "moon"), "moon"),
        (("split", "photos", "--splits-from", "absent"), "absent"),
    ],
)
def test_mistakes_are_one_line(run, photos, one_line, command, problem) -> None:
    code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert problem in one_line(err, "rs-toolkit", notes=True)
