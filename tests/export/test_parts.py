"""Recipes, the calibration set, temperature scaling and the gate, without converters."""

from __future__ import annotations

import contextlib
import itertools
import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from rs_export.gate import miss, refusal, verdict_words
from rs_export.measure.looks import LOOKS, look
from rs_export.quantize.ranges import class_balanced
from rs_export.recipes import RECIPES, Recipe, chosen_recipes, default_recipes, find_recipes
from rs_export.report import _picture
from rs_export.tables import markdown_table
from rs_toolkit.config.export import TARGETS, ExportSettings
from rs_toolkit.errors import DataError, ExportError, ToolkitError
from rs_toolkit.metrics.calibration import fit_temperature
from rs_toolkit.metrics.classification import softmax
from rs_toolkit.metrics.noninferiority import ClassLoss, Loss, Verdict


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_recipe_survives_json(recipe) -> None:
    assert Recipe(**json.loads(json.dumps(asdict(recipe)))) == recipe


@pytest.mark.parametrize("change", [{"weights": "int4"}, {"engine": "torch"}, {"activations": 8}])
def test_bad_recipe_is_refused(change) -> None:
    with pytest.raises(ExportError):
        replace(RECIPES["onnx_u8s8"], **change)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("tflite_fp16", {"weights": "float16"}),
        ("tflite_dynamic_int8_aeq", {"weights": "int8", "quantizer": "ai-edge"}),
        ("tflite_int16x8", {"weights": "int8", "activations": "int16"}),
        ("tflite_int8_u8io", {"weights": "int8", "activations": "int8", "io": "uint8"}),
        ("tflite_sp75_fp32", {"sparsity": "75"}),
        ("onnx_sp24_s8s8", {"sparsity": "2:4", "weights": "int8", "activations": "int8"}),
        ("onnx_c32_fp32", {"clusters": 32}),
        ("tflite_int8_f10", {"weights": "int8", "activations": "int8", "float_share": 10}),
        (
            "onnx_qat_s8s8_f5",
            {"qat": True, "weights": "int8", "activations": "int8", "float_share": 5},
        ),
        (
            "tflite_sp50_qat_int8",
            {"sparsity": "50", "qat": True, "weights": "int8", "activations": "int8"},
        ),
    ],
)
def test_names_say_what_a_recipe_is(name, fields) -> None:
    engine = "litert" if name.startswith("tflite") else "onnxruntime"
    assert Recipe.parse(name) == Recipe(engine, **fields)
    assert Recipe.parse(name).name == name


def test_every_valid_combination_has_a_name_of_its_own() -> None:
    choices = {
        "engine": ("litert", "onnxruntime"),
        "weights": ("float32", "float16", "int8"),
        "activations": ("float32", "int8", "uint8", "int16"),
        "sparsity": ("dense", "5", "24", "50", "95", "96", "2:4"),
        "clusters": (0, 1, 16, 300),
        "qat": (False, True),
        "io": ("float32", "uint8"),
        "quantizer": ("converter", "ai-edge"),
        "float_share": (0, 1, 10, 100),
    }
    made = []
    for values in itertools.product(*choices.values()):
        with contextlib.suppress(ExportError):
            made.append(Recipe(**dict(zip(choices, values, strict=True))))
    assert len({recipe.name for recipe in made}) == len(made) > 60
    assert all(Recipe.parse(recipe.name) == recipe for recipe in made)
    assert {recipe.float_share for recipe in made} == {0, 1, 10}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tflite_u8s8", "unknown"),
        ("onnx_fp16", "unknown"),
        ("tflite_int8_sp50", "unknown"),
        ("tflite_c1_int8", "clusters must be 2 to 256"),
        ("tflite_c999_int8", "clusters must be 2 to 256"),
        ("tflite_sp50_c16_int8", "clustered weights cannot"),
        ("tflite_sp99_int8", "sparsity must be 10 to 95"),
        ("tflite_qat_fp16", "qat is for calibrated integers"),
        ("tflite_fp32_u8io", "u8io is for tflite int8"),
        ("onnx_u8s8_aeq", "aeq is for tflite"),
        ("tflite_int8_f0", "unknown"),
        ("tflite_int8_f100", "unknown"),
        ("tflite_fp16_f10", "f is for calibrated 8-bit numbers"),
        ("tflite_int16x8_f10", "f is for calibrated 8-bit numbers"),
        ("tflite_int8_f10_u8io", "u8io excludes f and aeq"),
        ("tflite_int8_u8io_aeq", "u8io excludes f and aeq"),
    ],
)
def test_names_that_say_nothing_are_refused(name, reason, one_line) -> None:
    with pytest.raises(ExportError, match=reason) as caught:
        Recipe.parse(name)
    one_line(str(caught.value))


