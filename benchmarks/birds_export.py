"""Export a model of bird families by every recipe, and measure size, scores and latency.

    python benchmarks/birds_export.py [--work benchmarks/work/birds-family] [--name birds-export]
        [--recipes NAME …] [--max-drop 1] [--rounds 3] [--passes 1] [--max-mb 10]

Exports the run that ``birds_family.py`` trained, or another run of bird families (``cub-export``:
see its table), without mending (see ``birds_mending.py``).
Latency is measured last, in rounds of all variants, so that other load on the machine affects all
alike.  ``tflite_int16x8`` is left out: LiteRT's reference kernels take minutes for this test set.
``--passes`` is how often fine-tuning sees the training photos; fine-tuned weights stay in the
cache.  Writes ``results/NAME.json`` and ``results/NAME.md``.

With ``--max-mb`` it exports as ``rs-toolkit export RUN --max-mb`` does, unless it finds an earlier
export to that size, and writes what was tried and shipped to ``results/birds-max-mb.*`` instead.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import BIRDS_RUN, on, options, publish

from rs_export import RECIPES, ExportSettings, Recipe, export_run
from rs_export.bench import median_ms
from rs_export.tables import by_name
from rs_runtime.engines.engine import load_engine
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import read_json
from rs_toolkit.folders.kit import packed
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import ConsoleProgress

LEFT_OUT = ("tflite_int16x8",)
# The sparsity that --max-mb 10 ships; RECIPES has others.
EXTRA = ("tflite_sp65_int8", "onnx_sp65_u8s8")
KEPT = ("mb", "accuracy", "top5", "macro_f1", "worst_decile_f1", "ece", "agreement")
SHOWN_OF_LIMITED = ("mb", "compressed_mb", "macro_f1", "lost", "ece", "agreement", "state")
SPEED = {"onnx_u8s8": ("onnx_fp32", "ort_ms"), "tflite_int8": ("tflite_fp32", "litert_ms")}
COLUMNS = {
    "mb": ("MB", ".1f"),
    "compressed_mb": ("xz MB", ".1f"),
    "accuracy": ("accuracy", ".3f"),
    "macro_f1": ("macro-F1", ".3f"),
    "lost": ("points lost", ""),
    "worst_decile_f1": ("worst-decile F1", ".3f"),
    "ece": ("ECE", ".3f"),
    "agreement": ("agreement", ".3f"),
    "ms_1": ("ms, 1 thread", ".1f"),
    "ms_2": ("ms, 2 threads", ".1f"),
    "state": ("gate", ""),
}


def latencies(run: Run, folder: Path, names: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Return the median milliseconds for one photo by variant and number of threads."""
    photos, _ = run.split("test")
    one = run.preprocessing.model_input(run.pixels(photos[:1]))
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
    """Return each variant's measurements from an export report, and its size after xz."""
    rows = {}
    for name, row in report["table"].items():
        reason = report["refused"].get(name, {}).get("reason")
        drop = report["drops"][name]["macro_f1"]
        rows[name] = {key: row[key] for key in KEPT}
        rows[name] |= {"macro_f1_drop": drop["drop"], "macro_f1_drop_low": drop["low"]}
        rows[name] |= {"lost_low": drop["low"], "lost_high": drop["high"]}
        rows[name]["gate"] = f"refused: {reason}" if reason else "passed"
        if name != "float":
            rows[name]["verdict"] = report["verdicts"][name]["verdict"]
            data = (folder / Recipe.parse(name).member).read_bytes()
            rows[name]["compressed_mb"] = round(len(packed(data)) / 1e6, 3)
            if Recipe.parse(name).preparation:
                rows[name]["passes"] = report["settings"]["passes"]
    return rows


