"""A student that tells discs from stripes: converted, measured, gated, mended, shipped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rs_export import ExportSettings, export_run
from rs_export.bench import Bench
from rs_export.convert import Converter, Quantization
from rs_export.filter import filter_recipes, filter_scores, filter_task, filter_verdict
from rs_export.pipeline import Pipeline
from rs_export.recipes import Recipe
from rs_export.result import Calibration, Result
from rs_export.task import Side
from rs_runtime.filter import Filter, organism_log_odds
from rs_runtime.kit.kit import open_kit
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.data.index import fingerprint, write_index
from rs_toolkit.data.photos import Photo, sha256_bytes
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import ExportError, ToolkitError
from rs_toolkit.files import write_json
from rs_toolkit.folders.filter import FilterFolder, Verdicts, write_filter_json
from rs_toolkit.folders.kit import packed
from rs_toolkit.metrics.calibration import fit_platt
from rs_toolkit.progress import Progress

SIDE = 32
CLASSES = [
    {"name": "warm disc", "organism": True},
    {"name": "cold disc", "organism": True},
    {"name": "rows", "organism": False},
    {"name": "columns", "organism": False},
]
SIDES = {"train": 24, "val": 12, "test": 25}
SETTINGS = ExportSettings(calibration_photos=40, recipes=("tflite_fp32", "onnx_fp32"))
TO_KIT = replace(SETTINGS, recipes=("tflite_fp32",), calibration_photos=20)
ENGINES = ("litert", "onnxruntime")
PREPROCESSING = Preprocessing(size=SIDE)


def draw(kind: int, generator: np.random.Generator) -> np.ndarray:
    image = generator.normal(120, 25, (SIDE, SIDE, 3))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    if kind < 2:
        x, y = generator.integers(10, 22, 2)
        disc = (columns - x) ** 2 + (rows - y) ** 2 < 90
        image[disc] += [(70, 0, -70), (-70, 0, 70)][kind]
    else:
        stripe = ((rows, columns)[kind - 2] // 3 + generator.integers(2)) % 2 == 0
        image[stripe] += 60
    return np.clip(image, 0, 255).astype(np.uint8)


def student(verdict: np.ndarray | None) -> Any:
    """Random convolutions, an embedding of length 1, and a matrix; without it, the embedding."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    noise = keras.initializers.RandomNormal(stddev=0.1)

    def conv(x: Any, count: int, name: str, **settings: Any) -> Any:
        settings = {"padding": "same", "bias_initializer": noise, **settings}
        return layers.Conv2D(count, name=name, **settings)(x)

    photos = keras.Input((SIDE, SIDE, 3), name="photos")
    x = layers.ReLU(6.0, name="act1")(conv(photos, 16, "conv1", kernel_size=3, strides=2))
    x = layers.DepthwiseConv2D(3, padding="same", bias_initializer=noise, name="depthwise")(x)
    x = layers.ReLU(6.0, name="act2")(x)
    inner = layers.ReLU(name="act3")(conv(x, 32, "expand", kernel_size=1))
    x = layers.Add(name="add")([x, conv(inner, 16, "project", kernel_size=1)])
    x = layers.ReLU(name="act4")(conv(x, 48, "conv2", kernel_size=3, strides=2))
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dense(32, bias_initializer=noise, name="projection")(x)
    x = layers.UnitNormalization(name="embedding")(x)
    if verdict is None:
        return keras.Model(photos, x)
    head = layers.Dense(4, name="verdict")
    model = keras.Model(photos, head(x), name="student")
    head.set_weights([verdict[:-1], verdict[-1]])
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> FilterFolder:
    """A finished filter folder, its student solved by least squares."""
    root, path = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("filters") / "discs"
    path.mkdir()
    generator = np.random.default_rng(0)
    photos, pixels, kinds = [], [], []
    for side, count in SIDES.items():
        for number in range(4 * count):
            name, kind = f"{side}{number}.png", number % 4
            pixels.append(draw(kind, generator))
            Image.fromarray(pixels[-1]).save(root / name)
            content = sha256_bytes((root / name).read_bytes())
            photos.append(Photo(name, Taxon(), sha256=content, split=side))
            kinds.append(kind)
    truth, splits = np.array(kinds) < 2, np.array([photo.split for photo in photos])
    inputs = PREPROCESSING.model_input(np.stack(pixels))
    embedding = np.asarray(student(None).predict_on_batch(inputs))
    known = np.append(embedding, np.ones((len(inputs), 1)), axis=1)
    train, wanted = splits == "train", 8 * np.eye(4)[kinds]
    square = known[train].T @ known[train] + 1e-3 * np.eye(33)
    verdict = np.linalg.solve(square, known[train].T @ wanted[train])
    student(verdict).save(path / "student.keras")
    odds = organism_log_odds(known @ verdict, np.array([item["organism"] for item in CLASSES]))
    temperature, bias = fit_platt(odds[splits == "val"], truth[splits == "val"])
    write_index(path / "index.parquet", photos)
    Verdicts(np.ones(len(truth), bool), truth, truth.astype(float)).write(path / "verdicts.parquet")
    write_json(path / "config.json", {"data_root": str(root), "not_organism_root": None})
    write_filter_json(
        path,
        classes=CLASSES,
        preprocessing=PREPROCESSING,
        calibration={"temperature": temperature, "bias": bias},
        thresholds={"not_organism": 0.5, "organism": 0.5},
        student="toy",
        teacher=None,
        metrics={},
        data_fingerprint=fingerprint(photos),
    )
    return FilterFolder.open(path)


