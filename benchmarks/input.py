"""What the input of a training costs: files that are known, batches made ahead, masters.

``known``: a second start on photos that an earlier one has read, against reading them all again.
``ahead``: batches made by threads, against TensorFlow's map and prefetch, while operations are
deterministic; a pause stands for the step of a model on a GPU.
``masters``: pixels by way of a copy of 512 px against those that the runtime makes of the photo.
"""

from __future__ import annotations

import io
import os
import shutil
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from common import SHARED, grid, on, options, publish
from PIL import Image

from rs_runtime.errors import PhotoError
from rs_runtime.photos.photo import decode
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.batches.pipeline import PixelSource, augment, changed_batches
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.index import build_index
from rs_toolkit.data.known_files import KnownFiles
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import read_json, write_json
from rs_toolkit.progress import Progress
from rs_train.classifier.prepare import prepare

CLASSES, FILES, PICTURES = 10, 10_000, 1_000
KILOBYTES = (0, 100, 1000)
SIDE, BATCH, BATCHES = 224, 32, 40
PAUSES = (0.0, 0.05, 0.2)  # seconds of a step
REPEATS = 3
MASTER = 512


def draw_photos(folder: Path, kilobytes: int) -> None:
    """Write pictures of random blocks of colour, each under ten names (hard links).

    So many ``kilobytes`` before the pixels of each, where cameras put previews and notes, must be
    read and hashed but not decoded.
    """
    generator = np.random.default_rng(kilobytes)
    for number in range(FILES):
        path = folder / f"family{number % CLASSES}idae" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        first = number % PICTURES
        if number >= PICTURES:
            os.link(path.with_name(f"{first:05d}.jpg"), path)
            continue
        blocks = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(blocks).resize((256, 192)).save(stream, "JPEG", quality=85)
        segment = b"\xff\xeb" + (50_002).to_bytes(2, "big") + generator.bytes(50_000)
        start, rest = stream.getvalue()[:2], stream.getvalue()[2:]
        path.write_bytes(start + segment * (kilobytes // 50) + rest)


def seconds_of(work: Callable[[], object], before: Callable[[], object] = int) -> float:
    """Return the median seconds of three calls, or of fewer if they take over 20 s.

    ``before`` is called before each, untimed.
    """
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < 20:
        before()
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def known(work: Path, kilobytes: int) -> dict[str, Any]:
    """Return the seconds of a second start, with the files known and with all of them read."""
    shutil.rmtree(work, ignore_errors=True)
    data, run = work / "photos", work / "run"
    draw_photos(data, kilobytes)
    time.sleep(3)  # a file that changed just now is not remembered
    cache = PhotoCache(work / "cache", Preprocessing(size=SIDE))
    config, dataset = TrainConfig(imgsz=SIDE, group_by="photo"), read_dataset(data)
    index = partial(build_index, dataset, cache)
    start = partial(prepare, data, config, run, cache, Progress())
    no_run = partial(shutil.rmtree, run, ignore_errors=True)
    begun = time.perf_counter()
    start()
    found: dict[str, Any] = {"kb": kilobytes, "first_s": time.perf_counter() - begun}
    # As it was before: no file is known.
    with mock.patch.multiple(KnownFiles, find=lambda *_: None, save=lambda _: None):
        found["index_read_s"] = seconds_of(index)
        found["start_read_s"] = seconds_of(start, no_run)
    found["index_known_s"] = seconds_of(index)
    found["start_known_s"] = seconds_of(start, no_run)
    shutil.rmtree(work)
    for part in ("index", "start"):
        found[f"{part}_ratio"] = found[f"{part}_read_s"] / found[f"{part}_known_s"]
    return found


def before(
    pixels: PixelSource,
    picks: tuple[np.ndarray[Any, Any], ...],
    targets: Any,
    preprocessing: Preprocessing,
    change: Callable[[Any, Any], Any],
    *,
    batch_size: int,
    seed: tuple[int, ...],
) -> Any:
    """Return batches as they were made before, by TensorFlow's map and prefetch."""
    import tensorflow as tf

    def finish(batch: Any, chosen: Any, wanted: Any) -> tuple[Any, Any]:
        images = tf.numpy_function(pixels, [chosen], tf.uint8)
        images.set_shape([None, SIDE, SIDE, 3])
        images = change(tf.cast(images, tf.float32), tf.stack([0, tf.cast(batch, tf.int32)]))
        return preprocessing.model_input(images), wanted

    dataset = tf.data.Dataset.from_tensor_slices((*picks, targets)).batch(batch_size).enumerate()
    return dataset.map(
        lambda batch, pair: finish(batch, *pair), num_parallel_calls=2, deterministic=True
    ).prefetch(2)


def ahead(work: Path) -> dict[str, Any]:
    """Return the share of an epoch that is spent waiting, by the pause that a step takes."""
    quiet_tensorflow()
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    shutil.rmtree(work, ignore_errors=True)
    draw_photos(work / "photos", 0)
    dataset = read_dataset(work / "photos")
    cache = PhotoCache(work / "cache", Preprocessing(size=SIDE))
    photos = build_index(dataset, cache)[: BATCH * BATCHES]
    source = PixelSource(
        lambda rows: cache.stacked([photos[row] for row in rows], lambda _: dataset.root)
    )
    rows = np.arange(len(photos))
    found: dict[str, Any] = {"read_ms": seconds_of(partial(source, rows)) / len(rows) * 1e3}
    for name, make in (("before", before), ("ahead", changed_batches)):
        for pause in PAUSES:
            batches = make(
                source,
                (rows,),
                rows,
                cache.preprocessing,
                lambda images, seed: augment(images, 1.0, seed),
                batch_size=BATCH,
                seed=(0, 0),
            )
            begun = time.perf_counter()
            for _ in batches:
                time.sleep(pause)
            seconds = time.perf_counter() - begun
            found[f"{name}_{pause:g}"] = {
                "photos_s": len(rows) / seconds,
                "waiting": 1 - pause * BATCHES / seconds,
            }
    shutil.rmtree(work)
    return found


def master(data: bytes) -> dict[str, Any] | None:
    """Return how pixels by way of a master differ from the runtime's; None for small photos."""
    image, info = decode(data, 2 * MASTER)
    if max(info.width, info.height) < 2 * MASTER:
        return None
    share = MASTER / max(image.size)
    size = [max(1, round(side * share)) for side in image.size]
    small = image.resize((size[0], size[1]), Image.Resampling.BILINEAR, None, 2.0)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=95, subsampling=0)
    found: dict[str, Any] = {"raw_kb": size[0] * size[1] * 3 / 1e3, "jpeg_kb": stream.tell() / 1e3}
    for side in (224, 299):
        item = Preprocessing(size=side)
        wanted = item.load(data).astype(int)
        for name, copy in (("raw", small), ("jpeg", Image.open(stream).convert("RGB"))):
            gap = np.abs(item._pixels(copy) - wanted)
            found[f"{name}_{side}"], found[f"{name}_{side}_most"] = gap.mean(), gap.max()
    return found


def masters(shared: Path) -> dict[str, Any]:
    """Return the means over all large photos of two folders, and the largest difference."""
    rows = []
    for file in sorted((*shared.glob("data/edge_cases/*"), *shared.glob("data/odd_files/*"))):
        try:
            rows.append(master(file.read_bytes()))
        except (PhotoError, OSError):
            continue
    large = [row for row in rows if row]
    return {"photos": len(large)} | {
        key: float((max if key.endswith("most") else statistics.mean)([row[key] for row in large]))
        for key in (large[0] if large else {})
    }


def table(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    keys = ("kb", "index_read_s", "index_known_s", "index_ratio")
    more = ("start_read_s", "start_known_s", "start_ratio", "first_s")
    files = grid([*keys, *more], [[row[key] for key in (*keys, *more)] for row in result["known"]])
    made, copies = result["ahead"], result["masters"]
    shown = [(name, key) for name in ("before", "ahead") for key in ("photos_s", "waiting")]
    epochs = grid(
        ["s a step", *(f"{name}: `{key}`" for name, key in shown)],
        [
            [f"{pause:g}", *(made[f"{name}_{pause:g}"][key] for name, key in shown)]
            for pause in PAUSES
        ],
    )
    pixels = grid(["what", "value"], [[key, value] for key, value in copies.items()])
    return f"""# Input of a training

On {on(result["machine"])}.  Other programs ran at the same time.

## Known files

{FILES:,} JPEGs of {PICTURES:,} pictures (hard links), each with so many KB beside its pixels,
all in memory.  Seconds of the index (`index`), and of `start`: labels, index and splits, without a
search for near-duplicates; with all files read and hashed, as before, and with all known.
`first_s`: nothing is cached.

{files}

## Batches made ahead

{BATCHES} batches of {BATCH} photos, {SIDE} px, augmented; a pause stands for the step.  Photos a
second, and the share of the time spent waiting for photos.  `before` is TensorFlow's own map and
prefetch.  Reading one photo from the cache takes {made["read_ms"]:.2f} ms.

{epochs}

## By way of a master

Photos of {2 * MASTER} px or more from `../shared`, shrunk to {MASTER} px (`raw`, or as a JPEG of
quality 95), then to the input size: mean difference from the runtime's pixels in levels of 255
(`most`: the largest), and KB a photo.

{pixels}
"""


def main() -> None:
    parser = options(__doc__, work="input")
    parser.add_argument("--parts", nargs="*", default=["known", "ahead", "masters"])
    parser.add_argument("--shared", type=Path, default=SHARED)
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[], Any]] = {
        "known": lambda: [known(chosen.work / "known", size) for size in KILOBYTES],
        "ahead": lambda: ahead(chosen.work / "ahead"),
        "masters": lambda: masters(chosen.shared),
    }
    result = {}
    for name, work in parts.items():
        file = chosen.work / f"{name}-result.json"
        if name in chosen.parts:
            write_json(file, work())
        if file.is_file():
            result[name] = read_json(file)
    if len(result) == len(parts):
        publish("input", result, table)


if __name__ == "__main__":
    main()
