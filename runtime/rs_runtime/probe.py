"""Measure time and memory of one variant of a kit: ``python -m rs_runtime.probe KIT``.

A process measures one variant only: a second one would find libraries loaded and memory in use.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rs_runtime.console import Parser, positive, run_command, say

__all__ = ["MEASURES", "PHOTO_SIZE", "main", "probe", "synthetic_photo"]

MEASURES = (
    "cold_start_s",
    "load_s",
    "first_answer_ms",
    "model_p50_ms",
    "model_p95_ms",
    "photo_p50_ms",
    "photo_p95_ms",
    "photos_per_s",
    "cpu_s_per_photo",
    "model_mb",
    "peak_mb",
)
"""Keys of :func:`probe`'s numbers."""

PHOTO_SIZE = (1600, 1200)
"""Width and height of the synthetic photo, in pixels."""

_WARM_UP, _TIMED = 5, 30
# Where the system does not say when the process started, cold start counts from here.
_IMPORTED = time.perf_counter()
_SLOWEST_IMPORT_S = 60.0


def main(argv: Sequence[str] | None = None) -> int:
    """Print one measurement and return the exit code of :func:`rs_runtime.console.run_command`."""
    return run_command(_parser(), argv, _run)


def _run(options: argparse.Namespace) -> int:
    say(json.dumps(probe(**vars(options))))
    return 0


def probe(
    kit: Path,
    *,
    variant: str | None = None,
    threads: int | None = None,
    photo: Path | None = None,
    repeat: int = _TIMED,
) -> dict[str, Any]:
    """Measure one variant.  Call it only once in a process, before anything else.

    Parameters
    ----------
    kit
        A .rskit or .rskit.xz file.
    variant, threads
        As for :class:`~rs_runtime.classify.Classifier`.
    photo
        The photo to classify; None means :func:`synthetic_photo`, whose making is not timed.
    repeat
        How many answers are timed, at least 1, after 5 that are not.

    Returns
    -------
    dict
        ``kit``, ``variant``, ``engine``, ``threads``, ``photo``, ``repeat``: what was measured.

        ``cold_start_s``: from the start given by ``cold_start_from`` to the first answer.  It is
        ``process`` (exact to 0.01 s), or ``import`` (of this module) if the system does not say
        when the process started.  ``load_s``: the part of this time that opens and verifies the
        kit, imports the engine and loads the model.  ``first_answer_ms``: the first photo.

        ``model_p50_ms``, ``model_p95_ms``: median and 95th percentile from pixels to
        probabilities; ``photo_p50_ms``, ``photo_p95_ms``: from file to answer; ``photos_per_s``:
        files, one after the other; ``cpu_s_per_photo``: CPU time of all threads.

        ``model_mb``: growth of resident memory by loading, engine included; ``peak_mb``: the most
        memory that the process has held; both in 10**6 bytes, None if unknown.

    Raises
    ------
    RuntimeKitError
        The kit, the engine or the photo cannot be used.
    OSError
        The synthetic photo cannot be written.
    """
    from rs_runtime.classify import Classifier
    from rs_runtime.engines.engine import default_threads
    from rs_runtime.kit.kit import open_kit

    with contextlib.ExitStack() as stack:
        path, untimed = photo, 0.0
        if path is None:
            path, untimed = _written(stack.enter_context(tempfile.TemporaryDirectory()))
        before, start = _memory("VmRSS"), time.perf_counter()
        with open_kit(kit, every_member=False) as opened:
            classifier = Classifier(opened, variant=variant, threads=threads)
        after, loaded = _memory("VmRSS"), time.perf_counter()
        classifier.classify(path)
        answered = time.perf_counter()
        age, since = _age()
        numbers = {
            "cold_start_s": age - untimed,
            "load_s": loaded - start,
            "first_answer_ms": 1000 * (answered - loaded),
            **_warm(classifier, path, repeat),
            "model_mb": None if before is None or after is None else (after - before) / 1e6,
        }
    peak = _peak()
    return {
        "kit": classifier.manifest.name,
        "variant": classifier.variant.name,
        "engine": classifier.variant.engine,
        "threads": threads or default_threads(),
        "photo": str(photo) if photo else f"synthetic, {PHOTO_SIZE[0]} x {PHOTO_SIZE[1]}",
        "repeat": repeat,
        "cold_start_from": since,
        **numbers,
        "peak_mb": None if peak is None else peak / 1e6,
    }


def synthetic_photo() -> bytes:
    """Return a JPEG of :data:`PHOTO_SIZE`, always the same: blurred noise, about 500 kB."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(PHOTO_SIZE, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def _written(folder: str) -> tuple[Path, float]:
    """Write the synthetic photo; return its path and the seconds to be left out of cold start."""
    from PIL import Image

    # Loading Pillow's formats is part of cold start, so it comes before the clock is started.
    Image.preinit()
    start = time.perf_counter()
    path = Path(folder, "photo.jpg")
    path.write_bytes(synthetic_photo())
    return path, time.perf_counter() - start


def _warm(classifier: Any, photo: Path, repeat: int) -> dict[str, float]:
    import numpy as np

    pixels = classifier.preprocessing.load(photo)[None]
    model, _ = _timed(lambda: classifier.probabilities(pixels), repeat)
    whole, cpu = _timed(lambda: classifier.classify(photo), repeat)
    found = {
        f"{name}_p{share}_ms": 1000 * float(np.percentile(seconds, share))
        for name, seconds in (("model", model), ("photo", whole))
        for share in (50, 95)
    }
    return {**found, "photos_per_s": repeat / sum(whole), "cpu_s_per_photo": cpu / repeat}


def _timed(task: Callable[[], object], repeat: int) -> tuple[list[float], float]:
    """Return the seconds of each repetition, and the CPU seconds of all together."""
    for _ in range(_WARM_UP):
        task()
    seconds = []
    cpu = time.process_time()
    for _ in range(repeat):
        start = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - start)
    return seconds, time.process_time() - cpu


def _age() -> tuple[float, str]:
    """Return the seconds since this process started, and what they are counted from."""
    imported = time.perf_counter() - _IMPORTED
    try:
        # Field 22 of proc(5); the command's name, in brackets, may hold spaces.
        fields = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (AttributeError, IndexError, OSError, ValueError):
        return imported, "import"
    # Some sandboxes say that the process started at boot, which gives far too high an age.
    likely = imported <= age <= imported + _SLOWEST_IMPORT_S
    return (age, "process") if likely else (imported, "import")


def _memory(key: str) -> int | None:
    """Return a number of bytes from /proc/self/status (proc(5)); None if it is not there."""
    try:
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))
    except (OSError, StopIteration, ValueError):
        return None


def _peak() -> int | None:
    # Better than ru_maxrss, which on Linux may be the peak of the process that started this one.
    if (peak := _memory("VmHWM")) is not None:
        return peak
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="rs_runtime.probe",
        description="Measure start time, latency, CPU time and memory of one variant of a kit.",
        epilog="Exit codes: 0 measured, 2 wrong usage, kit, photo or engine, 130 interrupted, "
        "141 the output was closed.",
    )
    parser.add_argument("kit", type=Path, metavar="KIT", help="a .rskit or .rskit.xz file")
    parser.add_model_options()
    parser.add_argument(
        "--photo", type=Path, metavar="FILE", help="photo to classify (default: a synthetic one)"
    )
    parser.add_argument(
        "--repeat", type=positive, default=_TIMED, metavar="N", help="how many answers to time"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