def export_filter(
    source: FilterFolder, engines: tuple[str, ...], settings: ExportSettings, out: Path
) -> Result:
    with Pipeline(filter_task(source), settings, out, Progress()) as line:
        return line.result(line.best(filter_recipes([Recipe(engine) for engine in engines])))


@pytest.fixture(scope="module")
def exported(folder, tmp_path_factory) -> Any:
    out = tmp_path_factory.mktemp("out")
    return export_filter(folder, ENGINES, SETTINGS, out), out


def test_every_variant_is_as_good_as_the_student(exported) -> None:
    found, out = exported
    assert found.reference.row["auroc"] > 0.95
    assert list(found.variants) == [
        *("filter_tflite_fp32", "filter_tflite_int8", "filter_onnx_fp32", "filter_onnx_u8s8")
    ]
    assert not found.refused
    for model in found.variants.values():
        assert model.test.row["agreement"] >= 0.98
        assert model.test.row["auroc"] > found.reference.row["auroc"] - 0.01
        assert model.test.row["cosine"] > 0.95
        assert (out / model.member).read_bytes() == model.data
    for name in ("filter_tflite_fp32", "filter_onnx_fp32"):
        assert found.variants[name].test.row["cosine"] == pytest.approx(1, abs=1e-5)
        assert found.variants[name].test.row["agreement"] == 1
    assert dict(found.shipped) == {
        "litert": "filter_tflite_int8",
        "onnxruntime": "filter_onnx_u8s8",
    }


def test_8_bit_variants_hold_8_bit_weights(exported) -> None:
    import onnx

    found, _ = exported
    graph = onnx.load_model_from_string(found.variants["filter_onnx_u8s8"].data).graph
    # Kernels; the numbers of a hard swish have four dimensions too, each of them 1.
    weights = {x.name: x for x in graph.initializer if len(x.dims) == 4 and x.dims[0] > 1}
    assert {item.data_type for item in weights.values()} == {onnx.TensorProto.INT8}
    from rs_export.tflite.file import unpack

    tensors = unpack(found.variants["filter_tflite_int8"].data).subgraphs[0].tensors
    assert {item.type for item in tensors if len(item.shape) == 4 and item.shape[0] > 1} == {9}


def test_float_scaling_is_the_folders_own(exported, folder) -> None:
    found, _ = exported
    scaling = found.variants["filter_tflite_fp32"].calibration
    assert scaling.temperature == pytest.approx(folder.calibration["temperature"], rel=1e-3)
    assert scaling.bias == pytest.approx(folder.calibration["bias"], rel=1e-3, abs=1e-3)


def test_every_variant_has_a_scaling_of_its_own(folder, exported, tmp_path, monkeypatch) -> None:
    convert = Converter.convert

    def quieter(self: Converter, recipe: Recipe, how: Quantization | None = None) -> bytes:
        head = next(x for x in reversed(self._model.layers) if x.weights)
        sound = head.get_weights()
        head.set_weights([0.25 * array for array in sound])
        with Converter(self._model, self._representative) as other:
            data = convert(other, recipe, how)
        head.set_weights(sound)
        return data

    monkeypatch.setattr(Converter, "convert", quieter)
    found = export_filter(folder, ("onnxruntime",), SETTINGS, tmp_path)
    model = found.variants["filter_onnx_fp32"]
    usual = exported[0].variants["filter_onnx_fp32"].calibration
    assert model.test.row["agreement"] == 1
    assert model.calibration.temperature / usual.temperature == pytest.approx(0.25, rel=0.3)


