"""How ``benchmarks/birds_training.py`` merges the rows of many sessions, and what it compares."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rs_toolkit.config.training import TrainConfig
from rs_train.classifier.backbones import BACKBONES


@pytest.fixture
def rows(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("birds_training_rows")


@pytest.fixture
def recipes(rows: Any) -> Any:
    return importlib.import_module("birds_training_recipes")


def row(seed: int, score: float, imgsz: int = 224, epochs: int = 20, photos: str = "") -> Any:
    scores = dict.fromkeys(("accuracy", "macro_f1", "rare_macro_f1", "common_macro_f1"), score)
    where = {"machine": "one", "device": "CPU", "tensorflow": "2"}
    size = {"imgsz": imgsz, "epochs": epochs, "test_photos": photos or f"split {seed}"}
    return {"seed": seed, **scores, **size, **where}


def results(rows: Any, *found: tuple[str, Any]) -> Any:
    sets: Any = {}
    for part, one in found:
        sets = rows.merged(sets, "birds", part, one)
    return sets


def test_thirds_are_of_tested_classes_by_their_training_photos(rows: Any) -> None:
    f1 = np.array([0.9, 0.0, 0.5, 0.1, 0.7, 0.3, 0.8])
    support = np.array([3, 0, 1, 1, 2, 1, 4])
    sizes = np.array([50, 1, 9, 2, 20, 3, 30])
    assert rows.thirds(f1, support, sizes) == pytest.approx((0.2, 0.85))


def test_a_row_replaces_that_of_the_same_seed_size_and_epochs(rows: Any) -> None:
    sets = results(
        rows, ("best", row(1, 0.5)), ("best", row(0, 0.4)), ("best", row(1, 0.6)),
        ("best", row(1, 0.7, imgsz=299)), ("refit", row(0, 0.3)),
    )  # fmt: skip
    found = [(r["imgsz"], r["seed"], r["macro_f1"]) for r in sets["birds"]["best"]]
    assert found == [(224, 0, 0.4), (224, 1, 0.6), (299, 1, 0.7)]
    assert [r["macro_f1"] for r in sets["birds"]["without"]["refit"]] == [0.3]


def test_rows_of_other_test_photos_are_refused(rows: Any) -> None:
    sets = results(rows, ("probe", row(0, 0.5)))
    with pytest.raises(RuntimeError, match="birds, seed 0: best was measured on other test photos"):
        rows.merged(sets, "birds", "best", row(0, 0.6, photos="other"))


def test_gains_are_means_over_pairs_of_the_same_seed_and_size(rows: Any) -> None:
    sets = results(
        rows, ("best", row(0, 0.5)), ("best", row(1, 0.6)), ("best", row(0, 0.9, imgsz=299)),
        ("refit", row(0, 0.45)), ("refit", row(1, 0.5)), ("refit", row(2, 0.1)),
        ("dropout", row(2, 0.5)),
    )  # fmt: skip
    assert rows.gains(sets["birds"]) == {"refit": 0.075, "299 px instead of 224": 0.4}


def test_what_was_not_measured_is_listed_and_the_table_says_so(rows: Any) -> None:
    sets = results(rows, ("probe", row(0, 0.5, epochs=0)), ("best", row(0, 0.625)))
    missing = rows.left_out(sets, {"birds": ["probe", "best", "refit"]}, (0, 1))
    assert missing == ["birds, probe: seed 1", "birds, best: seed 1", "birds, refit: seed 0, 1"]
    text = rows.table({"sets": sets, "left_out": missing})
    assert "- birds, refit: seed 0, 1" in text
    assert "| birds | 224 | 20 | 1 | 0.125 |" in text


def test_rows_of_an_earlier_recipe_are_dropped(rows: Any) -> None:
    sets = results(rows, ("best", row(0, 0.5)), ("best", row(1, 0.6)), ("refit", row(1, 0.6)))
    kept = rows.is_current(sets, ("best",), lambda name, part, r: r["seed"] == 0)
    assert [r["seed"] for r in kept["birds"]["best"]] == [0]
    assert kept["birds"]["without"] == {}


def test_every_part_changes_its_recipe_and_every_folder_is_another(recipes: Any) -> None:
    chosen = SimpleNamespace(sets=list(recipes.SETS), seeds=[0], parts=None, imgsz=160, epochs=3)
    found = list(recipes.tasks(chosen))
    assert len({task.folder for task in found}) == len(found)
    for task in found:
        config = TrainConfig(**task.settings)
        # With ``all``, batch normalization is trained, and train refuses to average the weights.
        assert config.fine_tune_from in ("auto", *BACKBONES["xception"].blocks)
        best = task._replace(part="best")
        assert task.part == "best" or task.settings != best.settings
    measured = {task.part for task in found}
    assert measured == {*recipes.MAIN, *recipes.PARTS}
    assert {task.epochs for task in found if task.part in ("probe", "stage_1")} == {0}
