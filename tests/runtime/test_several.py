"""Photos with boxes, and videos: one answer for each box, and one for the whole."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from rs_runtime.classify import Classifier
from rs_runtime.cli import main
from rs_runtime.errors import PhotoError
from rs_runtime.journal import photo_key
from rs_runtime.photos.boxes import BoxedPhoto, DetectedBox
from rs_runtime.photos.preprocess import Preprocessing, load_parts
from rs_runtime.photos.zipped import zip_photos
from rs_runtime.summed import of_boxes, of_frames

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)


@pytest.fixture
def halves(tmp_path) -> Path:
    """A photo whose left half is red and whose right half is blue."""
    image = Image.new("RGB", (120, 80), "red")
    ImageDraw.Draw(image).rectangle((60, 0, 120, 80), "blue")
    image.save(tmp_path / "halves.png")
    return tmp_path / "halves.png"


@pytest.fixture
def classifier(onnx_kit):
    with Classifier.open(onnx_kit, min_probability=0.6) as opened:
        yield opened


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    powers = np.exp(logits / temperature - (logits / temperature).max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_boxes_sum_up_to_the_mean_of_their_probabilities() -> None:
    logits = np.random.default_rng(0).normal(0, 9, (3, 5)).astype(np.float32)
    weights, temperature = (0.5, 1.0, 0.25), 1.7
    summed = of_boxes(logits, weights, temperature)
    wanted = np.average(probabilities(logits, temperature), axis=0, weights=weights)
    assert summed.shape == (1, 5) and summed.dtype == np.float32
    assert np.allclose(probabilities(summed, temperature)[0], wanted, rtol=1e-4)
    heights = temperature * np.log(np.exp(logits / temperature).sum(axis=1))
    height = temperature * np.log(np.exp(summed / temperature).sum())
    assert height == pytest.approx(np.average(heights, weights=weights), rel=1e-4)
    # Two animals: the mean of logits would name a third.
    two = np.array([[9.0, -9.0, 7.0], [-9.0, 9.0, 7.0]], np.float32)
    assert of_frames(two).argmax() == 2 and of_boxes(two, (1, 1), 1.0).argmax() != 2
    assert np.array_equal(of_boxes(two[:1], (0.0,), 3.0), two[:1])
    assert np.isfinite(of_boxes(two, (0.0, 0.0), 1.0)).all()
    extreme = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    shares = probabilities(of_boxes(extreme, (1, 3), 1.0), 1.0)
    assert np.allclose(shares, [[0.25, 0.75]], atol=1e-3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_pixels_of_boxes_are_those_of_each_alone(kind) -> None:
    """Training crops with the same code, one box at a time."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((1200, 900)).save(stream, kind)
    models = [Preprocessing(48), Preprocessing(16, "pad")]
    boxes = [LEFT, (0.1, 0.2, 0.05, 0.04), None, (0.3, 0.3, 0.3, 0.3)]
    parts, info = load_parts(stream.getvalue(), models, boxes)
    assert (info.width, info.height) == (1200, 900)
    for part, box in zip(parts, boxes, strict=True):
        for pixels, model in zip(part, models, strict=True):
            assert np.array_equal(pixels, model.load(stream.getvalue(), box))


def test_each_box_has_an_answer_and_the_photo_one_of_all(classifier, halves) -> None:
    boxes = (DetectedBox(LEFT, 0.9), DetectedBox(RIGHT, 0.3), DetectedBox(LEFT, 1.0, "person"))
    found = classifier.classify(BoxedPhoto(halves, boxes))
    assert found.path == str(halves) and (found.photo.width, found.photo.height) == (120, 80)
    assert [box.category for box in found.boxes] == ["animal", "animal", "person"]
    assert [box.top[0].name for box in found.boxes[:2]] == ["red", "blue"]
    assert found.boxes[2].top == () and found.boxes[2].answer is None
    shares = {"red": 0.75, "blue": 0.25, "green": 0.0}
    assert {score.name: round(score.probability, 2) for score in found.top} == shares
    only = classifier.classify(BoxedPhoto(halves.read_bytes(), boxes[1:]))
    assert only.path is None and only.top == only.boxes[0].top == found.boxes[1].top
    whole = found.to_dict()["boxes"]
    assert whole[0]["box"] == [0.0, 0.0, 0.5, 1.0] and json.dumps(whole)


