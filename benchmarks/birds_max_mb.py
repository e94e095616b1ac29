"""The bird model in a kit of limited size: what was tried, what shipped, what it lost.

    python benchmarks/birds_max_mb.py [--work benchmarks/work/birds-family] [--max-mb 10]

Exports the run that ``birds_family.py`` trained as ``rs-toolkit export RUN --max-mb 10`` does; an
export to that size which is there already is only read.  Writes ``results/birds-max-mb.json`` and
``results/birds-max-mb.md``.
"""

from __future__ import annotations

from typing import Any

from birds_export import COLUMNS, rows_of, shown
from common import BIRDS_RUN, on, options, publish

from rs_export import ExportSettings, export_run
from rs_export.tables import by_name
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import read_json
from rs_toolkit.progress import ConsoleProgress

KEPT = ("seconds", "shipped", "mending", "counts", "settings")
SHOWN = ("mb", "compressed_mb", "macro_f1", "lost", "ece", "agreement", "state")


def table(found: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    kits = ", ".join(f"{name} {size:.2f} MB" for name, size in found["kits_mb"].items())
    rows = {name: shown(row) for name, row in found["variants"].items()}
    for name in found["shipped"].values():
        rows[name]["state"] = "shipped"
    return f"""# Birds in at most {found["settings"]["max_mb"]:g} MB

Kits: {kits}. Export {found["seconds"]:.0f} s; {on(found["machine"])}. In brackets what 95 % of \
paired bootstrap resamples lost at least.

{by_name(rows, {key: COLUMNS[key] for key in SHOWN})}
"""


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__, work=BIRDS_RUN.name)
    parser.add_argument("--max-mb", type=float, default=10.0)
    chosen = parser.parse_args()
    folder = chosen.work.parent / f"birds-{chosen.max_mb:g}mb"
    if not (folder / "report.json").exists():
        quiet_tensorflow()
        settings = ExportSettings(max_mb=chosen.max_mb)
        with ConsoleProgress() as progress:
            export_run(chosen.work, settings, out=folder, progress=progress)
    report = read_json(folder / "report.json")
    kits = {path.name: path.stat().st_size / 1e6 for path in sorted(folder.glob("*.rskit*"))}
    kept = {key: report[key] for key in KEPT}
    result = {"kits_mb": kits, "variants": rows_of(report, folder), **kept}
    publish("birds-max-mb", result, table)


if __name__ == "__main__":
    main()
