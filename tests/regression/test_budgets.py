"""Accuracy against size: the reference run on the sample stays within its committed budgets."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from rs_export.measure.budget import exceeded, propose

HERE = Path(__file__).resolve().parent
BUDGETS = json.loads((HERE / "budgets.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("reference")


@pytest.fixture(scope="module")
def report(work, repository) -> dict[str, Any]:
    script = repository / "benchmarks" / "budget_sample.py"
    spec = importlib.util.spec_from_file_location("budget_sample", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.reference_report(BUDGETS["reference"], work)


def test_every_variant_keeps_its_budget(report) -> None:
    assert set(BUDGETS["variants"]) == {"float", *BUDGETS["reference"]["recipes"]}
    assert exceeded(report, BUDGETS["variants"]) == []


def test_the_sample_is_learnable_and_not_trivial(report) -> None:
    share = max(row["support"] for row in report["per_class"]["float"]) / report["counts"]["test"]
    assert 2 * share < report["table"]["float"]["accuracy"] < 0.97


def test_a_damaged_model_breaks_the_budget(report, work) -> None:
    """Prove that the first test can fail: zero the stem's kernels and export that."""
    import keras

    from rs_export import ExportSettings, export_run

    run = work / "reference"
    path = run / "model.keras"
    sound = path.read_bytes()
    model = keras.models.load_model(path, compile=False)
    layer = model.get_layer("block14_sepconv2")
    layer.set_weights([weight * 0 for weight in layer.get_weights()])
    model.save(path)
    try:
        settings = ExportSettings(recipes=("tflite_int8",), max_drop=100)
        export_run(run, settings, out=work / "damaged")
    finally:
        path.write_bytes(sound)
    damaged = json.loads((work / "damaged" / "report.json").read_text("utf-8"))
    budget = {name: BUDGETS["variants"][name] for name in ("float", "tflite_int8")}
    broken = exceeded(damaged, budget)
    assert any(line.startswith("tflite_int8: accuracy is") for line in broken)
    assert any(line.startswith("tflite_int8: macro_f1 is") for line in broken)


def test_a_variant_damaged_alone_breaks_the_drop_limits(report) -> None:
    worse = copy.deepcopy(report)
    biggest = max(worse["per_class"]["tflite_int8"], key=lambda row: row["support"])
    biggest["change"] = -0.4
    worse["table"]["tflite_int8"]["macro_f1"] -= 0.2
    broken = exceeded(worse, BUDGETS["variants"])
    assert any("tflite_int8: class_drop" in line for line in broken)
    assert any("tflite_int8: drop" in line for line in broken)


def test_each_limit_can_break_and_a_proposal_holds(report) -> None:
    proposed = propose(report)
    assert exceeded(report, proposed) == []
    for limit in proposed["tflite_int8"]:
        tight = copy.deepcopy(proposed)
        tight["tflite_int8"][limit] = -1.0 if limit.startswith("max") else 1.1
        assert len(exceeded(report, tight)) == 1, limit


def test_missing_refused_and_new_variants_break_it(report) -> None:
    budgets = propose(report)
    del budgets["onnx_u8s8"]
    budgets["tflite_int4"] = budgets["tflite_int8"]
    refused = {**report, "refused": {"tflite_fp16": {"reason": "broken"}}}
    assert [line.split(":")[0] for line in exceeded(refused, budgets)] == [
        "onnx_u8s8",
        "tflite_fp16",
        "tflite_int4",
    ]
