"""Benchmark of a kit: its variants take turns in fresh processes; another kit may be compared."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rs_export.measure.benchmark_report import summarize, tables, write_benchmark
from rs_runtime.classify import Classifier
from rs_runtime.errors import EngineError, PhotoError
from rs_runtime.kit.kit import Kit, open_kit
from rs_runtime.probe import MEASURES, synthetic_photo
from rs_toolkit.environment import machine, versions
from rs_toolkit.errors import ExportError, RunError
from rs_toolkit.folders.claim import claimed
from rs_toolkit.folders.kit import packed
from rs_toolkit.folders.run import Run
from rs_toolkit.metrics.classification import accuracy, macro_f1
from rs_toolkit.progress import Progress

__all__ = ["Benchmark", "benchmark"]

_CHUNK = 64
_SCORES = ("accuracy", "macro_f1")
_MOST_REASON = 300


@dataclass(frozen=True)
class Benchmark:
    """The content of benchmark.json, its tables as plain text, and the paths of the three files.

    ``result["rows"]`` has one entry per variant; its ``error`` is None or says why it failed.
    """

    result: dict[str, Any]
    text: str
    paths: tuple[Path, ...]


def benchmark(
    target: Path,
    *,
    against: Path | None = None,
    threads: Sequence[int] = (1, 2),
    rounds: int = 3,
    repeat: int = 30,
    timeout: float = 600.0,
    out: Path | None = None,
    progress: Progress | None = None,
) -> Benchmark:
    """Measure size, start, latency, CPU time, memory and accuracy of every variant of a kit.

    Each measurement is a process of its own (:mod:`rs_runtime.probe`).  In every round, all
    variants are measured with all thread counts; every second round goes backwards, so that heat
    and other work on the machine affect all alike.  The report has medians over rounds and their
    ratios to a base.  With ``against``, the base is the other kit's variant of the same name, or
    else its first float32 variant, or its first.  Without, it is this kit's first float32 variant,
    or its first.

    Parameters
    ----------
    target : a kit, or a run folder that was exported; with a run folder, accuracy is measured again
        on its test photos, otherwise it is the accuracy recorded in the kit
    against : another kit, measured in the same rounds; its accuracy is the recorded one
    threads : CPU threads to measure with, each at least 1
    rounds, repeat : number of rounds, and of timed answers per process, each at least 1
    timeout : seconds that a process may take
    out : folder to write; default ``benchmark`` beside the kit

    Raises
    ------
    RunError
        The run is unfinished or damaged, its kit is missing or another run's, or photos are gone;
        or another command writes into the folder.
    KitError
        A kit is missing or damaged.
    ExportError
        A setting is out of range, or no variant could be measured; nothing is written.
    """
    if not threads or min(threads) < 1 or rounds < 1 or repeat < 1:
        raise ExportError(
            f"benchmark: got threads={list(threads)}, rounds={rounds}, repeat={repeat}; "
            "wanted at least 1 of each"
        )
    shown, start = progress or Progress(), time.monotonic()
    run, path = (Run.open(target) if target.is_dir() else None), target
    if run is not None:
        path = target / "export" / f"{run.name}.rskit"
        if not path.is_file():
            raise RunError(f"{path}: no such kit; make it with: rs-toolkit export {target}")
    with open_kit(path) as kit, claimed(out or path.parent / "benchmark") as folder:
        name, rows = kit.manifest.name, _rows(kit, shown, "")
        if run is not None:
            _evaluate(run, kit, rows, shown)
        if against is not None:
            with open_kit(against) as other:
                rows += _rows(other, shown, "against:")
        counts = sorted(set(threads))
        turns = [(row, count) for count in counts for row in rows]
        order = [turn for number in range(rounds) for turn in turns[:: -1 if number % 2 else 1]]
        _probe_all(order, repeat, timeout, shown)
        if all(row["error"] for row in rows):
            raise ExportError(f"{path}: no variant could be measured; {rows[0]['error']}")
        result = {
            "kit": name,
            "rows": summarize(rows, counts),
            "settings": {"threads": counts, "rounds": rounds, "repeat": repeat},
            "machine": machine(),
            "versions": versions(),
            "seconds": round(time.monotonic() - start, 1),
        }
        return Benchmark(result, tables(result), write_benchmark(result, folder, shown.note))


def _rows(kit: Kit, progress: Progress, prefix: str) -> list[dict[str, Any]]:
    """Return a row for each variant: its sizes, and the scores recorded in the kit."""
    variants, rows = kit.manifest.variants, list[dict[str, Any]]()
    for number, variant in enumerate(variants):
        data, measured = kit.read(variant.member), variant.measured
        scores = {
            key: measured[key] if type(measured.get(key)) in (int, float) else None
            for key in _SCORES
        }
        rows.append(
            {
                "name": prefix + variant.name,
                "kit": str(kit.path),
                "variant": variant.name,
                "against": bool(prefix),
                "engine": variant.engine,
                "mb": len(data) / 1e6,
                "xz_mb": len(packed(data)) / 1e6,
                **scores,
                "test_photos": None,
                "scores": None if set(scores.values()) == {None} else "recorded",
                "error": None,
                "probes": [],
            }
        )
        progress.update("compress", number + 1, len(variants))
    return rows


def _evaluate(run: Run, kit: Kit, rows: Sequence[dict[str, Any]], progress: Progress) -> None:
    """Replace the recorded scores by scores measured on the run's test photos."""
    manifest = kit.manifest
    same = (
        manifest.data_fingerprint == run.data_fingerprint
        and manifest.preprocessing == run.preprocessing
        and [item.name for item in manifest.classes] == [item["name"] for item in run.classes]
    )
    if not same:
        raise RunError(f"{kit.path}: not this run's; make it with: rs-toolkit export {run.path}")
    photos, labels = run.split("test")
    if not photos or run.learned_all:
        why = "its model has learned from every photo" if photos else "no test photos"
        progress.note(f"{run.path}: {why}; the scores are those recorded at export")
        return
    for number, row in enumerate(rows):
        progress.update("evaluate", number, len(rows))
        try:
            classifier = Classifier(kit, variant=row["variant"])
            parts = (photos[start : start + _CHUNK] for start in range(0, len(photos), _CHUNK))
            found = [classifier.probabilities(run.pixels(part)).argmax(axis=1) for part in parts]
        except EngineError as error:
            _give_up(row, str(error), progress)
            continue
        except PhotoError as error:
            raise RunError(f"{run.path}: {error}; or benchmark only {kit.path}") from error
        predicted = np.concatenate(found)
        row["accuracy"] = accuracy(labels, predicted)
        row["macro_f1"] = macro_f1(labels, predicted, len(run.classes))
        row["test_photos"], row["scores"] = len(photos), "measured"
    progress.update("evaluate", len(rows), len(rows))


