"""Measure rs-classify with a kit: cold start, throughput, memory, kills and damaged photos.

    python benchmarks/runtime.py KIT [--photos N] [--many N] [--repeat N] [--only PART ...]

``cold``: one 12-megapixel JPEG with each model, in turns with a bare script (``runtime_cold.py``).
``help_ms``: how much longer ``--help`` takes than bare Python.  ``batch``: photos a second of
``classify_many``, and of the engine and of decoding alone, each on all cores; ``limit_s`` is
1 / (1 / engine + 1 / decoding), ``ratio`` the median of ``photos_s / limit_s`` over rounds in which
the three alternate.  ``memory``: resident memory in MB after 500 and after all of ``--many`` small
photos, with a journal.  ``resumed``: whether rs-classify with a journal, killed at five random
points of these photos, ends at the output of an undisturbed run.  ``fuzz``: how ``--inputs``
damaged photos ended (``runtime_fuzz.py``).  ``odd``: how rs-classify ended on the photos of
../shared/data/odd_files and edge_cases.

Writes ``results/runtime.json`` and ``.md``; parts that were not asked for stay, and ``kits`` says
with which kit each was measured.  Nothing else should run.
"""

from __future__ import annotations

import io
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, SHARED, grid, on, options, publish
from PIL import Image
from runtime_cold import cold, help_ms
from runtime_fuzz import fuzz

from rs_runtime.batch import in_order
from rs_runtime.classify import Classifier
from rs_toolkit.files import read_json

PARTS = ("cold", "batch", "memory", "resumed", "fuzz", "odd")
ODD = ("odd_files", "edge_cases")
MEGAPIXELS = (12, 1)
KILLS = 5
MEMORY = """
import sys
from pathlib import Path
from rs_runtime.classify import Classifier
from rs_runtime.probe import _memory

kit, folder, journal = sys.argv[1:]
photos = (path for path in sorted(Path(folder).iterdir()))
with Classifier.open(kit) as classifier:
    for number, found in enumerate(classifier.classify_many(photos, journal=journal), 1):
        if number == 500:
            print(_memory("VmRSS") / 1e6)
print(_memory("VmRSS") / 1e6)
"""


