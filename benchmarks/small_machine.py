"""Run rs-classify on one core, with its memory limited to 512 MB, on photos of 12 megapixels.

    python benchmarks/small_machine.py KIT [--photos N] [--megabytes N]

For each model of the kit, and for the 8-bit ones of its export folder: ``photos`` different JPEGs
in one run of the command, on the first core alone (``sched_setaffinity``).  The kernel refuses the
process more than ``--megabytes`` of private memory (RLIMIT_DATA), which is stricter than a machine
of this size, because it counts what was reserved and never used.  ``peak_mb`` is the most resident
memory, libraries and file contents included (getrusage), in 10**6 bytes; ``free_mb`` the same
without the limit.  Where the limit was too low, ``said`` is what the command said.  Seconds are of
this machine's core, which is faster than a small computer's.

Writes ``results/small-machine.json`` and ``.md``.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import grid, on, options, publish
from more_models import with_models
from PIL import Image

from rs_runtime.kit.kit import open_kit

SIZE = (4000, 3000)
EIGHT_BITS = ("tflite_int8", "onnx_u8s8")


def draw(folder: Path, count: int) -> None:
    """Write different JPEGs of blurred noise."""
    folder.mkdir()
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (375, 500, 3), np.uint8)
        image = Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC)
        image.save(folder / f"{number:03}.jpg", quality=90)


def classify(kit: Path, variant: str, photos: Path, most: int | None) -> dict[str, Any]:
    """Run the command; return its exit code, seconds, peak memory in MB and last complaint."""

    def limit() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        if most is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (most * 10**6,) * 2)

    arguments = ("--json", "--kit", kit, "--variant", variant, photos)
    command = [sys.executable, "-m", "rs_runtime", *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as complaints:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=complaints, preexec_fn=limit)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        complaints.seek(0)
        said = [line for line in complaints.read().splitlines() if "photos" not in line]
        return {
            "exit": process.returncode,
            "answers": sum('"error"' not in line for line in out),
            "seconds": seconds,
            "peak_mb": usage.ru_maxrss * 1024 / 1e6,
            "said": said[-1] if said else None,
        }


def table(result: dict[str, Any]) -> str:
    """Return the Markdown table."""
    rows = [
        (
            row["variant"],
            row["mb"],
            row["answers"],
            row["peak_mb"],
            row["free_mb"],
            row["s_a_photo"],
        )
        for row in result["rows"]
    ]
    head = ("model", "MB", "answers", "peak MB, limited", "peak MB, free", "s a photo")
    return (
        f"# One core and {result['limit_mb']} MB\n\nWritten by `python benchmarks/small_machine.py`"
        f": {result['photos']} photos of 12 megapixels in one run, {result['kit']} at "
        f"{result['size']} px, one core of: {on(result['machine'])}. An empty peak: it does not "
        "fit.\n\n" + grid(head, rows)
    )


def main() -> None:
    """Run each model and write the files."""
    parser = options(__doc__)
    parser.add_argument("kit", type=Path)
    parser.add_argument("--photos", type=int, default=30)
    parser.add_argument("--megabytes", type=int, default=512)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        photos, path = Path(folder, "photos"), Path(folder, "small.rskit")
        draw(photos, given.photos)
        with_models(given.kit, path, EIGHT_BITS)
        with open_kit(path) as kit:
            manifest = kit.manifest
        for variant in manifest.variants:
            limited = classify(path, variant.name, photos, given.megabytes)
            free = classify(path, variant.name, photos, None)
            assert free["exit"] == 0 and free["answers"] == given.photos, free
            fits = limited["exit"] == 0
            rows.append(
                {
                    "variant": variant.name,
                    "mb": manifest.members[variant.member].size / 1e6,
                    **limited,
                    "peak_mb": limited["peak_mb"] if fits else None,
                    "free_mb": free["peak_mb"],
                    "s_a_photo": free["seconds"] / given.photos,
                }
            )
        about = {"kit": manifest.name, "size": manifest.preprocessing.size}
    result = {**about, "photos": given.photos, "limit_mb": given.megabytes, "rows": rows}
    publish("small-machine", result, table)


if __name__ == "__main__":
    main()
