"""``rs-toolkit val`` and ``predict`` on a toy run and its kit."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import rs_runtime.cli
from rs_export import ExportSettings, export_run
from rs_toolkit.folders.run import Run


@pytest.fixture(scope="module")
def trained(trained, tmp_path_factory) -> Path:
    """A run on the shapes, exported."""
    run = tmp_path_factory.mktemp("exported") / "shapes"
    shutil.copytree(trained, run)
    export_run(run, ExportSettings(recipes=("tflite_fp32",), force=True))
    return run


@pytest.fixture(scope="module")
def kit(trained) -> Path:
    return trained / "export" / "shapes.rskit"


@pytest.fixture
def lone_kit(kit, tmp_path) -> Path:
    """The kit, away from its run."""
    return Path(shutil.copy(kit, tmp_path / "lone.rskit"))


@pytest.fixture
def val(run, tmp_path):
    """A function that runs val and gives its JSON, its predictions, stdout and stderr."""

    def val_(*arguments: object):
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        code, said, err = run("val", *arguments, "--out", out)
        assert code == 0, err
        with (out / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        return json.loads((out / "val.json").read_text()), rows, said, err

    return val_


def test_a_run_is_measured_on_its_test_photos(val, trained) -> None:
    found, rows, said, _ = val(trained)
    before = json.loads((trained / "metrics.json").read_text())["test"]
    (family,) = found["ranks"]
    assert found["photos"] == family["photos"] == before["n"] == len(rows)
    assert family["accuracy"]["value"] == pytest.approx(before["accuracy"])
    assert family["macro_f1"]["value"] == pytest.approx(before["macro_f1"])
    assert family["ece"] == pytest.approx(before["ece"], abs=1e-4)
    assert found["seen"] == {} and found["data"]["split"] == "test"
    assert [row["f1"] for row in found["per_class"]] == pytest.approx(
        [row["f1"] for row in before["per_class"]]
    )
    assert "macro-F1" in said and said.rstrip().endswith("val.html")


def test_a_kit_gives_what_rs_classify_answers(val, kit, trained, capsys) -> None:
    _, rows, _, _ = val(kit, trained, "--split", "all", "--min-probability", 0.4)
    run = Run.open(trained)
    paths = [str(run.data_root / row["path"]) for row in rows]
    options = ("--kit", str(kit), "--json", "--min-probability", "0.4")
    assert rs_runtime.cli.main([*paths, *options]) == 0
    for row, line in zip(rows, capsys.readouterr().out.splitlines(), strict=True):
        answer = json.loads(line)
        assert row["predicted_family"] == answer["top"][0]["name"]
        probability = answer["top"][0]["probability"]
        assert float(row["probability_family"]) == pytest.approx(probability, abs=1e-4)
        assert row["answer"] == (answer["answer"]["name"] or "uncertain")


@pytest.mark.parametrize("model", ["trained", "kit"])
def test_photos_that_the_model_has_learned_from_are_counted_apart(
    val, shapes, tmp_path, request, model
) -> None:
    # Under other names, in another folder: known by their bytes.
    data = tmp_path / "data"
    shutil.copytree(shapes, data)
    for path in sorted(data.rglob("*.png")):
        path.rename(path.with_name(f"renamed-{path.name}"))
    found, rows, said, err = val(request.getfixturevalue(model), data)
    assert found["photos"] == 18 and len(rows) == 60
    assert {side: part["photos"] for side, part in found["seen"].items()} == {
        "train": 30,
        "val": 12,
    }
    assert "30 train photos and 12 val photos" in err and "learned from (train)" in said
    assert sorted({row["counted"] for row in rows}) == ["train", "val", "yes"]


def test_training_photos_are_measured_only_when_asked_for_and_with_a_warning(
    val, run, trained, shapes, tmp_path, one_line
) -> None:
    found, _, _, err = val(trained, "--split", "train")
    assert found["photos"] == 30 and "say nothing about new photos" in err
    learned = {photo.path for photo in Run.open(trained).photos if photo.split == "train"}
    for path in learned:
        (tmp_path / "known" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shapes / path, tmp_path / "known" / path)
    code, _, err = run("val", trained, tmp_path / "known", "--out", tmp_path / "o")
    assert code == 2
    assert "has learned from all photos" in one_line(err, "rs-toolkit", notes=True)
    assert not (tmp_path / "o").exists()


def test_a_kit_away_from_its_run_says_what_is_not_checked(val, lone_kit, shapes, trained) -> None:
    found, _, _, err = val(lone_kit, shapes)
    assert "the model was trained on some of these photos" in err
    assert not found["data"]["learned_from_checked"] and found["photos"] == 60
    found, _, _, err = val(lone_kit, shapes, "--run", trained)
    assert found["data"]["learned_from_checked"] and found["photos"] == 18


def test_taxa_that_the_model_does_not_know_are_counted_apart(
    val, trained, shapes, tmp_path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(shapes, data)
    (data / "trigonidae").rename(data / "hexagonidae")
    found, rows, _, _ = val(trained, data, "--split", "test")
    unknown = sum(row["label_family"] == "hexagonidae" for row in rows)
    assert unknown and found["unknown"]["photos"] == unknown
    assert found["unknown"]["ranks"][0]["unknown"] == unknown
    assert found["photos"] == 18 - unknown
    assert 0 <= found["strangeness"]["auroc"] <= 1


def test_sets_are_checked_at_the_coverage_asked_for(val, trained) -> None:
    asked = [row["coverage"] for row in val(trained)[0]["sets"]]
    assert asked == [0.8, 0.9, 0.95]
    assert [row["coverage"] for row in val(trained, "--coverage", 0.7)[0]["sets"]] == [0.7]


def test_the_page_is_self_contained(val, trained, tmp_path) -> None:
    val(trained, "--min-probability", 0)
    page = (tmp_path / "out" / "val.html").read_text()
    assert page.count("<svg") >= 3 and "Content-Security-Policy" in page
    assert not re.search(r"https?:|<script|@import|url\(", re.sub(r'"data:[^"]*"', "", page))


def test_unlabelled_photos_are_refused_in_one_line(
    run, trained, shapes, tmp_path, one_line
) -> None:
    shutil.copytree(shapes / "discidae", tmp_path / "loose")
    code, _, err = run("val", trained, tmp_path / "loose", "--out", tmp_path / "o")
    assert code == 2 and "has a label" in one_line(err, "rs-toolkit", notes=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none",), "no such run folder or kit"),
        (("RUN", "none"), "no such folder or CSV file"),
        (("RUN", "--engine", "litert"), "has one model only"),
        (("RUN", "--split", "tset"), "wanted one of"),
        (("KIT", "--variant", "x"), "has no variant 'x'"),
        (("KIT", "--engine", "torch"), "wanted one of"),
        (("LONE",), "got no photos"),
    ],
)
def test_wrong_usage_is_one_line(
    run, trained, kit, lone_kit, tmp_path, one_line, arguments, said
) -> None:
    words = {"RUN": trained, "KIT": kit, "LONE": lone_kit}
    code, _, err = run("val", *(words.get(x, x) for x in arguments), "--out", tmp_path / "o")
    assert code == 2 and said in one_line(err, "rs-toolkit", notes=True)
    assert not (tmp_path / "o").exists()


def test_predict_prints_what_rs_classify_prints(
    run, trained, kit, shapes, tmp_path, capsys
) -> None:
    photos = [shapes / "discidae" / "00.png", shapes / "trigonidae"]
    options = ("--json", "--min-probability", "0.4", "--coverage", "0.9")
    code, out, _ = run("predict", trained, *photos, *options)
    assert code == 0
    assert rs_runtime.cli.main([*map(str, photos), "--kit", str(kit), *options]) == 0
    lines = zip(out.splitlines(), capsys.readouterr().out.splitlines(), strict=True)
    for ours, theirs in ((json.loads(one), json.loads(other)) for one, other in lines):
        assert ours.keys() == theirs.keys() and ours["path"] == theirs["path"]
        assert ours["answer"]["name"] == theirs["answer"]["name"]
        assert ours["set"]["classes"] == theirs["set"]["classes"]
        probabilities = ([x["probability"] for x in item["top"]] for item in (ours, theirs))
        np.testing.assert_allclose(*probabilities, atol=1e-3)


def test_predict_goes_on_after_a_bad_photo(run, trained, shapes, tmp_path) -> None:
    bad, good = tmp_path / "bad.jpg", shapes / "discidae" / "00.png"
    bad.write_bytes(b"no photo")
    table = tmp_path / "p.csv"
    code, out, err = run("predict", trained, bad, good, "--top", 2, "--csv", table)
    assert code == 1 and "00.png" in out
    assert "rs-toolkit: " in err and "bad.jpg" in err and "rs-classify" not in err
    with table.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first["error"] and not first["class_1"]
    assert second["class_1"] and second["probability_2"] and not second["error"]


def test_predict_finds_what_it_cannot_write_before_it_classifies(
    run, trained, shapes, tmp_path
) -> None:
    photo = shapes / "discidae" / "00.png"
    for options in (
        ("--csv", tmp_path / "none" / "p.csv"),
        ("-o", tmp_path / "none" / "p.csv"),
        ("--format", "parquet"),
        ("--format", "excel"),
    ):
        code, out, _ = run("predict", trained, photo, *options)
        assert (code, out) == (2, "")
    assert not (tmp_path / "none").exists()


def test_predict_writes_the_formats_of_rs_classify(run, trained, shapes, tmp_path) -> None:
    options = ("--format", "megadetector", "-o", tmp_path / "m.json")
    assert run("predict", trained, shapes / "trigonidae", *options)[0] == 0
    assert len(json.loads((tmp_path / "m.json").read_text())["images"]) == 10


def test_predict_takes_a_list_of_species_and_sequences(run, trained, shapes, tmp_path) -> None:
    (tmp_path / "list.txt").write_text("Trigonidae\n")
    (tmp_path / "s.csv").write_text("path,sequence\n00.png,first\n02.png,first\n")
    photos = shapes / "discidae"
    options = ("--species", tmp_path / "list.txt", "--json")
    code, out, err = run("predict", trained, photos, *options, "--sequences", tmp_path / "s.csv")
    assert code == 0 and "rs-toolkit: warning: " in err and "allows 1 of " in err
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["top"][0]["name"] for row in rows} == {"trigonidae"}
    assert {row["original"]["top"][0]["name"] for row in rows} == {"discidae"}
    told = [row["sequence"] and row["sequence"]["photos"] for row in rows]
    assert told == [2, None, 2, *[None] * (len(rows) - 3)]
    assert run("predict", trained, photos, "--sequence", "soon")[0] == 2


def test_without_validation_photos_a_run_answers_without_thresholds(
    run, trained, shapes, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved, ignore=shutil.ignore_patterns("checkpoints"))
    saved = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**saved, "data_root": str(tmp_path / "gone")}))
    code, out, err = run("predict", moved, shapes / "discidae" / "00.png", "--json")
    assert code == 0 and "without thresholds" in err
    assert json.loads(out)["answer"] is None
