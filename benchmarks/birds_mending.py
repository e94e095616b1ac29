"""Try every mending step on the bird model's 8-bit variants, even if they need no mending.

    python benchmarks/birds_mending.py [--work benchmarks/work/birds-family]

An export stops at the first step that passes.  This script takes all steps, and measures each on
validation and on test photos.  It also measures the sensitivity of every layer.  Writes
``results/birds-mending.json`` and ``results/birds-mending.md``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from birds_export import lost
from common import BIRDS_RUN, grid, options, publish

from rs_export import ExportSettings, Recipe
from rs_export.bench import Bench
from rs_export.classify import classifier_task
from rs_export.convert import Quantization
from rs_export.gate import drops
from rs_export.mending import Step, steps
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import ConsoleProgress

NAMES = ("tflite_int8", "onnx_u8s8")


def study(bench: Bench, recipe: Recipe, photos: int) -> list[dict[str, Any]]:
    """Measure what the plain recipe and each mending step lose against the float model."""
    rows = []
    first = Step("as made", recipe, Quantization(photos))
    for step in (first, *steps(recipe, photos, bench.sensitive)):
        result = bench.judge(bench.draft(step.recipe, step.how))
        rows.append(
            {
                "step": step.title,
                "variant": result.name,
                "float_layers": list(step.how.float_layers),
                "validation": drops(result.validation) if result.validation else {},
                "test": drops(result.verdict),
                **{key: value for key, value in result.row.items() if key != "ms"},
            }
        )
    return rows


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    steps_taken = [
        [
            name,
            row["step"],
            f"{row['mb']:.1f}",
            *(lost(row[side]["macro_f1"]) for side in ("validation", "test")),
            row["agreement"],
        ]
        for name, rows in result["steps"].items()
        for row in rows
    ]
    layers = [
        [row["layer"], row["weights"], f"{row['noise']:.2e}"] for row in result["sensitivity"][:20]
    ]
    return f"""# Bird families: every mending step

Points of macro-F1 lost against the float model, on validation and on test photos; in brackets \
the limits of the true loss, each of them wrong at most once in 20 times.

{grid(["variant", "step", "MB", "validation", "test", "agreement"], steps_taken)}

{grid(["layer", "weights", "noise / signal when it alone is rounded"], layers)}
"""


def main() -> None:
    """Run the benchmark."""
    chosen = options(__doc__, work=BIRDS_RUN.name).parse_args()
    quiet_tensorflow()
    with ConsoleProgress() as progress:
        settings = ExportSettings()
        bench = Bench(classifier_task(Run.open(chosen.work), settings), settings, progress)
        with bench.converter:
            photos = settings.calibration_photos
            found = {name: study(bench, Recipe.parse(name), photos) for name in NAMES}
    result = {
        "steps": found,
        "sensitivity": [asdict(row) for row in bench.sensitivity],
        "settings": asdict(settings),
    }
    publish("birds-mending", result, table)


if __name__ == "__main__":
    main()
