"""What the input of a training costs: files that are known, batches made ahead, masters.

``known``: the start of a training on photos that an earlier one has read, against the code from
before files were known; ``--old`` is its folder: ``git worktree add FOLDER 71d146a``.
``ahead``: batches made by threads, against TensorFlow's map and prefetch, while operations are
deterministic; a pause stands for the step of a model on a GPU.
``masters``: pixels by way of a copy of 512 px against those that the runtime makes of the photo.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, SHARED, grid, on, options, publish
from PIL import Image

from rs_runtime.errors import PhotoError
from rs_runtime.photos.photo import decode
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.batches.pipeline import PixelSource, augment, changed_batches
from rs_toolkit.data.index import build_index
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import read_json, write_json

CLASSES, FILES, PICTURES = 10, 10_000, 1_000
STRUCTURED = 50  # pictures that can be near-duplicates of others
KILOBYTES = (0, 100, 1000)
ROUNDS = 3
SIDE, BATCH, BATCHES = 224, 32, 40
PAUSES = (0.0, 0.05, 0.2)  # seconds of a step
REPEATS = 3
MASTER = 512


def draw_photos(folder: Path, kilobytes: int, pictures: int, structured: int) -> None:
    """Write 10,000 JPEGs of so many pictures, each under equally many names (hard links).

    Blocks of random colours are in so many ``structured`` pictures; the others have one colour.  So
    many ``kilobytes`` before the pixels of each, where cameras put previews and notes, must be
    read and hashed but not decoded.
    """
    generator = np.random.default_rng(kilobytes)
    for number in range(FILES):
        path = folder / f"family{number % CLASSES}idae" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        first = number % pictures
        if number >= pictures:
            os.link(path.with_name(f"{first:05d}.jpg"), path)
            continue
        shape, size = ((6, 8, 3), (256, 192)) if number < structured else ((1, 1, 3), (16, 12))
        blocks = generator.integers(0, 256, shape, dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(blocks).resize(size).save(stream, "JPEG", quality=85)
        note = b"\xff\xfe\0\x0a" + number.to_bytes(8, "big")
        segment = b"\xff\xeb" + (50_002).to_bytes(2, "big") + generator.bytes(50_000)
        start, rest = stream.getvalue()[:2], stream.getvalue()[2:]
        path.write_bytes(start + note + segment * (kilobytes // 50) + rest)


def seconds_of(work: Callable[[], object]) -> float:
    """Return the median seconds of three calls, or of fewer if they take over 20 s."""
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < 20:
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def start_seconds(code: Path, work: Path) -> dict[str, Any]:
    """Return what ``second_start.py`` prints, run with the code of a folder."""
    parts = os.pathsep.join(str(code / name) for name in ("toolkit", "train", "export", "runtime"))
    command = [sys.executable, str(Path(__file__).with_name("second_start.py")), str(work)]
    found = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": parts}, stdout=subprocess.PIPE, check=True
    )
    return dict(json.loads(found.stdout))


def known(work: Path, kilobytes: int, old: Path) -> dict[str, Any]:
    """Return the seconds of a start with everything cached, of the old code and of this one."""
    shutil.rmtree(work, ignore_errors=True)
    pictures = FILES if kilobytes < 1000 else PICTURES
    draw_photos(work / "photos", kilobytes, pictures, STRUCTURED)
    time.sleep(3)  # a file that changed just now is not remembered
    first = start_seconds(ROOT, work)
    found: dict[str, Any] = {"kb": kilobytes, "pictures": pictures, "first_s": first["first_s"]}
    times: dict[str, list[float]] = {"old": [], "new": [], "old_cpu": [], "new_cpu": []}
    for _ in range(ROUNDS):
        for name, code in (("old", old), ("new", ROOT)):
            run = start_seconds(code, work)
            if run["digest"] != first["digest"]:
                raise SystemExit(f"{kilobytes} KB: the {name} code's photos or splits differ")
            times[name] += run["again_s"]
            times[f"{name}_cpu"] += run["cpu_s"]
    shutil.rmtree(work)
    found |= {f"{name}_s": statistics.median(taken) for name, taken in times.items()}
    found["ratio"] = found["old_s"] / found["new_s"]
    found["cpu_ratio"] = found["old_cpu_s"] / found["new_cpu_s"]
    return found | {"times": times}


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
    draw_photos(work / "photos", 0, PICTURES, PICTURES)
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
    keys = ("kb", "pictures", "first_s", "old_s", "new_s", "ratio", "cpu_ratio")
    files = grid(keys, [[row[key] for key in keys] for row in result["known"]])
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

{FILES:,} JPEGs of so many different `pictures`, each with so many KB beside its pixels, all in
memory.  Seconds of the whole start of a training, with its default settings: labels, index,
near-duplicates, splits, and the files written; without TensorFlow, which is loaded afterwards.
Everything is cached, but for `first_s`.  `old_s` is the code of 71d146a, which knows no files, and
`new_s` this one: medians of starts in processes that took turns; `ratio` is theirs, `cpu_ratio`
that of the processor's time of all threads, which other programs disturb less.  Photos, groups,
splits and classes were the same each time.  {STRUCTURED} pictures have structure, the others one
colour.

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
    parser.add_argument("--old", type=Path, help="a checkout of 71d146a, for known")
    parser.add_argument("--shared", type=Path, default=SHARED)
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[], Any]] = {
        "known": lambda: [known(chosen.work / "known", size, chosen.old) for size in KILOBYTES],
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
