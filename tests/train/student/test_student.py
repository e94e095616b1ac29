"""Students: what they compute, where their weights come from, and the same as ONNX."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from rs_toolkit.errors import ConfigError, ExportError, MissingPackageError, WeightsError

torch = pytest.importorskip("torch")
if find_spec("timm") is None:
    pytest.skip("timm is not installed", allow_module_level=True)

from rs_train.student.onnx_file import write_student_onnx  # noqa: E402
from rs_train.student.student import STUDENTS, build_student  # noqa: E402
from rs_train.student.weights import weights_file  # noqa: E402
from rs_train.teacher.torch_setup import ready_torch  # noqa: E402

SMALL, SIDE = "mobilenetv4_conv_small_035", 32


@pytest.fixture(scope="module", autouse=True)
def _ready() -> None:
    ready_torch()


@pytest.fixture(scope="module")
def text() -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def package() -> None:
    try:
        weights_file("package")
    except MissingPackageError as error:
        pytest.skip(str(error))


def images(count: int, side: int = SIDE) -> np.ndarray:
    generator = np.random.default_rng(1)
    return generator.uniform(-1, 1, (count, side, side, 3)).astype(np.float32)


def test_the_verdict_is_one_product_with_the_texts(text) -> None:
    student = build_student(SMALL, "none", SIDE, 0, text, 20.0)
    with torch.no_grad():
        embedding, logits = student.head(student.features(torch.from_numpy(images(3))))
    assert np.linalg.norm(embedding, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert logits.numpy() == pytest.approx(20 * embedding.numpy() @ text.T, abs=1e-4)
    assert not any(p is student.verdict for p in student.parameters())


def test_without_a_teacher_there_are_two_logits() -> None:
    student = build_student(SMALL, "none", SIDE, 0)
    assert student(torch.from_numpy(images(3))).shape == (3, 2)


def test_random_weights_follow_the_seed() -> None:
    one, same, other = (build_student(SMALL, "none", SIDE, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["classify.weight"], other["classify.weight"])


def test_normalization_is_inside() -> None:
    student = build_student("mobilenetv4_conv_small", "none", SIDE, 0)
    assert (STUDENTS["mobilenetv4_conv_small"].mean, student.plain) != ((0.5,) * 3, True)
    pixels = images(2)
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    own = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 2 + 0.5 - mean) / std
    with torch.no_grad():
        wanted, got = student.body(own), student.features(torch.from_numpy(pixels))
    assert got.numpy() == pytest.approx(wanted.numpy(), abs=1e-4)


def test_the_packages_weights_know_birds(package, shared) -> None:
    """Names, padding and pixel range are right: ImageNet's classes of birds come first."""
    from rs_runtime.photos.preprocess import Preprocessing

    student = build_student("efficientnet_lite0", "package", 160, 0)
    found = torch.load(weights_file("package"), weights_only=True)
    files = sorted((shared / "data" / "birds" / "photos").glob("*/*.jpg"))[::45]
    preprocessing = Preprocessing(160, "crop")
    pixels = preprocessing.model_input(np.stack([preprocessing.load(file) for file in files]))
    with torch.no_grad():
        features = student.features(torch.from_numpy(pixels))
        scores = (features @ found["_fc.weight"].T + found["_fc.bias"]).softmax(1)
    birds = [*range(7, 25), *range(80, 101), *range(127, 147)]
    assert scores[:, birds].sum(1).mean() > 0.85
    assert scores.max(1).values.mean() > 0.6


def test_fixed_padding_changes_nothing(package) -> None:
    import timm

    from rs_train.student.weights import lite0_names, load_student_weights

    body = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    load_student_weights(body, "package", True, lite0_names)
    for side in (33, 64):
        student = build_student("efficientnet_lite0", "package", side, 0)
        pixels = torch.from_numpy(images(2, side))
        with torch.no_grad():
            wanted, got = body(pixels.permute(0, 3, 1, 2)), student.features(pixels)
        assert got.numpy() == pytest.approx(wanted.numpy(), abs=1e-4)


def saved(path, student=None, **changes) -> str:
    from safetensors.torch import save_file

    student = student or build_student(SMALL, "none", SIDE, 7)
    tensors = student.body.state_dict() | {"classifier.weight": torch.zeros(1000, 1280)}
    save_file({k: v for k, v in (tensors | changes).items() if v is not None}, path)
    return str(path)


def test_a_file_of_timms_weights_is_read(tmp_path) -> None:
    seven = build_student(SMALL, "none", SIDE, 7)
    student = build_student(SMALL, saved(tmp_path / "w.safetensors", seven), SIDE, 0)
    wanted = seven.body.state_dict()
    assert all(torch.equal(value, wanted[k]) for k, value in student.body.state_dict().items())
    assert not torch.equal(student.classify.weight, seven.classify.weight)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conv_stem.weight": None}, "lacks 'conv_stem.weight'"),
        ({"more": torch.zeros(2)}, "unknown 'more'"),
        ({"conv_stem.weight": torch.zeros(2)}, "wanted torch.float32"),
        ({"conv_stem.weight": torch.full((32, 3, 3, 3), torch.nan)}, "conv_stem.weight"),
    ],
)
def test_weights_of_another_model_are_refused(tmp_path, one_line, changes, said) -> None:
    with pytest.raises(WeightsError, match=said) as caught:
        build_student(SMALL, saved(tmp_path / "w.safetensors", **changes), SIDE, 0)
    one_line(str(caught.value))


def test_a_damaged_file_is_refused(tmp_path, one_line) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"\x80\x04c__builtin__\neval\n")
    for weights in (path, tmp_path / "nothing.safetensors"):
        with pytest.raises(WeightsError, match=r"--student-weights|damaged") as caught:
            build_student(SMALL, str(weights), SIDE, 0)
        assert "--teacher" not in one_line(str(caught.value))


def test_the_package_is_of_one_student(one_line) -> None:
    with pytest.raises(WeightsError, match="--student efficientnet_lite0") as caught:
        build_student(SMALL, "package", SIDE, 0)
    one_line(str(caught.value))


def test_an_unknown_student_is_refused() -> None:
    with pytest.raises(ConfigError, match="mobilenetv4_conv_small"):
        build_student("resnet50", "none", SIDE, 0)


@pytest.mark.parametrize("name", [SMALL, "efficientnet_lite0"])
def test_onnx_says_the_same_with_plain_operators(tmp_path, text, name) -> None:
    import onnx

    student = build_student(name, "none", SIDE, 0, text, 20.0)
    agreement = write_student_onnx(student, images(4), tmp_path / "student.onnx")
    assert agreement["max_difference"] < 1e-3 and agreement["cosine"] > 0.99999
    model = onnx.load(tmp_path / "student.onnx")
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 17)]
    used = {node.op_type for node in model.graph.node}
    # Normalization is folded, and so is padding.
    assert not used & {"BatchNormalization", "Pad", "Expand", "Shape", "Slice"}
    assert [item.name for item in (*model.graph.input, *model.graph.output)] == ["photos", "logits"]
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [item.dim_value for item in shape] == [0, SIDE, SIDE, 3]
    assert list(tmp_path.iterdir()) == [tmp_path / "student.onnx"]


def test_a_student_that_no_kit_can_hold_is_refused(tmp_path, one_line) -> None:
    student = build_student(SMALL, "none", SIDE, 0)
    student.body.conv_head.register_forward_hook(lambda _, __, output: output.sin())
    with pytest.raises(ExportError, match="Sin") as caught:
        write_student_onnx(student, images(2), tmp_path / "student.onnx")
    one_line(str(caught.value))
    assert not list(tmp_path.iterdir())
