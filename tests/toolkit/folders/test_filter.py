"""Filter folders: what is written is read back, and what is damaged is refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.data.index import build_index, write_index
from rs_toolkit.data.photos import PhotoCache, default_cache_dir
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.errors import RunError
from rs_toolkit.folders.filter import FilterFolder, Verdicts, write_filter_json

PREPROCESSING = Preprocessing(size=24)
SIDES = ("train", "val", "test")
ABOUT = {
    "classes": [{"name": "organism", "organism": True}, {"name": "page", "organism": False}],
    "preprocessing": PREPROCESSING,
    "calibration": {"temperature": 2.0, "bias": -1.0},
    "thresholds": {"not_organism": 0.2, "organism": 0.9},
    "student": "tiny",
    "teacher": None,
    "metrics": {"test": {"auroc": 0.9}},
    "data_fingerprint": "0" * 64,
}


def pictures(root: Path, shade: int) -> None:
    """Two folders of three pictures; the same names in every root."""
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(3):
            colour = (shade, 40 * number, 100 if name == "a" else 200)
            Image.new("RGB", (30, 20), colour).save(root / name / f"{number}.png")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A finished filter folder of 12 photos, whose model is never run."""
    cache = PhotoCache(default_cache_dir(), PREPROCESSING)
    photos = []
    for name, shade in (("data", 10), ("others", 220)):
        pictures(tmp_path / name, shade)
        found = build_index(read_dataset(tmp_path / name), cache)
        photos += [replace(p, split=SIDES[n % 3]) for n, p in enumerate(found)]
    path = tmp_path / "filter"
    write_index(path / "index.parquet", photos)
    truth = np.arange(12) < 6
    Verdicts(truth, truth, np.where(truth, 0.9, 0.1)).write(path / "verdicts.parquet")
    roots = {"data_root": "data", "not_organism_root": "others"}
    config = {key: str(tmp_path / value) for key, value in roots.items()}
    (path / "config.json").write_text(json.dumps(config))
    (path / "student.keras").write_bytes(b"keras")
    write_filter_json(path, **ABOUT)
    return path


def edit(folder: Path, file: str, **values: object) -> None:
    saved = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(saved | values))


def test_what_was_written_is_read(folder) -> None:
    found = FilterFolder.open(folder)
    assert {name: getattr(found, name) for name in ABOUT} == ABOUT
    assert found.organism.tolist() == [True, False]
    assert found.verdicts.target.tolist() == [0.9] * 6 + [0.1] * 6
    assert found.path == folder


def test_a_side_has_photos_of_both_roots(folder) -> None:
    photos, truth = FilterFolder.open(folder).side("val")
    assert [photo.path for photo in photos] == ["a/1.png", "b/1.png"] * 2
    assert truth.tolist() == [True, True, False, False]


def test_pixels_come_from_the_photos_own_root(folder, monkeypatch, tmp_path) -> None:
    # Nothing is cached: the files themselves must be found, though both roots have these names.
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "empty"))
    found = FilterFolder.open(folder)
    photos, truth = found.side("test")
    pixels = found.pixels(photos)
    assert pixels.shape == (4, 24, 24, 3)
    assert pixels[:, 0, 0, 0].tolist() == [10 if kind else 220 for kind in truth]
    assert found.pixels([]).shape == (0, 24, 24, 3)


@pytest.mark.parametrize("name", ["filter.json", "student.keras", "verdicts.parquet"])
def test_an_unfinished_folder_is_refused(folder, one_line, name) -> None:
    (folder / name).unlink()
    with pytest.raises(RunError, match=f"{name} missing.*--resume") as caught:
        FilterFolder.open(folder)
    one_line(str(caught.value))


def test_a_folder_of_an_earlier_version_is_to_be_made_again(folder, one_line) -> None:
    (folder / "student.keras").rename(folder / "student.onnx")
    with pytest.raises(RunError, match=r"earlier version.*rs-toolkit distill") as caught:
        FilterFolder.open(folder)
    assert "--resume" not in one_line(str(caught.value))


def test_a_damaged_student_is_one_line(folder, one_line) -> None:
    with pytest.raises(RunError, match=r"student\.keras: damaged.*distil again") as caught:
        FilterFolder.open(folder).load_model()
    one_line(str(caught.value))


