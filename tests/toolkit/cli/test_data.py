"""``check``, ``split``, ``clean`` and ``review`` as a user meets them."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from rs_toolkit.data.index import read_index
from rs_toolkit.review.journal import JOURNAL, Decision, append, now


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


def test_check_of_photos_that_cannot_be_read_fails_and_writes_a_page(run, photos, tmp_path) -> None:
    for photo in photos.rglob("*.jpg"):
        photo.write_bytes(b"\xff\xd8\xff\xe0 cut short")
    code, out, err = run("check", photos, "--imgsz", 64, "--out", tmp_path / "c")
    assert code == 2 and "photos listed" in out
    line = err.strip().splitlines()[-1]
    assert "none of the 18 photos can be read, such as canidae/0.jpg: " in line
    assert line.endswith("audit.html")
    assert json.loads((tmp_path / "c" / "audit.json").read_text())["readable"] == 0


def test_what_was_noticed_while_reading_is_in_the_report(run, photos, tmp_path) -> None:
    """Cells that mean empty are counted; an option keeps those that name an organism."""
    rows = [f"{path.relative_to(photos)},lion,NA" for path in sorted(photos.rglob("[0-3].jpg"))]
    rows += [f"{path.relative_to(photos)},none,NA" for path in sorted(photos.rglob("[4-7].jpg"))]
    (photos / "metadata.csv").write_text("\n".join(["path,species,site", *rows]))
    options = ("--imgsz", 64, "--rank", "species", "--out", tmp_path / "c")
    for more, empty, names in (((), 24, 1), (("--keep-names", "none"), 16, 2)):
        code, _, err = run("check", photos, *options, *more)
        assert code == 0 and f"taken as empty: {empty} cells" in " ".join(err.split())
        found = json.loads((tmp_path / "c" / "audit.json").read_text())
        assert found["ranks"]["species"]["names"] == names
        assert found["notes"][0].startswith(f"taken as empty: {empty} cells (na 16")
        assert f"taken as empty: {empty} cells" in (tmp_path / "c" / "audit.html").read_text()
    out, kept = tmp_path / "clean", ("--keep-names", "none")
    sides = tmp_path / "sides.csv"
    assert run("split", photos, "--rank", "species", "--out", sides, *kept)[0] == 0
    assert ",none\n" in sides.read_text().replace("\r", "")
    assert run("clean", photos, "--weights", "none", *options[:4], "--out", out, *kept)[0] == 0
    assert run("clean", "--again", out)[0] == 0
    assert "none" in json.loads((out / "clean.json").read_text())["classes"]


def test_each_command_says_and_records_the_rank_that_auto_stands_for(run, photos, tmp_path) -> None:
    options = ("--rank", "auto", "--out")
    for command, out, more in (
        ("split", tmp_path / "sides.csv", ("--group-by", "photo")),
        ("check", tmp_path / "c", ("--imgsz", 64)),
        ("clean", tmp_path / "clean", ("--imgsz", 64, "--weights", "none")),
    ):
        code, _, err = run(command, photos, *options, out, *more)
        assert code == 0 and "rank auto: family." in " ".join(err.split())
    assert ",canidae" in (tmp_path / "sides.csv").read_text()
    assert json.loads((tmp_path / "c" / "audit.json").read_text())["rank"] == "family"
    saved = json.loads((tmp_path / "clean" / "clean.json").read_text())
    assert saved["rank"] == saved["settings"]["rank"] == "family"


@pytest.mark.parametrize("command", ["check", "clean"])
def test_folders_that_differ_behind_a_dot_are_written_apart(run, photos, tmp_path, command) -> None:
    for year in ("2024", "2025"):
        photos.rename(photos.with_name(f"photos.{year}"))
        photos = photos.with_name(f"photos.{year}")
        settings = ("--weights", "none") if command == "clean" else ()
        assert run(command, photos, "--imgsz", 64, *settings)[0] == 0
    found = {path.name for path in (tmp_path / command).iterdir()}
    assert found == {"photos.2024", "photos.2025"}


def test_split_keeps_near_duplicates_together(run, photos, tmp_path) -> None:
    for name in ("small", "smaller"):
        image = Image.open(photos / "felidae/1.jpg").resize(
            (48, 48) if name == "small" else (40, 40)
        )
        image.save(photos / "felidae" / f"{name}.jpg")
    for seed in range(4):
        code, _, err = run("split", photos, "--out", tmp_path / "sides.csv", "--seed", seed)
        assert code == 0 and "near-duplicates: 5 of 20 photos, in 2 groups" in " ".join(err.split())
        assert "how good at photos like those of training" in " ".join(err.split())
        with (tmp_path / "sides.csv").open() as file:
            rows = {row["path"]: row for row in csv.DictReader(file)}
        alike = [rows[f"felidae/{name}.jpg"] for name in ("1", "small", "smaller")]
        assert len({row["side"] for row in alike}) == len({row["group"] for row in alike}) == 1
        assert rows["canidae/cut.jpg"]["side"] == ""


def test_split_by_photo_opens_no_photo(run, photos, tmp_path) -> None:
    for photo in photos.rglob("*.jpg"):
        photo.write_bytes(b"")
    options = ("--seed", 3, "--group-by", "photo")
    code, out, _ = run("split", photos, "--out", tmp_path / "sides.csv", *options)
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


def test_clean_again_repeats_the_settings_and_takes_in_decisions(
    run, photos, tmp_path, monkeypatch
) -> None:
    (tmp_path / "policy.toml").write_text("max_loss = 0.3\n[dark]\naction = 'drop'\n")
    (tmp_path / "train.toml").write_text("rank = 'genus'\nval = 0.3\n")
    first = ("clean", "photos", "--out", "my clean", "--weights", "none", "--imgsz", 64)
    options = ("--policy", "policy.toml", "--config", "train.toml", "--rank", "family", "--seed", 3)
    code, _, err = run(*first, *options)
    assert code == 0, err
    folder = tmp_path / "my clean"
    facts = json.loads((folder / "clean.json").read_text())
    index = {photo.path: photo for photo in read_index(folder / "index.parquet")}
    photo = index["canidae/1.jpg"]
    append(folder / JOURNAL, Decision(now(), photo.path, photo.sha256, "relabel", "felidae"))

    monkeypatch.setattr("rs_toolkit.review.server.serve", lambda *_, **__: None)
    code, out, _ = run("review", folder)
    command = out.strip().removeprefix("apply the decisions with: rs-toolkit ")
    assert shlex.split(command) == ["clean", "--again", str(folder)]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, _, err = run(*shlex.split(command))
    assert code == 0, err
    repeated = json.loads((folder / "clean.json").read_text())
    assert repeated["settings"]["val"] == 0.3 and repeated["policy"]["max_loss"] == 0.3
    for key in ("data", "data_root", "rank", "settings", "policy", "filter", "classes"):
        assert repeated[key] == facts[key], key
    again = {photo.path: photo for photo in read_index(folder / "index.parquet")}
    assert again["canidae/1.jpg"].taxon.family == "felidae"
    assert {path: item.split for path, item in again.items()} == {
        path: item.split for path, item in index.items()
    }
    # A third time is like the second.
    assert run("clean", "--again", folder)[0] == 0
    assert {item.path: item for item in read_index(folder / "index.parquet")} == again


def test_the_record_of_a_clean_that_cannot_be_read_is_one_line(
    run, photos, tmp_path, one_line
) -> None:
    assert run("clean", photos, "--weights", "none", "--imgsz", 64)[0] == 0
    folder = tmp_path / "clean" / "photos"
    whole = json.loads((folder / "clean.json").read_text())
    texts = ["", "{", "[]", "{}", json.dumps(whole | {"settings": {"rank": "moon"}})]
    texts += [json.dumps(whole | {key: value}) for key in ("data", "policy") for value in (3, None)]
    for text in texts:
        (folder / "clean.json").write_text(text)
        code, out, err = run("clean", "--again", folder)
        assert (code, out) == (2, "")
        assert "clean again with: rs-toolkit clean DATA" in one_line(err, "rs-toolkit")


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (("check", "absent"), "absent"),
        (("split", "absent"), "absent"),
        (("clean", "absent", "--weights", "none"), "absent"),
        (("clean", "--weights", "none"), "give DATA, or --again FOLDER"),
        (("clean", "--again", "absent"), "nothing to repeat"),
        (("clean", "photos", "--again", "absent"), "leave the others out"),
        (("clean", "--again", "absent", "--seed", "0"), "leave the others out"),
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


def test_no_name_breaks_a_page_or_a_terminal(photos, tmp_path) -> None:
    name = '<script>alert(1)<script> & "Löwe" 🦁 $$ \x1b[31m'
    (photos / "felidae").rename(photos / name)
    command = [sys.executable, "-m", "rs_toolkit", "check", photos, "--out", tmp_path / "c"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    settings = ("--imgsz", "64", "--rank", "species")
    done = subprocess.run([*command, *settings], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    page = (tmp_path / "c" / "audit.html").read_text("utf-8")
    assert "<script>" not in page and "&lt;script&gt;alert(1)&lt;script&gt; &amp;" in page