def test_a_kit_takes_the_filter_for_its_engines_alone(exported) -> None:
    found = exported[0].only(["litert"])
    assert dict(found.shipped) == {"litert": "filter_tflite_int8"}
    [variant] = found.in_kit
    assert variant.member == "models/filter_tflite_int8.tflite"
    assert len(exported[0].in_kit) == 2


def test_calibration_photos_are_balanced_training_photos(folder) -> None:
    bench = Bench(filter_task(folder), SETTINGS, Progress())
    inputs = bench.converter.inputs(40)
    photos, truth = folder.side("train")
    every = PREPROCESSING.model_input(folder.pixels(photos))
    places = [int(np.abs(every - one).reshape(len(every), -1).max(1).argmin()) for one in inputs]
    assert len(set(places)) == 40
    assert truth[places].sum() == 20


def damage(monkeypatch, *names: str) -> None:
    """Turn the verdict of variants of these names around: organisms look like the others."""
    convert = Converter.convert

    def damaged(self: Converter, recipe: Recipe, how: Quantization | None = None) -> bytes:
        if recipe.name not in names or (how and how.float_layers):
            return convert(self, recipe, how)
        head = next(x for x in reversed(self._model.layers) if x.weights)
        sound = head.get_weights()
        head.set_weights([np.roll(sound[0], 2, axis=1), sound[1]])
        with Converter(self._model, self._representative) as other:
            data = convert(other, recipe, how)
        head.set_weights(sound)
        return data

    monkeypatch.setattr(Converter, "convert", damaged)


def refuse_filters(monkeypatch) -> None:
    """Refuse every variant of a filter, and none of a classifier."""

    def refuse(verdict: Any, names: Any, strict: bool) -> str | None:
        return "no good" if verdict.losses[0].metric == "auroc" else None

    monkeypatch.setattr("rs_export.bench.refusal", refuse)


def test_gate_refuses_and_float32_ships(folder, tmp_path, monkeypatch) -> None:
    damage(monkeypatch, "tflite_int8")
    settings = replace(SETTINGS, mend=False)
    found = export_filter(folder, ("litert",), settings, tmp_path)
    assert "AUROC fell" in found.refused["filter_tflite_int8"]
    assert dict(found.shipped) == {"litert": "filter_tflite_fp32"}
    assert not found.mending


def test_a_refused_variant_is_mended_by_layers_in_float(folder, tmp_path, monkeypatch) -> None:
    damage(monkeypatch, "onnx_u8s8")
    found = export_filter(folder, ("onnxruntime",), SETTINGS, tmp_path)
    steps = found.mending["filter_onnx_u8s8"]
    assert [entry["step"] for entry in steps] == [
        "larger calibration set", "percentile ranges", "sensitive layers in float32",
    ]  # fmt: skip
    assert steps[0]["result"].startswith("validation photos: AUROC fell")
    assert "test" not in steps[0]
    assert steps[2]["result"] == "passed"
    assert steps[2]["float_layers"]
    assert found.sensitivity
    assert dict(found.shipped) == {"onnxruntime": "filter_onnx_u8s8_f10"}
    assert set(found.refused) == {"filter_onnx_u8s8"}


def test_last_steps_are_other_numbers(folder, tmp_path, monkeypatch) -> None:
    damage(monkeypatch, "tflite_int8", "tflite_dynamic_int8")
    convert = Converter.convert

    def broken(self: Converter, recipe: Recipe, how: Quantization | None = None) -> bytes:
        if how != Quantization(SETTINGS.calibration_photos):
            raise ExportError("cannot")
        return convert(self, recipe, how)

    monkeypatch.setattr(Converter, "convert", broken)
    found = export_filter(folder, ("litert",), SETTINGS, tmp_path)
    results = [(e["variant"], e["result"]) for e in found.mending["filter_tflite_int8"]]
    assert results == [
        *[("filter_tflite_int8", "cannot")] * 2,
        ("filter_tflite_int8_f10", "cannot"),
        ("filter_tflite_dynamic_int8", results[3][1]),
        ("filter_tflite_fp16", "passed"),
    ]
    assert results[3][1].startswith("validation photos: AUROC fell")
    assert dict(found.shipped) == {"litert": "filter_tflite_fp16"}
    assert set(found.refused) == {"filter_tflite_int8"}


