"""Export the bird model by every recipe: size, accuracy per class, latency.

    python benchmarks/birds_export.py [--work benchmarks/work/birds-family] [--rounds 3]
                                       [--passes 1]
    python benchmarks/birds_export.py --only NAME [--only NAME]

Exports the run that ``birds_family.py`` trained, every variant as its recipe makes it: what mending
does is in ``birds_mending.py``.  Latency is measured last, variants in turn, so
that what else the machine does hits all alike.  ``tflite_int16x8`` is left out: LiteRT runs it
with reference kernels, which need minutes for a test set of this size.  ``--only``
makes these anew, keeps the other scores, and times all of them again; ``--passes`` is how often
fine-tuning sees the training photos.  Writes
``results/birds-export.json`` and ``results/birds-export.md``.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from publish import publish

from rs_export import RECIPES, ExportSettings, Recipe, export_run
from rs_export.bench import median_ms
from rs_runtime.engines.engine import load_engine
from rs_toolkit.environment import machine, quiet_tensorflow, versions
from rs_toolkit.files import read_json
from rs_toolkit.folders.kit import packed
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import ConsoleProgress

HERE = Path(__file__).resolve().parent
LEFT_OUT = ("tflite_int16x8",)
# Between the listed sparsities: what --max-mb 10 comes to.
EXTRA = ("tflite_sp65_int8", "onnx_sp65_u8s8")
KEPT = ("mb", "accuracy", "top5", "macro_f1", "worst_decile_f1", "ece", "agreement")
RATIOS = {"onnx_u8s8": "onnx_fp32", "tflite_int8": "tflite_fp32"}
HEAD = (
    *("variant", "MB", "xz MB", "accuracy", "macro-F1", "points lost (at least)"),
    *("worst-decile F1", "ECE", "agreement", "ms, 1 thread", "ms, 2 threads", "gate"),
)


def latencies(run: Run, folder: Path, names: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of one photo by variant and threads, variants in turn."""
    photos, _ = run.split("test")
    one = run.preprocessing.model_input(run.pixels(photos[:1])[0])
    found: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for _ in range(rounds):
        for threads in (1, 2):
            for name in names:
                recipe = Recipe.parse(name)
                engine = load_engine(recipe.engine, folder / recipe.member, threads)
                key = f"{'litert' if recipe.engine == 'litert' else 'ort'}_ms_{threads}"
                found[name].setdefault(key, []).append(median_ms(engine.logits, one))
    return {
        name: {key: round(float(np.median(values)), 2) for key, values in sorted(rows.items())}
        for name, rows in found.items()
    }


