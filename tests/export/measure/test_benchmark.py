"""Benchmarks of tiny kits: what is recorded, compared and drawn, and what a bad variant costs."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import rs_toolkit.cli.main
from rs_export.measure.benchmark import benchmark
from rs_export.measure.benchmark_report import tables, write_benchmark
from rs_runtime.errors import KitIntegrityError, KitNotFoundError
from rs_runtime.kit.kit import write_kit
from rs_runtime.kit.manifest import ClassInfo, Manifest, Variant
from rs_runtime.photos.preprocess import Preprocessing
from rs_runtime.probe import MEASURES
from rs_toolkit.data.index import build_index, fingerprint, write_index
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.errors import ExportError, RunError
from rs_toolkit.files import MARK, write_json
from rs_toolkit.folders.claim import claimed
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import Progress

SIDE = 32
COLOURS = {"bluidae": (0, 0, 255), "greenidae": (0, 255, 0), "redidae": (255, 0, 0)}
SMALL = {"threads": (1,), "rounds": 1, "repeat": 2}


@pytest.fixture(scope="module")
def model() -> bytes:
    """An ONNX model that names the colour with the highest mean: blue, green, red."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    weights = onnx.numpy_helper.from_array(np.eye(3, dtype=np.float32)[::-1] * 8, "w")
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("MatMul", ["mean", "w"], ["y"]),
        ],
        "colours",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3])],
        [weights],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def make_kit(path: Path, models: dict[str, bytes], mark: str = "0" * 64) -> Path:
    """Write a kit of variants, named as given; ``onnx`` and ``tflite`` begin those names."""
    variants, members = [], {}
    for number, (name, data) in enumerate(models.items()):
        engine, suffix = (
            ("litert", "tflite") if name.startswith("tflite") else ("onnxruntime", "onnx")
        )
        member = f"models/{number}.{suffix}"
        measured = {"accuracy": 0.25, "macro_f1": 0.5 - number / 10, "note": "recorded"}
        variants.append(Variant(name, engine, member, 1.0, measured))
        members[member] = data
    manifest = Manifest(
        name="colours",
        created_by="tests",
        rank="family",
        classes=tuple(ClassInfo(i, name, None, {}) for i, name in enumerate(COLOURS)),
        preprocessing=Preprocessing(size=SIDE),
        variants=tuple(variants),
        default_variants={},
        calibration={},
        data_fingerprint=mark,
    )
    write_kit(path, manifest, members)
    return path


@pytest.fixture
def kit(tmp_path, model) -> Path:
    """A kit of two variants that work."""
    return make_kit(tmp_path / "k" / "colours.rskit", {"onnx_u8s8": model, "onnx_fp32": model})


@pytest.fixture
def run(tmp_path, model, monkeypatch) -> Path:
    """A run folder with four test photos, one of them of the wrong class, and its kit."""
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    for name, colour in COLOURS.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("RGB", (48, 40), colour).save(tmp_path / "data" / name / "a.png")
    Image.new("RGB", (48, 40), (250, 0, 0)).save(tmp_path / "data" / "bluidae" / "b.png")
    ready = Preprocessing(size=SIDE)
    dataset = read_dataset(tmp_path / "data")
    cache = PhotoCache(tmp_path / "cache", ready)
    photos = [replace(photo, split="test") for photo in build_index(dataset, cache)]
    folder, mark = tmp_path / "run", fingerprint(photos)
    folder.mkdir()
    write_index(folder / "index.parquet", photos)
    classes = [
        {"id": i, "name": name, "common_name": None, "taxon": {}} for i, name in enumerate(COLOURS)
    ]
    write_json(
        folder / "classes.json",
        {"rank": "family", "preprocessing": ready.to_dict(), "classes": classes},
    )
    settings = {"settings": {}, "data_root": str(dataset.root), "data_fingerprint": mark}
    write_json(folder / "config.json", settings)
    write_json(folder / "calibration.json", {"temperature": 1.0})
    (folder / "model.keras").write_bytes(b"not needed here")
    make_kit(folder / "export" / "run.rskit", {"onnx_fp32": model}, mark)
    return folder


