"""Networks that keras.applications has too: they compute the same, from the same weights."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.errors import WeightsError
from rs_toolkit.progress import Progress
from rs_train.classifier.backbones import BACKBONES, Backbone, copy_weights, load_backbone_weights
from rs_train.classifier.convnext import scaled_convnext
from rs_train.classifier.model import build_classifier, freeze_below

# Of keras.applications: the function, the module whose preprocess_input a photo goes through, and
# whether it is too slow for every test run.
KERAS = {
    "xception": ("Xception", "xception", True),
    "mobilenetv2-w50": ("MobileNetV2", "mobilenet_v2", False),
    "mobilenetv3-large": ("MobileNetV3Large", "mobilenet_v3", False),
    "efficientnetv2-b0": ("EfficientNetV2B0", "efficientnet_v2", True),
    "efficientnetv2-b1": ("EfficientNetV2B1", "efficientnet_v2", True),
    "efficientnetv2-b2": ("EfficientNetV2B2", "efficientnet_v2", True),
    "efficientnetv2-b3": ("EfficientNetV2B3", "efficientnet_v2", True),
    "convnext-tiny": ("ConvNeXtTiny", "convnext", True),
    "convnext-base": ("ConvNeXtBase", "convnext", True),
}
SIDE, DOWNLOADED = 71, "mobilenetv3-large"
NETWORKS = [
    pytest.param(name, marks=[pytest.mark.slow] if slow else [])
    for name, (_, _, slow) in KERAS.items()
]


@cache
def classifier(name: str) -> Any:
    return build_classifier(name, SIDE, 4)


@cache
def network(name: str) -> Any:
    """Return the network of keras.applications with its own preprocessing and random weights."""
    import keras

    more = {"alpha": 0.5} if name == "mobilenetv2-w50" else {}
    build = getattr(keras.applications, KERAS[name][0])
    return stirred(build(weights=None, include_top=False, input_shape=(SIDE, SIDE, 3), **more))


def stirred(model: Any) -> Any:
    """Give a model random statistics, gammas, betas and biases too, and return it."""
    generator = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1:
            low, high = (-0.3, 0.3) if weight.name in ("bias", "beta") else (0.5, 1.5)
            weight.assign(generator.uniform(low, high, weight.shape))
    return model


def body(model: Any) -> Any:
    import keras

    return keras.Model(model.input, model.get_layer("avg_pool").input)


def assert_same(got: Any, wanted: Any) -> None:
    spread = float(np.ptp(wanted))
    assert spread > 1e-3
    assert np.abs(np.asarray(got) - np.asarray(wanted)).max() < 1e-4 * max(1.0, spread)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_keras_own_pipeline(name) -> None:
    import keras

    theirs, ours = network(name), classifier(name)
    copy_weights(theirs, body(ours))
    photos = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    prepare = getattr(keras.applications, KERAS[name][1]).preprocess_input
    features = np.asarray(theirs(prepare(photos.astype(np.float32)), training=False))
    kernel, bias = ours.get_layer("predictions").get_weights()
    given = Preprocessing(size=SIDE).model_input(photos)
    assert_same(ours(given, training=False), features.mean((1, 2)) @ kernel + bias)
    prefixes = {layer.name.replace("block_", "block").partition("_")[0] for layer in ours.layers}
    assert prefixes >= set(BACKBONES[name].blocks)


def test_convnext_computes_what_that_of_keras_does_from_a_file_of_its_weights(
    tmp_path, monkeypatch, one_line
) -> None:
    from keras.src.applications.convnext import ConvNeXt

    depths, widths, side = (1, 1, 2, 1), (8, 16, 24, 32), 40

    def keras_own(_: int, weights: str | None) -> Any:
        shape = (side, side, 3)
        return ConvNeXt(depths, widths, include_top=False, input_shape=shape, name="any")

    theirs = stirred(keras_own(side, None))
    theirs.save_weights(tmp_path / "made.weights.h5")
    build = scaled_convnext("small", depths, widths)
    monkeypatch.setitem(BACKBONES, "small", Backbone("small", build, (), network=keras_own))
    ours = build(side)
    load_backbone_weights(ours, "small", str(tmp_path / "made.weights.h5"))
    # What is no file of that network, such as of our own, is refused.
    ours.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(WeightsError, match="not of backbone small") as caught:
        load_backbone_weights(ours, "small", str(tmp_path / "other.weights.h5"))
    one_line(str(caught.value))
    photos = np.random.default_rng(1).integers(0, 256, (2, side, side, 3), np.uint8)
    given = Preprocessing(size=side).model_input(photos)
    assert_same(ours(given), theirs(photos.astype(np.float32)))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) for name in KERAS if name != DOWNLOADED]
    + [DOWNLOADED],
)
def test_what_is_downloaded_is_said_before(name, monkeypatch, one_line) -> None:
    from keras.src.utils import file_utils

    asked: list[tuple[str, str]] = []
    said: list[tuple[int, str]] = []

    def offline(file: str, origin: str, **settings: object) -> None:
        asked.append((file, origin))
        raise OSError(f"URL fetch failure on {origin}: no network")

    monkeypatch.setattr(file_utils, "get_file", offline)
    monkeypatch.setenv("KERAS_HOME", "/nowhere")
    progress = Progress()
    progress.note = lambda text: said.append((len(asked), text))  # type: ignore[method-assign]
    with pytest.raises(WeightsError, match=r"cannot be downloaded .*--weights FILE\.h5") as caught:
        load_backbone_weights(classifier(name), name, "imagenet", progress=progress)
    one_line(str(caught.value))
    [(file, origin)], [(before, text)] = asked, said
    assert before == 0 and one_line(text)
    assert file == BACKBONES[name].file and file in text
    assert origin.startswith("https://storage.googleapis.com/") and "storage.googleapis.com" in text


def test_a_file_that_is_there_is_not_announced(monkeypatch, tmp_path) -> None:
    import keras

    said: list[str] = []
    progress, ours = Progress(), scaled_convnext("small", (1,), (8,))(32)
    progress.note = said.append  # type: ignore[method-assign]
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / BACKBONES["xception"].file).touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.applications, "Xception", lambda **_: ours)
    load_backbone_weights(ours, "xception", "imagenet", progress=progress)
    assert not said


@pytest.mark.parametrize("name", ["mobilenetv3-large", "efficientnetv2-b0", "baseline-cnn"])
def test_by_default_the_upper_blocks_are_fine_tuned(name) -> None:
    import keras

    model = classifier(name)
    freeze_below(model, name, "auto")
    trained = [layer.name for layer in model.layers if layer.trainable and layer.trainable_weights]
    assert trained[0].startswith(f"{BACKBONES[name].start}_") and trained[-1] == "predictions"
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert norms and not any(layer.trainable for layer in norms)


def test_convnext_has_no_statistics_to_freeze() -> None:
    import keras

    model = scaled_convnext("small", (1, 1, 2, 1), (8, 16, 16, 24))(32)
    freeze_below(model, "convnext-tiny", "block3")
    trained = [layer.name for layer in model.layers if layer.trainable and layer.weights]
    assert trained[0] == "block3_down_norm" and "block2_project" not in trained
    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in model.layers)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_starts_at_one_of_its_blocks(name) -> None:
    item = BACKBONES[name]
    assert item.start in ("all", *item.blocks)
    assert not item.file or item.network is not None