def test_no_kit_when_even_the_filter_in_float32_fails(
    folder, trained, tmp_path, monkeypatch, one_line
) -> None:
    refuse_filters(monkeypatch)
    settings = replace(TO_KIT, mend=False, filter=str(folder.path))
    wanted = r"filter for litert: even float32 was refused.*no good.*report\.md"
    with pytest.raises(ExportError, match=wanted) as caught:
        export_run(trained, settings, out=tmp_path)
    one_line(str(caught.value))
    assert "no good" in (tmp_path / "report.md").read_text("utf-8")
    assert not list(tmp_path.rglob("*.rskit"))


def test_force_ships_a_filter_only_where_none_passed(
    folder, trained, tmp_path, monkeypatch
) -> None:
    damage(monkeypatch, "tflite_int8")
    settings = replace(TO_KIT, mend=False, force=True, filter=str(folder.path))
    assert export_run(trained, settings, out=tmp_path).filter == {"litert": "filter_tflite_fp32"}
    refuse_filters(monkeypatch)
    result = export_run(trained, settings, out=tmp_path)
    assert result.filter == {"litert": "filter_tflite_int8"}
    with open_kit(result.kit) as kit:
        [variant] = kit.manifest.filter.variants
        card = kit.read("MODEL_CARD.md").decode()
    assert variant.measured["warning"] == "shipped by force: no good"
    assert "**filter_tflite_int8 failed its gate and was shipped by force**: no good" in card


def test_report_card_and_kit_give_a_mended_filter_its_true_name(
    folder, trained, tmp_path, monkeypatch
) -> None:
    damage(monkeypatch, "tflite_int8")
    settings = replace(TO_KIT, filter=str(folder.path))
    result = export_run(trained, settings, out=tmp_path)
    name = "filter_tflite_int8_f10"
    assert result.filter == {"litert": name}
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))["filter"]
    assert report["shipped"] == result.filter
    assert "filter_tflite_int8" in report["refused"]
    assert report["mended"][name]["step"] == "sensitive layers in float32"
    with open_kit(result.kit) as kit:
        [variant] = kit.manifest.filter.variants
        card = kit.read("MODEL_CARD.md").decode()
        assert f"models/{name}.tflite" in kit.members
    assert (variant.name, variant.member) == (name, f"models/{name}.tflite")
    assert f"- {name}: filter_tflite_int8 had failed its gate" in card


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"preprocessing": Preprocessing(size=48)}, r"32, 32, 3.*wanted .*48, 48, 3"),
        ({"classes": CLASSES[1:]}, r"None, 4\).*wanted .*None, 3\)"),
        ({"photos": ()}, "0 organisms and 0 others among the train photos"),
    ],
)
def test_what_does_not_fit_is_one_line(folder, tmp_path, change, reason, one_line) -> None:
    broken = replace(folder, **change)
    if "photos" in change:
        nothing = np.zeros(0, bool)
        broken = replace(broken, verdicts=Verdicts(nothing, nothing, np.zeros(0)))
    with pytest.raises(ToolkitError, match=reason) as caught:
        export_filter(broken, ENGINES, SETTINGS, tmp_path)
    one_line(str(caught.value))


def judged(odds: np.ndarray, changed: np.ndarray, truth: np.ndarray) -> Any:
    """The verdict on log odds that became others; both models answer without a doubt."""
    one, two = (np.stack([x, 0 * x], 1)[:, None].astype(np.float32) for x in (odds, changed))
    side = Side((), truth, np.arange(len(truth)), one[:, 0], Calibration(1.0))
    thresholds = {"not_organism": 0.5, "organism": 0.5}
    organism = np.array([True, False])
    return filter_verdict(one, two, Calibration(1.0), side, organism, thresholds, 0.05)


def test_the_gates_verdicts() -> None:
    truth = np.arange(600) % 2 == 0
    odds = np.where(truth, 3.0, -3.0) + np.random.default_rng(0).normal(0, 1, 600)
    assert judged(odds, odds, truth).verdict == "kept"
    assert judged(odds, odds + 0.01, truth).verdict == "kept"
    # Ten of 600 answers turn wrong: that may be 1 % or 3 % of all.
    few = odds.copy()
    few[:10] *= -0.1
    assert judged(odds, few, truth).verdict == "undecided"
    assert judged(few, odds, truth).verdict == "kept"
    many = odds.copy()
    many[:60] *= -1
    found = judged(odds, many, truth)
    assert {item.metric: item.verdict for item in found.losses} == {
        "auroc": "lost",
        "right_answers": "lost",
    }


