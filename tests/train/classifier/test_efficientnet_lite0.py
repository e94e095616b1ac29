"""EfficientNet-Lite0: the package's weights are read without torch, and mean what they do there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rs_toolkit.errors import MissingPackageError, WeightsError
from rs_train.classifier import efficientnet_lite0
from rs_train.classifier.backbones import build_backbone, load_backbone_weights
from rs_train.classifier.efficientnet_lite0 import package_file, read_package

NAME = "efficientnet_lite0"


@pytest.fixture(scope="module")
def package() -> Path:
    try:
        return package_file()
    except MissingPackageError as error:
        pytest.skip(str(error))


def features(side: int, pixels: np.ndarray) -> np.ndarray:
    backbone = build_backbone(NAME, side)
    load_backbone_weights(backbone, NAME, "package")
    return np.asarray(backbone(pixels)).mean((1, 2))


def test_it_has_the_published_number_of_weights() -> None:
    assert build_backbone(NAME, 32).count_params() == 3_413_024


def in_torch(torch: Any, file: Path) -> Any:
    """The same network by timm, with the weights by timm's names."""
    timm = pytest.importorskip("timm")
    body = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    blocks = [
        f"blocks.{stage}.{block}"
        for stage, members in enumerate(body.blocks)
        for block, _ in enumerate(members)
    ]
    outside = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    inside = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    # The first block does not expand.
    first = {**inside, "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    renamed = {}
    for name, value in torch.load(file, weights_only=True).items():
        parts = name.split(".")
        if parts[0] == "_blocks":
            table = inside if int(parts[1]) else first
            renamed[f"{blocks[int(parts[1])]}.{table[parts[2]]}.{parts[3]}"] = value
        elif parts[0] in outside:
            renamed[f"{outside[parts[0]]}.{parts[1]}"] = value
    body.load_state_dict(renamed)
    return body


@pytest.mark.parametrize("side", [65, 96])
def test_it_computes_what_torch_does(package, torch, side) -> None:
    pixels = np.random.default_rng(1).uniform(-1, 1, (3, side, side, 3)).astype(np.float32)
    with torch.no_grad():
        wanted = in_torch(torch, package)(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
    assert np.abs(wanted).max() > 0.5
    assert features(side, pixels) == pytest.approx(wanted, abs=1e-4)


def test_every_tensor_is_read_as_torch_reads_it(package, torch) -> None:
    wanted = torch.load(package, weights_only=True)
    found = read_package(package)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        stored = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
        assert np.array_equal(found[name], stored.numpy())


def test_the_packages_weights_know_birds(package, shared) -> None:
    """Names, padding and pixel range are right: ImageNet's classes of birds come first."""
    from rs_runtime.photos.preprocess import Preprocessing

    found = read_package(package)
    files = sorted((shared / "data" / "birds" / "photos").glob("*/*.jpg"))[::45]
    preprocessing = Preprocessing(160, "crop")
    pixels = preprocessing.model_input(np.stack([preprocessing.load(file) for file in files]))
    logits = features(160, pixels) @ found["_fc.weight"].reshape(-1, 1000) + found["_fc.bias"]
    scores = np.exp(logits - logits.max(1, keepdims=True))
    scores /= scores.sum(1, keepdims=True)
    birds = [*range(7, 25), *range(80, 101), *range(127, 147)]
    assert scores[:, birds].sum(1).mean() > 0.85
    assert scores.max(1).mean() > 0.6


def test_another_file_is_refused_before_it_is_read(tmp_path, monkeypatch, one_line) -> None:
    file = tmp_path / "efficientnet-lite0-57934424.pth"
    monkeypatch.setattr(efficientnet_lite0, "package_file", lambda: file)
    for content in (None, b"\x80\x04c__builtin__\neval\n"):
        if content:
            file.write_bytes(content)
        with pytest.raises(WeightsError, match=r"missing|sha256") as caught:
            load_backbone_weights(build_backbone(NAME, 32), NAME, "package")
        one_line(str(caught.value))


def test_the_package_is_of_one_backbone(one_line) -> None:
    with pytest.raises(WeightsError, match=NAME) as caught:
        load_backbone_weights(build_backbone("tiny", 32), "tiny", "package")
    one_line(str(caught.value))
