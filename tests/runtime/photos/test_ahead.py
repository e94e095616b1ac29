"""The first photo is decoded while the model is loaded, once, with the same result."""

from __future__ import annotations

import pytest

import rs_runtime.classify as module
from rs_runtime.classify import Classifier
from rs_runtime.cli import main
from rs_runtime.errors import UnreadablePhotoError
from rs_runtime.photos.ahead import Ahead


def test_a_result_is_taken_once_and_by_its_key() -> None:
    ahead = Ahead("a", lambda: 7)
    assert [ahead.take("b"), ahead.take("a"), ahead.take("a")] == [None, 7, None]


def test_an_error_is_raised_where_the_result_is_taken() -> None:
    ahead = Ahead("a", lambda: 1 // 0)
    assert ahead.take("b") is None
    with pytest.raises(ZeroDivisionError):
        ahead.take("a")


@pytest.fixture
def decoded(monkeypatch) -> list[object]:
    """The photos that are decoded, on a machine with two cores."""
    real, seen = module.load_each, []
    monkeypatch.setattr("rs_runtime.first.cores", lambda: 2)
    monkeypatch.setattr(module, "load_each", lambda x, models: seen.append(x) or real(x, models))
    return seen


def test_the_first_photo_is_decoded_once(filter_kit, colour_photos, decoded) -> None:
    photos = [colour_photos / "b.JPG", colour_photos / "a.jpg"]
    with Classifier.open(filter_kit) as plain:
        wanted = [plain.classify(photo) for photo in photos]
    decoded.clear()
    with Classifier.open(filter_kit, first=photos[0]) as classifier:
        assert [classifier.classify(photo) for photo in photos] == wanted
    assert decoded == photos


def test_another_photo_first_is_no_mistake(onnx_kit, colour_photos, decoded) -> None:
    with Classifier.open(onnx_kit, first=colour_photos / "b.JPG") as classifier:
        assert classifier.classify(colour_photos / "a.jpg").top[0].name == "red"
        assert classifier.classify(colour_photos / "b.JPG").top[0].name == "green"


def test_a_damaged_first_photo_costs_only_itself(onnx_kit, colour_photos, decoded, capfd) -> None:
    damaged = colour_photos / "0.jpg"
    damaged.write_bytes(b"\xff\xd8\xff and no more")
    with (
        Classifier.open(onnx_kit, first=damaged) as classifier,
        pytest.raises(UnreadablePhotoError, match=r"0\.jpg"),
    ):
        classifier.classify(damaged)
    assert main(["--kit", str(onnx_kit), str(damaged), str(colour_photos / "a.jpg")]) == 1
    shown = capfd.readouterr()
    assert shown.err.count("0.jpg") == 1 and shown.out.count("a.jpg") == 1


def test_one_core_decodes_when_the_photo_is_due(onnx_kit, colour_photos, monkeypatch) -> None:
    monkeypatch.setattr("rs_runtime.first.cores", lambda: 1)
    with Classifier.open(onnx_kit, first=colour_photos / "a.jpg") as classifier:
        assert classifier._ahead is None
