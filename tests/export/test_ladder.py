"""Mending: what is tried when rounding cost a variant its classes, and what is recorded."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rs_export import ExportSettings, export_run
from rs_export.bench import Bench
from rs_export.convert import Converter, Quantization
from rs_export.mending import steps
from rs_export.quantize.ranges import activation_ranges
from rs_export.quantize.sensitivity import Sensitivity, most_sensitive, sensitivity_table
from rs_export.recipes import RECIPES, Recipe
from rs_export.report import write_reports
from rs_runtime.kit.kit import open_kit
from rs_toolkit.errors import ExportError
from rs_toolkit.folders.run import Run

TITLES = [
    "larger calibration set",
    "percentile ranges",
    "sensitive layers in float32",
    "training with rounding",
]


def blind(monkeypatch, is_blind: Callable[[Recipe, Quantization], bool]) -> list[str]:
    """Make some conversions blind to the first class; return the names of all, as they come."""
    convert, seen = Converter.convert, []

    def converted(self: Converter, recipe: Recipe, how: Quantization | None = None) -> bytes:
        how = how or Quantization()
        seen.append(recipe.name)
        if not is_blind(recipe, how):
            return convert(self, recipe, how)
        head = self._model.get_layer("predictions")
        sound = head.get_weights()
        kernel, bias = (array.copy() for array in sound)
        # Not zeros: their scale is so small that the bias would overflow its 32 bits.
        kernel[:, 0], bias[0] = 0.1 * kernel[:, 0], -100
        head.set_weights([kernel, bias])
        # A converter of its own, lest sound variants share the damaged graph.
        with Converter(self._model, self._representative, self._prepare) as other:
            data = convert(other, recipe, how)
        head.set_weights(sound)
        return data

    monkeypatch.setattr(Converter, "convert", converted)
    return seen


def report_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "report.json").read_text("utf-8")))


@pytest.mark.parametrize("name", ["tflite_int8", "onnx_u8s8"])
@pytest.mark.parametrize(
    ("tried", "cures"),
    [
        (1, lambda recipe, how: how.photos > 200),
        (2, lambda recipe, how: how.ranges == "percentile"),
        (3, lambda recipe, how: bool(how.float_layers)),
    ],
    ids=TITLES[:3],
)
def test_steps_are_tried_in_order_until_one_passes(
    trained, tmp_path, monkeypatch, name, tried, cures
) -> None:
    blind(monkeypatch, lambda recipe, how: name in recipe.name and not cures(recipe, how))
    result = export_run(trained, ExportSettings(recipes=(name,)), out=tmp_path)
    true_name = name if tried < 3 else f"{name}_f10"
    assert list(result.shipped.values()) == [true_name]
    assert set(result.refused) == {name} - {true_name}
    record = report_of(tmp_path)["mending"][name]
    assert [entry["step"] for entry in record] == TITLES[:tried]
    assert [entry["variant"] for entry in record] == [*[name] * (tried - 1), true_name]
    assert record[-1]["result"] == "passed"
    assert all("fell by" in entry["result"] for entry in record[:-1])
    mended = report_of(tmp_path)["mended"][true_name]
    assert (mended["name"], mended["step"]) == (name, TITLES[tried - 1])
    assert "discidae" in mended["reason"]
    assert "| refused | step | new |" in (tmp_path / "report.md").read_text("utf-8")
    if tried == 3:
        table = report_of(tmp_path)["sensitivity"]
        assert {row["layer"] for row in table} >= {"block1_conv1", "predictions"}
        assert set(record[-1]["float_layers"]) <= {row["layer"] for row in table}


def judged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Note the variants whose test photos are asked about, and their calibration photos."""
    judge, asked = Bench.judge, []

    def noted(self: Bench, draft: Any, *mended: Any) -> Any:
        asked.append((self.name(draft.recipe), draft.how.photos))
        return judge(self, draft, *mended)

    monkeypatch.setattr(Bench, "judge", noted)
    return asked


