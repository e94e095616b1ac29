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

from rs_export import ExportSettings, export_run
from rs_export.recipes import Recipe
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import atomic_write, read_json, write_json
from rs_toolkit.kits import packed
from rs_toolkit.progress import ConsoleProgress

HERE = Path(__file__).resolve().parent
KEPT = ("shipped", "refused", "mending", "drops", "counts", "settings", "machine", "versions")
SCORES = ("mb", "accuracy", "macro_f1", "worst_decile_f1", "ece", "agreement")


def result(folder: Path) -> dict[str, Any]:
    """Return what an export's folder says of its variants and its kit."""
    report = read_json(folder / "report.json")
    variants = {}
    for name, row in report["table"].items():
        variants[name] = {key: row[key] for key in SCORES}
        if name != "float":
            data = (folder / Recipe.parse(name).member).read_bytes()
            variants[name]["compressed_mb"] = round(len(packed(data)) / 1e6, 3)
    kits = {path.name: path.stat().st_size / 1e6 for path in sorted(folder.glob("*.rskit*"))}
    kept = {key: report[key] for key in KEPT}
    return {"kits_mb": kits, "seconds": report["seconds"], "variants": variants, **kept}


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
        drop = found["drops"][name]["macro_f1"]
        state = "shipped" if name in found["shipped"].values() else found["refused"].get(name, "")
        xz = f"{row['compressed_mb']:.1f}" if "compressed_mb" in row else ""
        lines.append(
            f"| {name} | {row['mb']:.1f} | {xz} | {row['macro_f1']:.3f} | "
            f"{100 * drop['drop']:.1f} ({100 * drop['low']:.1f}) | {row['ece']:.3f} | "
            f"{row['agreement']:.3f} | {state} |"
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
    write_json(HERE / "results" / "birds-max-mb.json", found)
    with atomic_write(HERE / "results" / "birds-max-mb.md") as temporary:
        temporary.write_text(table(found), "utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