def test_a_photo_without_an_animal_is_looked_at_but_not_classified(
    classifier, halves, monkeypatch, tmp_path
) -> None:
    monkeypatch.setattr("rs_runtime.photos.photo.decode", None)
    for boxes in ((), (DetectedBox(LEFT, 0.9, "vehicle"),)):
        found = classifier.classify(BoxedPhoto(halves, boxes))
        assert found.without_animal and found.top == () and found.answer is None
        assert len(found.boxes) == len(boxes) and found.photo.width == 120
    (tmp_path / "bad.jpg").write_bytes(b"hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name, words in (("absent", "exist"), ("bad", "no JPEG"), ("empty", "is empty")):
        with pytest.raises(PhotoError, match=words):
            classifier.classify(BoxedPhoto(tmp_path / f"{name}.jpg", ()))


def test_boxes_are_checked(classifier, halves, onnx_kit) -> None:
    with pytest.raises(ValueError, match="frames must be at least 1"):
        Classifier.open(onnx_kit, frames=0)
    with pytest.raises(ValueError, match="leaves the photo"):
        DetectedBox((0.5, 0.5, 0.6, 0.5))
    assert DetectedBox((-0.005, 0, 0.5, 1.004)).box == (0.0, 0.0, 0.495, 1.0)
    with pytest.raises(PhotoError, match="less than one pixel"):
        classifier.classify(BoxedPhoto(halves, (DetectedBox((0, 0, 0.001, 0.001)),)))
    with pytest.raises(PhotoError, match="301 boxes, more than 300"):
        classifier.classify(BoxedPhoto(halves, (DetectedBox(RIGHT, category="person"),) * 301))
    for photo in (Image.open(halves), BoxedPhoto(halves, ()), 7):
        with pytest.raises(TypeError):
            classifier.classify(BoxedPhoto(photo, ()))


def test_the_filter_judges_each_box(filter_kit, halves) -> None:
    """Red is an organism, blue is none."""
    boxes = (DetectedBox(RIGHT, 0.9), DetectedBox(LEFT, 0.5), DetectedBox(LEFT, 0.3))
    with Classifier.open(filter_kit) as opened:
        found = opened.classify(BoxedPhoto(halves, boxes))
        assert [box.filter.verdict for box in found.boxes] == ["not_organism", *["organism"] * 2]
        assert found.filter == found.boxes[1].filter and found.boxes[0].top
        opened.only_organisms = True
        found = opened.classify(BoxedPhoto(halves, boxes))
        assert found.boxes[0].top == () and found.top[0].name == "red"
        found = opened.classify(BoxedPhoto(halves, boxes[:1]))
        assert found.top == () and found.filter.verdict == "not_organism"


@pytest.fixture
def card(tmp_path) -> Path:
    """A folder of photos, an archive of it and boxes: of its 24 photos, every third is empty."""
    folder, images = tmp_path / "card", []
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(24):
        pixels = generator.integers(0, 256, (2, 2, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 48)).save(folder / f"{number:02d}.png")
        found = [{"category": "1", "conf": 0.9, "bbox": LEFT}, {"category": "1", "conf": 0.5}]
        found[1]["bbox"] = RIGHT
        images.append({"file": f"{number:02d}.png", "detections": found if number % 3 else []})
    (folder / "05.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    text = {"images": images[:-1], "detection_categories": {"1": "animal"}}
    (tmp_path / "boxes.json").write_text(json.dumps(text))
    with zipfile.ZipFile(tmp_path / "card.zip", "w") as archive:
        for place in sorted(folder.iterdir()):
            archive.write(place, place.name)
    return tmp_path


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize(
    "options", [["card.zip"], *([name, "--boxes", "boxes.json"] for name in ("card", "card.zip"))]
)
def test_a_killed_run_of_archives_and_boxes_goes_on(
    card, onnx_kit, monkeypatch, capfd, options, killed_script
) -> None:
    monkeypatch.chdir(card)
    command = ["--kit", str(onnx_kit), *options, "--threads", "2", "--json"]

    def run(*more: str) -> tuple[int, str, str]:
        return main([*command, *more]), *capfd.readouterr()

    undisturbed = run()
    rows = [json.loads(line) for line in undisturbed[1].splitlines()]
    assert len({row["path"] for row in rows}) == len(rows) == 24
    assert undisturbed[0] == 1 and sum("error" in row for row in rows) == 1 + ("--boxes" in options)
    for last in (3, 9):
        script = [sys.executable, "-c", killed_script, str(last), *command, "--journal", "journal"]
        done = subprocess.run(script, capture_output=True, timeout=120)
        assert done.returncode == -signal.SIGKILL
    before = len(Path("journal").read_bytes().splitlines())
    assert before > 10
    assert run("--journal", "journal") == undisturbed
    after = Path("journal").read_bytes()
    assert run("--journal", "journal") == undisturbed
    assert Path("journal").read_bytes() == after


def test_keys_hold_all_that_the_answer_depends_on(card, halves) -> None:
    def key(photo: object, frames: int = 8) -> object:
        return photo_key(photo, frames)

    one, other = DetectedBox(LEFT, 0.9), DetectedBox(LEFT, 0.8)
    assert key(BoxedPhoto(halves, (one,))) == key(BoxedPhoto(str(halves), (one,)))
    keys = [key(BoxedPhoto(halves, boxes)) for boxes in ((), (one,), (other,), (one, other))]
    keys += [key(BoxedPhoto(halves, (DetectedBox(LEFT, 0.9, "person"),))), key(halves)]
    photos = [photo for photo, _ in zip_photos(card / "card.zip")]
    keys += [key(photo) for photo in photos[:3]]
    assert len({*keys}) == len(keys) == 9 and None not in keys
    clip = card / "clip.mp4"
    clip.write_bytes(b"x")
    assert key(clip, 8) != key(clip, 9) and key(halves, 8) == key(halves, 9)
    assert key(BoxedPhoto(b"x", ())) is None
    # The time of the archive does not matter, its photos' bytes do.
    os.utime(card / "card.zip", (1, 1))
    assert [key(photo) for photo, _ in zip_photos(card / "card.zip")][:3] == keys[6:]


def test_every_kind_of_input_is_one_row(card, onnx_kit, monkeypatch, capfd, without_extras) -> None:
    monkeypatch.chdir(card)
    (card / "broken.zip").write_bytes(b"PK\3\4 and no more")
    (card / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(99))
    (card / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    given = [
        "card.zip",
        "card",
        "card/0*.png",
        "card/00.png",
        "broken.zip",
        "clip.mp4",
        "phone.heic",
        "x*.jpg",
    ]
    code = main(["--kit", str(onnx_kit), *given, "--json"])
    out, err = capfd.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 2 and len(rows) == 24 + 24 + 4
    failed = [row for row in rows if "error" in row]
    assert len(failed) == len(err.splitlines()) - 1 == 2 + 4
    assert ["rs-toolkit[video]" in row["error"] for row in failed[-3:]] == [True, False, False]
    assert "rs-toolkit[heic]" in failed[-2]["error"]


def test_options_of_boxes(card, onnx_kit, monkeypatch, capfd) -> None:
    monkeypatch.chdir(card)

    def run(*options: str) -> tuple[int, list[str], str]:
        code = main(["--kit", str(onnx_kit), "card", "--top", "1", *options])
        out, err = capfd.readouterr()
        return code, out.splitlines(), err

    code, out, err = run("--boxes", "boxes.json")
    assert code == 1 and len(err.splitlines()) == 2
    assert "23.png' is not in boxes" in err and "05.png' cannot be decoded" in err
    assert out[0] == "card/00.png  no animal, not classified" and out[1].startswith("card/01.png")
    assert out[3].startswith("  box 0 0 0.5 1: animal (90%)") and "animal (50%)" in out[4]
    _, fewer, _ = run("--boxes", "boxes.json", "--box-threshold", "0.6")
    assert len(out) - len(fewer) == 14 and "animal (50%)" not in "\n".join(fewer)
    for wrong in (["--box-threshold", "0.5"], ["--boxes", "absent.json"], ["--boxes", "card.zip"]):
        code, out, err = run(*wrong)
        assert (code, out, len(err.splitlines())) == (2, [], 1)
    code, out, _ = run("--boxes", "boxes.json", "--format", "csv")
    assert out[1].startswith("00.png,,no animal,")
    code, out, _ = run("--boxes", "boxes.json", "--format", "megadetector")
    images = json.loads("\n".join(out))["images"]
    assert images[0] == {"file": "00.png", "detections": []} and images[5]["failure"]
    assert [box["bbox"] for box in images[1]["detections"]] == [[*LEFT], [*RIGHT]]
    assert all(box["classifications"] for box in images[1]["detections"])


def test_boxes_and_their_photo_keep_the_answers_without_a_list(halves, onnx_kit) -> None:
    boxed = BoxedPhoto(halves, (DetectedBox(LEFT, 0.9), DetectedBox(RIGHT, 0.8)))
    with Classifier.open(onnx_kit, species=["green", "blue"]) as classifier:
        classifier.keep_all = True
        found = classifier.classify(boxed)
    assert found.boxes is not None and found.original is not None and found.kept is not None
    assert {score.name for score in found.top} == {"green", "blue"}
    assert found.original.top[0].name == "red" and 0.4 < found.original.listed < 0.6
    originals = [box.original.top[0].name for box in found.boxes if box.original]
    assert originals == ["red", "blue"]
    assert found.boxes[1].top[0].name == "blue"
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