def test_what_cannot_be_mended_is_refused_with_the_record(trained, tmp_path, monkeypatch) -> None:
    asked = judged(monkeypatch)
    seen = blind(monkeypatch, lambda recipe, how: recipe.calibrated)
    names = ("tflite_int8", "tflite_fp32")
    result = export_run(trained, ExportSettings(recipes=names), out=tmp_path)
    assert result.shipped == {"litert": "tflite_fp32"}
    assert [name for name, _ in asked] == list(names)
    record = report_of(tmp_path)["mending"]["tflite_int8"]
    assert [entry["step"] for entry in record] == TITLES
    assert "tflite_qat_int8" in seen
    assert "discidae" in result.refused["tflite_int8"]


def test_the_test_photos_are_asked_once(trained, tmp_path, monkeypatch) -> None:
    asked = judged(monkeypatch)
    blind(monkeypatch, lambda recipe, how: recipe.calibrated and how.photos <= 200)
    export_run(trained, ExportSettings(recipes=("tflite_int8",)), out=tmp_path)
    assert asked == [("tflite_int8", 800)]


@pytest.mark.parametrize(
    ("cures", "true_name", "step"),
    [
        (lambda recipe, how: recipe.float_share, "tflite_int8_f10", TITLES[2]),
        (lambda recipe, how: recipe.qat, "tflite_qat_int8", TITLES[3]),
    ],
)
def test_report_card_and_kit_give_a_mended_variant_its_true_name(
    trained, tmp_path, monkeypatch, cures, true_name, step
) -> None:
    blind(monkeypatch, lambda recipe, how: recipe.calibrated and not cures(recipe, how))
    result = export_run(trained, ExportSettings(recipes=("tflite_int8",)), out=tmp_path)
    report, text = report_of(tmp_path), (tmp_path / "report.md").read_text("utf-8")
    assert report["shipped"] == result.shipped == {"litert": true_name}
    # The test photos were asked about the mended one alone.
    assert list(report["table"]) == ["float", true_name]
    assert list(report["refused"]) == ["tflite_int8"]
    assert [Recipe(**item).name for item in report["recipes"]] == [true_name]
    assert f"| {true_name} |" in text and "**tflite_int8 refused**" in text
    member = f"models/{true_name}.tflite"
    with open_kit(result.kit) as kit:
        [variant] = kit.manifest.variants
        card = kit.read("MODEL_CARD.md").decode()
        assert kit.read(member) == (tmp_path / member).read_bytes()
        assert set(kit.members) == {member, "MODEL_CARD.md"}
    assert (variant.name, variant.member) == (true_name, member)
    assert f"| {true_name} |" in card and "| tflite_int8 |" not in card
    assert f"- {true_name}: tflite_int8 had failed its gate" in card
    assert f"mended by: {step}." in card


def test_a_mended_name_can_be_asked_for(trained, tmp_path, monkeypatch, one_line) -> None:
    result = export_run(trained, ExportSettings(recipes=("tflite_int8_f10",)), out=tmp_path)
    how = report_of(tmp_path)["quantization"]["tflite_int8_f10"]
    assert how["float_layers"] == ["predictions"]
    data = (tmp_path / "models" / "tflite_int8_f10.tflite").read_bytes()
    assert float_kernels(data, "litert") == [72]
    assert not report_of(tmp_path)["mending"]
    assert set(result.table) == {"float", "tflite_int8_f10"}
    settings = ExportSettings(recipes=("onnx_u8s8_f1",), mend=False)
    refused = export_run(trained, settings, out=tmp_path).refused
    assert "every layer has more than 1 % of the weights" in one_line(refused["onnx_u8s8_f1"])


