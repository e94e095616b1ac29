"""One decode for several models: the pixels that each would have had alone."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from rs_runtime.errors import UnreadablePhotoError
from rs_runtime.photos.photo import decode
from rs_runtime.photos.preprocess import Preprocessing, load_each, load_together


def encode(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("kind", "width"), [("PNG", 500), *(("JPEG", width) for width in (100, 500, 1000, 3000))]
)
def test_one_decode_serves_several_models(kind, width) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    photo = encode(Image.fromarray(noise).resize((width, width * 3 // 4)), kind)
    large, crop, small = Preprocessing(128), Preprocessing(100, "crop"), Preprocessing(32, "pad")
    for given in ([large, crop, small], [small, large, crop], [crop]):
        found, info = load_each(photo, given)
        assert (info.width, info.height) == (width, width * 3 // 4)
        best = max(given, key=lambda item: item.size)
        assert np.array_equal(found[given.index(best)], best.load(photo))
        for pixels, preprocessing in zip(found, given, strict=True):
            alone = preprocessing.load(photo)
            assert pixels.shape == alone.shape and pixels.dtype == np.uint8
            # libjpeg shrinks by 8, 4, 2 or 1, and leaves both sides at twice the size or more.
            steps = [width * 3 // 4 // (2 * item.size) for item in (best, preprocessing)]
            best_step, step = (next(s for s in (8, 4, 2, 1) if s <= max(n, 1)) for n in steps)
            if kind == "PNG" or best_step == step:
                assert np.array_equal(pixels, alone)
            else:
                assert 0 < np.abs(pixels.astype(int) - alone).mean() < 5


def test_a_photo_is_decoded_once(monkeypatch) -> None:
    sides = []

    def counted(source: bytes, side: int, version: int):
        sides.append(side)
        return decode(source, side, version)

    monkeypatch.setattr("rs_runtime.photos.photo.decode", counted)
    photo = encode(Image.new("RGB", (80, 60)), "PNG")
    found, _ = load_each(photo, [Preprocessing(32), Preprocessing(40)])
    assert [len(pixels) for pixels in found] == [32, 40]
    assert sides == [80]


@pytest.mark.parametrize("box", [None, (0.25, 0.0, 0.5, 1.0)])
def test_pixels_of_one_decode_are_exactly_those_of_each_alone(box, monkeypatch) -> None:
    """A JPEG is decoded again only for a size that takes another reduction of it."""
    sides: list[int] = []

    def counted(source: bytes, side: int, version: int):
        sides.append(side)
        return decode(source, side, version)

    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    given = [Preprocessing(size) for size in (64, 48, 16, 100)]
    times = []
    for width in (40, 384, 400, 801, 1200):
        photo = encode(Image.fromarray(noise).resize((width, width * 3 // 4)), "JPEG")
        alone = [item.load(photo, box) for item in given]
        with monkeypatch.context() as patched:
            patched.setattr("rs_runtime.photos.photo.decode", counted)
            found, info = load_together(photo, given, box)
        assert (info.width, info.height) == (width, width * 3 // 4)
        assert all(map(np.array_equal, found, alone))
        times.append(len(sides))
        sides.clear()
    assert times[0] == 1
    assert 1 < max(times) < len(given)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_photo_of_another_format_is_decoded_once_for_all_sizes(kind, monkeypatch) -> None:
    """Only a JPEG has reductions."""
    sides: list[int] = []

    def counted(source: bytes, side: int, version: int):
        sides.append(side)
        return decode(source, side, version)

    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    photo = encode(Image.fromarray(noise).resize((400, 300)), kind)
    given = [Preprocessing(size) for size in (100, 32, 16)]
    alone = [item.load(photo) for item in given]
    monkeypatch.setattr("rs_runtime.photos.photo.decode", counted)
    assert all(map(np.array_equal, load_together(photo, given)[0], alone))
    assert len(sides) == 1


def test_models_of_different_ages_each_get_their_pixels() -> None:
    photo = encode(Image.fromarray(np.full((40, 40), 2000, np.uint16)), "PNG")
    given = [Preprocessing(32, pixels_version=1), Preprocessing(32)]
    found, _ = load_each(photo, given)
    assert [set(pixels.ravel()) for pixels in found] == [{2000 // 256}, {2000 // 8 // 2}] != []


def test_unreadable_photos_are_refused_as_ever(one_line) -> None:
    with pytest.raises(UnreadablePhotoError) as caught:
        load_each(b"hello", [Preprocessing(32)])
    assert "no JPEG" in one_line(str(caught.value))


def test_one_image_may_be_given_to_several_threads() -> None:
    """Pillow reads an image's file only when its pixels are wanted."""
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    photo = encode(Image.fromarray(noise).resize((800, 600)), "PNG")
    given = [Preprocessing(32)]
    alone = load_each(Image.open(io.BytesIO(photo)), given)[0][0]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(8):
            image = Image.open(io.BytesIO(photo))
            found = pool.map(lambda image: load_each(image, given)[0][0], [image] * 4)
            assert all(np.array_equal(pixels, alone) for pixels in found)
