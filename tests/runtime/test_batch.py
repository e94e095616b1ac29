"""Many photos: several at a time, in order, each with one result, in bounded memory."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.batch import in_order
from rs_runtime.classify import Classifier
from rs_runtime.engines.pool import load_pool
from rs_runtime.errors import EngineError, FilterError
from rs_runtime.filter import Filter
from rs_runtime.photos.preprocess import Preprocessing
from rs_runtime.results import Failure, Prediction


@pytest.fixture
def many(tmp_path) -> list[Path]:
    """Fifty small photos of random colours, of which one is damaged and one is not there."""
    folder = tmp_path / "many"
    folder.mkdir()
    generator = np.random.default_rng(0)
    places = [folder / f"{number:02d}.png" for number in range(50)]
    for place in places:
        Image.new("RGB", (40, 40), tuple(generator.integers(0, 256, 3).tolist())).save(place)
    places[30].write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    places[40].unlink()
    return places


@pytest.mark.parametrize("name", ["onnx_kit", "litert_kit"])
@pytest.mark.parametrize("threads", [1, 3])
def test_many_photos_get_the_answers_that_each_gets_alone(request, name, threads, many) -> None:
    with Classifier.open(request.getfixturevalue(name), threads=threads) as classifier:
        found = list(classifier.classify_many(many, top=2))
        assert [result.path for result in found] == [str(photo) for photo in many]
        bad = [place for place, result in enumerate(found) if isinstance(result, Failure)]
        assert bad == [30, 40]
        assert "cannot be decoded" in found[30].problem and "does not exist" in found[40].problem
        for photo, result in zip(many, found, strict=True):
            if isinstance(result, Prediction):
                assert result == classifier.classify(photo, top=2)


def test_a_filter_judges_many_photos_as_it_judges_one(filter_kit, many) -> None:
    with Classifier.open(filter_kit, threads=2, filter="on") as classifier:
        good = [photo for photo in many if photo not in (many[30], many[40])]
        found = list(classifier.classify_many(good))
        assert found == [classifier.classify(photo) for photo in good]
        assert {result.filter.verdict for result in found} >= {"organism", "not_organism"}


def test_a_filter_that_fails_is_left_out_with_one_warning(filter_kit, many, monkeypatch) -> None:
    def fails(*_: object) -> None:
        raise FilterError("filter 'x' broke")

    said: list[str] = []
    with Classifier.open(filter_kit, threads=2, warn=said.append) as classifier:
        judged = list(classifier.classify_many(many[:20]))
        monkeypatch.setattr(Filter, "judge", fails)
        found = list(classifier.classify_many(many[:20]))
        assert found == [replace(result, filter=None) for result in judged]
    assert said == ["photos are not judged by the filter: filter 'x' broke"]


def test_results_among_the_photos_are_passed_on_in_their_place(onnx_kit, many) -> None:
    done = Failure("elsewhere.jpg", "photo 'elsewhere.jpg': was lost")
    with Classifier.open(onnx_kit, threads=2) as classifier:
        answer = classifier.classify(many[0])
        mixed = [done, *many[:20], answer, done]
        found = list(classifier.classify_many(mixed))
    assert [found[0], found[-2], found[-1]] == [done, answer, done] and len(found) == 23


def test_an_engine_that_fails_on_one_photo_answers_the_others(onnx_kit, many, monkeypatch) -> None:
    real, calls = Classifier.logits, count()

    def failing(self, *arguments):
        if next(calls) == 20:
            raise EngineError("out of memory")
        return real(self, *arguments)

    monkeypatch.setattr(Classifier, "logits", failing)
    with Classifier.open(onnx_kit, threads=2) as classifier:
        found = list(classifier.classify_many(many))
    (lost,) = [x for x in found if isinstance(x, Failure) and x.kind == "engine"]
    assert len(found) == 50 and "out of memory" in lost.problem and lost.path in lost.problem


def test_a_photo_without_memory_to_shrink_it_costs_only_itself(onnx_kit, many, monkeypatch) -> None:
    real, calls = Preprocessing._pixels, count()

    def shrink(self, image):
        if next(calls) == 20:
            raise MemoryError
        return real(self, image)

    monkeypatch.setattr(Preprocessing, "_pixels", shrink)
    with Classifier.open(onnx_kit, threads=1) as classifier:
        found = list(classifier.classify_many(many[:30]))
    (lost,) = (result for result in found if isinstance(result, Failure))
    assert len(found) == 30 and "more memory" in lost.problem and lost.path in lost.problem


def test_a_photo_without_memory_to_read_it_costs_only_itself(onnx_kit, many, monkeypatch) -> None:
    real = Path.open

    def opened(path: Path, *mode: str, **options: str):
        if path == many[20]:
            raise MemoryError
        return real(path, *mode, **options)

    monkeypatch.setattr(Path, "open", opened)
    with Classifier.open(onnx_kit) as classifier:
        found = list(classifier.classify_many(many[:30]))
    assert isinstance(found[20], Failure) and "more memory than there is" in found[20].problem
    assert sum(isinstance(item, Prediction) for item in found) == 29


def test_without_memory_for_a_second_copy_the_first_answers_all(
    onnx_kit, many, monkeypatch
) -> None:
    def refused(*_: object) -> None:
        raise EngineError("onnxruntime refused the model: out of memory")

    monkeypatch.setattr("rs_runtime.engines.pool.load_engine", refused)
    with Classifier.open(onnx_kit, threads=2) as classifier:
        found = list(classifier.classify_many(many[:30]))
        assert found == [classifier.classify(photo) for photo in many[:30]]


def test_photos_are_asked_for_only_as_they_are_needed(onnx_kit, many) -> None:
    asked = []

    def endless():
        for number in count():
            asked.append(number)
            yield many[number % 20]

    before = threading.active_count()
    with Classifier.open(onnx_kit, threads=2) as classifier:
        results = classifier.classify_many(endless())
        assert len(list(islice(results, 100))) == 100
        assert len(asked) < 150
        results.close()
    assert threading.active_count() == before


def test_tasks_overlap_and_keep_their_order() -> None:
    # Each of two tasks waits for the other: one at a time would never end.
    meeting = threading.Barrier(2, timeout=20)

    def task(number: int) -> int:
        meeting.wait()
        return number

    assert list(in_order(task, range(20), 2)) == list(range(20))


def test_few_items_are_taken_that_no_worker_can_do_yet() -> None:
    free, done, taken = threading.Event(), [], []

    def items():
        for number in range(40):
            taken.append(number)
            yield number

    def task(number: int) -> int:
        free.wait(20)
        done.append(number)
        return number

    found = []
    caller = threading.Thread(target=lambda: found.extend(in_order(task, items(), 2)))
    caller.start()
    time.sleep(0.3)
    early = len(taken)
    free.set()
    caller.join(20)
    # Two for each worker, and one whose turn is next.
    assert 2 <= early <= 5 and found == list(range(40)) and len(done) == 40


def test_a_slow_item_does_not_stop_those_behind_it_at_once() -> None:
    free, done = threading.Event(), []

    def task(number: int) -> int:
        if number == 0:
            free.wait(20)
        done.append(number)
        if len(done) == 10:
            free.set()
        return number

    assert list(in_order(task, range(30), 2)) == list(range(30))
    assert done.index(0) >= 10


def test_an_error_is_raised_in_its_place_and_stops_the_rest() -> None:
    done = []

    def task(number: int) -> int:
        if number == 3:
            raise KeyError("three")
        time.sleep(0.001)
        done.append(number)
        return number

    results = in_order(task, count(), 2)
    assert list(islice(results, 3)) == [0, 1, 2]
    with pytest.raises(KeyError, match="three"):
        next(results)
    after = len(done)
    assert list(results) == [] and len(done) == after < 40


def test_an_error_of_the_items_comes_after_the_results_of_those_before() -> None:
    def items():
        yield from range(12)
        raise OSError("the disk was pulled")

    found = []
    with pytest.raises(OSError, match="pulled"):
        for each in in_order(lambda number: time.sleep(0.01) or number, items(), 2):
            found.append(each)
    assert found == list(range(12))


def test_a_pool_has_as_many_copies_as_the_memory_holds(tflite_models, monkeypatch) -> None:
    model = tflite_models["float"]
    assert load_pool("litert", model, 3).size == 3
    monkeypatch.setattr("rs_runtime.engines.pool.free_memory", lambda: 0)
    assert load_pool("litert", model, 3).size == 1
    monkeypatch.setattr("rs_runtime.engines.pool.free_memory", lambda: None)
    assert load_pool("litert", model, 2).size == 2


def test_one_thread_needs_no_second_copy(litert_kit, monkeypatch) -> None:
    photos = [np.full((40, 40, 3), number, np.uint8) for number in range(30)]
    with Classifier.open(litert_kit, threads=2) as two, Classifier.open(litert_kit) as one:
        wanted = list(two.classify_many(photos))
        monkeypatch.setattr("rs_runtime.engines.engine.cores", lambda: 1)
        monkeypatch.setattr("rs_runtime.engines.pool.load_pool", None)
        assert list(one.classify_many(photos)) == wanted
        assert one._pool is not None and one._pool.size == 1
