"""``rs-toolkit compare`` on a toy run and copies of it that answer differently."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rs_toolkit.data.index import write_index
from rs_toolkit.evaluation.compare import compare_runs
from rs_toolkit.folders.run import Run, write_logits
from rs_toolkit.progress import Progress

ODD = "<b>&amp; [red]"


@pytest.fixture(scope="module")
def first(trained, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("compared") / "first"
    return Path(shutil.copytree(trained, run, ignore=shutil.ignore_patterns("checkpoints")))


@pytest.fixture
def copy(first, tmp_path) -> Callable[..., Path]:
    """A function that copies the run, with other test logits, settings and photos."""

    def copy_(name: str, logits=None, *, photos=None, **settings: object) -> Path:
        to = tmp_path / name
        shutil.copytree(first, to)
        if logits is not None:
            write_logits(to, "test", np.asarray(logits, np.float32))
        if photos is not None:
            write_index(to / "index.parquet", photos)
        saved = json.loads((to / "config.json").read_text())
        saved["settings"] |= settings
        (to / "config.json").write_text(json.dumps(saved))
        return to

    return copy_


def right(run: Path, wrong: int = 0) -> np.ndarray:
    """Logits that name the right class of all test photos but the first few."""
    _, labels = Run.open(run).split("test")
    named = np.where(np.arange(len(labels)) < wrong, (labels + 1) % 3, labels)
    return 5.0 * np.eye(3)[named]


def test_gains_are_those_on_the_photos_that_both_were_tested_on(first, copy) -> None:
    poor = copy("poor", right(first, wrong=9), preset="dropout")
    good = copy("good", right(first, wrong=1), refit="val", preset="label-smoothing")
    found = compare_runs([poor, good], Progress())
    one, two = found["runs"]
    assert one["against_first"] is None and one["photos"] == 18
    assert (one["preset"], two["preset"]) == ("dropout", "label-smoothing")
    assert two["accuracy"]["value"] == pytest.approx(17 / 18)
    gain = two["against_first"]
    assert gain["photos"] == 18
    assert gain["accuracy"]["value"] == pytest.approx(8 / 18)
    difference = two["macro_f1"]["value"] - one["macro_f1"]["value"]
    assert gain["macro_f1"]["value"] == pytest.approx(difference)
    for name in ("accuracy", "macro_f1"):
        assert 0 < gain[name]["low"] < gain[name]["value"] < gain[name]["high"] <= 1
    presets = ["dropout", "label-smoothing"]
    assert found["settings"] == {"preset": presets, "refit": ["none", "val"]}
    [note] = found["notes"]
    assert note.startswith("good was trained again") and "on test photos its second's" in note
    best = one["best"]
    assert one["gap"] == best["train_macro_f1"] - best["val_macro_f1"]


def test_the_same_answers_gain_nothing(first, copy) -> None:
    found = compare_runs([first, copy("same")], Progress())
    gain = found["runs"][1]["against_first"]
    assert gain["accuracy"] == gain["macro_f1"] == {"value": 0, "low": 0, "high": 0}


def test_only_shared_photos_are_paired_and_classes_by_name(first, copy) -> None:
    photos = list(Run.open(first).photos)
    test = [row for row, photo in enumerate(photos) if photo.split == "test"]
    for row in test[:4]:
        photos[row] = replace(photos[row], split="train")
    fewer = copy("fewer", right(first)[4:], photos=photos)
    # A class that the first run does not have moves the numbers of the others.
    table = json.loads((fewer / "classes.json").read_text())
    new = {"id": 0, "name": "aaa", "common_name": None, "taxon": {}}
    table["classes"] = [new, *({**item, "id": item["id"] + 1} for item in table["classes"])]
    (fewer / "classes.json").write_text(json.dumps(table))
    write_logits(fewer, "test", np.pad(right(first)[4:], ((0, 0), (1, 0))).astype(np.float32))
    found = compare_runs([copy("whole", right(first)), fewer], Progress())
    gain = found["runs"][1]["against_first"]
    assert gain["photos"] == 14 and gain["accuracy"]["value"] == 0
    assert "fewer shares 14 of its 14 test photos with whole" in found["notes"][0]


def test_without_shared_photos_each_stands_by_itself(first, copy) -> None:
    others = [replace(photo, sha256=photo.sha256[::-1]) for photo in Run.open(first).photos]
    found = compare_runs([first, copy("others", right(first), photos=others)], Progress())
    assert found["runs"][1]["against_first"] is None
    assert found["runs"][1]["accuracy"]["value"] == 1
    assert "shares no test photo with first" in found["notes"][0]


def test_runs_of_an_earlier_release_have_no_gap_and_their_logits_are_computed(first, copy) -> None:
    old = copy("old")
    (old / "test_logits.npy").unlink()
    history = json.loads((old / "history.json").read_text())
    for row in history["epochs"]:
        del row["train_macro_f1"], row["train_accuracy"]
    (old / "history.json").write_text(json.dumps(history))
    found = compare_runs([first, old], Progress())
    one, two = found["runs"]
    assert two["gap"] is None and two["best"]["val_macro_f1"] == one["best"]["val_macro_f1"]
    assert two["accuracy"] == one["accuracy"] and "no gap" in found["notes"][0]


def test_forged_logits_are_not_read(first, copy) -> None:
    run = copy("forged")
    path = run / "test_logits.npy"
    whole = path.read_bytes()
    assert Run.open(run).test_logits() is not None
    # A header that claims far more than the file or the memory holds, and one of objects.
    for forged in (whole.replace(b"(18, 3)", b"(18, 3000000000000)"), whole[:-4], b"", b"PK\3\4"):
        path.write_bytes(forged)
        assert Run.open(run).test_logits() is None
    np.save(path, np.array([[{}]]), allow_pickle=True)
    assert Run.open(run).test_logits() is None
    write_logits(run, "test", np.full((18, 3), np.nan, np.float32))
    assert Run.open(run).test_logits() is None


def test_the_page_is_self_contained_and_names_are_escaped(run, first, copy, tmp_path) -> None:
    odd = copy(ODD, right(first, wrong=2))
    code, said, err = run("compare", first, odd, "--out", tmp_path / "out")
    assert code == 0, err
    assert "gap" in said and "[red]" in said and said.rstrip().endswith("compare.html")
    page = (tmp_path / "out" / "compare.html").read_text()
    assert page.count("<svg") == 7 and ODD not in page and "&lt;b&gt;&amp;amp; [red]" in page
    assert not re.search(r"https?:|<script|@import|url\(", page)
    code, said, _ = run("compare", first, odd, "--out", tmp_path / "again", "--json")
    assert code == 0
    assert json.loads(said) == json.loads((tmp_path / "out" / "compare.json").read_text())


def test_runs_of_one_name_are_told_apart(first, copy) -> None:
    found = compare_runs([copy("one/run"), copy("two/run")], Progress())
    assert len({row["name"] for row in found["runs"]}) == 2


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (("RUN",), "wanted two or more"),
        (("RUN", "RUN"), "the same run twice"),
        (("RUN", "none"), "no such run folder"),
        (("RUN", "DAMAGED"), "history.json: damaged or missing"),
    ],
)
def test_wrong_usage_is_one_line(run, first, copy, tmp_path, one_line, runs, said) -> None:
    damaged = copy("damaged")
    (damaged / "history.json").write_text('{"epochs": 3}')
    words = {"RUN": first, "DAMAGED": damaged}
    code, _, err = run("compare", *(words.get(x, x) for x in runs), "--out", tmp_path / "o")
    assert code == 2 and said in one_line(err, "rs-toolkit", notes=True)
    assert not (tmp_path / "o").exists()
