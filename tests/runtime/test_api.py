"""The Python interface: what it takes and gives, and the examples of docs/python-api.md."""

from __future__ import annotations

import io
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime import Classifier, Failure, FilterError, PhotoError
from rs_runtime.kit.kit import write_kit


@pytest.fixture
def classifier(onnx_kit):
    with Classifier.open(onnx_kit) as opened:
        yield opened


@pytest.mark.parametrize("name", ["onnx_kit", "filter_kit"])
def test_the_examples_of_the_documentation_run(
    request, repository, name, colour_photos, tmp_path, monkeypatch, capsys
) -> None:
    text = (repository / "docs" / "python-api.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert len(blocks) == text.count("```python") >= 7
    shutil.copy(request.getfixturevalue(name), tmp_path / "kit.rskit")
    shutil.copy(colour_photos / "a.jpg", tmp_path / "photo.jpg")
    (colour_photos / "bad.jpg").write_bytes(b"no photo")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": "example"}
    for block in blocks[:-1]:
        exec(compile(block, "docs/python-api.md", "exec"), scope)
    (colour_photos / "bad.jpg").unlink()
    scope["photos"] = sorted(Path("photos").rglob("*.jpg"))
    exec(compile(blocks[-1], "docs/python-api.md", "exec"), scope)
    out = capsys.readouterr().out
    assert "bad.jpg has no answer: photo" in out and "this photo cannot be used: photo" in out
    assert scope["problems"] == [] and [a.top[0].name for a in scope["answers"]] == ["red", "blue"]


def test_the_documentation_names_what_is_public(repository) -> None:
    import rs_runtime

    text = (repository / "docs" / "python-api.md").read_text("utf-8")
    names = set(re.findall(r"`([A-Z][A-Za-z]+)`", text)) - {"OSError", "TypeError", "ValueError"}
    assert len(names) > 8 and names - {"RuntimeWarning"} <= set(rs_runtime.__all__)


def scene(mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((60, 45)).convert(mode)


def test_a_photo_may_be_a_path_bytes_an_image_or_an_array(classifier, tmp_path) -> None:
    path = tmp_path / "scene.png"
    scene().save(path)
    of_path = classifier.classify(path)
    assert of_path == classifier.classify(str(path)) and of_path.path == str(path)
    others = [path.read_bytes(), Image.open(path), scene(), np.asarray(scene())]
    found = [classifier.classify(other) for other in others]
    assert found == [replace(of_path, path=None)] * 4
    assert list(classifier.classify_many(iter([path, *others]))) == [of_path, *found]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "CMYK", "P", "LA", "1", "F", "I;16"])
def test_images_of_all_modes_are_what_their_files_are(classifier, mode) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.asarray(scene("L")).astype(np.uint16) * 9)
    else:
        image = scene(mode)
    file = io.BytesIO()
    image.save(file, "TIFF")
    assert classifier.classify(image) == classifier.classify(file.getvalue())
    if mode in ("RGB", "RGBA", "L", "F", "I;16"):
        assert classifier.classify(np.asarray(image)) == classifier.classify(image)


def test_images_are_turned_upright(onnx_kit, manifest, onnx_models) -> None:
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (0, 0, 10, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    crop = replace(manifest.preprocessing, resize="crop")
    kit = replace(manifest, preprocessing=crop, variants=manifest.variants[1:], default_variants={})
    write_kit(onnx_kit, kit, {"models/b.onnx": onnx_models["float"]})
    with Classifier.open(onnx_kit) as classifier:
        opened = Image.open(io.BytesIO(file.getvalue()))
        assert classifier.classify(opened) == classifier.classify(file.getvalue())
        pixels, info = classifier.preprocessing.load_with_info(file.getvalue())
    assert (info.width, info.height) == (20, 40) and pixels.shape == (32, 32, 3)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.int64),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused_with_a_reason(classifier, array, one_line) -> None:
    with pytest.raises(PhotoError) as caught:
        classifier.classify(array)
    assert str(array.shape) in one_line(str(caught.value))
    (found,) = classifier.classify_many([array])
    assert found == Failure(None, str(caught.value)) and found.to_dict()["path"] is None


def test_a_truncated_image_and_one_that_is_too_large(classifier, monkeypatch) -> None:
    file = io.BytesIO()
    scene().save(file, "PNG")
    with pytest.raises(PhotoError, match="photo in memory cannot be decoded"):
        classifier.classify(Image.open(io.BytesIO(file.getvalue()[:-60])))
    monkeypatch.setattr("rs_runtime.photos.memory.MAX_PHOTO_PIXELS", 1000)
    with pytest.raises(PhotoError, match="60 x 45 pixels, more than 1000"):
        classifier.classify(scene())


def test_wrong_arguments_are_said_at_once(classifier, onnx_kit) -> None:
    with pytest.raises(TypeError, match="got NoneType"):
        classifier.classify(None)
    with pytest.raises(TypeError, match="got int"):
        list(classifier.classify_many([3]))
    with pytest.raises(TypeError, match="of one photo: classify"):
        list(classifier.classify_many("photo.jpg"))
    with pytest.raises(ValueError, match="top must be at least 1"):
        classifier.classify(scene(), top=0)
    wrong = {"min_probability": 2, "coverage": -1, "threads": 0, "filter": "maybe"}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=name):
            Classifier.open(onnx_kit, **{name: value})


def test_results_are_frozen(classifier) -> None:
    found = classifier.classify(scene())
    for result in (found, found.top[0], found.answer, Failure("a.jpg", "gone")):
        with pytest.raises(FrozenInstanceError):
            result.name = "another"
    assert Failure("a.jpg", "gone").to_dict() == {"path": "a.jpg", "error": "gone"}


def test_a_closed_classifier_says_so(onnx_kit) -> None:
    with Classifier.open(onnx_kit) as classifier:
        pass
    for _ in range(2):
        with pytest.raises(ValueError, match="is closed"):
            classifier.classify(scene())
        with pytest.raises(ValueError, match="is closed"):
            list(classifier.classify_many([scene()] * 20))
        classifier.close()


def test_problems_are_warnings(filter_kit, manifest, filter_spec, onnx_models) -> None:
    members = {f"models/{name}.onnx": onnx_models["float"] for name in ("b", "filter_b")}
    only = replace(filter_spec, variants=filter_spec.variants[1:], default_variants={})
    warned = replace(manifest.variants[1], warning="lost 9 points, forced")
    kit = replace(manifest, variants=(warned,), default_variants={}, filter=only)
    write_kit(filter_kit, kit, {**members, "models/filter_b.onnx": b"not a model"})
    with pytest.warns(RuntimeWarning) as said:
        classifier = Classifier.open(filter_kit)
    first, second = (str(warning.message) for warning in said)
    assert first.startswith("photos are not judged by the filter: ") and "forced" in second
    assert classifier.filter is None and classifier.classify(scene()).filter is None
    with pytest.raises(FilterError):
        Classifier.open(filter_kit, filter="on")


@pytest.mark.parametrize("name", ["onnx_kit", "litert_kit"])
def test_several_threads_get_the_same_answers(request, name) -> None:
    generator = np.random.default_rng(0)
    photos = list(generator.integers(0, 256, (40, 20, 20, 3), dtype=np.uint8))
    with Classifier.open(request.getfixturevalue(name), threads=2) as classifier:
        alone = [classifier.classify(photo) for photo in photos]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(classifier.classify, photos)) == alone
            many = [pool.submit(lambda: list(classifier.classify_many(photos))) for _ in range(2)]
            assert [found.result() for found in many] == [alone] * 2
