"""CSV, JSON Lines, SpeciesNet, MegaDetector and Parquet: every input is one row, with its facts."""

from __future__ import annotations

import csv
import io
import json

import pytest

from rs_runtime.outputs.tables import csv_line, guarded

PATHS = [
    "CAM1/DCIM/100RECNX/IMG_0001.JPG",
    "CAM1/DCIM/100RECNX/IMG_0002.JPG",
    'CAM2/=1+1,\n"é".jpg',
    "CAM2/IMG_0001.JPG",
    "CAM2/IMG_0002.JPG",
    "CAM2/bad.jpg",
]


def test_csv_has_a_row_for_each_photo(classify, cameras, tmp_path) -> None:
    table = tmp_path / "a.csv"
    code, out, err = classify(cameras, "-o", table, "--top", 2)
    assert (code, out) == (1, "") and "wrote" in err and "6 photos" in err
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8"), newline="")))
    assert [row["path"] for row in rows] == PATHS
    fox, dog, _, empty, grey, bad = rows
    assert (fox["rank"], fox["name"], fox["common_name"]) == ("species", "vulpes vulpes", "red fox")
    assert float(fox["probability"]) > 0.9 and fox["filter"] == "organism"
    assert (fox["taken"], fox["latitude"], fox["longitude"]) == (
        "2025-03-09T06:30:12",
        "-1.5",
        "36.25",
    )
    assert (dog["rank"], dog["name"], dog["common_name"]) == ("family", "canidae", "")
    assert {dog["class_1"], dog["class_2"]} == {"vulpes vulpes", "canis lupus"}
    assert "'=wolf" in {dog["common_name_1"], dog["common_name_2"]}
    assert empty["filter"] == "not_organism" and empty["class_1"] == "parus major"
    assert grey["name"] == "uncertain" and grey["filter"] == "uncertain"
    assert bad["error"] and not bad["name"] and not fox["error"]
    assert (fox["width"], fox["height"]) == ("96", "64")


def test_csv_can_be_printed(classify, cameras, tmp_path) -> None:
    code, out, _ = classify(cameras, "--format", "csv")
    classify(cameras, "-o", tmp_path / "a.csv")
    assert code == 1
    assert list(csv.reader(io.StringIO(out, newline=""))) == list(
        csv.reader((tmp_path / "a.csv").open(encoding="utf-8", newline=""))
    )


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", "'=1"])
def test_formulas_are_guarded_and_can_be_had_back(text) -> None:
    assert guarded(text) == f"'{text}"
    assert guarded("a=1") == "a=1" and guarded("") == ""


def test_numbers_of_csv_are_plain() -> None:
    assert csv_line([-1.5, 1e-9, 0.1 + 0.2, 1.0, None, 'a"b']) == '-1.5,0,0.3,1,,"a""b"\r\n'


def test_a_table_in_a_file_has_the_photos_without_an_answer(classify, cameras, tmp_path) -> None:
    classify(cameras, "-o", tmp_path / "a.txt")
    lines = (tmp_path / "a.txt").read_text("utf-8").splitlines()
    (bad,) = [line for line in lines if line.startswith("CAM2/bad.jpg")]
    assert "no answer: photo" in bad and sum(not line.startswith(" ") for line in lines) == 6


def test_json_lines_in_a_file_have_relative_paths(classify, cameras, tmp_path) -> None:
    code, printed, _ = classify(cameras, "--json")
    assert classify(cameras, "--json", "-o", tmp_path / "a")[:2] == (code, "")
    ours = [json.loads(line) for line in (tmp_path / "a").read_text().splitlines()]
    theirs = [json.loads(line) for line in printed.splitlines()]
    assert [line.pop("path") for line in ours] == PATHS
    assert [line.pop("path") for line in theirs] == [f"{cameras}/{path}" for path in PATHS]
    assert ours == theirs


def test_paths_of_several_folders_begin_below_their_common_one(classify, cameras) -> None:
    _, out, _ = classify(cameras / "CAM2", cameras / "CAM1", "--format", "speciesnet")
    files = [item["filepath"] for item in json.loads(out)["predictions"]]
    assert files == PATHS[2:] + PATHS[:2]
    _, out, _ = classify(cameras / "CAM2" / "IMG_0001.JPG", "--format", "speciesnet")
    assert json.loads(out)["predictions"][0]["filepath"] == "IMG_0001.JPG"


