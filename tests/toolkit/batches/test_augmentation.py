"""Augmentations that are off by default: RandAugment, small crops, mixup, cutmix."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.batches.mixing import mixed_batch
from rs_toolkit.batches.oversampling import Shares
from rs_toolkit.batches.pipeline import PixelSource, augment, training_epoch
from rs_toolkit.batches.randaugment import OPERATIONS, randaugment
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.errors import ConfigError

SIDE = 24
PIXELS = np.random.default_rng(0).integers(40, 216, (64, SIDE, SIDE, 3), dtype=np.uint8)
SEED = np.array([3, 4], np.int32)
# Without a strength these change photos all the same, or not at all.
ALWAYS = {"autocontrast", "equalize"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_of_strength_0_changes_nothing_and_others_do(name) -> None:
    image = Image.fromarray(PIXELS[0])
    none, some, back = (np.asarray(OPERATIONS[name](image, level)) for level in (0.0, 0.9, -0.9))
    assert none.shape == some.shape == back.shape == PIXELS[0].shape
    assert np.array_equal(none, PIXELS[0]) == (name not in ALWAYS)
    assert np.array_equal(some, PIXELS[0]) == (name == "identity")
    both_ways = name in {"rotate", "colour", "contrast", "brightness", "sharpness"} or "_" in name
    assert np.array_equal(some, back) != both_ways


def test_randaugment_depends_on_the_seed_alone_and_differs_by_photo() -> None:
    same = np.repeat(PIXELS[:1], 30, axis=0)
    found = randaugment(same, 2, 9, SEED)
    assert np.array_equal(found, randaugment(same, 2, 9, SEED))
    assert not np.array_equal(found, randaugment(same, 2, 9, SEED + 1))
    assert len({x.tobytes() for x in found}) > 15
    assert np.array_equal(randaugment(PIXELS, 0, 9, SEED), PIXELS)


@pytest.mark.parametrize(("scale", "low", "high"), [(0.0, 0.95, 1.01), (0.05, 0.15, 0.35)])
def test_the_smallest_crop_is_as_asked(scale, low, high) -> None:
    ramp = np.tile(np.linspace(0, 255, SIDE, dtype="f4")[None, None, :, None], (400, SIDE, 1, 3))
    # So little strength changes neither colours nor, by itself, crops.
    found = np.asarray(augment(ramp, 1e-9, SEED, scale))
    widths = np.ptp(found.mean(axis=(1, 3)), axis=1) / 255
    assert low < widths.min() < high


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_a_target_has_the_shares_of_the_photos(mixup, cutmix) -> None:
    """Each photo is of one brightness, so that the mean tells the share."""
    levels = np.linspace(-1, 1, 64, dtype=np.float32)
    images = np.broadcast_to(levels[:, None, None, None], (64, SIDE, SIDE, 3))
    labels = np.arange(64)
    mixed, targets = map(np.asarray, mixed_batch(images, labels, mixup, cutmix, SEED))
    share, others = targets[:, 2], np.roll(levels, 1)
    assert np.array_equal(targets[:, 0], labels)
    assert np.array_equal(targets[:, 1], np.roll(labels, 1))
    assert (share >= 0).all() and (share <= 1).all() and 0.3 < share.mean() < 0.8
    wanted = share * levels + (1 - share) * others
    assert mixed.mean(axis=(1, 2, 3)) == pytest.approx(wanted, abs=1e-4)
    # Pasted photos have both levels, blended ones a third.
    rows = zip(mixed, levels, others, strict=True)
    pasted = np.array([set(np.unique(x)) <= {a, b} for x, a, b in rows])
    assert pasted.mean() == (1 if not mixup else 0 if not cutmix else pytest.approx(0.5, abs=0.25))
    again = mixed_batch(images, labels, mixup, cutmix, SEED)
    assert np.array_equal(mixed, again[0]) and np.array_equal(targets, again[1])


def test_an_epoch_with_all_of_them_is_a_function_of_seed_and_number() -> None:
    def epoch(number: int) -> list[tuple[np.ndarray, np.ndarray]]:
        batches = training_epoch(
            PixelSource(lambda rows: PIXELS[rows]), np.arange(64) % 3, Preprocessing(size=SIDE),
            balance=0.0, strength=1.0, batch_size=25, seed=0, epoch=number,
            shares=Shares(np.arange(64), np.ones(64)), crop_scale=0.1, operations=(2, 9),
            mixing=(0.2, 1.0),
        )  # fmt: skip
        assert int(batches.cardinality()) == 3
        return [(np.asarray(x), np.asarray(y)) for x, y in batches]

    one, two, other = epoch(1), epoch(1), epoch(2)
    for (images, targets), (again, likewise) in zip(one, two, strict=True):
        assert np.array_equal(images, again) and np.array_equal(targets, likewise)
        assert images.shape[1:] == (SIDE, SIDE, 3) and targets.shape[1:] == (3,)
    assert not np.array_equal(one[0][0], other[0][0])


def test_small_crops_need_crops() -> None:
    with pytest.raises(ConfigError, match=r"crop_scale: got 0\.1 with augment 0"):
        TrainConfig(crop_scale=0.1, augment=0.0)
