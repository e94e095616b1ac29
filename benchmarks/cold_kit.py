"""Measure the start of rs-classify with a large kit: hashing what is used against hashing it all.

    python benchmarks/cold_kit.py KIT [--megabytes N] [--repeat N]

The kit is copied and filled up to ``--megabytes`` with models that no run uses, as a kit for
several engines has.  Each start is a process of its own that answers one photo of 12 megapixels;
both ways alternate.  ``ratio`` is the median of seconds with only the used models hashed over
seconds with every member hashed at opening, and the model again when it is loaded, as it was before
decision 0032.  ``open_s`` is the time inside ``open_kit``.  Files are in the system's cache: a card
that has to be read makes the difference larger.

Writes ``results/cold-kit.json`` and ``.md``.  Nothing else should run.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import grid, on, options, publish

from rs_runtime.kit.kit import open_kit, write_kit
from runtime import photo

# open_kit is called as the command calls it, or with every member verified.
START = """
import sys, time
import rs_runtime.classify as classify
from rs_runtime.cli import main
from rs_runtime.kit.kit import open_kit
def timed(path, key=None, *, every_member):
    start = time.perf_counter()
    found = open_kit(path, key, every_member=every_member or sys.argv[1] == "all")
    print(time.perf_counter() - start, file=sys.stderr)
    return found
classify.open_kit = timed
sys.exit(main(sys.argv[2:]))
"""


def filled(kit: Path, path: Path, megabytes: int) -> float:
    """Write the kit with more models, up to a size; return its MB."""
    with open_kit(kit) as opened:
        members = {name: opened.read(name) for name in opened.members}
        missing = megabytes * 10**6 - kit.stat().st_size
        if missing > 0:
            members["models/unused.onnx"] = np.random.default_rng(0).bytes(missing)
        write_kit(path, opened.manifest, members)
    return path.stat().st_size / 1e6


def start(way: str, *arguments: object) -> tuple[float, float]:
    """Return the seconds of a start and of its opening of the kit."""
    command = [sys.executable, "-c", START, way, *map(str, arguments)]
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - begin, float(done.stderr.splitlines()[0])


def compare(repeat: int, *arguments: object) -> dict[str, float]:
    """Start both ways in turns, after one start of each that is not counted."""
    seen: dict[str, list[tuple[float, float]]] = {"used": [], "all": []}
    for number in range(repeat + 1):
        for way, times in seen.items():
            found = start(way, *arguments)
            if number:
                times.append(found)
    pairs = zip(seen["used"], seen["all"], strict=True)
    return {
        "ratio": statistics.median(used[0] / everything[0] for used, everything in pairs),
        **{
            f"{name}{way}_s": statistics.median(times[place] for times in seen[way])
            for place, name in enumerate(("", "open_"))
            for way in seen
        },
    }


def table(result: dict[str, Any]) -> str:
    """Return the Markdown table."""
    head = ("engine", "ratio", "used, s", "all, s", "open used, s", "open all, s")
    keys = ("ratio", "used_s", "all_s", "open_used_s", "open_all_s")
    rows = [(row["engine"], *(row[key] for key in keys)) for row in result["starts"]]
    return (
        f"# Start with a kit of {result['kit_mb']:.0f} MB\n\nWritten by "
        f"`python benchmarks/cold_kit.py`, on {on(result['machine'])}. `used`: the manifest and "
        "the used models are hashed; `all`: every member at opening, as before.\n\n"
        + grid(head, rows)
    )


def main() -> None:
    """Measure each engine of the kit and write the files."""
    parser = options(__doc__)
    parser.add_argument("kit", type=Path)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=15)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kit, shown = Path(folder, "large.rskit"), Path(folder, "photo.jpg")
        megabytes = filled(given.kit, kit, given.megabytes)
        shown.write_bytes(photo(12))
        with open_kit(kit) as opened:
            engines = sorted({item.engine for item in opened.manifest.variants})
        starts = [
            {"engine": engine, **compare(given.repeat, "--kit", kit, "--engine", engine, shown)}
            for engine in engines
        ]
    publish("cold-kit", {"kit": given.kit.name, "kit_mb": megabytes, "starts": starts}, table)


if __name__ == "__main__":
    main()