def command(*arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["rs-toolkit", "benchmark", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            rs_toolkit.cli.main.main()
    return int(caught.value.code or 0)


def rows_of(found: Any) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in found.result["rows"]}


def test_numbers_are_positive_and_agree(kit) -> None:
    found = benchmark(kit, threads=(2, 1, 2), rounds=2, repeat=2)
    result = found.result
    assert result["settings"] == {"threads": [1, 2], "rounds": 2, "repeat": 2}
    assert {"machine", "versions", "seconds", "kit"} <= set(result)
    rows = rows_of(found)
    assert list(rows) == ["onnx_u8s8", "onnx_fp32"]
    for row in rows.values():
        assert row["xz_mb"] > 0 and 0 < row["mb"] < 0.01
        assert (row["accuracy"], row["scores"], row["test_photos"]) == (0.25, "recorded", None)
        assert [item["threads"] for item in row["probes"]] == [1, 2, 2, 1]
        assert (row["base"], row["error"]) == ("onnx_fp32", None)
        for count, medians in row["threads"].items():
            assert set(medians) == set(MEASURES)
            assert all(value > 0 for value in medians.values() if value is not None)
            both = [p["photo_p50_ms"] for p in row["probes"] if str(p["threads"]) == count]
            assert medians["photo_p50_ms"] == pytest.approx(sum(both) / 2)
            spread = abs(both[0] - both[1]) / medians["photo_p50_ms"]
            assert row["spreads"][count]["photo_p50_ms"] == pytest.approx(spread)
            ratio = medians["load_s"] / rows["onnx_fp32"]["threads"][count]["load_s"]
            assert row["ratios"][count]["load_s"] == pytest.approx(ratio)
    assert set(rows["onnx_fp32"]["ratios"]["1"].values()) == {1}


def test_files_are_written_beside_the_kit(kit) -> None:
    found = benchmark(kit, **SMALL)
    data, text, picture = found.paths
    assert {path.parent for path in found.paths} == {kit.parent / "benchmark"}
    assert json.loads(data.read_text()) == found.result
    assert "| onnx_u8s8 | 1 |" in text.read_text()
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert sorted(data.parent.iterdir()) == sorted((data.parent / MARK, *found.paths))


def test_a_folder_in_use_is_refused_before_anything_is_measured(kit) -> None:
    folder = kit.parent / "benchmark"
    with claimed(folder), pytest.raises(RunError, match="another rs-toolkit command"):
        benchmark(kit, **SMALL, progress=_Forbidden())
    assert not folder.exists()


class _Forbidden(Progress):
    def update(self, title: str, done: int, total: int, text: str = "") -> None:
        pytest.fail(f"{title} began")


def test_a_run_is_evaluated_on_its_test_photos(run) -> None:
    row = rows_of(benchmark(run, **SMALL))["onnx_fp32"]
    # Blue: one of two found; green: found; red: found, and one blue taken for it.
    assert (row["scores"], row["test_photos"], row["accuracy"]) == ("measured", 4, 0.75)
    assert row["macro_f1"] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    assert (run / "export" / "benchmark" / "benchmark.md").is_file()


def test_another_kit_takes_turns_and_is_the_base(kit, tmp_path, model) -> None:
    other = make_kit(tmp_path / "other.rskit", {"onnx_s8s8": model, "onnx_fp32": model})
    found = benchmark(kit, against=other, **SMALL)
    bases = {name: row["base"] for name, row in rows_of(found).items()}
    assert bases == {
        "onnx_u8s8": "against:onnx_fp32",
        "onnx_fp32": "against:onnx_fp32",
        "against:onnx_s8s8": "against:onnx_s8s8",
        "against:onnx_fp32": "against:onnx_fp32",
    }
    assert all(row["threads"]["1"]["model_p50_ms"] > 0 for row in rows_of(found).values())
    assert "against:onnx_s8s8" in found.text


def test_a_bad_variant_does_not_lose_the_rest(tmp_path, model, capsys) -> None:
    kit = make_kit(tmp_path / "k.rskit", {"onnx_u8s8": b"no model", "onnx_fp32": model})
    assert command(kit, "--threads", 1, "--rounds", 1) == 0
    said = capsys.readouterr()
    assert "onnx_u8s8 failed: onnxruntime refused the model" in said.out
    bad, good = json.loads((tmp_path / "benchmark" / "benchmark.json").read_text())["rows"]
    assert "refused the model" in bad["error"] and bad["error"].isprintable()
    assert (bad["threads"], bad["ratios"]) == ({"1": {}}, {"1": {}})
    assert good["error"] is None and good["ratios"]["1"]["model_p50_ms"] == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ImportError('it is not here')", "not usable here"),
        ("import os; os.abort()", "crashed with signal 6"),
        ("import os; os._exit(0)", "gave no JSON"),
        ("raise SystemExit(3)", "failed without a word"),
    ],
)
def test_a_missing_or_crashing_engine(tmp_path, model, monkeypatch, code, said) -> None:
    (tmp_path / "path" / "ai_edge_litert").mkdir(parents=True)
    (tmp_path / "path" / "ai_edge_litert" / "__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    kit = make_kit(tmp_path / "k.rskit", {"tflite_fp32": b"model", "onnx_fp32": model})
    rows = rows_of(benchmark(kit, **SMALL))
    assert said in rows["tflite_fp32"]["error"]
    assert rows["onnx_fp32"]["threads"]["1"]["model_p50_ms"] > 0


def test_no_answer_in_time(kit, tmp_path) -> None:
    with pytest.raises(ExportError, match=r"no variant could be measured.*within 0\.01 s"):
        benchmark(kit, **SMALL, timeout=0.01)
    assert not (kit.parent / "benchmark").exists()


def test_names_cannot_break_tables_or_pictures(tmp_path, model) -> None:
    names = ["_a|b [/red]", r"$\frac$", "-x"]
    kit = make_kit(tmp_path / "-k.rskit", dict.fromkeys(names, model))
    found = benchmark(kit, **SMALL)
    assert not [row["error"] for row in found.result["rows"] if row["error"]]
    assert found.paths[2].read_bytes()[:4] == b"\x89PNG"
    lines = [line for line in found.paths[1].read_text().splitlines() if line.startswith("|")]
    cells = [len(re.split(r"(?<!\\)\|", line)) for line in lines]
    assert cells == [cells[0]] * 5 + [cells[5]] * 5


def test_scores_may_be_unknown(kit) -> None:
    result = benchmark(kit, **SMALL).result
    for row in result["rows"]:
        row.update(accuracy=None, macro_f1=None, scores=None)
    write_benchmark(result, kit.parent / "again", pytest.fail)
    assert "unknown" in tables(result)


def test_wrong_paths(tmp_path, kit, run) -> None:
    with pytest.raises(KitNotFoundError, match="does not exist"):
        benchmark(tmp_path / "none.rskit")
    with pytest.raises(KitNotFoundError, match="does not exist"):
        benchmark(kit, against=tmp_path / "none.rskit")
    with pytest.raises(RunError, match="not a finished run"):
        benchmark(kit.parent)
    (run / "export" / "run.rskit").unlink()
    with pytest.raises(RunError, match=r"no such kit; make it with: rs-toolkit export"):
        benchmark(run)


def test_a_run_with_another_runs_kit(run, model) -> None:
    make_kit(run / "export" / "run.rskit", {"onnx_fp32": model})
    with pytest.raises(RunError, match=r"not this run's; make it with: rs-toolkit export"):
        benchmark(run)


def test_a_run_that_lost_its_photos(run, one_line, capsys, monkeypatch) -> None:
    monkeypatch.setenv("RS_CACHE", str(run / "empty"))
    (Run.open(run).data_root / "bluidae" / "b.png").unlink()
    assert command(run) == 2
    said = one_line(capsys.readouterr().err, "rs-toolkit", notes=True)
    assert "b.png" in said and "run.rskit" in said


def test_damaged_kit(kit, one_line, capsys) -> None:
    kit.write_bytes(kit.read_bytes()[:-9])
    with pytest.raises(KitIntegrityError):
        benchmark(kit)
    assert command(kit) == 2
    assert "cut short" in one_line(capsys.readouterr().err, "rs-toolkit")


@pytest.mark.parametrize("settings", [{"threads": ()}, {"threads": (0,)}, {"rounds": 0}])
def test_settings_out_of_range(kit, settings) -> None:
    with pytest.raises(ExportError, match="wanted at least 1"):
        benchmark(kit, **settings)


def test_the_command_prints_plain_tables(kit, tmp_path, capsys) -> None:
    assert command(kit, "--rounds", 1, "--against", kit, "--out", tmp_path / "o") == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[-1] == str(tmp_path / "o" / "benchmark.md")
    starts = [line.split()[:2] for line in lines]
    for name in ("onnx_u8s8", "onnx_fp32", "against:onnx_u8s8", "against:onnx_fp32"):
        assert [name, "1"] in starts and [name, "2"] in starts
    assert "\x1b" not in said.out


def test_ctrl_c_leaves_nothing(kit, capsys, monkeypatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.run", interrupted)
    assert command(kit) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert not (kit.parent / "benchmark").exists()
