"""The filter's scores, its models, and what classifying makes of its verdicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rs_runtime.classify import Classifier
from rs_runtime.errors import EngineError, EngineMissingError, FilterError, KitFormatError
from rs_runtime.filter import (
    Filter,
    FilterVerdict,
    organism_log_odds,
    organism_probability,
    verdict,
)
from rs_runtime.kit.kit import open_kit, write_kit
from rs_runtime.photos.preprocess import Preprocessing

THRESHOLDS = {"not_organism": 0.25, "organism": 0.75}


def test_odds_are_those_of_the_softmax() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (50, 6))
    organism = np.array([True, False, True, True, False, False])
    softmax = np.exp(logits)
    softmax /= softmax.sum(axis=1, keepdims=True)
    share = softmax[:, organism].sum(axis=1)
    odds = organism_log_odds(logits, organism)
    assert odds.dtype == np.float64 and odds.shape == (50,)
    assert np.allclose(odds, np.log(share / (1 - share)))
    assert np.allclose(organism_probability(odds, 1.0), share)
    # The other kind's odds, and a constant that softmax does not see.
    assert np.allclose(organism_log_odds(logits, ~organism), -odds)
    assert np.allclose(organism_log_odds(logits + 100, organism), odds)
    assert organism_log_odds(logits[:0], organism).shape == (0,)


def test_large_logits_do_not_overflow() -> None:
    logits = [[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [3e38, -3e38, 3e38]]
    odds = organism_log_odds(logits, [True, False, False])
    assert np.allclose(odds, [1e4, -2e4, 0])
    assert organism_probability(odds, 1e-308).tolist() == [1, 0, 0.5]


def test_platt_scaling() -> None:
    odds = np.array([[-2.0, 0.0], [1.0, 4.0]])
    expected = 1 / (1 + np.exp(-(odds / 2.5 - 0.5)))
    assert np.allclose(organism_probability(odds, 2.5, -0.5), expected)
    # Small probabilities keep their digits.
    assert organism_probability(-700.0, 1.0) == pytest.approx(np.exp(-700.0), rel=1e-9, abs=0)


@pytest.mark.parametrize(
    ("logits", "organism", "problem"),
    [
        ([[0.0, 1.0]], [True, True], "both kinds"),
        ([[0.0, 1.0]], [False, False], "both kinds"),
        ([[0.0, 1.0]], [1, 0], "booleans"),
        ([[0.0, 1.0]], [[True, False]], "booleans"),
        ([0.0, 1.0], [True, False], "shape"),
        ([[0.0, 1.0, 2.0]], [True, False], "shape"),
        ([[0.0, np.nan]], [True, False], "finite"),
        ([[0.0, -np.inf]], [True, False], "finite"),
    ],
)
def test_wrong_logits_are_refused(logits, organism, problem, one_line) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        organism_log_odds(logits, organism)
    one_line(str(caught.value))


@pytest.mark.parametrize(
    ("odds", "temperature", "bias", "problem"),
    [
        (0.0, 0.0, 0.0, "temperature"),
        (0.0, -1.0, 0.0, "temperature"),
        (0.0, np.nan, 0.0, "temperature"),
        (0.0, np.inf, 0.0, "temperature"),
        (0.0, 1.0, np.inf, "bias"),
        ([0.0, np.nan], 1.0, 0.0, "odds"),
    ],
)
def test_wrong_scalings_are_refused(odds, temperature, bias, problem) -> None:
    with pytest.raises(ValueError, match=problem):
        organism_probability(odds, temperature, bias)


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        *((0.0, "not_organism"), (0.2499, "not_organism"), (0.25, "uncertain")),
        *((0.7499, "uncertain"), (0.75, "organism"), (1.0, "organism")),
    ],
)
def test_verdicts(probability, expected) -> None:
    assert verdict(probability, THRESHOLDS) == expected
    same = verdict(probability, {"not_organism": 0.5, "organism": 0.5})
    assert same == ("organism" if probability >= 0.5 else "not_organism")


@pytest.mark.parametrize(
    ("probability", "change"),
    [
        *((-0.1, {}), (1.1, {}), (float("nan"), {})),
        *((0.5, {"not_organism": 0.8}), (0.5, {"organism": 1.1}), (0.5, {"not_organism": -0.1})),
        (0.5, {"organism": float("nan")}),
    ],
)
def test_wrong_verdicts_are_refused(probability, change) -> None:
    with pytest.raises(ValueError):
        verdict(probability, THRESHOLDS | change)
    with pytest.raises(ValueError, match="lack organism"):
        verdict(0.5, {"not_organism": 0.5})


def expected_probabilities(pixels: np.ndarray, temperature: float, bias: float) -> np.ndarray:
    """Return what the colour models, whose logits are 8 times the mean colour, must lead to."""
    red, green, blue = (8 * (pixels.mean(axis=(1, 2)) / 127.5 - 1)).T
    odds = np.log(np.exp(red) + np.exp(green)) - blue
    return 1 / (1 + np.exp(-(odds / temperature + bias)))


@pytest.mark.parametrize(
    ("engine", "temperature", "bias", "tolerance"),
    [("litert", 2.0, 0.5, 0.03), ("onnxruntime", 1.0, 0.0, 1e-5)],
)
def test_models_judge_photos(filter_kit, engine, temperature, bias, tolerance) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (50, 1, 1, 3), dtype=np.uint8)
    pixels = np.broadcast_to(colours, (50, 32, 32, 3)).copy()
    with open_kit(filter_kit) as kit:
        judge = Filter(kit, engine)
    assert judge.variant.engine == engine
    found = judge.judge(pixels)
    assert found.dtype == np.float64 and found.shape == (50,)
    expected = expected_probabilities(pixels, temperature, bias)
    assert expected.min() < 0.1 and expected.max() > 0.9
    assert np.abs(found - expected).max() < tolerance
    said = [(item.verdict, item.probability) for item in judge.verdicts(pixels)]
    assert said == [(verdict(p, THRESHOLDS), p) for p in found]


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_one_threshold_leaves_nothing_uncertain(filter_kit, threshold) -> None:
    grey = np.full((1, 32, 32, 3), 128, np.uint8)
    with open_kit(filter_kit) as kit:
        (found,) = Filter(kit, "onnxruntime", threshold=threshold).verdicts(grey)
        (usual,) = Filter(kit, "onnxruntime").verdicts(grey)
        with pytest.raises(ValueError, match="thresholds"):
            Filter(kit, threshold=1.5)
    # Two of three equal classes are organisms.
    assert found.probability == pytest.approx(2 / 3)
    assert found.verdict == ("organism" if threshold < 0.6 else "not_organism")
    assert usual == FilterVerdict("uncertain", found.probability, "filter_fp32")


def test_filters_that_cannot_be_used(
    tmp_path, manifest, contents, filter_spec, onnx_kit, onnx_models, one_line
) -> None:
    with open_kit(onnx_kit) as kit, pytest.raises(KitFormatError, match="has no filter"):
        Filter(kit)

    def problem(model: bytes, kind: type[EngineError] = FilterError, **changes: object) -> str:
        variant = replace(filter_spec.variants[1], member="models/filter.onnx")
        spec = replace(filter_spec, variants=(variant,), default_variants={}, **changes)
        path = tmp_path / "odd.rskit"
        models = contents | {"models/filter.onnx": model}
        write_kit(path, replace(manifest, filter=spec), models)
        with open_kit(path) as kit, pytest.raises(kind) as caught:
            engine = "litert" if kind is EngineMissingError else "auto"
            Filter(kit, engine).judge(np.full((1, 32, 32, 3), 255, np.uint8))
        return one_line(str(caught.value))

    good = onnx_models["float"]
    assert "filter 'filter_fp32': onnxruntime refused" in problem(b"no model, but some bytes")
    small = replace(filter_spec.preprocessing, size=16)
    assert "prepares 16 px" in problem(good, preprocessing=small)
    assert "gives 3 classes, its kit names 2" in problem(good, classes=filter_spec.classes[1:])
    endless = replace(filter_spec.preprocessing, offset=1e39)
    assert "filter 'filter_fp32': onnxruntime model gave" in problem(good, preprocessing=endless)
    missing = problem(good, EngineMissingError)
    assert "the filter of kit 'colours'" in missing and "wanted one for litert" in missing


def test_predictions_carry_the_verdict(filter_kit, colour_photos) -> None:
    red, blue = colour_photos / "a.jpg", colour_photos / "sub" / "c.jpg"
    with open_kit(filter_kit) as kit:
        plain = Classifier(kit)
        report = Classifier(kit, filter=Filter(kit))
        only = Classifier(kit, filter=Filter(kit), only_organisms=True)
    for photo in (red, blue):
        prediction = report.classify(photo)
        assert replace(prediction, filter=None) == plain.classify(photo)
        assert prediction.filter is not None and prediction.filter.variant == "filter_int8"
    assert report.classify(red).filter.verdict == "organism"
    assert only.classify(red) == report.classify(red)
    left_out, judged = only.classify(blue), report.classify(blue)
    assert left_out == replace(judged, answer=None, top=())
    assert left_out.to_dict()["filter"] == {
        "verdict": "not_organism",
        "probability": judged.filter.probability,
        "variant": "filter_int8",
    }
    assert (left_out.to_dict()["top"], plain.classify(blue).to_dict()["filter"]) == ([], None)


def test_only_the_filter_sees_a_photo_that_is_left_out(filter_kit, tmp_path, monkeypatch) -> None:
    blue = tmp_path / "blue.png"
    Image.new("RGB", (50, 50), "blue").save(blue)
    with open_kit(filter_kit) as kit:
        only = Classifier(kit, filter=Filter(kit), only_organisms=True)
    monkeypatch.setattr(only, "probabilities", lambda _: pytest.fail("classified"))
    assert only.classify(blue).top == ()


def test_a_filter_has_its_own_preprocessing(
    tmp_path, manifest, filter_spec, contents, onnx_models
) -> None:
    # The middle is red, the sides are blue: what is seen tells how it was cut.
    image = Image.new("RGB", (300, 100), "blue")
    image.paste("red", (100, 0, 200, 100))
    photo = tmp_path / "photo.png"
    image.save(photo)
    spec = replace(filter_spec, preprocessing=Preprocessing(32, "crop"))
    path = tmp_path / "crop.rskit"
    models = {f"models/{name}.onnx": onnx_models["float"] for name in ("b", "filter_b")}
    models |= {f"models/{name}.tflite": b"x" for name in ("a", "filter_a")}
    write_kit(path, replace(manifest, filter=spec), models)
    with open_kit(path) as kit:
        classifier = Classifier(kit, "onnxruntime", filter=Filter(kit, "onnxruntime"))
        prediction = classifier.classify(photo)
        assert replace(prediction, filter=None) == Classifier(kit, "onnxruntime").classify(photo)
    assert prediction.top[0].name == "blue" and prediction.filter.probability > 0.99