def _probe_all(
    turns: Sequence[tuple[dict[str, Any], int]], repeat: int, timeout: float, progress: Progress
) -> None:
    """Measure each turn, a row and a thread count; add the result or an ``error`` to the row."""
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder, "photo.jpg")
        photo.write_bytes(synthetic_photo())
        for done, (row, count) in enumerate(turns):
            progress.update("benchmark", done, len(turns), f"threads: {count}")
            if row["error"]:
                continue
            try:
                row["probes"].append(_probe(row, count, photo, repeat, timeout))
            except ExportError as error:
                _give_up(row, str(error), progress)
    progress.update("benchmark", len(turns), len(turns))


def _probe(
    row: dict[str, Any], threads: int, photo: Path, repeat: int, timeout: float
) -> dict[str, Any]:
    # -P: files in the current folder must not be imported instead of our modules.
    command = [sys.executable, "-P", "-m", "rs_runtime.probe", str(Path(row["kit"]).resolve())]
    command += [f"--variant={row['variant']}", f"--threads={threads}"]
    command += [f"--photo={photo}", f"--repeat={repeat}"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise ExportError(f"gave no answer within {timeout:g} s") from None
    if done.returncode < 0:
        raise ExportError(f"crashed with signal {-done.returncode}")
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace")
        raise ExportError(said.removeprefix("rs_runtime.probe: "))
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise ExportError("gave no JSON") from None
    return {key: found[key] for key in ("threads", "cold_start_from", *MEASURES)}


def _give_up(row: dict[str, Any], reason: str, progress: Progress) -> None:
    """Mark a variant as failed, so that the others can still be measured."""
    safe = "".join(c if c.isprintable() else " " for c in reason)
    row["error"] = " ".join(safe.split())[:_MOST_REASON] or "failed without a word"
    progress.note(f"{row['name']} failed: {row['error']}")
