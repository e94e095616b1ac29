"""A model is read and the first photo decoded beside imports, once, with the same result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rs_runtime.photos.preprocess as module
from rs_runtime.ahead import Ahead
from rs_runtime.classify import Classifier
from rs_runtime.cli import main
from rs_runtime.errors import KitIntegrityError, UnreadablePhotoError
from rs_runtime.first import decode_ahead, read_ahead
from rs_runtime.kit.kit import Kit, open_kit, to_classify


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

    def load_each(photo, models):
        seen.append(photo)
        return real(photo, models)

    monkeypatch.setattr(module, "load_each", load_each)
    monkeypatch.setattr("rs_runtime.classify.load_each", load_each)
    return seen


def opened(kit: Path, first: Path) -> Classifier:
    """A classifier whose first photo is decoded while its model is loaded."""
    with to_classify(kit, None) as file:
        return Classifier.open(file, first=decode_ahead(first, file.manifest, "report"))


def test_the_first_photo_is_decoded_once(filter_kit, colour_photos, decoded) -> None:
    photos = [colour_photos / "b.JPG", colour_photos / "a.jpg"]
    with Classifier.open(filter_kit) as plain:
        wanted = [plain.classify(photo) for photo in photos]
    decoded.clear()
    with opened(filter_kit, photos[0]) as classifier:
        assert [classifier.classify(photo) for photo in photos] == wanted
    assert decoded == photos


def test_another_photo_first_is_no_mistake(onnx_kit, colour_photos, decoded) -> None:
    with opened(onnx_kit, colour_photos / "b.JPG") as classifier:
        assert classifier.classify(colour_photos / "a.jpg").top[0].name == "red"
        assert classifier.classify(colour_photos / "b.JPG").top[0].name == "green"


def test_an_array_or_image_first_is_no_mistake(onnx_kit, colour_photos, decoded) -> None:
    with Image.open(colour_photos / "a.jpg") as image:
        for photo in (np.asarray(image), image.copy()):
            with opened(onnx_kit, colour_photos / "b.JPG") as classifier:
                assert classifier.classify(photo).top[0].name == "red"


def test_a_damaged_first_photo_costs_only_itself(onnx_kit, colour_photos, decoded, capfd) -> None:
    damaged = colour_photos / "0.jpg"
    damaged.write_bytes(b"\xff\xd8\xff and no more")
    with (
        opened(onnx_kit, damaged) as classifier,
        pytest.raises(UnreadablePhotoError, match=r"0\.jpg"),
    ):
        classifier.classify(damaged)
    assert main(["--kit", str(onnx_kit), str(damaged), str(colour_photos / "a.jpg")]) == 1
    shown = capfd.readouterr()
    assert shown.err.count("0.jpg") == 1 and shown.out.count("a.jpg") == 1


def test_one_core_decodes_when_the_photo_is_due(onnx_kit, colour_photos, monkeypatch) -> None:
    monkeypatch.setattr("rs_runtime.first.cores", lambda: 1)
    with open_kit(onnx_kit) as kit:
        assert decode_ahead(colour_photos / "a.jpg", kit.manifest, "report") is None
        read_ahead(kit, "auto", None)
        assert not kit._ahead


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The members that are read, on a machine with two cores."""
    real, seen = Kit._read, []
    monkeypatch.setattr("rs_runtime.first.cores", lambda: 2)
    monkeypatch.setattr(Kit, "_read", lambda kit, name: seen.append(name) or real(kit, name))
    return seen


def test_a_model_is_read_once(onnx_kit, read) -> None:
    with open_kit(onnx_kit, every_member=False) as kit:
        wanted = {name: kit.read(name) for name in kit.members}
        read.clear()
        read_ahead(kit, "auto", None)
        assert {name: kit.read(name) for name in kit.members} == wanted
    assert sorted(read) == sorted(wanted)


def test_of_two_engines_the_model_is_read_that_is_sure_to_run(kit_path, read) -> None:
    with open_kit(kit_path) as kit:
        onnx = next(x for x in kit.manifest.variants if x.engine == "onnxruntime")
        for engine, name in (("auto", None), ("auto", onnx.name), ("onnxruntime", None)):
            read_ahead(kit, engine, name)
            assert set(kit._ahead) == (set() if (engine, name) == ("auto", None) else {onnx.member})
            kit.read(onnx.member)


def test_a_damaged_model_is_refused_where_it_is_used(onnx_kit, colour_photos, read, capfd) -> None:
    with open_kit(onnx_kit) as kit:
        (member,) = (item.member for item in kit.manifest.variants)
        start = kit._entries[member].start
    data = bytearray(onnx_kit.read_bytes())
    data[start + 100] ^= 1
    onnx_kit.write_bytes(data)
    with open_kit(onnx_kit, every_member=False) as kit:
        read_ahead(kit, "auto", None)
        with pytest.raises(KitIntegrityError, match="SHA-256 differs"):
            kit.read(member)
    assert main(["--kit", str(onnx_kit), str(colour_photos / "a.jpg")]) == 2
    assert "SHA-256 differs" in capfd.readouterr().err
