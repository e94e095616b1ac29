"""A tiny model through every recipe: converted, measured, gated, shipped."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rs_export import ExportSettings, export_run
from rs_export.convert import Converter, Quantization
from rs_export.measure.looks import LOOKS
from rs_export.recipes import RECIPES, Recipe, default_recipes
from rs_runtime.classify import Classifier
from rs_runtime.engines.engine import load_engine
from rs_runtime.kit.kit import open_kit
from rs_runtime.kit.ranges import Range
from rs_runtime.photos.preprocess import Preprocessing
from rs_runtime.ranks import Answer
from rs_runtime.stderr import command_process
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import ConfigError, ExportError
from rs_toolkit.folders.kit import describe
from rs_toolkit.metrics.noninferiority import Loss, Verdict
from rs_toolkit.progress import Progress

COLOURS = {
    "bluidae": (40, 60, 220),
    "greenidae": (40, 200, 60),
    "greyidae": (128, 128, 128),
    "redidae": (220, 40, 40),
    "yellowidae": (220, 210, 40),
}
SIDE = 32
PER_CLASS = {"train": 24, "val": 8, "test": 8}


def draw(colour: tuple[int, int, int], generator: np.random.Generator) -> np.ndarray:
    """A disc of one colour on noise."""
    image = generator.integers(90, 166, (SIDE, SIDE, 3)).astype(float)
    x, y = generator.integers(10, 22, 2)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    disc = (columns - x) ** 2 + (rows - y) ** 2 < 90
    image[disc] = np.asarray(colour) + generator.normal(0, 15, (int(disc.sum()), 3))
    return np.clip(image, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class ToyRun:
    """What export uses of rs_toolkit.folders.run.Run; photos have places in arrays as paths."""

    path: Path
    sides: dict[str, tuple[np.ndarray, np.ndarray]]
    rank: str = "family"
    preprocessing: Preprocessing = field(default_factory=lambda: Preprocessing(size=SIDE))
    temperature: float = 1.5
    data_fingerprint: str = "0" * 64
    refitted: bool = False
    learned_all: bool = False

    @property
    def name(self) -> str:
        return self.path.name

    def val_logits(self) -> None:
        """A run that was not refitted keeps none."""

    @property
    def classes(self) -> list[dict[str, Any]]:
        return [
            {"id": i, "name": name, "common_name": None, "taxon": {"family": name, "order": None}}
            for i, name in enumerate(COLOURS)
        ]

    @property
    def photos(self) -> tuple[Photo, ...]:
        return tuple(
            replace(photo, split=side) for side in self.sides for photo in self.split(side)[0]
        )

    def split(self, name: str) -> tuple[list[Any], np.ndarray]:
        labels = self.sides[name][1]
        return [Photo(f"{name}/{i}", Taxon()) for i in range(len(labels))], labels

    def held_out(self, name: str) -> tuple[list[Any], np.ndarray]:
        return self.split(name)

    def pixels(self, photos: list[Any]) -> np.ndarray:
        places = [photo.path.split("/") for photo in photos]
        return np.stack([self.sides[side][0][int(i)] for side, i in places])

    def load_model(self) -> Any:
        import keras

        return keras.models.load_model(self.path / "model.keras", compile=False, safe_mode=True)


class Lines(Progress):
    """Progress that remembers its notes."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def plain(*names: str) -> ExportSettings:
    """Settings of an export of these recipes that refuses without mending."""
    return ExportSettings(recipes=names, mend=False)


def make_sides() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    sides = {}
    for side, count in PER_CLASS.items():
        labels = np.repeat(np.arange(len(COLOURS)), count)
        photos = np.stack([draw(tuple(COLOURS.values())[label], generator) for label in labels])
        sides[side] = (photos, labels.astype(np.int64))
    return sides


def train(run: ToyRun) -> None:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((SIDE, SIDE, 3)),
            layers.Conv2D(8, 3, strides=2, use_bias=False),
            layers.BatchNormalization(momentum=0.8),
            layers.ReLU(),
            layers.SeparableConv2D(16, 3, strides=2, use_bias=False),
            layers.BatchNormalization(momentum=0.8),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(len(COLOURS), name="logits"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-2), loss)
    photos, labels = run.sides["train"]
    model.fit(run.preprocessing.model_input(photos), labels, 24, epochs=15, verbose=0)
    model.save(run.path / "model.keras")


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> ToyRun:
    folder = tmp_path_factory.mktemp("runs") / "toy"
    folder.mkdir()
    run = ToyRun(folder, make_sides())
    train(run)
    return run


