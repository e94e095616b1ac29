"""The bird model in a kit of limited size: what was tried, what shipped, what it lost.

    python benchmarks/birds_max_mb.py [--work benchmarks/work/birds-family] [--max-mb 10]

Exports the run that ``birds_family.py`` trained as ``rs-toolkit export RUN --max-mb 10`` does; an
export to that size which is there already is only read.  Writes ``results/birds-max-mb.json`` and
``results/birds-max-mb.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from birds_export import packed_mb, rows_of
from publish import publish

from rs_export import ExportSettings, export_run
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import read_json
from rs_toolkit.progress import ConsoleProgress

HERE = Path(__file__).resolve().parent
KEPT = ("shipped", "mending", "counts", "settings", "machine", "versions")


def result(folder: Path) -> dict[str, Any]:
    """Return what an export's folder says of its variants and its kit."""
    report = read_json(folder / "report.json")
    kits = {path.name: path.stat().st_size / 1e6 for path in sorted(folder.glob("*.rskit*"))}
    kept = {key: report[key] for key in KEPT}
    return {
        "kits_mb": kits,
        "seconds": report["seconds"],
        "variants": rows_of(report, folder),
        **kept,
    }


def table(found: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    kits = ", ".join(f"{name} {size:.2f} MB" for name, size in found["kits_mb"].items())
    lines = [
        f"# Birds in at most {found['settings']['max_mb']:g} MB",
        "",
        f"Kits: {kits}. Export {found['seconds']:.0f} s; {found['machine']['cpu']}, "
        f"{found['machine']['cores']} cores. In brackets what 95 % of paired bootstrap resamples "
        "lost at least.",
        "",
        "| variant | MB | xz MB | macro-F1 | points lost (at least) | ECE | agreement | |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name, row in found["variants"].items():
        state = "shipped" if name in found["shipped"].values() else row["gate"]
        lines.append(
            f"| {name} | {row['mb']:.1f} | {packed_mb(row)} | {row['macro_f1']:.3f} | "
            f"{100 * row['macro_f1_drop']:.1f} ({100 * row['macro_f1_drop_low']:.1f}) | "
            f"{row['ece']:.3f} | {row['agreement']:.3f} | {state} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=HERE / "work" / "birds-family")
    parser.add_argument("--max-mb", type=float, default=10.0)
    arguments = parser.parse_args()
    folder = arguments.work.parent / f"birds-{arguments.max_mb:g}mb"
    if not (folder / "report.json").exists():
        quiet_tensorflow()
        settings = ExportSettings(max_mb=arguments.max_mb)
        with ConsoleProgress() as progress:
            export_run(arguments.work, settings, out=folder, progress=progress)
    found = result(folder)
    publish("birds-max-mb", found, table(found))


if __name__ == "__main__":
    main()
