"""Measure the memory that rs-classify takes for photos of 100 megapixels of many kinds.

    python benchmarks/large_photos.py KIT

The photos are generated.  Each is classified by a process of its own, with the kit as it is made
today and, for TIFFs, as it was made before they were read in bands (``pixels_version`` 2).
``peak_mb`` is the largest resident memory of the process, in MB of 10^6 bytes; ``bare`` is that of
a photo of one megapixel.  A photo that is refused has a ``reason``.

Writes ``results/large-photos.json`` and ``.md``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import grid, on, options, publish
from PIL import Image

from rs_runtime.kit.kit import open_kit, write_kit
from rs_runtime.photos import PIXELS_VERSION

WIDTH, HEIGHT = 12250, 8165


def photos(folder: Path) -> Iterator[tuple[str, Path]]:
    """Write one photo of each kind; yield what it is and its file."""
    noise = np.random.default_rng(0).integers(0, 256, (250, 400, 3), dtype=np.uint8)
    rgb = Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    grey = rgb.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    kinds: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "JPEG": (rgb, "jpg", {"quality": 85}),
        "JPEG, progressive": (rgb, "jpg", {"quality": 85, "progressive": True}),
        "JPEG, progressive, colours at full resolution": (
            rgb,
            "jpg",
            {"quality": 85, "progressive": True, "subsampling": 0},
        ),
        "TIFF, RGB, LZW": (rgb, "tif", {"compression": "tiff_lzw", "tiffinfo": {317: 2}}),
        "TIFF, grey, 16 bits, deflate": (deep, "tif", {"compression": "tiff_adobe_deflate"}),
        "TIFF, grey, 16 bits, not compressed, 95 megapixels": (
            deep.crop((0, 0, WIDTH, 7755)),
            "tif",
            {},
        ),
        "PNG, RGB": (rgb, "png", {"compress_level": 1}),
        "PNG, grey, 16 bits": (deep, "png", {"compress_level": 1}),
    }
    small = folder / "small.jpg"
    rgb.resize((1225, 816)).save(small)
    yield "bare", small
    for number, (name, (image, suffix, how)) in enumerate(kinds.items()):
        path = folder / f"{number}.{suffix}"
        image.save(path, **how)
        yield name, path
        path.unlink()


# The peak that the system tells a parent may be that of the parent itself.
RUN = """
import sys
from rs_runtime.cli import main
try:
    code = main(sys.argv[1:])
finally:
    lines = open("/proc/self/status").read().splitlines()
    print(next(line.split()[1] for line in lines if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(code)
"""


def classified(photo: Path, kit: Path) -> dict[str, Any]:
    """Return the peak of memory, the seconds, and the reason if there is no answer."""
    command = [sys.executable, "-c", RUN, str(photo), "--kit", str(kit), "--json"]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    row = json.loads(done.stdout)
    found: dict[str, Any] = {
        "peak_mb": int(done.stderr.split()[-1]) * 1024 / 1e6,
        "seconds": seconds,
    }
    if "error" in row:
        found["reason"] = row["error"].replace(str(photo), photo.name)
    return found


def measure(kit: Path, folder: Path) -> list[dict[str, Any]]:
    """Return a row a photo."""
    kits = {}
    for version in (PIXELS_VERSION, 2):
        kits[version] = folder / f"{version}.rskit"
        with open_kit(kit) as opened:
            changed = replace(opened.manifest.preprocessing, pixels_version=version)
            members = {name: opened.read(name) for name in opened.members}
            write_kit(kits[version], replace(opened.manifest, preprocessing=changed), members)
    rows = []
    for name, photo in photos(folder):
        row = {"photo": name, **classified(photo, kits[PIXELS_VERSION])}
        if name.startswith("TIFF"):
            row["before"] = classified(photo, kits[2])
        rows.append(row)
        print(row, flush=True)
    return rows


def table(result: dict[str, Any]) -> str:
    """Return a row a photo."""
    rows = [
        (
            row["photo"],
            f"{row['peak_mb']:.0f}",
            f"{row['before']['peak_mb']:.0f}" if "before" in row else "",
            f"{row['seconds']:.1f}",
            row.get("reason", ""),
        )
        for row in result["photos"]
    ]
    head = ("photo of 100 megapixels", "peak, MB", "whole, MB", "seconds", "refused")
    note = "`bare` is a photo of one megapixel. *Whole*: kits made before TIFFs were read in bands."
    return f"{on(result['machine'])}; kit: {result['kit']}.\n\n{grid(head, rows)}\n\n{note}\n"


def main() -> None:
    """Run the measurement."""
    parser = options(__doc__)
    parser.add_argument("kit", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(chosen.kit, Path(folder))
    with open_kit(chosen.kit) as opened:
        head = opened.manifest
    described = f"{head.preprocessing.size} px, {', '.join(item.name for item in head.variants)}"
    publish("large-photos", {"kit": described, "photos": rows}, table)


if __name__ == "__main__":
    main()
