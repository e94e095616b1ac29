"""Interrupt rs-classify at random times, on a busy machine: does it always end, and soon?

    python benchmarks/interrupts.py KIT [--count N] [--busy N] [--seed N]

A kit of a small model shows most, because then most interrupts meet the start, which imports in
several threads.  Starts: ``photo`` (one photo, decoded beside imports), ``folder`` (60 photos and a
journal), ``slow`` (the same with ``-X importtime``, whose imports take longer), ``twice`` (a second
Ctrl-C follows within 0.1 s).  Each is interrupted ``--count`` times, at a random time of what it
takes; runs that had ended do not count.  A command that does not end in 20 s hangs: it is made to
say where (``where``), and killed.  After every tenth interrupt the command runs once more with the
journal, and must give every answer.

Keys of each start: ``interrupts``, ``hangs``, ``where``, ``codes`` (exit codes; below 0 the signal
came before Python handled it, 1 while Python itself was starting), ``median_s`` and ``slowest_s``
from the signal to the end, ``resumed`` and of these ``whole``.

Writes ``results/interrupts.json`` and ``.md``.  The machine is kept busy on purpose.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from common import grid, on, options, publish
from PIL import Image

STARTS = ("photo", "folder", "slow", "twice")
PHOTOS, LIMIT_S, BUSY = 60, 20.0, "while True: pass"


class Start:
    """One way to start the command, and what became of its interrupts."""

    def __init__(self, name: str, kit: Path, work: Path, chance: random.Random) -> None:
        self._name, self._work, self._random = name, work, chance
        self._journal = work / f"{name}.journal"
        photos = [work / "photos" / "00.jpg"] if name == "photo" else [work / "photos"]
        timed = ["-X", "importtime"] if name == "slow" else []
        given = ["-m", "rs_runtime", "--json", "--kit", kit, "--journal", self._journal, *photos]
        self._command = [sys.executable, *timed, *map(str, given)]
        self._codes: Counter[int] = Counter()
        self._ends: list[float] = []
        self._whole: list[bool] = []
        self._where: list[str] = []
        times = []
        for _ in range(4):
            self._journal.unlink(missing_ok=True)
            begun = time.monotonic()
            self._answers = self._run()
            times.append(time.monotonic() - begun)
        self._longest = statistics.median(times[1:])

    def _run(self) -> bytes:
        return subprocess.run(self._command, capture_output=True, timeout=300).stdout

    def interrupt(self) -> None:
        """Start the command, interrupt it, and note how it ended, unless it had ended before."""
        if self._random.random() < 0.5:
            self._journal.unlink(missing_ok=True)
        with (self._work / "err.txt").open("wb+") as complaints:
            process = subprocess.Popen(
                self._command,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                # SIGABRT then writes where each thread is.
                env={**os.environ, "PYTHONFAULTHANDLER": "1"},
            )
            time.sleep(self._random.uniform(0, self._longest))
            # Others share the machine, so that a run may take more or less than those before.
            self._longest *= 1.03 if process.poll() is None else 0.9
            if process.poll() is not None:
                return
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            if self._name == "twice":
                time.sleep(self._random.uniform(0, 0.1))
                process.send_signal(signal.SIGINT)
            try:
                process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)
                process.wait()
                complaints.seek(0)
                self._where.append(complaints.read()[-20_000:].decode("utf-8", "replace"))
        self._ends.append(time.monotonic() - begun)
        self._codes[process.returncode] += 1
        if len(self._ends) % 10 == 0:
            self._whole.append(self._run() == self._answers)

    def found(self, count: int) -> dict[str, Any]:
        """Interrupt so many times, and return the keys that the module names."""
        while len(self._ends) < count:
            self.interrupt()
        return {
            "start": self._name,
            "interrupts": len(self._ends),
            "hangs": len(self._where),
            "codes": {str(code): number for code, number in sorted(self._codes.items())},
            "median_s": round(statistics.median(self._ends), 3),
            "slowest_s": round(max(self._ends), 3),
            "resumed": len(self._whole),
            "whole": sum(self._whole),
            "where": self._where,
        }


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    names = ("start", "interrupts", "hangs", "codes", "median_s", "slowest_s", "resumed", "whole")
    rows = [[found[name] for name in names] for found in result["starts"]]
    about = f"{on(result['machine'])}, {result['busy']} kept busy; kit {result['kit']}, of a tiny"
    about += " model (tests/runtime/colour_models.py). The script says what the columns are."
    return f"# Ctrl-C at random times\n\n{about}\n\n{grid(names, rows)}"


def main() -> None:
    """Interrupt, and write what was found."""
    parser = options(__doc__)
    parser.add_argument("kit", type=Path)
    parser.add_argument("--count", type=int, default=120, help="interrupts of each start")
    parser.add_argument("--busy", type=int, default=2, help="processes that only take time")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    # A shell starts what runs in the background deaf to Ctrl-C, which is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(given.busy)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            (photos := Path(folder, "photos")).mkdir()
            for number in range(PHOTOS):
                colour = (4 * number, 255 - 4 * number, 100)
                Image.new("RGB", (640, 480), colour).save(photos / f"{number:02}.jpg")
            chance = random.Random(given.seed)
            starts = [Start(name, given.kit, Path(folder), chance) for name in STARTS]
            found = [start.found(given.count) for start in starts]
    finally:
        for each in busy:
            each.kill()
            each.wait()
    asked = {"kit": given.kit.name, "busy": given.busy, "seed": given.seed}
    publish("interrupts", {**asked, "starts": found}, table)


if __name__ == "__main__":
    main()
