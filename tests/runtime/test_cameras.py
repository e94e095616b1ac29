"""Empty frames of fixed cameras, on drawn cameras."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime import cameras
from rs_runtime.background import SIDE, light_of, read_thumbnail, thumbnail
from rs_runtime.cameras import FEWEST, evidence, judge_cameras, judge_frames
from rs_runtime.classify import Classifier
from rs_runtime.cli import main
from rs_runtime.journal_file import Journal
from rs_runtime.results import Failure, Prediction

W, H = 160, 120


class Camera:
    """A drawn place: leaves, a trunk and a path, seen by day or by infrared."""

    def __init__(self, seed: int, infrared: bool = False) -> None:
        self._random = np.random.default_rng(seed)
        self._infrared = infrared
        grey = self._random.integers(60, 160, (12, 16, 1))
        coarse = (grey + self._random.integers(-20, 20, (12, 16, 3))).astype(np.uint8)
        scene = np.array(Image.fromarray(coarse).resize((W + 20, H), Image.Resampling.BICUBIC))
        scene[:, 30:38] = 40, 30, 20
        self._scene = scene.astype(np.float64)

    def frame(self, animal: bool = False, light: float = 1.0, shift: int = 0) -> Image.Image:
        """Draw a frame; ``light`` is the brightness, a little of which moves over the scene."""
        found = self._scene[:, 10 + shift : 10 + shift + W].copy()
        if animal:
            y, x = np.mgrid[:H, :W]
            left, top = self._random.integers(60, 110), self._random.integers(40, 90)
            found[((x - left) / 16) ** 2 + ((y - top) / 9) ** 2 < 1] = 25, 20, 15
        slope = np.linspace(1 - 0.05 * light, 1 + 0.05 * light, W)[None, :, None]
        found = found * light * slope + self._random.normal(0, 4, found.shape)
        if self._infrared:
            found = np.repeat(found.mean(axis=2, keepdims=True), 3, axis=2)
        return Image.fromarray(np.clip(found, 0, 255).astype(np.uint8))


def values(image: Image.Image) -> np.ndarray:
    """Return the values of a frame's thumbnail."""
    small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return read_thumbnail(thumbnail(np.array(small)))


def verdicts(frames: list[Image.Image]) -> list[str]:
    """Return what is said of frames without a filter."""
    said = []
    for _, score, _ in judge_frames([values(frame) for frame in frames]):
        said.append("unknown" if score is None else "empty")
        if score is not None and evidence(score, None) >= 0:
            said[-1] = "something"
    return said


