"""Interrupt rs-classify at random times, on a busy machine: does it always end, and soon?

    python benchmarks/interrupts.py [--count N] [--busy N] [--seed N]

The kits are those of tests/runtime: tiny models, so that most interrupts meet the start, which
imports in several threads.  Ways to start: ``photo`` (one photo, decoded beside imports),
``folder`` (40 photos and a journal), ``slow`` (the same with ``-X importtime``, whose imports take
longer), ``measure`` (both engines are measured first) and ``twice`` (a second Ctrl-C follows within
0.1 s).  Each is interrupted ``--count`` times, after 0 to 1.1 times of what it takes without.  A
command that does not end within 20 s hangs: it is made to tell where (``hangs``) and killed.
After every tenth interrupt of a journal the command runs once more and must give every answer.

Keys of each way: ``interrupts``, ``hangs``, ``codes`` (by exit code; -2: the signal came before
Python handled it), ``tracebacks`` (lines that Python says before our code runs), ``slowest_s`` and
``median_s`` from the signal to the end, ``resumed`` and of these ``whole``.

Writes ``results/interrupts.json`` and ``.md``.  The machine is kept busy on purpose.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import ROOT, grid, on, options, publish
from PIL import Image

_PHOTOS, _LIMIT_S = 40, 20.0
# A program that only takes time.
_BUSY = "while True: pass"


def _kits(folder: Path) -> dict[str, Path]:
    """Make the kits of one engine and of both."""
    sys.path.insert(0, str(ROOT / "tests" / "runtime"))
    import colour_models

    from rs_runtime.kit.kit import write_kit
    from rs_runtime.kit.manifest import ClassInfo, Manifest, Variant
    from rs_runtime.photos.preprocess import Preprocessing

    variants = (
        Variant("a", "litert", "models/a.tflite", 1.0, {}),
        Variant("b", "onnxruntime", "models/b.onnx", 1.0, {}),
    )
    models = {
        "models/a.tflite": colour_models.tflite_models()["float"],
        "models/b.onnx": colour_models.onnx_models()["float"],
    }
    kits = {}
    for name, chosen in (("litert", variants[:1]), ("onnx", variants[1:]), ("both", variants)):
        manifest = Manifest(
            name="colours",
            created_by="benchmarks/interrupts.py",
            rank="family",
            classes=tuple(
                ClassInfo(i, color, None, {}) for i, color in enumerate(("red", "green", "blue"))
            ),
            preprocessing=Preprocessing(size=colour_models.SIDE),
            variants=chosen,
            default_variants={item.engine: item.name for item in chosen},
            calibration={"temperature": 1.0},
            data_fingerprint="0" * 64,
            environment={},
        )
        kits[name] = folder / f"{name}.rskit"
        write_kit(kits[name], manifest, {item.member: models[item.member] for item in chosen})
    return kits


class Way:
    """One way to start the command, and what became of its interrupts."""

    def __init__(self, name: str, kit: Path, work: Path, seed: int) -> None:
        self.name, self._work, self._random = name, work, random.Random(seed)
        self._journal, self._cache = work / f"{name}.journal", work / f"{name}-cache"
        photos = work / "photos"
        given = [photos / "00.jpg"] if name == "photo" else [photos, "--journal", self._journal]
        python = [sys.executable, *(["-X", "importtime"] if name == "slow" else [])]
        command = [*python, "-m", "rs_runtime", "--json", "--kit", kit, *given]
        self._command = [str(part) for part in command]
        self._codes: Counter[int] = Counter()
        self._ends: list[float] = []
        self._tracebacks = self._resumed = self._whole = 0
        self._hangs: list[str] = []
        self._clear()
        self._run()
        self._clear()
        begun = time.monotonic()
        self._answers = self._run()
        self._longest = 1.1 * (time.monotonic() - begun)

    def _clear(self) -> None:
        self._journal.unlink(missing_ok=True)
        if self.name == "measure":
            for file in self._cache.rglob("*.*"):
                file.unlink()

    def _start(self, **streams: Any) -> subprocess.Popen[bytes]:
        # SIGABRT then writes where each thread is.
        surroundings = {"PYTHONFAULTHANDLER": "1", "XDG_CACHE_HOME": str(self._cache)}
        return subprocess.Popen(self._command, env={**os.environ, **surroundings}, **streams)

    def _run(self) -> bytes:
        process = self._start(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return process.communicate(timeout=300)[0]

    def interrupt(self) -> None:
        """Start the command, interrupt it, and note how it ended."""
        if self._random.random() < 0.5:
            self._clear()
        with (self._work / "err.txt").open("wb+") as complaints:
            process = self._start(stdout=subprocess.DEVNULL, stderr=complaints)
            time.sleep(self._random.uniform(0, self._longest))
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            if self.name == "twice":
                time.sleep(self._random.uniform(0, 0.1))
                process.send_signal(signal.SIGINT)
            hangs = self._wait(process)
            self._ends.append(time.monotonic() - begun)
            complaints.seek(0)
            said = complaints.read().decode("utf-8", "replace")
        self._codes[process.returncode] += 1
        if hangs:
            print(said[-6000:], file=sys.stderr)
            self._hangs.append(said[said.find("Fatal Python error") :][:20_000])
        self._tracebacks += "Traceback" in said
        if "--journal" in self._command and len(self._ends) % 10 == 0:
            self._resumed += 1
            self._whole += self._run() == self._answers

    def _wait(self, process: subprocess.Popen[bytes]) -> bool:
        try:
            process.wait(_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            process.wait()
            return True
        return False

    def found(self) -> dict[str, Any]:
        """Return the keys that the module names."""
        return {
            "way": self.name,
            "interrupts": len(self._ends),
            "hangs": len(self._hangs),
            "codes": {str(code): count for code, count in sorted(self._codes.items())},
            "tracebacks": self._tracebacks,
            "median_s": round(statistics.median(self._ends), 3),
            "slowest_s": round(max(self._ends), 3),
            "resumed": self._resumed,
            "whole": self._whole,
            "where": self._hangs,
        }


@contextlib.contextmanager
def _load(count: int) -> Iterator[None]:
    """Keep so many cores busy in the block."""
    busy = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for each in busy:
            each.kill()
            each.wait()


def _table(result: dict[str, Any]) -> str:
    names = ("way", "interrupts", "hangs", "tracebacks", "median_s", "slowest_s", "resumed")
    head = ["start", "interrupts", "hangs", "tracebacks", "median s", "slowest s", "resumed"]
    rows = [[*(way[name] for name in names), way["whole"]] for way in result["ways"]]
    codes = [
        "; ".join(f"{code}: {count}" for code, count in way["codes"].items())
        for way in result["ways"]
    ]
    rows = [[*row, code] for row, code in zip(rows, codes, strict=True)]
    return (
        f"# Ctrl-C at random times\n\n{on(result['machine'])}, {result['busy']} of them kept busy; "
        f"seed {result['seed']}. Columns: benchmarks/interrupts.py.\n\n"
        + grid([*head, "of these whole", "exit codes"], rows)
    )


def main() -> None:
    """Interrupt, and write what was found."""
    parser = options(__doc__)
    parser.add_argument("--count", type=int, default=100, help="interrupts of each way")
    parser.add_argument("--busy", type=int, default=2, help="processes that only take time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=None, help="ways (default: all)")
    given = parser.parse_args()
    # A shell starts what runs in the background with Ctrl-C ignored, which is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ways = {"photo": "litert", "folder": "litert", "slow": "litert", "measure": "both"}
    ways |= {"onnx": "onnx", "twice": "both"}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "photos").mkdir()
        for number in range(_PHOTOS):
            colour = (6 * number, 255 - 6 * number, 100)
            Image.new("RGB", (640, 480), colour).save(work / "photos" / f"{number:02}.jpg")
        kits = _kits(work)
        found = []
        with _load(given.busy):
            for name in given.only or ways:
                way = Way(name, kits[ways[name]], work, given.seed)
                for _ in range(given.count):
                    way.interrupt()
                found.append(way.found())
                print(found[-1], file=sys.stderr)
    publish("interrupts", {"busy": given.busy, "seed": given.seed, "ways": found}, _table)


if __name__ == "__main__":
    main()