def lost(drop: dict[str, Any]) -> str:
    """Return the loss in points, and in brackets its limits."""
    low, high = drop["low"], drop["high"]
    return f"{100 * drop['drop']:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the additional keys that COLUMNS names."""
    ms = {f"ms_{key[-1]}": value for key, value in row.items() if "_ms_" in key}
    limits = {"drop": row["macro_f1_drop"], "low": row["lost_low"], "high": row["lost_high"]}
    return {**row, **ms, "lost": lost(limits), "state": row.get("verdict", "")}


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    counts, variants = result["counts"], result["variants"]
    speed = "; ".join(
        f"{name} {pair['threads_1']:.2f} and {pair['threads_2']:.2f} times"
        for name, pair in result["speed_ratios"].items()
    )
    refused = [f"{n} {row['gate']}." for n, row in variants.items() if row["gate"] != "passed"]
    which = "every recipe" if result["every"] else "the default recipes and pruned ones"
    return f"""# Bird families: {which}

Run {result["run"]}: {counts["test"]} test photos, {counts["classes"]} families, \
{result["imgsz"]} px; margin {result["settings"]["max_drop"]:g} points; \
{on(result["machine"])}. Export {result["seconds"]:.0f} s, with the fine-tuning of weights not in \
the cache; peak {result["peak_gb"]:.1f} GB.

points lost: of the float model's macro-F1; in brackets the limits of the true loss, each of them \
wrong at most once in 20 times. ECE: expected calibration error at the variant's own temperature. \
ms: one photo, the model alone, LiteRT or ONNX Runtime.

{by_name({name: shown(row) for name, row in variants.items()}, COLUMNS)}

Faster than the float32 model of the same engine, 1 and 2 threads: {speed}.

""" + "".join(f"{line}\n\n" for line in refused).removesuffix("\n")


def ratios(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return how much faster 8-bit variants are than float32 in the same engine."""
    return {
        name: {
            f"threads_{n}": round(rows[base][f"{key}_{n}"] / rows[name][f"{key}_{n}"], 3)
            for n in (1, 2)
        }
        for name, (base, key) in SPEED.items()
    }


def limited(work: Path, max_mb: float, passes: float) -> dict[str, Any]:
    """Export the run into a kit of limited size, and return what was tried and shipped."""
    folder = work.parent / f"birds-{max_mb:g}mb"
    if not (folder / "report.json").exists():
        settings = ExportSettings(max_mb=max_mb, passes=passes)
        with ConsoleProgress() as progress:
            export_run(work, settings, out=folder, progress=progress)
    report = read_json(folder / "report.json")
    kits = {path.name: path.stat().st_size / 1e6 for path in sorted(folder.glob("*.rskit*"))}
    kept = {key: report[key] for key in ("seconds", "shipped", "mending", "counts", "settings")}
    return {"kits_mb": kits, "variants": rows_of(report, folder), **kept}


def limited_table(found: dict[str, Any]) -> str:
    """Return the result of :func:`limited` as Markdown."""
    kits = ", ".join(f"{name} {size:.2f} MB" for name, size in found["kits_mb"].items())
    rows = {name: shown(row) for name, row in found["variants"].items()}
    for name in found["shipped"].values():
        rows[name]["state"] = f"shipped: {rows[name]['state']}"
    return f"""# Birds in at most {found["settings"]["max_mb"]:g} MB

Kits: {kits}. Export {found["seconds"]:.0f} s; {on(found["machine"])}. In brackets the limits \
of the true loss, each of them wrong at most once in 20 times.

{by_name(rows, {key: COLUMNS[key] for key in SHOWN_OF_LIMITED})}
"""


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__, work=BIRDS_RUN.name)
    every = [*(name for name in RECIPES if name not in LEFT_OUT), *EXTRA]
    parser.add_argument("--name", default="birds-export")
    parser.add_argument("--recipes", nargs="+", default=every)
    parser.add_argument("--max-drop", type=float, default=ExportSettings.max_drop)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=float, default=1.0)
    parser.add_argument("--max-mb", type=float)
    chosen = parser.parse_args()
    quiet_tensorflow()
    if chosen.max_mb:
        publish("birds-max-mb", limited(chosen.work, chosen.max_mb, chosen.passes), limited_table)
        return
    run, folder = Run.open(chosen.work), BIRDS_RUN.with_name(chosen.name)
    begun = time.perf_counter()
    with ConsoleProgress() as progress:
        settings = ExportSettings(
            recipes=tuple(chosen.recipes),
            max_drop=chosen.max_drop,
            mend=False,
            passes=chosen.passes,
        )
        export_run(run.path, settings, out=folder, progress=progress)
    seconds = round(time.perf_counter() - begun, 1)
    # Of this process alone: fine-tuning runs in other processes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    report = read_json(folder / "report.json")
    rows = rows_of(report, folder)
    for name, values in latencies(run, folder, list(rows)[1:], chosen.rounds).items():
        rows[name] |= values
    result = {
        "refused": report["refused"],
        "left_out": [name for name in RECIPES if name not in chosen.recipes],
        "run": run.name,
        "every": chosen.recipes == every,
        "seconds": seconds,
        "peak_gb": round(peak, 2),
        "imgsz": run.preprocessing.size,
        "counts": report["counts"],
        "settings": report["settings"],
        "variants": rows,
        "speed_ratios": ratios(rows),
    }
    publish(chosen.name, result, table)


if __name__ == "__main__":
    main()