@pytest.fixture(autouse=True)
def opened(toy, monkeypatch) -> None:
    monkeypatch.setattr("rs_export.export.Run.open", lambda path: toy)


@pytest.fixture(scope="module")
def exported(toy, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rs_export.export.Run.open", lambda path: toy)
        return export_run(toy.path, ExportSettings(int8=True), out=tmp_path_factory.mktemp("out"))


def damage(monkeypatch, name: str, label: int) -> None:
    """Make one variant blind to one class: its column of the head is zero, its bias is low."""
    convert = Converter.convert

    def damaged(self: Converter, recipe: Recipe, how: Quantization | None = None) -> bytes:
        if recipe.name != name:
            return convert(self, recipe, how)
        head = self._model.get_layer("logits")
        sound = head.get_weights()
        kernel, bias = (array.copy() for array in sound)
        kernel[:, label], bias[label] = 0, -100
        head.set_weights([kernel, bias])
        # A converter of its own, lest the sound variants share the damaged graph.
        with Converter(self._model, self._representative) as other:
            data = convert(other, recipe, how)
        head.set_weights(sound)
        return data

    monkeypatch.setattr(Converter, "convert", damaged)


def test_every_variant_is_as_good_as_float(exported) -> None:
    assert set(exported.table) == {"float", *(recipe.name for recipe in default_recipes(True))}
    assert not exported.refused
    for name, row in exported.table.items():
        assert row["macro_f1"] > 0.9, name
        assert row["agreement"] >= 0.95, name
        assert row["ms"] > 0
    assert exported.table["tflite_fp32"]["agreement"] == 1
    assert exported.table["onnx_fp32"]["agreement"] == 1


FURTHER = {
    "tflite_int8_u8io": np.uint8,
    "tflite_int8_aeq": np.int8,
    "tflite_dynamic_int8_aeq": np.float32,
    "tflite_int16x8": np.float32,
}


@pytest.fixture(scope="module")
def further(toy, tmp_path_factory):
    names = tuple(name for name, recipe in RECIPES.items() if not recipe.preparation)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rs_export.export.Run.open", lambda path: toy)
        return export_run(toy.path, plain(*names[6:]), out=tmp_path_factory.mktemp("further"))


def test_further_variants_are_as_good_as_float(further) -> None:
    assert set(further.table) == {"float", *FURTHER, "onnx_s8s8"}
    assert not further.refused
    for name, row in further.table.items():
        assert row["macro_f1"] > 0.9, name
        assert row["agreement"] >= 0.95, name


@pytest.mark.parametrize(("name", "kind"), FURTHER.items())
def test_ends_have_the_numbers_that_the_name_says(further, name, kind) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(further.kit.parent / RECIPES[name].member))
    [given], [got] = interpreter.get_input_details(), interpreter.get_output_details()
    assert given["dtype"] == got["dtype"] == kind
    stored = {np.dtype(item["dtype"]) for item in interpreter.get_tensor_details()}
    assert (np.dtype(np.int16) in stored) == (name == "tflite_int16x8")


def test_s8s8_has_signed_activations(further) -> None:
    import onnx

    graph = onnx.load(further.kit.parent / RECIPES["onnx_s8s8"].member).graph
    kinds = {item.data_type for item in graph.initializer if not item.dims}
    assert onnx.TensorProto.INT8 in kinds
    assert onnx.TensorProto.UINT8 not in kinds


def test_model_files_say_what_they_need(exported, toy) -> None:
    import onnx

    folder = exported.kit.parent
    model = onnx.load(folder / RECIPES["onnx_u8s8"].member)
    said = {item.key: item.value for item in model.metadata_props}
    assert json.loads(said["rs.labels"]) == list(COLOURS)
    with zipfile.ZipFile(folder / RECIPES["tflite_int8"].member) as files:
        assert files.read("labels.txt").decode().split() == list(COLOURS)


def test_fp32_variants_compute_the_keras_logits(exported, toy) -> None:
    inputs = toy.preprocessing.model_input(toy.sides["test"][0][:7])
    wanted = np.asarray(toy.load_model()(inputs))
    for name in ("tflite_fp32", "onnx_fp32"):
        recipe = RECIPES[name]
        engine = load_engine(recipe.engine, exported.kit.parent / recipe.member)
        np.testing.assert_allclose(engine.logits(inputs), wanted, atol=1e-4)


