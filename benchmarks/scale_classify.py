"""Do memory and time grow with the number of photos, and what do two cores and Ray gain?

    python benchmarks/scale_classify.py KIT [--many 100000] [--photos 600] [--only classify engines]

``classify``: rs-classify with a journal on ``--many`` small photos and on a tenth of them: seconds,
and the largest memory of the process.  ``engines``: photos a second on ``--photos`` photos of one
megapixel: of rs-classify on one thread and on two, of ``rs-toolkit classify`` on this machine's
cores, and on two Ray nodes of one core each on this machine.  The start is told apart: each is also
timed with a twentieth of the photos, and the difference counts.  ``identical`` says whether all
wrote the same rows.  Writes these keys of ``results/scale.json``.  Nothing else should run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, options
from PIL import Image

from rs_toolkit.environment import machine, versions
from rs_toolkit.files import read_json, write_json

RUNTIME = ("-m", "rs_runtime")
RAY = ("-m", "rs_toolkit", "classify")
PARTS = ("classify", "engines")


def draw(
    folder: Path, count: int, width: int, height: int, cells: tuple[int, int] = (6, 8)
) -> Path:
    """Draw photos of random cells (rows, columns), each another, a thousand in a folder."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (count, *cells, 3), np.uint8)
    for number in range(count):
        place = folder / f"{number // 1000:04d}" / f"{number:07d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small[number]).resize((width, height)).save(place, quality=90)
    return folder


def run(command: list[object]) -> tuple[float, float]:
    """Run a command; return its seconds, and the largest memory of its own process in GB."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    said = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"{command}: {said.decode()[-2000:]}")
    return seconds, usage.ru_maxrss * 1024 / 1e9


def classify(kit: Path, work: Path, many: int) -> list[dict[str, Any]]:
    """Return a row for a tenth of the photos, and one for all of them."""
    rows = []
    for count in (many // 10, many):
        photos = draw(work / f"small-{count}", count, 96, 72)
        arguments = ("--kit", kit, "--engine", "litert", "--json", "--journal")
        seconds, peak = run([*RUNTIME, photos, *arguments, work / f"{count}.journal"])
        rows.append({"photos": count, "seconds": seconds, "peak_gb": peak})
    return rows


@contextmanager
def two_nodes() -> Iterator[str]:
    """Start two Ray nodes of one core each; yield the address."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 256 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        yield cluster.address
    finally:
        cluster.shutdown()


def engines(kit: Path, work: Path, count: int) -> dict[str, Any]:
    """Return the photos a second of each way, without its start."""
    photos = draw(work / "large", count, 1152, 864)
    few = draw(work / "few", max(1, count // 20), 1152, 864)
    ways: dict[str, tuple[tuple[object, ...], bool]] = {
        "pool_1": ((*RUNTIME, "--threads", 1), False),
        "pool_2": ((*RUNTIME, "--threads", 2), False),
        "ray": ((*RAY, "--address", "local"), False),
        "ray_2_nodes": ((*RAY, "--address"), True),
    }
    found: dict[str, Any] = {"photos": count, "megapixels": 1.0}
    outputs = []
    for name, (start, cluster) in ways.items():
        with two_nodes() if cluster else nullcontext() as address:
            times = []
            for folder in (few, photos):
                journal, out = work / f"{name}-{folder.name}.journal", work / f"{name}.jsonl"
                command = [*start, *([address] if cluster else []), folder, "--kit", kit]
                command += ["--engine", "litert", "--journal", journal, "-o", out]
                times.append(run(command)[0])
        found[name] = (count - len(list(few.rglob("*.jpg")))) / (times[1] - times[0])
        found[f"{name}_start_s"] = times[0]
        outputs.append(out.read_bytes())
        print(name, found[name], flush=True)
    found["identical"] = len(set(outputs)) == 1
    return found


def main() -> None:
    """Measure the parts that are asked for, and keep the others."""
    parser = argparse.ArgumentParser(parents=[options(__doc__)], add_help=False)
    parser.add_argument("kit", type=Path)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--photos", type=int, default=600)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    chosen = parser.parse_args()
    file = RESULTS / "scale.json"
    known = read_json(file) if file.is_file() else {}
    with tempfile.TemporaryDirectory() as name:
        if "classify" in chosen.only:
            known["classify"] = classify(chosen.kit, Path(name), chosen.many)
        if "engines" in chosen.only:
            known["engines"] = engines(chosen.kit, Path(name), chosen.photos)
    write_json(file, {**known, "machine": machine(), "versions": versions()})
    print({part: known[part] for part in chosen.only})


if __name__ == "__main__":
    main()