def test_what_was_measured_ships_whatever_is_on_disk(trained, tmp_path, monkeypatch) -> None:
    sound = {}

    def altering(*arguments: Any) -> Any:
        for path in (tmp_path / "models").iterdir():
            sound[f"models/{path.name}"] = path.read_bytes()
            path.write_bytes(b"altered")
        return write_reports(*arguments)

    monkeypatch.setattr("rs_export.export.write_reports", altering)
    result = export_run(trained, ExportSettings(recipes=("tflite_fp32",)), out=tmp_path)
    with open_kit(result.kit) as kit:
        assert kit.read("models/tflite_fp32.tflite") == sound["models/tflite_fp32.tflite"]
        assert b"altered" not in [kit.read(name) for name in kit.members]


def test_the_float_model_is_measured_once(trained, tmp_path, monkeypatch) -> None:
    from rs_toolkit.metrics import classification as metrics

    seen, evaluate = [], metrics.evaluate
    monkeypatch.setattr(
        metrics, "evaluate", lambda *given: (seen.append(len(given[1])), evaluate(*given))[1]
    )
    names = ("tflite_fp32", "tflite_fp16", "onnx_fp32")
    export_run(trained, ExportSettings(recipes=names), out=tmp_path)
    assert len(seen) == 1 + len(names)


def test_force_ships_what_failed_with_a_warning(trained, tmp_path, monkeypatch) -> None:
    blind(monkeypatch, lambda recipe, how: True)
    settings = ExportSettings(recipes=("tflite_int8",), mend=False, force=True)
    result = export_run(trained, settings, out=tmp_path)
    assert result.shipped == {"litert": "tflite_int8"}
    with open_kit(result.kit) as kit:
        warning = {item.name: item for item in kit.manifest.variants}["tflite_int8"].warning
    assert warning is not None
    assert warning.startswith("shipped by force: macro-F1 fell by")


def test_force_displaces_no_variant_that_passed(trained, tmp_path, monkeypatch) -> None:
    blind(monkeypatch, lambda recipe, how: recipe.calibrated)
    # The refused one is made first and is the smaller.
    names = ("tflite_int8", "tflite_fp32")
    settings = ExportSettings(recipes=names, mend=False, force=True)
    result = export_run(trained, settings, out=tmp_path)
    assert list(result.refused) == ["tflite_int8"]
    assert result.shipped == {"litert": "tflite_fp32"}


def test_force_with_a_limit_displaces_no_variant_that_passed(
    trained, tmp_path, monkeypatch
) -> None:
    blind(monkeypatch, lambda recipe, how: recipe.calibrated)
    names = ("tflite_int8", "tflite_fp32")
    settings = ExportSettings(recipes=names, mend=False, force=True, max_mb=1)
    assert export_run(trained, settings, out=tmp_path).shipped == {"litert": "tflite_fp32"}
    alone = replace(settings, recipes=("tflite_int8",))
    assert export_run(trained, alone, out=tmp_path).shipped == {"litert": "tflite_int8"}


def test_float_variants_and_clusters_have_fewer_steps() -> None:
    assert list(steps(RECIPES["tflite_fp16"], 10, lambda share: ())) == []

    def titles(name: str, layers: tuple[str, ...] = ("a",), **more: Any) -> list[str]:
        found = steps(Recipe.parse(name), 10, lambda share: layers, **more)
        return [step.title for step in found]

    assert titles("tflite_c8_int8") == titles("onnx_qat_u8s8") == TITLES[:3]
    assert titles("tflite_int8", trains=False) == TITLES[:3]
    # No layer is small enough.
    assert titles("tflite_int8", ()) == [*TITLES[:2], TITLES[3]]
    # ai-edge-quantizer, which the other steps need, has no ends in uint8.
    assert titles("tflite_int8_u8io") == [TITLES[0], TITLES[3]]
    assert titles("tflite_int8_f10") == [*TITLES[:2], TITLES[3]]
    last = (("smaller numbers", RECIPES["tflite_fp16"]),)
    assert titles("tflite_int8", last=last) == [*TITLES, "smaller numbers"]


