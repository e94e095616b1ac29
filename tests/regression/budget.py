"""What the variants of the committed reference model may weigh and must still achieve.

The float model is the same on every machine (``reference/model.keras``); only its conversion is
measured.  Budgets are committed too: a change that makes a variant larger or worse than its line
breaks the tests, until somebody renews the budgets on purpose and the difference is reviewed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rs_export import ExportSettings, export_run
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import PhotoCache, default_cache_dir
from rs_toolkit.files import read_json, write_json
from rs_toolkit.progress import Progress
from rs_toolkit.sample import generate_sample
from rs_train.classifier.prepare import prepare

__all__ = ["BUDGETS", "REFERENCE", "exceeded", "figures", "propose", "reference_report"]

HERE = Path(__file__).resolve().parent
BUDGETS, REFERENCE = HERE / "budgets.json", HERE / "reference"

# What is left beyond the worst figure that benchmarks/budget_sample.py saw under its settings (see
# benchmarks/results/budget-spread.md): as much again as the settings differed, and at least this.
# Scores are shares of the test photos (0 to 1): four photos of two hundred, or two of the
# smallest class that is judged alone.
_LEAST_ROOM = {"accuracy": 0.02, "macro_f1": 0.03, "agreement": 0.02, "drop": 0.03}
_LEAST_CLASS_ROOM = 0.15
_SIZE_ROOM = 1.03
_LEAST_PHOTOS = 8
_FLOORS = ("accuracy", "macro_f1", "agreement")
# From best to worst.  A variant is budgeted as kept if its limit has this much room to its margin.
_VERDICTS = ("kept", "undecided", "lost")
_VERDICT_ROOM = 0.005


def reference_run(reference: Mapping[str, Any], folder: Path) -> Path:
    """Draw the photos of the reference and give them a run folder with the committed model.

    The model has seen none of these photos: it was trained on another sample
    (``benchmarks/reference_model.py``).  That goes for those called training photos, which only
    calibrate and fine-tune.  They are drawn into the folder that ``RS_BUDGET_SHARED`` names, if
    any, and only once, so that two processes under different settings can share them.
    """
    data = Path(os.environ.get("RS_BUDGET_SHARED") or folder) / "sample"
    run = folder / "reference"
    generate_sample(data, **reference["sample"])
    known = read_json(REFERENCE / "reference.json")
    config = TrainConfig(**{**known["settings"], **reference["splits"]})
    cache = PhotoCache(default_cache_dir(), Preprocessing(config.imgsz, config.resize))
    classes = prepare(data, config, run, cache, Progress()).classes
    if [item["name"] for item in classes] != known["classes"]:
        raise AssertionError(f"{data}: other classes than the reference model's; train it again")
    shutil.copy(REFERENCE / "model.keras", run / "model.keras")
    write_json(run / "calibration.json", {"temperature": known["temperature"]})
    return run


def reference_report(reference: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Export every recipe of the reference in ``folder`` and return the report.

    With ``RS_BUDGET_SHARED``, decoded photos and fine-tuned weights are shared too: the second
    process converts, calibrates and measures the weights that the first has fine-tuned.
    """
    before = default_cache_dir()
    if shared := os.environ.get("RS_BUDGET_SHARED"):
        os.environ["RS_CACHE"] = str(Path(shared) / "cache")
    try:
        run = reference_run(reference, folder)
        recipes = tuple(reference["recipes"])
        # One thread: for photos of 64 px, two threads mostly wait for each other.
        export_run(run, ExportSettings(recipes=recipes, mend=False, force=True, threads=1))
    finally:
        os.environ["RS_CACHE"] = str(before)
    return dict(read_json(run / "export" / "report.json"))


def figures(report: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return by variant: mb, accuracy, macro_f1, agreement, drop and class_drop.

    ``drop`` is how much less macro-F1 than the float model's, ``class_drop`` the largest loss of
    F1 among classes of at least 8 test photos (0 to 1; negative where all gained).
    """
    before = report["table"]["float"]["macro_f1"]
    found = {}
    for name, row in report["table"].items():
        large = [item for item in report["per_class"][name] if item["support"] >= _LEAST_PHOTOS]
        found[name] = {
            **{key: float(row[key]) for key in ("mb", *_FLOORS)},
            "drop": before - row["macro_f1"],
            "class_drop": max((-item["change"] for item in large), default=0.0),
        }
    return found


def propose(reports: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return a budget for every variant from reports made under different settings.

    Returns
    -------
    dict
        By variant: ``max_mb`` (10**6 bytes), ``min_accuracy``, ``min_macro_f1``,
        ``min_agreement``, ``max_drop`` and ``max_class_drop`` (0 to 1), and the gate's ``verdict``,
        which only ``float`` has none of.
    """
    measured = [figures(report) for report in reports]
    budgets = {}
    for name in measured[0]:
        values = {key: [item[name][key] for item in measured] for key in measured[0][name]}
        budget = {"max_mb": max(values["mb"]) * _SIZE_ROOM}
        for key in _FLOORS:
            budget[f"min_{key}"] = min(values[key]) - _room(key, values[key])
        for key in ("drop", "class_drop"):
            budget[f"max_{key}"] = max(values[key]) + _room(key, values[key])
        budgets[name] = {key: round(value, 3) for key, value in budget.items()}
        if name in reports[0]["verdicts"]:
            found = [_verdict(report["verdicts"][name]) for report in reports]
            budgets[name]["verdict"] = max(found, key=_VERDICTS.index)
    return budgets


def _room(key: str, values: Sequence[float]) -> float:
    return max(_LEAST_ROOM.get(key, _LEAST_CLASS_ROOM), max(values) - min(values))


def _verdict(found: Mapping[str, Any]) -> str:
    """Return a verdict; ``undecided`` where it is ``kept`` by little."""
    close = found["loss_high"] > found["margin"] - _VERDICT_ROOM
    return "undecided" if found["verdict"] == "kept" and close else str(found["verdict"])


def exceeded(report: Mapping[str, Any], budgets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one line for every limit that a report breaks; none if all hold.

    A variant without a budget, a budget whose variant is absent, and a verdict that is worse than
    the budget's break it.
    """
    measured, problems = figures(report), []
    for name in sorted({*budgets, *measured}):
        if name not in budgets:
            problems.append(f"{name}: has no budget; renew the budgets")
        elif name not in measured:
            reason = report["refused"].get(name, {}).get("reason", "it was not made")
            problems.append(f"{name}: missing ({reason})")
        else:
            limits = dict(budgets[name])
            wanted, found = limits.pop("verdict", None), report["verdicts"].get(name)
            if wanted and _VERDICTS.index(found["verdict"]) > _VERDICTS.index(wanted):
                problems.append(f"{name}: verdict is {found}, budgeted {wanted}")
            problems += _broken(name, measured[name], limits)
    return problems


def _broken(name: str, got: Mapping[str, float], budget: Mapping[str, float]) -> list[str]:
    problems = []
    for limit, bound in budget.items():
        side, key = limit.split("_", 1)
        # A size or score equal to its limit must not break on the last digit.
        beyond = got[key] - bound if side == "max" else bound - got[key]
        if beyond > 1e-9:
            word = "at most" if side == "max" else "at least"
            problems.append(f"{name}: {key} is {got[key]:.3f}, budgeted {word} {bound}")
    return problems
