"""Memory that decoding takes: bounded for one photo, and for several threads together."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from rs_runtime.photos.preprocess import Preprocessing, load_each

SIZE = 100, 80


def encode(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", SIZE, "red").save(stream, kind, **options)
    return stream.getvalue()


def together(monkeypatch, photo: bytes, side: int = 8, wait: float = 20) -> int:
    """Return how many of two threads decode and shrink a photo at the same time."""
    both, inside, most = threading.Barrier(2), [], []
    real = Preprocessing._pixels

    def watched(self, image):
        inside.append(1)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(wait)
        most.append(len(inside))
        pixels = real(self, image)
        inside.pop()
        return pixels

    monkeypatch.setattr(Preprocessing, "_pixels", watched)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: load_each(photo, [Preprocessing(side)]), range(2)))
    return max(most)


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("JPEG", {"progressive": True}), ("TIFF", {})]
)
def test_large_photos_are_decoded_one_after_the_other(monkeypatch, kind, options) -> None:
    photo = encode(kind, **options)
    monkeypatch.setattr("rs_runtime.photos.room.LARGE_PIXELS", SIZE[0] * SIZE[1] - 1)
    assert together(monkeypatch, photo, wait=0.5) == 1


def test_others_are_decoded_side_by_side(monkeypatch) -> None:
    with monkeypatch.context() as patched:
        assert together(patched, encode("PNG")) == 2
    # A JPEG is decoded at an eighth of its size, so only that counts.
    monkeypatch.setattr("rs_runtime.photos.room.LARGE_PIXELS", SIZE[0] * SIZE[1] - 1)
    assert together(monkeypatch, encode("JPEG"), 4) == 2


def test_a_large_photo_that_fails_lets_the_next_one_in(monkeypatch) -> None:
    monkeypatch.setattr("rs_runtime.photos.room.LARGE_PIXELS", 1)
    for _ in range(2):
        with pytest.raises(Exception, match="cannot be decoded"):
            load_each(encode("PNG")[:-40], [Preprocessing(8)])
    # Models of different ages decode it twice.
    load_each(encode("PNG"), [Preprocessing(8), Preprocessing(8, pixels_version=1)])


PEAK = """
import sys
from pathlib import Path
from PIL import Image, TiffImagePlugin
from rs_runtime.photos.preprocess import Preprocessing
from rs_runtime.probe import _memory

Image.preinit()
before = _memory("VmHWM")
pixels, info = Preprocessing(32).load_with_info(Path(sys.argv[1]))
assert (info.note is not None) == ("cut" in sys.argv[1]), info
print(_memory("VmHWM") - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc")
@pytest.mark.parametrize(
    ("name", "side", "share"),
    [
        ("whole.jpg", 5000, 0.3),
        ("cut.jpg", 5000, 1.6),
        # Compared at half its size.
        ("cut.jpg", 6100, 0.6),
        # 16 bits: a half in the file's depth, and 1 as RGB.
        ("grey.tif", 4000, 3.0),
        # More than 20 megapixels: in bands.
        ("grey.tif", 5000, 0.5),
    ],
)
def test_memory_of_a_large_photo(tmp_path, name, side, share) -> None:
    data = io.BytesIO()
    if name == "grey.tif":
        Image.new("I;16", (side, side), 4000).save(data, "TIFF", compression="tiff_lzw")
    else:
        Image.new("RGB", (side, side), (200, 90, 40)).save(data, "JPEG")
    (tmp_path / name).write_bytes(data.getvalue()[: -2 if name == "cut.jpg" else None])
    command = [sys.executable, "-c", PEAK, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    # In sizes of the photo in Pillow's memory, where a pixel takes 4 bytes.
    assert int(done.stdout) < share * 4 * side * side