def test_no_folder_is_refused(tmp_path) -> None:
    with pytest.raises(RunError, match="no such filter folder"):
        FilterFolder.open(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"format": "rskit"}, "format"),
        ({"version": 2}, "update rs-toolkit"),
        ({"version": True}, "update rs-toolkit"),
        ({"classes": ABOUT["classes"][:1]}, "classes"),
        ({"classes": [{"name": f"{n}", "organism": True} for n in range(2)]}, "one other"),
        ({"classes": [{"name": "x", "organism": n == 0} for n in range(2)]}, "same name"),
        ({"classes": [{"name": f"{n}", "organism": n} for n in range(2)]}, "true or false"),
        ({"classes": [{"name": "a\nb", "organism": True}] * 2}, "printable"),
        ({"classes": [{"organism": True}] * 2}, "name"),
        ({"classes": "ab"}, "list"),
        ({"classes": [1, 2]}, r"classes\[0\] must be an object"),
        ({"calibration": {"temperature": 0, "bias": 0}}, "temperature"),
        ({"calibration": {"temperature": "1", "bias": 0}}, "temperature"),
        ({"calibration": {"temperature": 1, "bias": True}}, "bias"),
        ({"calibration": {"temperature": 1}}, "bias"),
        ({"calibration": None}, "calibration must be an object"),
        ({"thresholds": {"not_organism": 0.6, "organism": 0.5}}, "organism"),
        ({"thresholds": {"not_organism": -0.1, "organism": 0.5}}, "not_organism"),
        ({"preprocessing": {"size": 24}}, "lacks"),
        ({"preprocessing": PREPROCESSING.to_dict() | {"size": 10**6}}, "size"),
        ({"teacher": "CLIP"}, "objects"),
        ({"metrics": [1]}, "objects"),
        ({"student": ""}, "student"),
        ({"data_fingerprint": None}, "data_fingerprint"),
    ],
)
def test_a_wrong_value_is_refused(folder, one_line, values, said) -> None:
    edit(folder, "filter.json", **values)
    with pytest.raises(RunError, match=said) as caught:
        FilterFolder.open(folder)
    assert "filter.json: damaged" in one_line(str(caught.value))


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", '{"format": NaN}', "\ud800", "[" * 100_000, "{}"]
)
def test_what_is_no_filter_json_is_refused(folder, one_line, text) -> None:
    (folder / "filter.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RunError, match=r"filter\.json: damaged") as caught:
        FilterFolder.open(folder)
    one_line(str(caught.value))


def test_an_endless_file_is_not_read(folder) -> None:
    with (folder / "filter.json").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(RunError, match="larger than"):
        FilterFolder.open(folder)


def test_roots_are_paths(folder) -> None:
    edit(folder, "config.json", data_root=5)
    with pytest.raises(RunError, match=r"config\.json: damaged"):
        FilterFolder.open(folder)


def test_photos_without_a_root_are_refused(folder) -> None:
    edit(folder, "config.json", not_organism_root=None)
    with pytest.raises(RunError, match="not_organism_root"):
        FilterFolder.open(folder)


@pytest.mark.parametrize(
    ("count", "target", "said"), [(11, 0.5, "11 in verdicts"), (12, np.nan, "from 0 to 1")]
)
def test_verdicts_that_do_not_fit_are_refused(folder, one_line, count, target, said) -> None:
    kinds = np.ones(count, bool)
    Verdicts(kinds, kinds, np.full(count, target)).write(folder / "verdicts.parquet")
    with pytest.raises(RunError, match=said) as caught:
        FilterFolder.open(folder)
    one_line(str(caught.value))


@pytest.mark.parametrize("name", ["verdicts.parquet", "index.parquet"])
def test_a_damaged_table_is_refused(folder, one_line, name) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    with pytest.raises(RunError, match=name) as caught:
        FilterFolder.open(folder)
    one_line(str(caught.value))


def test_an_unknown_side_is_refused(folder) -> None:
    photos = FilterFolder.open(folder).photos
    write_index(folder / "index.parquet", [replace(photo, split="../x") for photo in photos])
    with pytest.raises(RunError, match="split"):
        FilterFolder.open(folder)


def test_what_would_be_refused_is_not_written(folder) -> None:
    before = (folder / "filter.json").read_bytes()
    with pytest.raises(RunError, match="temperature"):
        write_filter_json(folder, **ABOUT | {"calibration": {"temperature": np.nan, "bias": 0.0}})
    assert (folder / "filter.json").read_bytes() == before