def test_values_of_a_thumbnail() -> None:
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[:, : SIDE // 2] = 255, 0, 0
    found = read_thumbnail(thumbnail(pixels))
    luma, blue, red = found[:4096].reshape(64, 64), found[4096:4352], found[4352:]
    # T.871: red has a luma of 76.2, a blue chroma of -43.0 and a red chroma of 127.5.
    assert (luma[0, 0], luma[0, 63]) == (76, 0)
    assert (blue[0], red[0], blue[15], red[15]) == (85, 255, 128, 128)


@pytest.mark.parametrize("text", ["", "AAAA", "é", "!" * 6144])
def test_no_thumbnail(text) -> None:
    with pytest.raises(ValueError, match="thumbnail"):
        read_thumbnail(text)


@pytest.mark.parametrize("infrared", [False, True])
def test_animals_differ_and_empty_frames_do_not(infrared) -> None:
    camera = Camera(1, infrared)
    shown = [number % 4 == 1 for number in range(24)]
    lights = np.random.default_rng(2).uniform(0.75, 1.2, 24)
    frames = [camera.frame(own, light) for own, light in zip(shown, lights, strict=True)]
    assert verdicts(frames) == ["something" if own else "empty" for own in shown]


def test_a_camera_that_moves_a_little() -> None:
    camera = Camera(3)
    frames = [camera.frame(shift=number % 3 - 1) for number in range(16)]
    # 4 of 160 pixels are 1.6 of the thumbnail's 64.
    assert verdicts([*frames, camera.frame(shift=4), camera.frame(animal=True, shift=4)]) == [
        *["empty"] * 17,
        "something",
    ]


def test_a_large_animal_close_by() -> None:
    camera = Camera(4)
    close = np.array(camera.frame())
    close[30:, 20:140] = 90, 60, 40
    assert verdicts([*(camera.frame() for _ in range(9)), Image.fromarray(close)])[-1] == (
        "something"
    )


def test_too_few_frames() -> None:
    camera = Camera(5)
    assert verdicts([camera.frame() for _ in range(FEWEST)]) == ["unknown"] * FEWEST
    assert verdicts([camera.frame() for _ in range(FEWEST + 1)]) == ["empty"] * (FEWEST + 1)


def test_day_and_infrared_are_apart() -> None:
    day, night = Camera(6), Camera(6, infrared=True)
    frames = [values(camera.frame()) for _ in range(8) for camera in (day, night)]
    dusk = np.array(day.frame()) * (0.6, 0.3, 0.2)
    frames.append(values(Image.fromarray(dusk.astype(np.uint8))))
    found = list(judge_frames(frames))
    assert [light for light, _, _ in found] == ["day", "grey"] * 8 + ["dark"]
    assert [count for _, _, count in found] == [7] * 16 + [0]
    assert max(score for _, score, _ in found[:-1]) < 1.2
    assert light_of(frames[-1]) == "dark"


def test_a_frame_is_no_part_of_its_background_and_earlier_frames_are() -> None:
    camera = Camera(7)
    many = [values(camera.frame()) for _ in range(40)]
    counts = [count for _, _, count in judge_frames(many)]
    # 31 frames are chosen; each of these has the 30 others.
    assert sorted(set(counts)) == [30, 31]
    assert counts.count(30) == 31
    assert [count for _, _, count in judge_frames(many[:1], many[1:9])] == [8]


def test_the_rule() -> None:
    assert evidence(1.2, None) == pytest.approx(0)
    assert evidence(0.0, None) < 0 < evidence(1.3, None)
    assert evidence(1.2, 0.5) == pytest.approx(0)
    # A filter that sees an organism asks for more; one that sees none changes nothing.
    assert evidence(0.6, 1.0) > 0 > evidence(0.2, 1.0)
    assert evidence(1.1, 0.6) > 0 > evidence(0.9, 0.6)
    assert evidence(1.3, 0.0) == evidence(1.3, 0.5) == evidence(1.3, None)


def prediction(path: str, frame: Image.Image | None) -> Prediction:
    """Return a photo's result as a classifier would give it."""
    text = None if frame is None else thumbnail(np.array(frame.resize((SIDE, SIDE))))
    return Prediction(path, "model", None, (), thumbnail=text)


def test_folders_are_cameras_and_failures_keep_their_places(monkeypatch) -> None:
    one, two = Camera(8), Camera(9)
    given = [prediction(f"a/{number}.jpg", one.frame()) for number in range(7)]
    given.insert(3, Failure("a/broken.jpg", "is damaged"))
    given.insert(5, prediction("a/video.mp4", None))
    given += [prediction(f"b/{number}.jpg", two.frame()) for number in range(6)]
    given.append(Failure(None, "no name"))
    found = list(judge_cameras(given_one_by_one(given)))
    assert [item.path for item in found] == [item.path for item in given]
    assert found[3] is given[3]
    assert found[5] == given[5]
    judged = [item.camera for item in found if isinstance(item, Prediction) and item.camera]
    assert [item.frames for item in judged] == [6] * 7 + [5] * 6
    assert all(item.verdict == "empty" for item in judged)
    assert not any(getattr(item, "thumbnail", None) for item in found)

    # A long folder is judged piece by piece, the later ones against the earlier ones too.
    monkeypatch.setattr("rs_runtime.cameras._PIECE", 6)
    pieces = list(judge_cameras(given_one_by_one(given[6:9] + given[:3] + given[4:5] + given[9:])))
    assert [item.path for item in pieces if item.path][:3] == ["a/4.jpg", "a/5.jpg", "a/6.jpg"]
    assert [item.camera.frames for item in pieces[:7]] == [5] * 6 + [6]


def given_one_by_one(results, end: type[BaseException] | None = None):
    """Yield results as ``classify_many`` does, and perhaps end with an exception."""
    yield from results
    if end is not None:
        raise end


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError])
def test_what_waits_is_not_lost(end) -> None:
    camera = Camera(10)
    given = [prediction(f"{number}.jpg", camera.frame()) for number in range(8)]
    found = []
    with pytest.raises(end):
        for item in judge_cameras(given_one_by_one(given, end)):
            found.append(item)
    assert [item.camera.verdict for item in found] == ["empty"] * 8