def photo(megapixels: float) -> bytes:
    """Return a JPEG of blurred noise, 4 : 3."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    size = (height * 4 // 3, height)
    noise = np.random.default_rng(0).integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def rate(count: int, task: Callable[[], Iterator[Any]]) -> float:
    """Return how many results a second an iterator gives."""
    start = time.perf_counter()
    for _ in task():
        pass
    return count / (time.perf_counter() - start)


def batch(kit: Path, work: Path, count: int, rounds: int) -> list[dict[str, float]]:
    """Return one row for each size of photos."""
    rows = []
    for megapixels in MEGAPIXELS:
        path = work / f"{megapixels}.jpg"
        path.write_bytes(photo(megapixels))
        with Classifier.open(kit, filter="off") as classifier:
            pool = classifier._for_many()
            assert pool is not None
            pixels = classifier.preprocessing.load(path)[None]
            tasks: dict[str, Callable[[], Iterator[Any]]] = {
                "engine": partial(
                    in_order,
                    lambda _, c=classifier, x=pixels, p=pool: c.logits(x, p),
                    range(count),
                    pool.size,
                ),
                "decode": partial(
                    in_order,
                    lambda _, c=classifier, f=path: c.preprocessing.load(f),
                    range(count),
                    pool.size,
                ),
                "photos": lambda c=classifier, f=path: c.classify_many(repeat(f, count)),
            }
            # The first photos are classified one at a time, while the engines are warmed up.
            seen: dict[str, list[float]] = {name: [] for name in tasks}
            for number in range(rounds + 1):
                for name, task in tasks.items():
                    found = rate(count, task)
                    if number:
                        seen[name].append(found)
        limits = [1 / (1 / e + 1 / d) for e, d in zip(seen["engine"], seen["decode"], strict=True)]
        rows.append(
            {
                "megapixels": megapixels,
                **{f"{name}_photos_s": statistics.median(x) for name, x in seen.items()},
                "limit_s": statistics.median(limits),
                "ratio": statistics.median(
                    found / limit for found, limit in zip(seen["photos"], limits, strict=True)
                ),
            }
        )
        rows[-1]["photos_s"] = rows[-1].pop("photos_photos_s")
    return rows


def card(folder: Path, count: int) -> Path:
    """Fill a folder with small photos: links to a few files."""
    folder.mkdir()
    files = []
    for number in range(16):
        file = folder.with_name(f"{number}.jpg")
        noise = np.random.default_rng(number).integers(0, 256, (60, 80, 3), np.uint8)
        Image.fromarray(noise).resize((640, 480)).save(file)
        files.append(file)
    for number in range(count):
        (folder / f"{number:06}.jpg").hardlink_to(files[number % len(files)])
    return folder


def memory(kit: Path, photos: Path, journal: Path) -> dict[str, float]:
    """Return resident memory in MB after 500 photos and at the end."""
    command = [sys.executable, "-c", MEMORY, kit, photos, journal]
    first, last = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return {"rss_500": float(first), "rss_end": float(last)}


def resumed(kit: Path, photos: Path, work: Path) -> dict[str, Any]:
    """Kill rs-classify at random points, let it end, and compare with an undisturbed run."""
    command = [sys.executable, "-m", "rs_runtime", "--kit", str(kit), "--json", str(photos)]
    start = time.monotonic()
    whole = subprocess.run(command, capture_output=True, check=True).stdout
    seconds = time.monotonic() - start
    command += ["--journal", str(work / "killed.journal")]
    generator = random.Random(0)
    killed = 0
    for _ in range(KILLS):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            process.wait(generator.uniform(0.1, 1) * seconds / KILLS + 1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
    last = subprocess.run(command, capture_output=True, check=True).stdout
    return {"killed": killed, "identical": last == whole, "rows": len(last.splitlines())}


def odd(kit: Path) -> dict[str, Any]:
    """Return how each odd photo of ../shared ended."""
    folders = [str(SHARED / "data" / name) for name in ODD]
    command = [sys.executable, "-m", "rs_runtime", "--kit", str(kit), "--json", *folders]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({row["path"] for row in rows}) == len(rows)
    reasons = sum("error" in row for row in rows)
    return {
        "inputs": len(rows),
        "answers": len(rows) - reasons,
        "reasons": reasons,
        "exit_code": done.returncode,
        "tracebacks": done.stderr.count("Traceback"),
    }


def table(result: dict[str, Any]) -> str:
    """Return the parts that were measured as Markdown."""
    parts = ["# rs-classify in the field", f"On {on(result['machine'])}."]

    def add(title: str, part: str, rows: list[dict[str, Any]]) -> None:
        if part in result:
            head = list(rows[0])
            body = grid(head, [[row[key] for key in head] for row in rows])
            parts.append(f"## {title}\n\nKit: {result['kits'][part]}.\n\n{body.strip()}")

    add("One photo of 12 megapixels, against a bare script", "cold", result.get("cold", []))
    if "help_ms" in result:
        parts.append(f"`--help` takes {result['help_ms']:.0f} ms more than bare Python.")
    add("Many photos, against the machine's limit", "batch", result.get("batch", []))
    for title, part in (
        ("Memory in MB, with a journal", "memory"),
        ("Killed and gone on", "resumed"),
        ("Odd photos", "odd"),
    ):
        add(title, part, [result.get(part, {})])
    fuzz = result.get("fuzz", {})
    add("Damaged photos", "fuzz", [{**fuzz, "failures": len(fuzz.get("failures", []))}])
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Measure the parts and write the file."""
    parser = options(__doc__)
    parser.add_argument("kit", type=Path)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    file = RESULTS / "runtime.json"
    result: dict[str, Any] = read_json(file) if file.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if "cold" in given.only:
            large = work / "large.jpg"
            large.write_bytes(photo(12))
            result["cold"] = cold(given.kit, large, work, 4 * given.repeat)
            result["help_ms"] = help_ms(4 * given.repeat)
        if "batch" in given.only:
            result["batch"] = batch(given.kit, work, given.photos, given.repeat)
        many = {*given.only} & {"memory", "resumed"}
        photos = card(work / "card", given.many if many else 0)
        if "memory" in given.only:
            result["memory"] = memory(given.kit, photos, work / "memory.journal")
        if "resumed" in given.only:
            result["resumed"] = resumed(given.kit, photos, work)
        if "fuzz" in given.only:
            result["fuzz"] = fuzz(given.kit, given.inputs, print)
        if "odd" in given.only:
            result["odd"] = odd(given.kit)
    kits = {**result.get("kits", {}), **dict.fromkeys(given.only, given.kit.name)}
    publish("runtime", {**result, "kits": kits}, table)


if __name__ == "__main__":
    main()