def test_the_layer_with_outliers_is_the_most_sensitive(trained) -> None:
    run = Run.open(trained)
    model = run.load_model()
    photos, _ = run.split("val")
    inputs = np.asarray(run.preprocessing.model_input(run.pixels(photos)), np.float32)
    before = sensitivity_table(model, inputs)
    assert {row.layer for row in before} == {"block1_conv1", "block2_sepconv1", "predictions"}
    assert all(0 < row.noise < 0.1 for row in before)
    assert [row.noise for row in before] == sorted((row.noise for row in before), reverse=True)
    # One huge weight in a channel that matters takes all steps of the scale for itself.
    layer = model.get_layer("predictions")
    kernel, bias = layer.get_weights()
    silent = int(np.argmin(np.abs(kernel).sum(axis=1)))
    kernel[silent] *= 1e-3
    kernel[silent, :] = 50 * np.abs(kernel).max() * np.sign(kernel[silent])
    layer.set_weights([kernel, bias])
    after = {row.layer: row.noise for row in sensitivity_table(model, inputs)}
    assert after["predictions"] > 2 * {row.layer: row.noise for row in before}["predictions"]


@pytest.mark.parametrize("name", ["tflite_int8", "onnx_u8s8"])
def test_float_layers_keep_float_weights_and_no_others_do(trained, name) -> None:
    run, recipe = Run.open(trained), RECIPES[name]
    photos, _ = run.split("train")
    inputs = np.asarray(run.preprocessing.model_input(run.pixels(photos)), np.float32)
    found = {}
    with Converter(run.load_model(), lambda count: inputs) as converter:
        for layers in ((), ("block1_conv1",), ("block2_sepconv1",), ("predictions",)):
            how = Quantization(float_layers=layers)
            found[layers] = float_kernels(converter.convert(recipe, how), recipe.engine)
    sizes = {"block1_conv1": [324], "block2_sepconv1": [108, 288], "predictions": [72]}
    assert found.pop(()) == []
    for layers, kernels in found.items():
        assert kernels == sizes[layers[0]], layers


def float_kernels(model: bytes, engine: str) -> list[int]:
    """Return the sizes of the kernels that a model stores in float32."""
    if engine == "litert":
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=model)
        made = {index for item in interpreter._get_ops_details() for index in item["outputs"]}
        arrays = [
            np.zeros(item["shape"])
            for item in interpreter.get_tensor_details()
            if item["dtype"] == np.float32 and item["index"] not in made
        ]
        return sorted(int(array.size) for array in arrays if array.ndim > 1 and array.size < 3000)
    import onnx

    graph = onnx.load_from_string(model).graph
    kinds = [item for item in graph.initializer if item.data_type == onnx.TensorProto.FLOAT]
    return sorted(int(np.prod(item.dims)) for item in kinds if len(item.dims) > 1)


@pytest.mark.parametrize("name", ["tflite_int8", "onnx_u8s8"])
def test_measured_ranges_become_scales(trained, name, monkeypatch) -> None:
    """What percentile ranges say is what eight bits are spread over, input and logits too."""

    def wide(names: list[str], photos: Any, kind: str) -> dict[str, tuple[float, float]]:
        assert kind == "percentile"
        assert len([1 for photo in photos if len(photo) == len(names)]) > 1
        return dict.fromkeys(names, (-51.0, 51.0))

    for module in ("tflite.converter", "onnx.converter"):
        monkeypatch.setattr(f"rs_export.{module}.activation_ranges", wide)
    run, recipe = Run.open(trained), RECIPES[name]
    photos, _ = run.split("train")
    inputs = np.asarray(run.preprocessing.model_input(run.pixels(photos)), np.float32)
    with Converter(run.load_model(), lambda count: inputs) as converter:
        data = converter.convert(recipe, Quantization(ranges="percentile"))
    scales = end_scales(data, recipe.engine)
    assert scales == pytest.approx([102 / 255, 102 / 255], rel=1e-5)