def test_an_interrupt_among_verdicts_gives_no_row_twice(monkeypatch) -> None:
    camera, judge = Camera(10), cameras.judge_frames

    def interrupted(*frames: list[np.ndarray]):
        yield from itertools.islice(judge(*frames), 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(cameras, "judge_frames", interrupted)
    given = [prediction(f"{number}.jpg", camera.frame()) for number in range(8)]
    given.append(prediction("other/0.jpg", camera.frame()))
    found = []
    with pytest.raises(KeyboardInterrupt):
        for item in judge_cameras(given_one_by_one(given)):
            found.append(item.path)
    assert found == ["0.jpg", "1.jpg", "2.jpg"]


@pytest.fixture
def card(tmp_path) -> Path:
    """A folder with a camera of 12 frames, of which one shows an animal and one is damaged."""
    folder, camera = tmp_path / "card" / "camera 1", Camera(11)
    folder.mkdir(parents=True)
    for number in range(12):
        camera.frame(animal=number == 4).save(folder / f"{number:02d}.png")
    (folder / "06.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    camera.frame().save(folder.parent / "alone.png")
    return folder.parent


@pytest.fixture
def classify(onnx_kit, card, monkeypatch, capfd):
    """Run the command on the card; return exit code and standard output."""
    monkeypatch.setenv("RS_KIT", str(onnx_kit))

    def run(*arguments: object) -> tuple[int, str]:
        code = main([str(argument) for argument in (card, "--threads", 2, *arguments)])
        return code, capfd.readouterr().out

    return run


def test_the_command(classify, tmp_path) -> None:
    code, out = classify("--cameras")
    assert code == 1
    heads = [line for line in out.splitlines() if not line.startswith(" ")]
    assert (
        "empty or not: unknown (only 0 other frames of this camera in the same light)" in heads[0]
    )
    # 04.png shows the animal, 06.png is damaged.
    said = ["empty frame? (like 10 other frames of this camera)" in line for line in heads[1:]]
    assert said == [True] * 4 + [False] + [True] * 6
    plain = [line.split("  empty frame?")[0].split("  empty or not")[0] for line in heads]
    usual = classify()[1]
    assert plain == [line for line in usual.splitlines() if not line.startswith(" ")]

    rows = [json.loads(line) for line in classify("--cameras", "--json")[1].splitlines()]
    assert rows[1]["camera"].keys() == {"verdict", "score", "frames", "light"}
    assert "thumbnail" not in rows[1]
    assert rows[5]["camera"]["verdict"] == "something"
    assert rows[5]["camera"]["score"] > 1.2
    assert [row["path"][-6:] for row in rows[1:]] == [f"{number:02d}.png" for number in range(12)]

    classify("--cameras", "--output", tmp_path / "found.csv")
    head, _, first, *_ = (tmp_path / "found.csv").read_text().splitlines()
    assert head.endswith(",frame,frame_score,frame_light,frames")
    assert ",empty,0." in first
    classify("--output", tmp_path / "plain.csv")
    assert "frame" not in (tmp_path / "plain.csv").read_text().splitlines()[0]


KILLED = """
import itertools, os, signal, sys
from rs_runtime.cli import main
from rs_runtime.journal_file import Journal

real, calls = Journal.add, itertools.count()

def add(self, *found):
    if next(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, *found)

Journal.add = add
raise SystemExit(main())
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_run_goes_on_to_the_same_output(classify, onnx_kit, card, tmp_path) -> None:
    whole = classify("--cameras")
    journal = tmp_path / "run.journal"
    command = ["--kit", onnx_kit, card, "--threads", "2", "--cameras", "--journal", journal]
    script = [sys.executable, "-c", KILLED, *map(str, command)]
    done = subprocess.run(script, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert whole[1].startswith(done.stdout.decode())
    for _ in range(2):
        assert classify("--cameras", "--journal", journal) == whole


def test_a_run_that_was_interrupted_goes_on_with_the_same_output(
    classify, tmp_path, monkeypatch
) -> None:
    whole = classify("--cameras", "--json")[1]
    journal, real, added = tmp_path / "run.journal", Journal.add, []

    def add(self: Journal, *found: object) -> None:
        if len(added) == 5:
            raise KeyboardInterrupt
        added.append(real(self, *found))

    monkeypatch.setattr(Journal, "add", add)
    assert classify("--cameras", "--json", "--journal", journal)[0] == 130
    monkeypatch.setattr(Journal, "add", real)
    decoded: list[str] = []
    load = __import__("rs_runtime.classify", fromlist=["load_each"]).load_each

    def counted(photo: Path, models: object) -> object:
        decoded.append(photo.name)
        return load(photo, models)

    monkeypatch.setattr("rs_runtime.classify.load_each", counted)
    assert classify("--cameras", "--json", "--journal", journal)[1] == whole
    # Five photos were kept; the damaged one is tried each time.
    assert len(decoded) == 13 - 5
    # Answers without thumbnails are not taken for those with them.
    decoded.clear()
    classify("--json", "--journal", journal)
    assert len(decoded) == 13


def test_a_photo_is_decoded_once(onnx_kit, card, monkeypatch) -> None:
    import rs_runtime.photos.photo as photo

    real, calls = photo.decode, []
    monkeypatch.setattr(photo, "decode", lambda *given: calls.append(given) or real(*given))
    with Classifier.open(onnx_kit) as classifier:
        plain = classifier.classify(card / "alone.png")
        classifier.keep_thumbnails = True
        calls.clear()
        kept = classifier.classify(card / "alone.png")
    assert len(calls) == 1
    assert kept.thumbnail is not None
    assert kept.to_dict() == plain.to_dict()


def test_folders_that_are_watched_are_never_done(card, capfd) -> None:
    assert main([str(card), "--cameras", "--watch", str(card)]) == 2
    assert "not with --watch" in capfd.readouterr().err
