"""Blank, dark and blurred photos: scores against arithmetic, flags against planted faults."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from rs_runtime.errors import UnreadablePhotoError
from rs_runtime.photos.preprocess import Preprocessing, load_together
from rs_toolkit.checks.quality import THRESHOLDS, measure, quality_findings, unreadable_findings
from rs_toolkit.checks.run import Checks
from rs_toolkit.data.index import build_index
from rs_toolkit.data.photos import Dataset, Photo, PhotoCache
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError
from rs_toolkit.progress import Progress

SIDE = 224
Pixels = NDArray[np.uint8]


def grey(values: NDArray[np.float64]) -> Pixels:
    """Return (height, width) levels as RGB pixels."""
    levels = np.clip(np.round(values), 0, 255).astype(np.uint8)
    return np.repeat(levels[:, :, None], 3, axis=2)


def stamped(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add a camera trap's bars, white with black letters, at top and bottom."""
    values = values.copy()
    bar = np.where(np.arange(values.shape[1]) // 3 % 2, 255.0, 0.0)
    values[:12] = values[-16:] = bar
    return values


def noise(level: float, deviation: float) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(level, deviation, (SIDE, SIDE))


def texture() -> NDArray[np.float64]:
    """Sharp random squares of 4 px on middle grey."""
    return np.kron(np.random.default_rng(1).uniform(60, 200, (56, 56)), np.ones((4, 4)))


def smeared(pixels: Pixels, length: int, axis: int) -> Pixels:
    """Average over ``length`` pixels along an axis, as a moving camera does."""
    shifted = [np.roll(pixels.astype(np.float64), k, axis) for k in range(length)]
    return np.mean(shifted, axis=0).round().astype(np.uint8)


def smoothed(pixels: Pixels, radius: float) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def flags(pixels: Pixels) -> set[str]:
    findings = quality_findings([Photo("a.jpg", Taxon())], lambda photo: pixels)
    return {finding.flag for finding in findings}


def test_blank_is_the_share_of_blocks_without_structure() -> None:
    values = noise(128, 5)
    assert measure(grey(values))["blank"] == 1
    # Without stamps and rim, 186 x 222 px are judged: 13 x 15 blocks, the first at (19, 1).
    values[19 : 19 + 14, 1 : 1 + 3 * 14] += np.tile([0, 80], 3 * 7)
    assert measure(grey(values))["blank"] == pytest.approx(1 - 3 / (13 * 15))


def test_night_frame_with_nothing_but_its_stamp_is_blank_and_dark() -> None:
    pixels = grey(stamped(noise(20, 4)))
    assert flags(pixels) == {"blank", "dark"}
    assert measure(pixels)["blurred"] == 0


def test_small_animal_before_an_empty_sky_is_not_blank() -> None:
    values = stamped(noise(200, 3))
    values[100:124, 90:124] = 60
    assert flags(grey(values)) == set()


def test_dark_looks_at_the_brightest_twentieth_of_the_scene() -> None:
    values = np.tile(np.where(np.arange(SIDE) % 10 == 0, 51.0, 20.0), (SIDE, 1))
    assert measure(grey(values))["dark"] == pytest.approx(1 - 51 / 128)
    assert measure(grey(stamped(values)))["dark"] == pytest.approx(1 - 51 / 128)
    assert measure(grey(values * 4))["dark"] == 0
    lit = np.where(np.arange(SIDE) % 25 == 0, 255.0, 20.0)
    assert measure(grey(np.tile(lit, (SIDE, 1))))["dark"] == pytest.approx(1 - 20 / 128)


def test_blurred_is_second_derivative_energy_over_variance() -> None:
    # A cosine of period 14 px along x and one along y: whole periods in every block.  Of each,
    # the second difference is (2 - 2 cos w) times itself, and the variance half of the sum's.
    wave = 50 * np.cos(2 * math.pi * np.arange(SIDE) / 14)
    expected = 1 - (2 - 2 * math.cos(2 * math.pi / 14)) ** 2 / 2 / 0.032
    pixels = grey(128 + wave + wave[:, None])
    assert measure(pixels)["blurred"] == pytest.approx(expected, abs=0.01)
    # Contrast does not matter.
    paler = measure(grey(64 + (wave + wave[:, None]) / 2))
    assert paler["blurred"] == pytest.approx(expected, abs=0.02)
    # One sharp twentieth of the frame is enough.
    values = 128 + wave + wave[:, None]
    values[100:156, 57:113] = texture()[100:156, 57:113]
    assert measure(grey(values))["blurred"] == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_smear_along_one_axis_is_found_though_the_other_stays_sharp(axis: int) -> None:
    sharp = grey(texture())
    assert flags(sharp) == set()
    assert flags(smeared(sharp, 24, axis)) == {"blurred"}


def test_camera_trap_frames(shared: Path) -> None:
    folder, load = shared / "data" / "edge_cases", Preprocessing(size=SIDE).load
    # The stamp of blank2 is in a scene with leaves and logs: no pixel says that no animal is in it.
    expected = {"blank.jpg": {"blank", "dark"}, "blank2.jpg": {"dark"}}
    names = ["american_black_bear.jpg", "domestic_cattle.jpg", "ocelot.jpg", *expected]
    found = {name: flags(load(folder / name)) for name in names}
    assert found == {name: expected.get(name, set()) for name in names}


def test_thresholds_on_real_birds(shared: Path) -> None:
    paths = sorted((shared / "data" / "birds" / "photos").rglob("*.jpg"))[::16]
    birds = [Preprocessing(size=SIDE).load(path) for path in paths]
    assert len(birds) > 100

    def share(change: Callable[[Pixels], Pixels], flag: str) -> float:
        return sum(flag in flags(change(bird)) for bird in birds) / len(birds)

    assert not any(flags(bird) for bird in birds)
    assert share(lambda bird: smoothed(bird, 3), "blurred") == 1
    assert share(lambda bird: smoothed(bird, 2), "blurred") >= 0.9
    assert share(lambda bird: smeared(bird, 12, 1), "blurred") >= 0.8
    assert share(lambda bird: (bird * 0.2).astype(np.uint8), "dark") == 1


def test_findings_say_how_bad_and_keep_the_order() -> None:
    pictures = {
        "sharp.jpg": grey(texture()),
        "night.jpg": grey(noise(20, 4)),
        "soft.jpg": smoothed(grey(texture()), 4),
    }
    photos = [Photo(path, Taxon()) for path in pictures]
    findings = quality_findings(photos, lambda photo: pictures[photo.path])
    rows = [(finding.path, finding.flag, finding.suggested_weight) for finding in findings]
    assert rows == [
        ("night.jpg", "blank", 0.0),
        ("night.jpg", "dark", 0.5),
        ("soft.jpg", "blurred", 0.5),
    ]
    assert all(finding.score >= THRESHOLDS[finding.flag] for finding in findings)
    assert findings[0].detail == "100% of the frame shows no structure"


def test_photos_that_cannot_be_read_are_reported_and_the_others_measured() -> None:
    photos = [Photo(f"{name}.jpg", Taxon()) for name in "abc"]
    photos.append(Photo("d.jpg", Taxon(), error="is empty (0 bytes)"))

    def pixels(photo: Photo) -> Pixels:
        if photo.path == "a.jpg":
            raise DataError("a.jpg: changed since it was indexed")
        if photo.path == "b.jpg":
            raise UnreadablePhotoError("b.jpg does not exist")
        assert photo.path == "c.jpg"
        return grey(noise(128, 0))

    class Steps(Progress):
        seen: list[tuple[int, int]]

        def update(self, title: str, done: int, total: int, text: str = "") -> None:
            self.seen.append((done, total))

    progress = Steps()
    progress.seen = []
    findings = quality_findings(photos, pixels, progress)
    assert [(finding.path, finding.flag) for finding in findings] == [
        ("a.jpg", "unreadable"),
        ("b.jpg", "unreadable"),
        ("c.jpg", "blank"),
    ]
    assert findings[1].detail == "b.jpg does not exist"
    assert progress.seen == [(1, 3), (2, 3), (3, 3)]
    (known,) = unreadable_findings(photos)
    assert (known.path, known.score, known.suggested_weight) == ("d.jpg", 1, 0)
    assert known.detail == "is empty (0 bytes)"


def test_verdicts_do_not_depend_on_the_size_that_a_model_sees(tmp_path, monkeypatch) -> None:
    """And no photo is decoded twice at one size."""
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    sharp = coarse.resize((480, 480), Image.Resampling.NEAREST)
    (tmp_path / "data").mkdir()
    sharp.save(tmp_path / "data" / "sharp.png")
    sharp.filter(ImageFilter.GaussianBlur(8)).save(tmp_path / "data" / "soft.png")
    rows = tuple(Photo(name, Taxon()) for name in ("sharp.png", "soft.png"))
    decoded: list[int] = []

    def counted(data: object, wanted: list[Preprocessing], *arguments: object) -> object:
        decoded.extend(item.size for item in wanted)
        return load_together(data, wanted, *arguments)

    monkeypatch.setattr("rs_toolkit.data.photos.load_together", counted)
    found = []
    for size in (224, 64, 448):
        cache = PhotoCache(tmp_path / "cache", Preprocessing(size=size))
        photos = build_index(Dataset(tmp_path / "data", rows, "csv"), cache)
        checks = Checks(photos, tmp_path / "data", cache, None, Progress())
        found.append([(item.path, item.flag, item.score) for item in checks.quality()])
    assert [(path, flag) for path, flag, _ in found[0]] == [("soft.png", "blurred")]
    assert found[1] == found[2] == found[0]
    assert sorted(decoded) == [64, 64, 224, 224, 448, 448]