def rows_of(report: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """Return each variant's measurements from an export report, and its packed size."""
    rows = {}
    for name, row in report["table"].items():
        reason = report["refused"].get(name, {}).get("reason")
        drop = report["drops"][name]["macro_f1"]
        rows[name] = {key: row[key] for key in KEPT}
        rows[name] |= {"macro_f1_drop": drop["drop"], "macro_f1_drop_low": drop["low"]}
        rows[name]["gate"] = f"refused: {reason}" if reason else "passed"
        if name != "float":
            data = (folder / Recipe.parse(name).member).read_bytes()
            rows[name]["compressed_mb"] = round(len(packed(data)) / 1e6, 3)
            if Recipe.parse(name).preparation:
                rows[name]["passes"] = report["settings"]["passes"]
    return rows


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    counts = result["counts"]
    lines = [
        "# Bird families: every recipe",
        "",
        f"{counts['test']} test photos, {counts['classes']} families, {result['imgsz']} px; "
        f"{result['machine']['cpu']}, {result['machine']['cores']} cores. "
        f"Export {result['seconds']:.0f} s, with the fine-tuning of weights not in the cache; "
        f"peak {result['peak_gb']:.1f} GB.",
        "",
        "points lost: of the float model's macro-F1; in brackets what 95 % of paired bootstrap "
        "resamples lost at least. ECE: expected calibration error at the variant's own "
        "temperature. ms: one photo, the model alone, LiteRT or ONNX Runtime.",
        "",
        f"| {' | '.join(HEAD)} |",
        f"|---|{'---:|' * (len(HEAD) - 2)}---|",
    ]
    for name, row in result["variants"].items():
        ms = [next((row[f"{e}_ms_{n}"] for e in ("litert", "ort") if f"{e}_ms_{n}" in row), None)
              for n in (1, 2)]  # fmt: skip
        shown = [
            name, f"{row['mb']:.1f}", packed_mb(row),
            f"{row['accuracy']:.3f}", f"{row['macro_f1']:.3f}",
            f"{100 * row['macro_f1_drop']:.1f} ({100 * row['macro_f1_drop_low']:.1f})",
            f"{row['worst_decile_f1']:.3f}", f"{row['ece']:.3f}", f"{row['agreement']:.3f}",
            *(f"{value:.1f}" if value else "" for value in ms), row["gate"].split(":")[0],
        ]  # fmt: skip
        lines.append(f"| {' | '.join(shown)} |")
    lines += ["", "Faster than the float32 model of the same engine, 1 and 2 threads: "]
    lines[-1] += "; ".join(
        f"{name} {pair['threads_1']:.2f} and {pair['threads_2']:.2f} times"
        for name, pair in result["speed_ratios"].items()
    )
    lines[-1] += "."
    lines += [f"\n{name} {row['gate']}." for name, row in result["variants"].items()
              if row["gate"] != "passed"]  # fmt: skip
    return "\n".join(lines) + "\n"


def packed_mb(row: dict[str, Any]) -> str:
    """Return the packed size as a cell; the Keras model was not packed."""
    return f"{row['compressed_mb']:.1f}" if "compressed_mb" in row else ""


def ratios(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return how much faster 8-bit variants are than float32 in the same engine."""
    found = {}
    for name, base in RATIOS.items():
        prefix = "ort" if name.startswith("onnx") else "litert"
        found[name] = {
            f"threads_{n}": round(
                rows[base][f"{prefix}_ms_{n}"] / rows[name][f"{prefix}_ms_{n}"], 3
            )
            for n in (1, 2)
        }
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=HERE / "work" / "birds-family")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=float, default=1.0)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    arguments = parser.parse_args()
    run, folder = Run.open(arguments.work), arguments.work.parent / "birds-export"
    names = tuple(arguments.only) or tuple(name for name in RECIPES if name not in LEFT_OUT)
    names += () if arguments.only else EXTRA
    path = HERE / "results" / "birds-export.json"
    before = read_json(path) if arguments.only else None
    quiet_tensorflow()
    begun = time.perf_counter()
    with ConsoleProgress() as progress:
        settings = ExportSettings(recipes=names, mend=False, passes=arguments.passes)
        export_run(run.path, settings, out=folder, progress=progress)
    seconds = round(time.perf_counter() - begun, 1)
    # Of this process; fine-tuning in processes of its own is not part of it.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    report = read_json(folder / "report.json")
    rows = rows_of(report, folder)
    result = {
        "refused": report["refused"],
        "left_out": list(LEFT_OUT),
        "seconds": seconds,
        "peak_gb": round(peak, 2),
        "imgsz": run.preprocessing.size,
        "counts": report["counts"],
        "settings": report["settings"],
        "machine": machine(),
        "versions": versions(),
    }
    if before is not None:
        rows = {**before["variants"], **rows}
        kept = {name: why for name, why in before["refused"].items() if name not in names}
        result = {**before, "refused": {**kept, **report["refused"]}}
    timed = latencies(run, folder, [name for name in rows if name != "float"], arguments.rounds)
    for name, values in timed.items():
        rows[name] |= values
    result |= {"variants": rows, "speed_ratios": ratios(rows)}
    publish("birds-export", result, table(result))


if __name__ == "__main__":
    main()
