"""Accuracy against size: exports of the committed reference model stay within their budgets."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest

from rs_toolkit.files import read_json, sha256_file

sys.path.insert(0, str(Path(__file__).resolve().parent))

import budget

BUDGETS = read_json(budget.BUDGETS)
EXPECTED = read_json(budget.REFERENCE / "reference.json")


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("reference")


@pytest.fixture(scope="module")
def report(work) -> dict[str, Any]:
    return budget.reference_report(BUDGETS["reference"], work)


def test_the_committed_model_is_the_one_that_was_described() -> None:
    model = budget.REFERENCE / "model.keras"
    assert sha256_file(model) == EXPECTED["model_sha256"]
    assert sum(file.stat().st_size for file in budget.REFERENCE.iterdir()) < 2_000_000


def test_every_variant_keeps_its_budget(report) -> None:
    assert set(BUDGETS["variants"]) == {"float", *BUDGETS["reference"]["recipes"]}
    assert budget.exceeded(report, BUDGETS["variants"]) == []


def test_the_sample_is_learnable_and_not_trivial(report) -> None:
    share = max(row["support"] for row in report["per_class"]["float"]) / report["counts"]["test"]
    assert 2 * share < report["table"]["float"]["accuracy"] < 0.97
    # It has never seen these photos, and knows them as well as its own test photos, give or take
    # the chance of two hundred: the photos and classes are the right ones.
    expected = EXPECTED["test"]["accuracy"]
    assert report["table"]["float"]["accuracy"] == pytest.approx(expected, abs=0.12)


def test_a_damaged_model_breaks_the_budget(report, work) -> None:
    """Prove that the first test can fail: zero the last separable convolution and export that."""
    from rs_export import ExportSettings, export_run
    from rs_toolkit.folders.run import Run

    run = work / "reference"
    path = run / "model.keras"
    sound = path.read_bytes()
    model = Run.open(run).load_model()
    layer = model.get_layer("block14_sepconv2")
    layer.set_weights([weight * 0 for weight in layer.get_weights()])
    model.save(path)
    try:
        settings = ExportSettings(recipes=("tflite_int8",), max_drop=100, max_decile_drop=100)
        export_run(run, settings, out=work / "damaged")
    finally:
        path.write_bytes(sound)
    limits = {name: BUDGETS["variants"][name] for name in ("float", "tflite_int8")}
    broken = budget.exceeded(read_json(work / "damaged" / "report.json"), limits)
    for name in limits:
        assert any(line.startswith(f"{name}: accuracy is") for line in broken)
        assert any(line.startswith(f"{name}: macro_f1 is") for line in broken)


def test_a_badly_converted_variant_breaks_the_budget(report, work, monkeypatch) -> None:
    """A sound float model, and calibration photos that are not scaled as the model's input."""
    from rs_export import ExportSettings, export_run
    from rs_export.bench import Bench

    representative = Bench._representative
    monkeypatch.setattr(Bench, "_representative", lambda *args: 0.05 * representative(*args))
    settings = ExportSettings(
        recipes=("tflite_int8",), max_drop=100, max_decile_drop=100, mend=False, force=True
    )
    export_run(work / "reference", settings, out=work / "bad")
    limits = {name: BUDGETS["variants"][name] for name in ("float", "tflite_int8")}
    broken = budget.exceeded(read_json(work / "bad" / "report.json"), limits)
    assert {line.split(":")[0] for line in broken} == {"tflite_int8"}
    for figure in ("accuracy", "macro_f1", "agreement", "drop", "class_drop"):
        assert any(f": {figure} is" in line for line in broken), figure


def test_each_limit_can_break_and_a_proposal_holds(report) -> None:
    proposed = budget.propose([report])
    assert budget.exceeded(report, proposed) == []
    for limit in set(proposed["tflite_int8"]) - {"verdict"}:
        tight = copy.deepcopy(proposed)
        tight["tflite_int8"][limit] = -1.0 if limit.startswith("max") else 1.1
        assert len(budget.exceeded(report, tight)) == 1, limit


def test_a_proposal_leaves_the_room_that_settings_need(report) -> None:
    other = copy.deepcopy(report)
    other["table"]["tflite_int8"]["agreement"] -= 0.1
    proposed = budget.propose([report, other])["tflite_int8"]
    agreement = report["table"]["tflite_int8"]["agreement"]
    assert proposed["min_agreement"] == pytest.approx(agreement - 0.2, abs=1e-3)


def test_missing_and_new_variants_break_it(report) -> None:
    budgets = budget.propose([report])
    del budgets["onnx_u8s8"]
    budgets["tflite_int4"] = budgets["tflite_int8"]
    assert [line.split(":")[0] for line in budget.exceeded(report, budgets)] == [
        "onnx_u8s8",
        "tflite_int4",
    ]


@pytest.mark.parametrize("verdict", ["undecided", "lost"])
def test_what_was_kept_must_stay_so(report, verdict) -> None:
    budgets = budget.propose([report])
    assert budgets["tflite_fp32"]["verdict"] == "kept"
    worse = copy.deepcopy(report)
    worse["verdicts"]["tflite_fp32"]["verdict"] = verdict
    [line] = budget.exceeded(worse, budgets)
    assert line.startswith("tflite_fp32: verdict is") and line.endswith("budgeted kept")
    # What was kept by little is no promise.
    close = copy.deepcopy(report)
    close["verdicts"]["tflite_fp32"]["loss_high"] = 0.019
    assert budget.propose([close])["tflite_fp32"]["verdict"] == "undecided"
    assert budget.exceeded(worse, budget.propose([worse])) == []
