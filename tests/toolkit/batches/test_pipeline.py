from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.batches.oversampling import Shares
from rs_toolkit.batches.pipeline import (
    PixelSource,
    _Ahead,
    augment,
    changed_batches,
    evaluation_batches,
    recolour,
    training_epoch,
)

SIDE = 40
PIXELS = np.random.default_rng(0).integers(0, 256, (20, SIDE, SIDE, 3), dtype=np.uint8)
LABELS = np.repeat([0, 1], [14, 6])
PREPROCESSING = Preprocessing(size=SIDE)


source = PixelSource(lambda rows: PIXELS[rows])


ALONE = Shares(np.arange(20), np.ones(20))


def epoch(number: int, strength: float = 1.0, seed: int = 0, shares: Shares = ALONE):
    batches = training_epoch(
        source, LABELS, PREPROCESSING,
        balance=1.0, strength=strength, batch_size=8, seed=seed, epoch=number, shares=shares,
    )  # fmt: skip
    return [(np.asarray(x), np.asarray(y)) for x, y in batches]


def test_evaluation_pixels_are_exactly_the_runtimes() -> None:
    got = np.concatenate(list(evaluation_batches(source, 20, PREPROCESSING, 7)))
    assert np.array_equal(got, PREPROCESSING.model_input(PIXELS))


def test_an_unaugmented_epoch_shows_the_runtimes_pixels_balanced() -> None:
    batches = epoch(0, strength=0.0)
    labels = np.concatenate([y for _, y in batches])
    assert np.bincount(labels).tolist() == [14, 14]
    known = {x.tobytes() for x in PREPROCESSING.model_input(PIXELS)}
    assert all(x.tobytes() in known for batch, _ in batches for x in batch)


def test_an_epoch_heeds_copies_and_weights() -> None:
    """Ten of class 0 are copies of one photo, and one of class 1 weighs nothing."""
    shares = Shares(np.r_[[0] * 10, 1:11], np.r_[[1] * 19, 0])
    batches = epoch(0, strength=0.0, shares=shares)
    assert np.bincount(np.concatenate([y for _, y in batches])).tolist() == [5, 5]
    shown = [x.tobytes() for batch, _ in batches for x in batch]
    pixels = [x.tobytes() for x in PREPROCESSING.model_input(PIXELS)]
    assert sum(shown.count(x) for x in pixels[:10]) == 1
    assert all(shown.count(x) == 1 for x in pixels[10:19])
    assert pixels[19] not in shown


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    for (one, _), (two, _) in zip(epoch(3), epoch(3), strict=True):
        assert np.array_equal(one, two)
    assert not np.array_equal(epoch(3)[0][0], epoch(4)[0][0])
    assert not np.array_equal(epoch(3)[0][0], epoch(3, seed=1)[0][0])


def test_augmentation_stays_in_range_and_varies_by_photo() -> None:
    same = np.repeat(PIXELS[:1].astype("float32"), 6, axis=0)
    out = np.asarray(augment(same, 1.0, np.array([1, 2], np.int32)))
    assert out.min() >= 0
    assert out.max() <= 255
    assert len({x.tobytes() for x in out}) == 6
    assert np.array_equal(augment(same, 0.0, np.array([1, 2], np.int32)), same)


@pytest.mark.parametrize("mirrored", [False, True])
def test_augmentation_mirrors_half_the_photos(mirrored) -> None:
    ramp = np.tile(
        np.linspace(0, 255, SIDE, dtype="float32")[None, None, :, None], (64, SIDE, 1, 3)
    )
    out = np.asarray(augment(ramp, 1.0, np.array([5, 6], np.int32)))
    falls = out[:, :, 0].mean((1, 2)) > out[:, :, -1].mean((1, 2))
    assert 16 <= (falls == mirrored).sum() <= 48