def test_speciesnet(classify, cameras, tmp_path) -> None:
    """As the README of github.com/google/cameratrapai describes the output."""
    code, _, _ = classify(cameras, "--format", "speciesnet", "-o", tmp_path / "p.json", "--top", 3)
    (name, rows), *others = json.loads((tmp_path / "p.json").read_text()).items()
    assert (code, name, others) == (1, "predictions", [])
    assert [row["filepath"] for row in rows] == PATHS
    for row in rows[:-1]:
        assert "failures" not in row
        found = row["classifications"]
        assert len(found["classes"]) == len(found["scores"]) == 3
        assert found["scores"] == sorted(found["scores"], reverse=True)
        for label in (*found["classes"], row["prediction"]):
            assert len(label.split(";")) == 7 and label == label.lower()
        assert 0 <= row["prediction_score"] <= 1 and row["model_version"].startswith("field ")
    fox, dog, _, empty, grey, bad = rows
    parts = fox["prediction"].split(";")[1:]
    assert parts == ["mammalia", "carnivora", "canidae", "vulpes", "vulpes", "red fox"]
    assert fox["classifications"]["classes"][0] == fox["prediction"]
    assert (fox["latitude"], fox["longitude"]) == (-1.5, 36.25) and "latitude" not in grey
    assert dog["prediction"].split(";")[1:] == [
        "mammalia",
        "carnivora",
        "canidae",
        "",
        "",
        "canidae",
    ]
    assert dog["prediction_source"] == "classifier+rollup_to_family"
    assert empty["prediction"] == "f1856211-cfb7-4a5b-9158-c0f72fd09ee6;;;;;;blank"
    assert empty["prediction_source"] == "filter" and empty["prediction_score"] > 0.75
    assert grey["prediction"].endswith(";no cv result")
    assert bad["failures"] == ["CLASSIFIER"] and "prediction" not in bad


def test_megadetector(classify, cameras, tmp_path) -> None:
    """As megadetector-output-format.md of github.com/agentmorris/MegaDetector has version 1.5."""
    file = tmp_path / "m.json"
    assert classify(cameras, "--format", "megadetector", "-o", file)[0] == 1
    found = json.loads(file.read_text())
    assert found["info"]["format_version"] == "1.5"
    kinds, names = found["detection_categories"], found["classification_categories"]
    assert kinds == {"1": "animal"} and all(number.isdecimal() for number in names)
    assert found["classification_category_descriptions"].keys() == names.keys()
    assert all(name.strip() for name in names.values())
    assert [image["file"] for image in found["images"]] == PATHS
    for image in found["images"][:-1]:
        assert "failure" not in image
        for box in image["detections"]:
            assert box["category"] in kinds and type(box["conf"]) is float
            assert box["bbox"] == [0, 0, 1, 1]
            scores = [score for _, score in box["classifications"]]
            assert scores == sorted(scores, reverse=True)
            assert {number for number, _ in box["classifications"]} <= names.keys()
    told = [
        [(names[number], round(score, 1)) for number, score in box["classifications"]]
        for image in found["images"][:2]
        for box in image["detections"]
    ]
    assert told[0][0] == ("red fox", 1.0)
    assert told[1][0] == ("canidae", 1.0) and {name for name, _ in told[1][1:]} >= {"=wolf"}
    assert found["images"][3]["detections"] == []
    bad = found["images"][-1]
    assert bad["detections"] is None and "bad.jpg" in bad["failure"]


def test_parquet(classify, cameras, tmp_path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    code, out, _ = classify(cameras, "-o", tmp_path / "a.parquet", "--top", 1)
    assert (code, out) == (1, "")
    rows = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["path"] for row in rows] == PATHS
    assert rows[0]["probability"] > 0.9 and rows[0]["latitude"] == -1.5 and rows[0]["width"] == 96
    assert rows[-1]["error"] and rows[-1]["probability"] is None


def test_parquet_without_pyarrow_names_the_extra(classify, cameras, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    code, out, err = classify(cameras, "-o", tmp_path / "a.parquet")
    assert (code, out) == (2, "") and "pip install 'rs-toolkit[parquet]'" in err
    assert not [*tmp_path.glob("*.parquet"), *tmp_path.glob(".tmp*")]
