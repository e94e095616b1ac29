"""What a split separates that belongs together, and what it costs to find out.

    python benchmarks/splits.py [SET ...]

For the sample, and for the real photos that are there: near-duplicate pairs on two sides of a split
where groups are those of the data alone (``--group-by photo``), and by default; CPU seconds to
index the photos into an empty cache, to search near-duplicates after that, and to search again.
Ten seeds each.  ``turning camera`` is one chain of 300 drawn frames, among 300 other pictures.
Writes ``results/splits.json`` and ``splits.md``.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import SHARED, grid, on, options, publish
from PIL import Image

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.checks.duplicates.search import group_near_duplicates, remembered_pairs
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.data.readers import open_data
from rs_toolkit.progress import Progress
from rs_toolkit.sample import generate_sample
from rs_toolkit.splits.table import make_splits

SEEDS = 10
FRAMES = 300


def turning_camera(root: Path) -> None:
    """Draw a chain of frames, each like its neighbours, of two classes in turns; and 300 others."""
    generator = np.random.default_rng(0)

    def scene(width: int) -> Image.Image:
        total = np.zeros((128, width, 3))
        for cells, weight in ((5, 60), (12, 30), (40, 12)):
            grid_ = generator.uniform(0, 255, (cells, cells * width // 128, 3)).astype(np.uint8)
            layer = Image.fromarray(grid_).resize((width, 128), Image.Resampling.BICUBIC)
            total += weight * (np.asarray(layer) / 127.5 - 1)
        return Image.fromarray(np.clip(total + 120, 0, 255).astype(np.uint8))

    wide = scene(128 + 4 * FRAMES)
    for n in range(FRAMES):
        folder = root / ("canidae", "felidae")[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        wide.crop((4 * n, 0, 4 * n + 128, 128)).save(folder / f"frame{n}.png")
        scene(128).save(folder / f"other{n}.png")


def timed(job: Any) -> tuple[Any, float]:
    """Return the result of a job, and the CPU seconds that it took."""
    begun = time.process_time()
    return job(), time.process_time() - begun


def measure(name: str, data: Path) -> dict[str, Any]:
    """Return the row of one data set."""
    config = TrainConfig()
    with tempfile.TemporaryDirectory() as folder:
        cache = PhotoCache(Path(folder), Preprocessing(size=config.imgsz))
        (dataset, photos), index = timed(lambda: open_data(data, cache, Progress()))
        roots = [dataset.root] * len(photos)
        arguments = (photos, roots, cache.directory, Progress())
        grouped, search = timed(lambda: group_near_duplicates(*arguments))
        pairs, again = timed(lambda: remembered_pairs(*arguments))
    crossing = {"photo": 0, "observation": 0}
    for level in crossing:
        for seed in range(SEEDS):
            given = photos if level == "photo" else grouped
            found, _ = make_splits(given, replace(config, seed=seed, group_by=level))
            sides = [photo.split for photo in found]
            both = [(sides[one], sides[other]) for one, other, _ in pairs]
            crossing[level] += sum(None not in ends and len(set(ends)) > 1 for ends in both)
    return {
        "set": name,
        "photos": len(photos),
        "pairs": len(pairs),
        "crossing_by_photo": crossing["photo"] / SEEDS,
        "crossing_by_default": crossing["observation"] / SEEDS,
        "index_seconds": round(index, 1),
        "search_seconds": round(search, 1),
        "again_seconds": round(again, 2),
        "ratio": round(search / index, 2),
    }


def table(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    rows = [list(row.values()) for row in result["sets"]]
    head = (
        *("set", "photos", "near-duplicate pairs", "on two sides by `--group-by photo`"),
        *("by default", "CPU s to index", "to search", "to search again", "search / index"),
    )
    return f"""# What a split separates

Pairs on two sides: mean of {SEEDS} seeds. {on(result["machine"])}, other jobs beside it.

{grid(head, rows)}
"""


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__)
    parser.add_argument("sets", nargs="*", help="only these: sample, camera, birds, cub …")
    chosen = parser.parse_args().sets
    with tempfile.TemporaryDirectory() as folder:
        sample, camera = Path(folder) / "sample", Path(folder) / "camera"
        generate_sample(sample)
        turning_camera(camera)
        shared = Path(os.environ.get("RS_SHARED", SHARED))
        real = {name: shared / "data" / name for name in ("birds", "butterflies", "cub")}
        sets = {"sample": sample, "turning camera": camera, **real}
        rows = [
            measure(name, data)
            for name, data in sets.items()
            if data.is_dir() and (not chosen or name.split()[-1] in chosen)
        ]
    publish("splits", {"seeds": SEEDS, "sets": rows}, table)


if __name__ == "__main__":
    main()
