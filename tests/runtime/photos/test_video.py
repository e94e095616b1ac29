"""Frames of videos: which ones, how they are turned, and what is refused."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from rs_runtime.classify import Classifier
from rs_runtime.errors import UnreadablePhotoError
from rs_runtime.photos.folder import photos_below, shows_video
from rs_runtime.photos.video import sample_video

FRAMES = 40
KINDS = [("mp4", "mpeg4"), ("avi", "mjpeg"), ("matroska", "mpeg4"), ("mpeg", "mpeg2video")]


def film(place: Path, format: str, codec: str, group: int = 12) -> Path:
    """Write a video that becomes redder from frame to frame; its upper half is also blue."""
    av = pytest.importorskip("av")
    with av.open(str(place), "w", format=format) as video:
        stream = video.add_stream(codec, rate=10)
        stream.width, stream.height, stream.bit_rate = 64, 48, 4_000_000
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = group
        for number in range(FRAMES):
            pixels = np.zeros((48, 64, 3), np.uint8)
            pixels[..., 0], pixels[:24, :, 2] = number * 6, 200
            video.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        video.mux(stream.encode())
    return place


def number(frame: np.ndarray) -> float:
    """Which frame of :func:`film` it is."""
    return frame[..., 0].mean() / 6


@pytest.mark.parametrize(("format", "codec"), KINDS)
def test_frames_are_from_the_middles_of_equal_parts(tmp_path, format, codec) -> None:
    place = film(tmp_path / "clip", format, codec)
    assert shows_video(place)
    for source in (place, place.read_bytes()):
        for count in (1, 2, 5, 8):
            found, note = sample_video(source, count, number)
            wanted = [(2 * part + 1) * FRAMES // (2 * count) for part in range(count)]
            assert note is None and found == pytest.approx(wanted, abs=1.5)
    found, _ = sample_video(place, 500, number)
    assert len(found) == FRAMES and found == pytest.approx(range(FRAMES), abs=1.5)


def test_one_key_frame_is_enough(tmp_path) -> None:
    found, _ = sample_video(film(tmp_path / "clip.mp4", "mp4", "mpeg4", 600), 4, number)
    assert found == pytest.approx([5, 15, 25, 35], abs=1.5)


def test_frames_are_turned_as_the_video_says(tmp_path) -> None:
    data = bytearray(film(tmp_path / "clip.mp4", "mp4", "mpeg4").read_bytes())
    # The matrix of a track header (ISO/IEC 14496-12, 8.3.2): a quarter turn clockwise.
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    [frame], _ = sample_video(bytes(data), 1, lambda frame: frame)
    assert frame.shape == (64, 48, 3)
    assert frame[:, 30:, 2].min() > 150 and frame[:, :18, 2].max() < 50


@pytest.mark.parametrize(("format", "codec"), KINDS)
def test_damaged_videos_give_frames_or_a_reason(tmp_path, format, codec, one_line) -> None:
    data = film(tmp_path / "clip", format, codec).read_bytes()
    generator = random.Random(0)
    for attempt in range(40):
        damaged = bytearray(data[: len(data) * generator.randrange(1, 100) // 100])
        if attempt % 2:
            damaged = bytearray(data)
            for _ in range(generator.randrange(1, 200)):
                damaged[generator.randrange(32, len(data))] = generator.randrange(256)
        try:
            found, _ = sample_video(bytes(damaged), 4, number)
            assert 1 <= len(found) <= 4
        except UnreadablePhotoError as error:
            assert "video" in one_line(str(error))


def test_the_answer_to_a_video_is_that_of_all_frames(tmp_path, onnx_kit) -> None:
    place = film(tmp_path / "clip.mp4", "mp4", "mpeg4")
    # The suffix does not matter.
    other = tmp_path / "clip.jpg"
    other.write_bytes(place.read_bytes())
    with Classifier.open(onnx_kit, frames=5) as classifier:
        found = classifier.classify(place)
        assert (found.frames, found.path, found.note) == (5, str(place), None)
        assert (found.photo.width, found.photo.height, found.boxes) == (64, 48, None)
        frames, _ = sample_video(place, 5, lambda frame: frame)
        alone = [classifier.classify(frame).top for frame in frames]
        # The softmax of a mean of logits is the normalized geometric mean.
        logs = {
            name: np.mean([np.log(s.probability) for top in alone for s in top if s.name == name])
            for name in ("red", "green", "blue")
        }
        total = sum(map(np.exp, logs.values()))
        for score in found.top:
            assert score.probability == pytest.approx(np.exp(logs[score.name]) / total, rel=1e-3)
        assert classifier.classify(other).top == found.top
        assert classifier.classify(place.read_bytes()).top == found.top


def test_videos_are_found_only_where_they_are_wanted(tmp_path, without_extras) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(99))

    def below(**options: bool) -> str:
        [(_, problem)] = photos_below(tmp_path, print, [], **options)
        return str(problem)

    assert "rs-toolkit[video]" in below() and "rs-toolkit[video]" in below(videos=True)
    with pytest.raises(UnreadablePhotoError, match=r"rs-toolkit\[video\]"):
        sample_video(tmp_path / "clip.mp4", 8, number)


def test_training_takes_no_videos(tmp_path) -> None:
    pytest.importorskip("av")
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(99))
    [(_, problem)] = photos_below(tmp_path, print, [])
    assert "save its frames as JPEG" in str(problem)
    assert [*photos_below(tmp_path, print, [], videos=True)] == [(str(tmp_path / "clip.mp4"), None)]