def test_all_means_every_listed_recipe() -> None:
    assert [recipe.name for recipe in find_recipes(["onnx_fp32", "all"])] == [
        "onnx_fp32",
        *(name for name in RECIPES if name != "onnx_fp32"),
    ]


@pytest.mark.parametrize("target", TARGETS)
def test_targets_name_recipes(target) -> None:
    recipes = chosen_recipes(ExportSettings(target=target))
    assert [recipe.name for recipe in recipes] == list(TARGETS[target])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"target": "toaster"}, "wanted one of .*phone, pi, x86, web"),
        ({"target": "pi", "recipes": ("onnx_fp32",)}, "give one of them"),
        ({"passes": 0}, "passes: got 0"),
        ({"min_precision": 0.0}, "min_precision: got 0.0"),
        ({"max_mb": -1}, "max_mb: got -1"),
        ({"max_drop": float("nan")}, "max_drop: got nan"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_settings_are_checked(settings, reason, one_line) -> None:
    with pytest.raises(ToolkitError, match=reason) as caught:
        ExportSettings(**settings)
    one_line(str(caught.value))


def test_defaults() -> None:
    assert [recipe.name for recipe in default_recipes(True)] == [
        *("tflite_fp32", "tflite_fp16", "tflite_dynamic_int8", "tflite_int8"),
        *("onnx_fp32", "onnx_u8s8"),
    ]
    names = [recipe.name for recipe in default_recipes(False)]
    assert names == ["tflite_fp32", "tflite_fp16", "onnx_fp32"]


def test_find_recipes_drops_repeats_and_wants_some() -> None:
    assert find_recipes(["onnx_fp32", "onnx_fp32"]) == (RECIPES["onnx_fp32"],)
    with pytest.raises(ExportError, match="got none"):
        find_recipes([])


def test_calibration_set_is_balanced() -> None:
    labels = np.repeat([0, 1, 2], [100, 10, 2])
    chosen = class_balanced(labels, 18, seed=3)
    assert len(set(chosen.tolist())) == 18
    assert np.bincount(labels[chosen]).tolist() == [8, 8, 2]
    assert chosen.tolist() == class_balanced(labels, 18, seed=3).tolist()
    assert chosen.tolist() != class_balanced(labels, 18, seed=4).tolist()
    assert sorted(class_balanced(labels, 1000)) == list(range(112))


def test_temperature_undoes_a_scale() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (4000, 6))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < generator.random((4000, 1))).sum(axis=1)
    for scale in (0.4, 1.0, 3.0):
        assert fit_temperature(logits * scale, labels) == pytest.approx(scale, rel=0.06)


