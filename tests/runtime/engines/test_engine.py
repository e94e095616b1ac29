from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rs_runtime.classify import Classifier
from rs_runtime.engines.engine import load_engine
from rs_runtime.errors import EngineError, EngineMissingError, KitFormatError
from rs_runtime.kit import variants
from rs_runtime.kit.kit import open_kit, write_kit

SIDE = 32


@pytest.fixture
def inputs() -> np.ndarray:
    """Five flat inputs; the models' logits are 8 times their colour."""
    colours = np.random.default_rng(0).uniform(-1, 1, (5, 1, 1, 3)).astype(np.float32)
    return np.broadcast_to(colours, (5, SIDE, SIDE, 3)).copy()


def expect_logits(engine, inputs, tolerance) -> None:
    expected = inputs[:, 0, 0] * 8
    together = engine.logits(inputs)
    assert together.dtype == np.float32 and together.shape == (5, 3)
    assert np.abs(together - expected).max() < tolerance
    # Another batch size, then the first again: resizing keeps no state.
    for batch in (inputs[:1], inputs[1:4], inputs):
        assert np.abs(engine.logits(batch) - batch[:, 0, 0] * 8).max() < tolerance


@pytest.mark.parametrize(("kind", "tolerance"), [("float", 1e-4), ("qdq", 0.1), ("uint8", 0.1)])
def test_onnxruntime(onnx_models, inputs, kind, tolerance) -> None:
    expect_logits(load_engine("onnxruntime", onnx_models[kind], 1), inputs, tolerance)


@pytest.mark.parametrize(("kind", "tolerance"), [("float", 1e-4), ("fixed", 1e-4), ("int8", 0.3)])
def test_litert(tflite_models, inputs, kind, tolerance, tmp_path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite_models[kind])
    expect_logits(load_engine("litert", path, 1), inputs, tolerance)


def test_integer_ends_without_a_scale_are_refused(onnx_models) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(onnx_models["uint8"])
    del model.metadata_props[:]
    with pytest.raises(EngineError, match=r"rs\.input_scale"):
        load_engine("onnxruntime", model.SerializeToString())


@pytest.mark.parametrize("engine", ["litert", "onnxruntime"])
def test_no_model_is_refused_in_one_line(one_line, engine) -> None:
    pytest.importorskip("ai_edge_litert" if engine == "litert" else "onnxruntime")
    with pytest.raises(EngineError, match="refused the model") as caught:
        load_engine(engine, b"no model at all, but long enough to be looked at")
    one_line(str(caught.value))


@pytest.mark.parametrize("shape", [(0, SIDE, SIDE, 3), (1, 16, 16, 3), (SIDE, SIDE, 3)])
def test_wrong_shapes_are_refused(onnx_models, shape) -> None:
    engine = load_engine("onnxruntime", onnx_models["float"])
    with pytest.raises(EngineError, match="wants inputs"):
        engine.logits(np.zeros(shape, np.float32))


def test_logits_that_are_not_finite_are_refused(onnx_models, inputs) -> None:
    inputs[0] = np.inf
    with pytest.raises(EngineError, match="not finite"):
        load_engine("onnxruntime", onnx_models["float"]).logits(inputs)


def test_missing_engine_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(EngineMissingError, match=r"rs-toolkit\[onnx\]"):
        load_engine("onnxruntime", b"")


def test_both_onnxruntime_packages_are_refused(monkeypatch, onnx_models, tmp_path) -> None:
    for name in ("onnxruntime", "onnxruntime_gpu"):
        (tmp_path / f"{name}-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineError, match="overwrite each other"):
        load_engine("onnxruntime", onnx_models["float"])


def test_unknown_engine_is_refused() -> None:
    with pytest.raises(EngineError, match="got 'torch'"):
        load_engine("torch", b"")


def test_classifier_chooses_and_calibrates(
    tmp_path, manifest, onnx_models, tflite_models, colour_photos
) -> None:
    path = tmp_path / "both.rskit"
    models = {"models/a.tflite": tflite_models["float"], "models/b.onnx": onnx_models["float"]}
    write_kit(path, manifest, models)
    photo = colour_photos / "b.JPG"
    with open_kit(path) as kit:
        auto = Classifier(kit)
        assert auto.variant.engine == "litert"
        sharp = Classifier(kit, variant="onnx_fp32")
        with pytest.raises(EngineError, match="runs on litert"):
            Classifier(kit, "onnxruntime", "tflite_fp32")
        with pytest.raises(KitFormatError, match="no variant 'x'"):
            Classifier(kit, variant="x")
    warm, cold = (item.classify(photo).top[0] for item in (auto, sharp))
    assert warm.common_name == cold.common_name == "green things"
    # T = 1.5 against T = 1: the same logits, less sure.
    odds = [np.log(p / (1 - p)) for p in (warm.probability, cold.probability)]
    assert odds[0] < odds[1] - 1
    assert sum(score.probability for score in auto.classify(photo).top) == pytest.approx(1)


@pytest.mark.parametrize(
    "error", [ImportError("libstdc++.so.6: version not found"), OSError("cannot open"), ValueError]
)
def test_auto_passes_over_an_engine_that_cannot_be_imported(
    monkeypatch, manifest, filter_spec, one_line, error
) -> None:
    real = variants.import_module

    def broken(name: str) -> object:
        if name.startswith("ai_edge_litert"):
            raise error
        return real(name)

    monkeypatch.setattr(variants, "import_module", broken)
    pytest.importorskip("onnxruntime")
    both = (manifest.variants, manifest.default_variants, "kit 'a'")
    assert variants.choose(*both).engine == "onnxruntime"
    assert variants.choose(filter_spec.variants, {}, "the filter").engine == "onnxruntime"
    # What is asked for by name is not replaced by another.
    assert variants.choose(*both, "litert").engine == "litert"
    with pytest.raises(EngineMissingError, match="litert cannot be loaded here") as caught:
        variants.choose(manifest.variants[:1], {}, "kit 'a'")
    one_line(str(caught.value))


def test_kit_without_a_usable_engine(onnx_kit) -> None:
    with open_kit(onnx_kit) as kit, pytest.raises(EngineMissingError, match="onnxruntime"):
        Classifier(kit, "litert")


def test_model_must_fit_its_kit(tmp_path, manifest, onnx_models, colour_photos) -> None:
    only = replace(manifest, variants=manifest.variants[1:], default_variants={})
    members = {"models/b.onnx": onnx_models["float"]}
    path = tmp_path / "wrong.rskit"
    write_kit(path, replace(only, preprocessing=replace(only.preprocessing, size=16)), members)
    with open_kit(path) as kit, pytest.raises(EngineError, match="prepares 16 px"):
        Classifier(kit)
    write_kit(path, replace(only, classes=only.classes[:2]), members)
    with open_kit(path) as kit, pytest.raises(EngineError, match="gives 3 classes"):
        Classifier(kit).classify(colour_photos / "a.jpg")