def test_recoloured_photos_keep_their_shapes() -> None:
    images, seed = PIXELS.astype("float32"), np.array([1, 2], np.int32)
    assert np.array_equal(recolour(images, 0.0, seed), images)
    changed = np.asarray(recolour(images, 1.0, seed))
    assert changed.min() >= 0 and changed.max() <= 255
    assert np.abs(changed - images).mean() > 3
    for one, other in zip(images, changed, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9


def test_a_source_may_be_asked_for_views() -> None:
    def dimmed(rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        return (PIXELS[rows] // (views + 1)[:, None, None, None]).astype(np.uint8)

    rows, views = np.array([3, 1, 2]), np.array([0, 1, 3])
    batches = changed_batches(
        PixelSource(dimmed),
        (rows, views),
        (rows, views),
        PREPROCESSING,
        lambda images, seed: images,
        batch_size=2,
        seed=(0, 0),
    )
    found = [(np.asarray(x), np.asarray(one), np.asarray(two)) for x, (one, two) in batches]
    shown, one, two = (np.concatenate(part) for part in zip(*found, strict=True))
    assert one.tolist() == rows.tolist() and two.tolist() == views.tolist()
    assert np.array_equal(shown, PREPROCESSING.model_input(dimmed(rows, views)))


def test_an_error_of_a_photo_is_raised_once_and_not_for_a_later_fault() -> None:
    def vanished(rows: np.ndarray) -> np.ndarray:
        raise FileNotFoundError("a.jpg")

    source = PixelSource(vanished)
    for _ in range(2):
        with pytest.raises(FileNotFoundError), source.unburied():
            try:
                source(np.arange(1))
            except FileNotFoundError as error:
                raise RuntimeError("TensorFlow's own words") from error
    with pytest.raises(RuntimeError, match="another fault"), source.unburied():
        raise RuntimeError("another fault")


def all_photos(source: PixelSource):
    """One epoch of four batches of five photos, as they are."""
    return evaluation_batches(source, 20, PREPROCESSING, 5)


@pytest.fixture
def deterministic() -> None:
    """Let TensorFlow call Python functions one at a time, as in training."""
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()


@pytest.mark.usefixtures("deterministic")
def test_batches_are_made_while_the_last_one_is_used() -> None:
    made = threading.Semaphore(0)

    def load(rows: np.ndarray) -> np.ndarray:
        made.release()
        return PIXELS[rows]

    batches = iter(all_photos(PixelSource(load)))
    next(batches)
    assert made.acquire(timeout=10) and made.acquire(timeout=10)


@pytest.mark.usefixtures("deterministic")
def test_batches_come_in_order_whichever_is_ready_first() -> None:
    def load(rows: np.ndarray) -> np.ndarray:
        time.sleep(0.05 if rows[0] == 0 else 0)
        return PIXELS[rows]

    got = np.concatenate(list(all_photos(PixelSource(load))))
    assert np.array_equal(got, PREPROCESSING.model_input(PIXELS))


@pytest.mark.usefixtures("deterministic")
def test_the_time_spent_waiting_for_batches_is_counted() -> None:
    def load(rows: np.ndarray) -> np.ndarray:
        time.sleep(0.1)
        return PIXELS[rows]

    hurried, patient = PixelSource(load), PixelSource(load)
    for _ in all_photos(hurried):
        pass
    first = None
    for _ in all_photos(patient):
        first = patient.waited if first is None else first
        time.sleep(0.2)
    assert hurried.waited > 0.1
    assert first is not None and patient.waited - first < first


def test_an_error_ends_an_epoch_and_names_the_photo() -> None:
    def load(rows: np.ndarray) -> np.ndarray:
        if rows[0] == 10:
            raise FileNotFoundError("a.jpg")
        return PIXELS[rows]

    source = PixelSource(load)
    with pytest.raises(FileNotFoundError, match=r"a\.jpg"), source.unburied():
        list(all_photos(source))


def test_an_epoch_that_is_left_early_leaves_no_thread() -> None:
    def at_work() -> bool:
        return any(thread.name.startswith("batches") for thread in threading.enumerate())

    free = threading.Event()

    def load(rows: np.ndarray) -> np.ndarray:
        assert rows[0] == 0 or free.wait(60)
        return PIXELS[rows]

    batches = iter(all_photos(PixelSource(load)))
    next(batches)
    assert at_work()
    del batches
    free.set()
    deadline = time.monotonic() + 5
    while at_work() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not at_work()


def test_several_iterators_over_the_same_batches_each_get_all() -> None:
    batches = evaluation_batches(source, 20, PREPROCESSING, 1)
    wanted = PREPROCESSING.model_input(PIXELS)

    def read(_: int) -> bool:
        return all(np.array_equal(np.concatenate(list(batches)), wanted) for _ in range(5))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(4)))


def test_batches_ahead_of_abandoned_iterators_are_not_kept() -> None:
    ahead = _Ahead(lambda number: number, 100, PixelSource(lambda rows: PIXELS[rows]))
    for left_at in (90, 70, 50, 30, 10):
        assert [ahead.take(number) for number in range(left_at)] == list(range(left_at))
    assert len(ahead._begun) <= 4