def test_temperature_is_a_minimum_and_bounded() -> None:
    from sklearn.metrics import log_loss

    generator = np.random.default_rng(1)
    logits = generator.normal(0, 3, (200, 4))
    labels = (logits + generator.normal(0, 3, (200, 4))).argmax(axis=1)
    best = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        prior = 4 * (1 / temperature - 1 + np.log(temperature))
        return prior + 200 * log_loss(labels, softmax(logits / temperature))

    for other in (0.05, best * 0.9, best * 1.1, 20.0):
        assert loss(best) <= loss(other)
    perfect = np.eye(3) * 0.01
    assert fit_temperature(np.tile(perfect, (999, 1)), np.tile([0, 1, 2], 999)) >= 0.05
    assert fit_temperature(9e9 * perfect, [1, 2, 0]) == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [(np.zeros((0, 3)), []), (np.zeros((2, 3)), [0]), (np.full((1, 3), np.nan), [0])],
)
def test_temperature_refuses_what_cannot_be_fitted(logits, labels) -> None:
    with pytest.raises(DataError, match="temperature"):
        fit_temperature(logits, labels)


def verdict(low: float, high: float, *fallen: ClassLoss) -> Verdict:
    return Verdict((Loss("macro_f1", (low + high) / 2, low, high, 0.02),), fallen)


def test_the_gate_refuses_what_is_lost_and_if_strict_what_is_undecided() -> None:
    names = ["a", "b"]
    assert refusal(verdict(-0.01, 0.02), names, True) is None
    assert refusal(verdict(0.01, 0.03), names, False) is None
    said = "macro-F1 fell by 2.00 points (1.0 to 3.0), allowed 2"
    assert refusal(verdict(0.01, 0.03), names, True) == said
    reason = refusal(verdict(0.03, 0.05, ClassLoss(1, 9, 0.9, 0.4, 0.1, 0.8, False)), names, False)
    assert reason == (
        "macro-F1 fell by 4.00 points (3.0 to 5.0), allowed 2; fell most: b (recall 0.90 to 0.40)"
    )
    gone = verdict(-0.01, 0.01, ClassLoss(0, 9, 0.9, 0.0, 0.9, 0.9, True))
    assert "named no more: a (recall 0.90 to 0.00)" in str(refusal(gone, names, False))
    assert verdict_words(gone) == "lost (90.0 to 90.0)"
    assert verdict_words(verdict(0.01, 0.03)) == "undecided (1.0 to 3.0)"


def test_mending_takes_losses_at_face_value() -> None:
    assert miss(verdict(-0.02, 0.06), ["a"]) is None
    assert str(miss(verdict(-0.02, 0.062), ["a"])).startswith("validation photos: macro-F1 fell")
    assert miss(verdict(0.0, 0.0, ClassLoss(0, 9, 0.9, 0.0, 0.9, 0.9, True)), ["a"])


@pytest.mark.parametrize("number", range(LOOKS))
def test_looks_are_mirrored_or_moved_photos(number) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    seen = look(pixels, number)
    assert (seen.shape, seen.dtype) == (pixels.shape, pixels.dtype)
    whole = pixels[:, :, ::-1] if number in (1, 3, 5) else pixels
    right, down = [(0, 0), (0, 0), (2, 2), (-2, -2), (-2, 2), (2, -2)][number]
    inner = slice(4, 28)
    moved = whole[:, 4 - down : 28 - down, 4 - right : 28 - right]
    assert (seen[:, inner, inner] == moved).all()


def test_markdown_table() -> None:
    assert markdown_table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


@pytest.mark.parametrize("count", [1, 7, 25])
def test_names_in_the_picture_of_a_report_do_not_overlap(count) -> None:
    # All of one size and score: beside their points, all names would lie in one place.
    row = {"mb": 2.0, "macro_f1": 0.5}
    models = tuple(SimpleNamespace(name=f"tflite_{i}", size=2, row=row) for i in range(count))
    figure = _picture(SimpleNamespace(measured=models, shipped={}, refused={}))
    FigureCanvasAgg(figure).draw()
    # Of the words alone, without the lines to their points.
    boxes = [Text.get_window_extent(name) for name in figure.axes[0].texts]
    assert len(boxes) == count
    assert not [1 for one, other in itertools.combinations(boxes, 2) if one.overlaps(other)]
    assert all(figure.bbox.contains(*corner) for box in boxes for corner in box.get_points())