def test_scores_are_what_they_say() -> None:
    organism, thresholds = np.array([True, False]), {"not_organism": 0.3, "organism": 0.7}
    truth = np.array([True, True, True, False, False])
    odds = np.array([4.0, 0.0, -3.0, -4.0, 2.0], np.float32)
    logits, plain = np.stack([odds, np.zeros(5, np.float32)], axis=1), Calibration(1.0)
    side = Side((), truth, np.arange(5), logits, plain)
    found = filter_scores(logits, plain, side, organism, thresholds).row
    assert found["agreement"] == found["cosine"] == pytest.approx(1)
    shares = [found[key] for key in ("flagged", "found", "uncertain")]
    assert shares == pytest.approx([1 / 3, 1 / 2, 1 / 5])
    assert found["auroc"] == pytest.approx(4 / 6)
    moved = filter_scores(-logits, plain, side, organism, thresholds).row
    # Of five verdicts only the uncertain one stays.
    assert moved["agreement"] == pytest.approx(1 / 5)
    assert moved["auroc"] == pytest.approx(1 - 4 / 6)
    assert moved["cosine"] < 0


@pytest.fixture(scope="module")
def kits(trained, folder, tmp_path_factory) -> list[Any]:
    """The kit of one run with the filter, twice, and without."""
    chosen = [replace(TO_KIT, filter=str(folder.path))] * 2 + [TO_KIT]
    outs = [tmp_path_factory.mktemp("kit") for _ in chosen]
    return [export_run(trained, s, out=out) for s, out in zip(chosen, outs, strict=True)]


def test_the_filter_travels_in_the_kit(kits, folder) -> None:
    result = kits[0]
    assert result.filter == {"litert": "filter_tflite_int8"}
    report = json.loads((result.kit.parent / "report.json").read_text())["filter"]
    text = (result.kit.parent / "report.md").read_text()
    assert "## Filter" in text
    assert "| filter_tflite_int8 |" in text
    with open_kit(result.kit) as kit:
        spec = kit.manifest.filter
        assert [item.name for item in spec.classes] == [item["name"] for item in CLASSES]
        assert dict(spec.default_variants) == result.filter
        assert dict(spec.thresholds) == folder.thresholds
        [variant] = spec.variants
        assert variant.member == "models/filter_tflite_int8.tflite"
        assert "ms" not in variant.measured
        assert variant.measured["auroc"] == report["table"]["filter_tflite_int8"]["auroc"]
        card = kit.read("MODEL_CARD.md").decode()
        photos, truth = folder.side("test")
        found = Filter(kit).verdicts(folder.pixels(photos))
    assert "50 test photos of organisms and 50 of others" in card
    assert "no CLIP model taught it" in card
    right = [(item.verdict == "organism") == true for item, true in zip(found, truth, strict=True)]
    assert np.mean(right) > 0.9
    flagged = np.mean([item.verdict == "not_organism" for item in found], where=truth)
    assert flagged == pytest.approx(report["table"]["filter_tflite_int8"]["flagged"])


def test_same_run_and_filter_give_the_same_kit(kits) -> None:
    assert kits[0].kit.read_bytes() == kits[1].kit.read_bytes()


def test_without_a_filter_there_is_none(kits) -> None:
    result = kits[2]
    assert result.filter == {}
    assert json.loads((result.kit.parent / "report.json").read_text())["filter"] is None
    with open_kit(result.kit) as kit:
        assert kit.manifest.filter is None
        assert set(kit.members) == {"models/tflite_fp32.tflite", "MODEL_CARD.md"}
        assert "Filter" not in kit.read("MODEL_CARD.md").decode()


def test_the_limit_on_size_counts_the_filter(kits, trained, folder, tmp_path) -> None:
    whole, alone = (len(packed(kits[n].kit.read_bytes())) / 1e6 for n in (0, 2))
    # Enough for the classifier and what else is in its kit, and for half of the filter.
    settings = replace(TO_KIT, filter=str(folder.path), max_mb=(whole + alone) / 2)
    with pytest.raises(ExportError, match="no variant fits") as caught:
        export_run(trained, settings, out=tmp_path)
    told = float(str(caught.value).split("tflite_fp32 ")[1].split(" MB")[0])
    assert told == pytest.approx(whole, abs=0.006)
    fitting = export_run(trained, replace(settings, max_mb=whole), out=tmp_path)
    assert fitting.kit.stat().st_size == round(1e6 * whole)


def test_a_missing_folder_costs_no_work(trained, tmp_path, one_line) -> None:
    settings = replace(SETTINGS, filter=str(tmp_path / "none"))
    with pytest.raises(Exception, match="no such filter folder") as caught:
        export_run(trained, settings, out=tmp_path / "out")
    one_line(str(caught.value))
    assert not Path(tmp_path / "out").exists()
