"""The cache of decoded photos in packs, against the single files of an earlier version.

    python benchmarks/cache_packs.py --before TREE [--photos 10000] [--repeats 3] [--work FOLDER]

``TREE`` is a checkout of the earlier version.  Indexes generated photos of 8 x 6 pixels twice, the
first time with an empty cache, reads all pixels of 224 x 224 in any order, and does what ``cache
info`` and ``cache prune --max-gb 0`` do.  Each step is a process of its own, the versions take
turns, and the best of the repeats counts.  Writes ``results/cache-packs.json`` and ``.md``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STEPS = ("first", "again", "read", "info", "prune")


def step(name: str, work: Path) -> dict[str, float]:
    """Do one step with the code that ``PYTHONPATH`` names, old or new; return what it took."""
    import numpy as np

    from rs_toolkit.data.cache import prune_cache, survey_cache
    from rs_toolkit.data.index import build_index
    from rs_toolkit.data.photos import FIXED_PIXELS, PhotoCache
    from rs_toolkit.data.readers import read_dataset

    cache, dataset = PhotoCache(work / "cache", FIXED_PIXELS), read_dataset(work / "photos")
    if name == "read":
        known = build_index(dataset, cache)
        rows = np.random.default_rng(0).permutation(len(known)).tolist()
    begun = time.perf_counter()
    if name == "info":
        held = {item.kind: item.files for item in survey_cache(cache.directory)}
        return {"seconds": time.perf_counter() - begun, "files": held["decoded photos"]}
    if name == "prune":
        prune_cache(cache.directory, most_bytes=0)
    elif name == "read":
        total = sum(int(cache.pixels(known[row], dataset.root)[0, 0, 0]) for row in rows)
        return {"seconds": time.perf_counter() - begun, "sum": total}
    else:
        build_index(dataset, cache)
    return {"seconds": time.perf_counter() - begun}


def photos(folder: Path, count: int) -> None:
    """Write photos of two classes, each another."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (count, 6, 8, 3), np.uint8)
    for number, frame in enumerate(pixels):
        place = folder / f"class{number % 2}" / f"{number:06}.bmp"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(place)


def measured(trees: dict[str, Path], work: Path, repeats: int) -> dict[str, Any]:
    """Return the best seconds of each step, by version; and the number of files."""
    found: dict[str, Any] = {version: {} for version in trees}
    sums = set()
    for _ in range(repeats):
        for version, tree in trees.items():
            parts = (str(tree / part) for part in ("toolkit", "train", "export", "runtime"))
            there = {**os.environ, "PYTHONPATH": os.pathsep.join(parts)}
            for name in STEPS:
                command = [sys.executable, __file__, "--step", name, work]
                said = subprocess.run(command, env=there, stdout=subprocess.PIPE, check=True).stdout
                result, row = json.loads(said), found[version]
                row[f"{name}_s"] = min(result["seconds"], row.get(f"{name}_s", float("inf")))
                row["files"] = result.get("files", row.get("files"))
                sums.add(result.get("sum"))
    found["same_pixels"] = len(sums - {None}) == 1
    return found


def table(result: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    from common import grid, on

    head = ["", "single files", "packs"]
    rows = [
        [text, *(result[version][key] for version in ("before", "after"))]
        for key, text in (
            ("first_s", "first index: read, decode, write (s)"),
            ("again_s", "second index (s)"),
            ("read_s", "read all pixels in any order (s)"),
            ("info_s", "cache info (s)"),
            ("prune_s", "cache prune --max-gb 0 (s)"),
            ("files", "files in the cache"),
        )
    ]
    about = f"{result['photos']:,} photos, best of {result['repeats']}; {on(result['machine'])}."
    return f"# The cache in packs, and in a file for each photo\n\n{about}\n\n{grid(head, rows)}\n"


def main() -> None:
    """Run the benchmark, or one step of it."""
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(step(sys.argv[2], Path(sys.argv[3]))))
        return
    from common import ROOT, options, publish

    parser = options(__doc__)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, help="a folder with room; else that of the system")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.work) as name:
        photos(Path(name) / "photos", chosen.photos)
        time.sleep(3)  # files that are younger are not remembered
        trees = {"before": chosen.before, "after": ROOT}
        found = measured(trees, Path(name), chosen.repeats)
    found |= {"photos": chosen.photos, "repeats": chosen.repeats}
    publish("cache-packs", found, table)


if __name__ == "__main__":
    main()
