"""Students: what they compute, what of them trains, and where their weights come from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.errors import ConfigError, WeightsError
from rs_train.classifier.backbones import build_backbone
from rs_train.student.lesson import Lesson, learn_from_labels
from rs_train.student.student import build_student, freeze, losses, outputs_of

NAME, SIDE = "tiny", 32
CONFIG = DistillConfig(student=NAME, imgsz=SIDE)


@pytest.fixture(scope="module")
def text() -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def images(count: int, side: int = SIDE) -> np.ndarray:
    generator = np.random.default_rng(1)
    return generator.uniform(-1, 1, (count, side, side, 3)).astype(np.float32)


def test_the_verdict_is_one_product_with_the_texts(text) -> None:
    import keras

    student = build_student(CONFIG, "none", text, 20.0)
    found = keras.Model(student.input, outputs_of(student))(images(3))
    embedding, logits = found["embedding"], found["verdict"]
    assert np.linalg.norm(embedding, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert np.asarray(logits) == pytest.approx(20 * np.asarray(embedding) @ text.T, abs=1e-4)
    trained = {weight.path for weight in student.trainable_variables}
    assert "projection/kernel" in trained and "verdict/kernel" not in trained


def test_without_a_teacher_there_are_two_logits() -> None:
    student = build_student(CONFIG, "none")
    assert student(images(3)).shape == (3, 2)
    assert outputs_of(student) == {"verdict": student.output}


def test_random_weights_follow_the_seed() -> None:
    one, same, other = (
        build_student(replace(CONFIG, seed=seed), "none").get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


@pytest.mark.parametrize("name", ["mobilenetv2-w50", "efficientnet_lite0"])
def test_registered_students_are_small_and_clip_at_six(name) -> None:
    """Nothing in them is hard to round: ReLU6, no other activation, no scaling of the photo."""
    import keras

    student = build_student(DistillConfig(student=name, imgsz=64), "none")
    assert student.count_params() < 3_500_000
    assert student(images(1, 64)).shape == (1, 2)
    kinds = {type(layer) for layer in student.layers}
    assert kinds <= {
        getattr(keras.layers, kind)
        for kind in (
            *("InputLayer", "Conv2D", "DepthwiseConv2D", "BatchNormalization", "ReLU", "Add"),
            *("ZeroPadding2D", "GlobalAveragePooling2D", "Dense"),
        )
    }
    assert {x.max_value for x in student.layers if isinstance(x, keras.layers.ReLU)} == {6.0}


@pytest.mark.parametrize(
    ("body", "batch_norm", "trained"),
    [
        (True, False, {"verdict"}),
        (False, True, {"block1_conv1", "block2_sepconv1", "verdict"}),
        (
            False,
            False,
            {"block1_conv1", "block1_conv1_bn", "block2_sepconv1", "block2_sepconv1_bn", "verdict"},
        ),
    ],
)
def test_what_is_frozen_does_not_train(body, batch_norm, trained) -> None:
    student = build_student(CONFIG, "none")
    freeze(student, body=body, batch_norm=batch_norm)
    assert {v.path.split("/")[0] for v in student.trainable_variables} == trained


def test_weights_of_a_file_go_into_the_backbone_alone(tmp_path) -> None:
    import keras

    keras.utils.set_random_seed(7)
    backbone = build_backbone(NAME, SIDE)
    backbone.save_weights(tmp_path / "made.weights.h5")
    student = build_student(CONFIG, str(tmp_path / "made.weights.h5"))
    first = student.get_layer("block1_conv1").get_weights()[0]
    assert np.array_equal(first, backbone.get_layer("block1_conv1").get_weights()[0])
    random = build_student(CONFIG, "none").get_layer("block1_conv1").get_weights()[0]
    assert not np.array_equal(first, random)


@pytest.mark.parametrize("name", ["nothing.weights.h5", "w.safetensors", "w.weights.h5"])
def test_wrong_weights_are_one_line_of_this_option(tmp_path, one_line, name) -> None:
    path = tmp_path / name
    if not name.startswith("nothing"):
        path.write_bytes(b"\x80\x04c__builtin__\neval\n")
    with pytest.raises(WeightsError, match=name) as caught:
        build_student(CONFIG, str(path))
    assert " --weights" not in one_line(str(caught.value))


def test_an_unknown_student_is_refused(one_line) -> None:
    with pytest.raises(ConfigError, match="mobilenetv2-w50") as caught:
        build_student(replace(CONFIG, student="resnet50"), "none")
    one_line(str(caught.value))


def test_the_loss_is_the_one_of_the_module() -> None:
    """Against the equation, computed apart."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2, 6, 8)).astype(np.float32)
    taught, embedding = rows / np.linalg.norm(rows, axis=2, keepdims=True)
    logits, target = rng.normal(size=(6, 3)).astype(np.float32), rng.uniform(size=6)
    kinds = [{"name": str(n), "organism": n < 2} for n in range(3)]
    lesson = Lesson(kinds, embeddings=taught[:, None], temperature=2.0, bias=0.5)
    config = DistillConfig(cosine_weight=2.0, l1_weight=0.3, verdict_weight=0.7)
    of_embedding, of_verdict = losses(lesson, config).values()
    away = np.sqrt(8) * np.abs(embedding - taught)
    smooth = np.where(away < 1, away**2 / 2, away - 0.5).mean()
    wanted = 2.0 * (1 - (embedding * taught).sum(1)).mean() + 0.3 * smooth
    assert float(of_embedding(taught, embedding)) == pytest.approx(wanted, rel=1e-4)
    odds = np.log(np.exp(logits[:, :2]).sum(1)) - logits[:, 2]
    p = 1 / (1 + np.exp(-(odds / 2.0 + 0.5)))
    wanted = -0.7 * (target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    assert float(of_verdict(target, logits)) == pytest.approx(wanted, rel=1e-4)
    assert losses(learn_from_labels(), config).keys() == {"verdict"}