def test_int8_variants_hold_8_bit_weights_and_activations(exported) -> None:
    import onnx
    from ai_edge_litert.interpreter import Interpreter

    folder = exported.kit.parent
    interpreter = Interpreter(str(folder / RECIPES["tflite_int8"].member))
    kinds = [np.dtype(item["dtype"]) for item in interpreter.get_tensor_details()]
    # The graph's two ends alone are float32.
    assert kinds.count(np.dtype(np.float32)) == 2
    graph = onnx.load(folder / RECIPES["onnx_u8s8"].member).graph
    weights = [item for item in graph.initializer if len(item.dims) >= 2]
    assert weights
    assert {item.data_type for item in weights} == {onnx.TensorProto.INT8}
    floats = {item.name: item for item in graph.initializer}
    scales = [
        floats[node.input[1]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in {item.name for item in weights}
    ]
    assert all(scale.dims and scale.dims[0] > 1 for scale in scales)


def test_report_and_kit_tell_the_same(exported) -> None:
    folder = exported.kit.parent
    report = json.loads((folder / "report.json").read_text())
    assert report["table"] == exported.table
    assert report["counts"] == {"train": 120, "val": 40, "test": 40, "classes": 5}
    assert {"machine", "versions", "seconds", "per_class"} <= set(report)
    assert [item["name"] for item in report["per_class"]["tflite_int8"]] == list(COLOURS)
    assert (folder / "accuracy_vs_size.png").read_bytes()[:4] == b"\x89PNG"
    assert "| tflite_int8 |" in (folder / "report.md").read_text()
    with open_kit(exported.kit) as kit:
        manifest = kit.manifest
        assert dict(manifest.default_variants) == exported.shipped
        for variant in manifest.variants:
            data = kit.read(variant.member)
            assert data == (folder / variant.member).read_bytes()
            assert variant.measured["mb"] == len(data) / 1e6
            assert "ms" not in variant.measured
            assert variant.temperature == pytest.approx(
                report["calibrations"][variant.name]["temperature"]
            )
        card = kit.read("MODEL_CARD.md").decode()
    assert all(name in card for name in COLOURS)
    assert manifest.classes[0].taxon == {"family": "bluidae"}


def test_answers_are_as_the_report_counts_them(exported, toy, tmp_path) -> None:
    report = json.loads((exported.kit.parent / "report.json").read_text())
    photos, labels = toy.sides["test"]
    with open_kit(exported.kit) as kit:
        classifier = Classifier(kit, variant="tflite_int8")
        assert classifier.variant.thresholds["family"] > 0
    named = right = 0
    for photo, label in zip(photos, labels, strict=True):
        Image.fromarray(photo).save(tmp_path / "photo.png")
        answer = classifier.classify(tmp_path / "photo.png").answer
        named += answer.rank == "family"
        right += answer.name == tuple(COLOURS)[label]
    counted = report["answered"]["tflite_int8"]["family"]
    assert (counted["named"], counted["right"]) == (named, right)
    assert 0 < right <= named
    assert f"{named / len(photos):.1%}" in (exported.kit.parent / "report.md").read_text()


def test_sets_and_strangeness_travel_in_the_kit(exported, toy, tmp_path) -> None:
    report = json.loads((exported.kit.parent / "report.json").read_text())
    photos, labels = toy.sides["test"]
    held = 0
    with open_kit(exported.kit) as kit:
        classifier = Classifier(kit, variant="tflite_int8", coverage=0.9)
    for photo, label in zip(photos, labels, strict=True):
        Image.fromarray(photo).save(tmp_path / "photo.png")
        found = classifier.classify(tmp_path / "photo.png")
        held += label in [item.class_id for item in found.set.classes]
        assert 0 <= found.unknown.strangeness <= 1
    assert report["sets"]["tflite_int8"]["0.9"]["reached"] == held / len(photos)
    assert "sets: held" in (exported.kit.parent / "report.md").read_text()


def test_too_few_validation_photos_give_no_thresholds(toy, tmp_path, monkeypatch) -> None:
    few = {**toy.sides, "val": tuple(part[:19] for part in toy.sides["val"])}
    monkeypatch.setattr("rs_export.export.Run.open", lambda path: replace(toy, sides=few))
    result = export_run(toy.path, ExportSettings(recipes=("tflite_fp32",)), out=tmp_path)
    photo = tmp_path / "photo.png"
    Image.fromarray(toy.sides["test"][0][0]).save(photo)
    with open_kit(result.kit) as kit:
        assert kit.manifest.variants[0].thresholds == {}
        assert "No photo is named" in kit.read("MODEL_CARD.md").decode()
        assert Classifier(kit).classify(photo).answer == Answer(None, None, pytest.approx(1, abs=1))


def test_tables_of_ranges_and_names_go_into_the_kit(toy, tmp_path) -> None:
    first, second, *_ = COLOURS
    ranges, names = tmp_path / "ranges.csv", tmp_path / "names.csv"
    ranges.write_text(f"scientificName,countries\n{first},KEN TZA\nunknown,KEN\n")
    names.write_text(f"scientificName,vernacularName,language\n{second},jina,sw\n")
    settings = ExportSettings(
        recipes=("tflite_fp32",), mend=False, ranges=str(ranges), names=str(names)
    )
    lines = Lines()
    result = export_run(toy.path, settings, out=tmp_path / "out", progress=lines)
    with open_kit(result.kit) as kit:
        found = kit.manifest.classes
        told = describe(kit)
    assert [item.range for item in found] == [Range(("KEN", "TZA")), *[None] * (len(found) - 1)]
    assert [item.common_names for item in found[:2]] == [{}, {"sw": "jina"}]
    assert (told["ranges"], told["languages"]) == (1, {"sw": 1})
    assert "ranges.csv: 1 names are of no class (unknown)" in lines.said


def test_same_run_gives_the_same_kit(exported, toy, tmp_path, converted) -> None:
    converted.clear()
    again = export_run(toy.path, ExportSettings(int8=True), out=tmp_path)
    assert again.kit.read_bytes() == exported.kit.read_bytes()


def test_a_model_becomes_the_same_onnx_bytes_each_time(toy) -> None:
    from rs_export.onnx.converter import to_onnx

    model = toy.load_model()
    assert to_onnx(model) == to_onnx(model)


def test_gate_refuses_a_variant_that_lost_a_class(toy, tmp_path, monkeypatch) -> None:
    damage(monkeypatch, "tflite_int8", 3)
    lines = Lines()
    names = ("tflite_fp32", "tflite_int8")
    result = export_run(toy.path, plain(*names), out=tmp_path, progress=lines)
    assert result.shipped == {"litert": "tflite_fp32"}
    assert "redidae" in result.refused["tflite_int8"]
    assert [line for line in lines.said if line.startswith("tflite_int8 refused: macro-F1 fell")]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["refused"]["tflite_int8"]["classes"][0]["name"] == "redidae"
    assert "refused" in (tmp_path / "report.md").read_text()
    with open_kit(result.kit) as kit:
        assert set(kit.members) == {"models/tflite_fp32.tflite", "MODEL_CARD.md"}


def undecide(monkeypatch) -> None:
    """Let the photos tell nothing about models whose logits are not nearly the float model's."""

    def compare(labels: Any, groups: Any, before: Any, after: Any, *rest: Any) -> Verdict:
        close = np.abs(before - after).max() < 1e-3
        return Verdict((Loss("macro_f1", 0.0, *((0.0, 0.0) if close else (-0.013, 0.052)), 0.02),))

    monkeypatch.setattr("rs_export.classify.compare_classifiers", compare)


def test_undecided_ships_with_that_word_and_the_interval(toy, tmp_path, monkeypatch) -> None:
    undecide(monkeypatch)
    lines = Lines()
    result = export_run(toy.path, plain("tflite_int8"), out=tmp_path, progress=lines)
    assert result.shipped == {"litert": "tflite_int8"}
    assert result.verdicts == {"tflite_int8": "undecided"} and not result.refused
    report = json.loads((tmp_path / "report.json").read_text())
    told = report["verdicts"]["tflite_int8"]
    assert (told.pop("verdict"), told.pop("looks")) == ("undecided", 1)
    assert told == {"metric": "macro_f1", "loss_low": -0.013, "loss_high": 0.052, "margin": 0.02}
    words = "undecided (-1.3 to 5.2)"
    assert f"| {words} | shipped |" in (tmp_path / "report.md").read_text()
    assert [line for line in lines.said if line.endswith(words)]
    with open_kit(result.kit) as kit:
        [variant] = kit.manifest.variants
        assert f"- tflite_int8: {words} points of macro-F1" in kit.read("MODEL_CARD.md").decode()
    assert asdict(variant.verdict) == {"verdict": "undecided", **told}
    assert variant.warning is None


def test_what_was_kept_is_preferred_to_what_is_undecided(toy, tmp_path, monkeypatch) -> None:
    undecide(monkeypatch)
    names = ("tflite_int8", "tflite_fp32")
    assert export_run(toy.path, plain(*names), out=tmp_path).shipped == {"litert": "tflite_fp32"}
    within = replace(plain(*names), max_mb=1)
    assert export_run(toy.path, within, out=tmp_path).shipped == {"litert": "tflite_fp32"}
    alone = replace(plain("tflite_int8"), max_mb=1)
    assert export_run(toy.path, alone, out=tmp_path).shipped == {"litert": "tflite_int8"}


def test_strict_refuses_what_is_undecided(toy, tmp_path, monkeypatch) -> None:
    undecide(monkeypatch)
    strict = replace(plain("tflite_int8"), strict=True)
    result = export_run(toy.path, strict, out=tmp_path)
    assert result.shipped == {"litert": "tflite_fp32"}
    assert result.refused["tflite_int8"].startswith("macro-F1 fell by 0.00 points (-1.3 to 5.2)")


def test_more_looks_only_where_one_does_not_decide(exported) -> None:
    report = json.loads((exported.kit.parent / "report.json").read_text())
    looks = {name: found["looks"] for name, found in report["verdicts"].items()}
    assert {looks["tflite_fp32"], looks["onnx_fp32"]} == {1}
    assert set(looks.values()) <= {1, LOOKS}


def test_refused_variant_falls_back_to_float32(toy, tmp_path, monkeypatch) -> None:
    damage(monkeypatch, "onnx_u8s8", 0)
    result = export_run(toy.path, plain("onnx_u8s8"), out=tmp_path)
    assert result.shipped == {"onnxruntime": "onnx_fp32"}


def test_no_kit_when_even_float32_is_refused(toy, tmp_path, monkeypatch) -> None:
    damage(monkeypatch, "tflite_fp32", 2)
    with pytest.raises(ExportError, match=r"even float32 was refused.*greyidae"):
        export_run(toy.path, plain("tflite_fp32"), out=tmp_path)
    assert not list(tmp_path.rglob("*.rskit"))
    assert "tflite_fp32" in json.loads((tmp_path / "report.json").read_text())["refused"]


def test_interrupted_export_leaves_no_kit(toy, tmp_path) -> None:
    class Stop(Progress):
        def note(self, text: str) -> None:
            if text == "convert tflite_fp16":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_run(toy.path, out=tmp_path, progress=Stop())
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == [".rs-toolkit", "tflite_fp32.tflite"]


def test_failed_conversion_is_one_line(toy, tmp_path, monkeypatch, capfd) -> None:
    def fail(*_: object) -> bytes:
        raise ValueError("operator X is unknown\nat 0x1234\n")

    monkeypatch.setattr("rs_export.convert.to_tflite", fail)
    with pytest.raises(ExportError) as caught:
        export_run(toy.path, plain("tflite_fp32"), out=tmp_path)
    assert "tflite_fp32: the conversion failed (operator X is unknown)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_conversion_is_silent(toy, tmp_path, capfd, converted) -> None:
    converted.clear()
    model = toy.load_model()
    with (
        command_process(),
        Converter(model, lambda count: np.zeros((2, SIDE, SIDE, 3), np.float32)) as made,
    ):
        for recipe in RECIPES.values():
            if not recipe.preparation:
                made.convert(recipe)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize(
    "settings", [{"threads": 0}, {"calibration_photos": 0}, {"max_drop": -1.0}]
)
def test_settings_out_of_range(toy, settings) -> None:
    with pytest.raises(ConfigError, match=r"wanted .* to "):
        export_run(toy.path, ExportSettings(**settings))


def test_unknown_recipe_lists_those_there_are(toy) -> None:
    with pytest.raises(ExportError, match=r"'tflite_int3'.*tflite_fp32.*onnx_u8s8"):
        export_run(toy.path, plain("tflite_int3"))
