from __future__ import annotations

import numpy as np
import pytest

from rs_toolkit.errors import ConfigError, WeightsError
from rs_train.classifier.backbones import (
    BACKBONES,
    Backbone,
    build_backbone,
    load_backbone_weights,
    register,
)
from rs_train.classifier.model import build_classifier, copy_weights, freeze_below
from rs_train.classifier.xception import scaled_xception


@pytest.fixture(scope="module")
def tiny():
    return build_backbone("tiny", 32)


def test_narrow_sibling_at_full_width_has_xceptions_shapes() -> None:
    """The sibling is the same architecture: at width 1 it takes Xception's weights exactly."""
    wide = scaled_xception(1.0)(96)
    full = build_backbone("xception", 96)
    assert full.count_params() == wide.count_params() == 20_861_480
    named = {layer.name: layer for layer in wide.layers if layer.weights}
    shortcuts = [layer for layer in full.layers if layer.weights and layer.name not in named]
    renamed = [f"block{number}_shortcut{end}" for number in (2, 3, 4, 13) for end in ("", "_bn")]
    assert len(shortcuts) == len(renamed)
    source = {layer.name: layer for layer in full.layers if layer.name in named}
    source |= dict(zip(renamed, shortcuts, strict=True))
    for name, layer in named.items():
        layer.set_weights(source[name].get_weights())
    x = np.random.default_rng(0).uniform(-1, 1, (2, 96, 96, 3)).astype("float32")
    assert np.allclose(wide(x), full(x), atol=1e-5)


def test_freezing_leaves_batch_norm_and_lower_blocks_alone() -> None:
    import keras

    model = build_classifier("xception-w25", 64, 3)
    freeze_below(model, "xception-w25", "block13")
    trained = {layer.name for layer in model.layers if layer.trainable and layer.weights}
    assert "predictions" in trained
    assert "block13_sepconv1" in trained
    assert "block12_sepconv3" not in trained
    assert not any(
        layer.trainable
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    )
    with pytest.raises(ConfigError, match="block99"):
        freeze_below(model, "xception-w25", "block99")


def test_the_last_block_is_trained_alone() -> None:
    model = build_classifier("tiny", 32, 3)
    freeze_below(model, "tiny", "last")
    trained = [layer.name for layer in model.layers if layer.trainable and layer.trainable_weights]
    assert trained == ["block2_sepconv1", "predictions"]


def test_a_bottleneck_keeps_what_it_can_and_leaves_no_layer_behind() -> None:
    import keras

    keras.utils.set_random_seed(0)
    whole, thin = build_classifier("tiny", 32, 9), build_classifier("tiny", 32, 9, bottleneck=4)
    copy_weights(whole, thin)
    head = [thin.get_layer(name).get_weights()[0] for name in ("bottleneck", "predictions")]
    assert [matrix.shape for matrix in head] == [(24, 4), (4, 9)]
    kernel = whole.get_layer("predictions").get_weights()[0]
    # The error of the best matrix of rank 4: the singular values that are left out.
    left_out = np.linalg.svd(kernel)[1][4:]
    assert np.linalg.norm(kernel - head[0] @ head[1]) == pytest.approx(np.linalg.norm(left_out))
    copy_weights(thin, whole)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")
    assert np.allclose(whole(x), thin(x), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "below", "first"),
    [
        ("efficientnet_lite0", "block8_project_conv", "block9_expand_conv"),
        ("mobilenetv2-w50", "block_8_project", "block_9_expand"),
    ],
)
def test_each_backbone_is_fine_tuned_from_its_ninth_block(name, below, first) -> None:
    from rs_toolkit.config.training import TrainConfig

    model = build_classifier(name, 64, 3)
    freeze_below(model, name, TrainConfig(backbone=name).first_block)
    trained = [layer.name for layer in model.layers if layer.trainable and layer.trainable_weights]
    assert trained[0] == first and trained[-1] == "predictions" and below not in trained


def test_unknown_name_and_too_small_input() -> None:
    with pytest.raises(ConfigError, match=r"wanted one of .*xception-w25"):
        build_backbone("resnet", 96)
    with pytest.raises(ConfigError, match="imgsz"):
        build_backbone("xception", 32)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="registered already"):
        register(Backbone("xception", lambda size: None, ()))  # type: ignore[arg-type]
    assert "xception" in BACKBONES


def test_weights_round_trip(tiny, tmp_path) -> None:
    file = tmp_path / "tiny.weights.h5"
    tiny.save_weights(file)
    other = build_backbone("tiny", 32)
    load_backbone_weights(other, "tiny", str(file))
    for one, two in zip(tiny.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("damage", ["missing", "suffix", "truncated", "text", "other"])
def test_bad_weights_are_one_line(tiny, tmp_path, damage) -> None:
    file = tmp_path / "w.weights.h5"
    if damage == "suffix":
        file = tmp_path / "w.pkl"
        file.write_bytes(b"x")
    elif damage == "text":
        file.write_text("not hdf5")
    elif damage == "truncated":
        tiny.save_weights(file)
        file.write_bytes(file.read_bytes()[:5000])
    elif damage == "other":
        build_backbone("baseline-cnn", 32).save_weights(file)
    with pytest.raises(WeightsError) as caught:
        load_backbone_weights(tiny, "tiny", str(file))
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_imagenet_offline_says_how_to_give_a_file(monkeypatch) -> None:
    import keras

    def offline(**settings: object) -> None:
        raise OSError("URL fetch failure: no network")

    monkeypatch.setattr(keras.applications, "Xception", offline)
    small = build_backbone("tiny", 32)
    with pytest.raises(WeightsError, match=r"--weights FILE\.h5"):
        load_backbone_weights(small, "xception", "imagenet")
    with pytest.raises(WeightsError, match="none are published"):
        load_backbone_weights(small, "xception-w25", "imagenet")