def end_scales(model: bytes, engine: str) -> list[float]:
    """Return the scales of a model's input and output."""
    if engine == "litert":
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=model)
        ends = (interpreter.get_input_details()[0], interpreter.get_output_details()[0])
        return [float(end["quantization"][0]) for end in ends]
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(model).graph
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    quantize = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    return [float(arrays[node.input[1]]) for node in (quantize[0], quantize[-1])]


@pytest.mark.parametrize("kind", ["extremes", "percentile"])
def test_ranges_are_as_documented(kind) -> None:
    values = np.arange(100_000.0)
    photos = [[values, -values], [values * 2, -values]]
    found = activation_ranges(["a", "b"], photos, kind)
    if kind == "extremes":
        assert found == {"a": (0.0, 199_998.0), "b": (-99_999.0, 0.0)}
    else:
        assert found == {"a": (10.0, 199_978.0), "b": (-99_989.0, -10.0)}


def test_most_sensitive_layers_keep_to_their_share() -> None:
    table = [Sensitivity("a", 60, 0.3), Sensitivity("b", 30, 0.2), Sensitivity("c", 10, 0.1)]
    assert most_sensitive(table, 0.1) == ("c",)
    assert most_sensitive(table, 0.4) == ("b", "c")
    assert most_sensitive(table, 1.0) == ("a", "b", "c")


def test_a_limit_on_size_ships_what_fits(trained, tmp_path) -> None:
    settings = ExportSettings(max_mb=1.0, max_drop=100, recipes=("tflite_fp32", "tflite_int8"))
    result = export_run(trained, settings, out=tmp_path)
    assert result.kit.name == "shapes.rskit.xz"
    assert result.shipped == {"litert": "tflite_fp32"}
    assert result.kit.stat().st_size <= 1e6
    with open_kit(result.kit) as kit:
        assert len(kit.manifest.variants) == 1


def test_the_finished_kit_is_measured_and_not_an_estimate(trained, tmp_path) -> None:
    settings = ExportSettings(max_mb=1.0, recipes=("tflite_fp32",))
    size = export_run(trained, settings, out=tmp_path / "one").kit.stat().st_size
    exact = replace(settings, max_mb=size / 1e6)
    assert export_run(trained, exact, out=tmp_path / "other").kit.stat().st_size == size
    with pytest.raises(ExportError, match="no variant fits") as caught:
        export_run(trained, replace(settings, max_mb=(size - 1) / 1e6), out=tmp_path / "none")
    # What the message advises is enough.
    advised = float(str(caught.value).split("--max-mb ")[1].split(",")[0])
    assert size / 1e6 <= advised <= size / 1e6 + 0.01


def test_a_kit_whose_card_makes_it_too_large_gives_way_to_the_next(
    trained, tmp_path, monkeypatch
) -> None:
    def failures(found: Any) -> str:
        digits = random.Random(0).choices("0123456789abcdef", k=1_500_000)
        return "".join(digits) if "tflite_fp32" in found.shipped.values() else ""

    monkeypatch.setattr("rs_export.card._failures", failures)
    names = ("tflite_fp32", "tflite_int8")
    settings = ExportSettings(max_mb=0.5, max_drop=100, recipes=names)
    result = export_run(trained, settings, out=tmp_path)
    assert result.shipped == {"litert": "tflite_int8"}
    assert result.kit.stat().st_size <= 0.5e6


def test_an_unreachable_size_says_what_is_reachable(trained, tmp_path, one_line) -> None:
    settings = ExportSettings(max_mb=0.001, recipes=("tflite_fp32",))
    with pytest.raises(
        ExportError, match=r"no variant fits in 0.001 MB.*tflite_fp32 0\.0"
    ) as caught:
        export_run(trained, settings, out=tmp_path)
    assert "--max-mb 0.0" in one_line(str(caught.value))
    assert not list(tmp_path.rglob("*.rskit*"))
