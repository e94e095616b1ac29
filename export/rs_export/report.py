"""The report of an export: JSON for programs, Markdown and a picture for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rs_export.filter_record import FilterExport
from rs_export.filter_report import filter_section
from rs_export.recipes import Recipe
from rs_export.session import Session
from rs_export.tables import cell, markdown_table
from rs_export.verify import TITLES, classes_that_fell
from rs_toolkit.environment import machine, versions
from rs_toolkit.files import atomic_write, write_json
from rs_toolkit.folders.run import Run

__all__ = ["Report", "answer_table", "write_reports"]

_LISTED = 5
_SENSITIVE = 15
_COLUMNS = ("mb", "accuracy", "top5", "macro_f1", "worst_decile_f1", "ece", "agreement", "ms")


@dataclass(frozen=True)
class Report:
    """Everything an export found out; ``shipped`` maps engine to variant."""

    session: Session
    shipped: dict[str, str]
    seconds: float
    filter: FilterExport | None = None

    @property
    def run(self) -> Run:
        """What was exported."""
        return self.session.run

    @cached_property
    def counts(self) -> dict[str, int]:
        """Photos by split, and classes."""
        sides = {side: len(self.run.split(side)[0]) for side in ("train", "val", "test")}
        return {**sides, "classes": len(self.run.classes)}

    def to_dict(self) -> dict[str, Any]:
        """Return the content of report.json."""
        session = self.session
        measured = session.measured.items()
        return {
            "run": self.run.name,
            "data_fingerprint": self.run.data_fingerprint,
            "table": {name: item.row for name, item in measured},
            "shipped": self.shipped,
            "calibrations": {name: asdict(item) for name, item in session.calibrations.items()},
            "answered": {name: item.answered for name, item in measured},
            "refused": {name: self._refusal(name) for name in session.refused},
            "mending": session.mending,
            "sensitivity": [asdict(row) for row in session.sensitivity],
            "drops": {
                name: {key: asdict(drop) for key, drop in item.drops.items()}
                for name, item in measured
            },
            "per_class": {name: item.per_class for name, item in measured},
            "filter": self.filter.to_dict() if self.filter else None,
            "recipes": [Recipe.parse(name).to_dict() for name, _ in measured if name != "float"],
            "settings": session.settings.to_dict(),
            "counts": self.counts,
            "machine": machine(),
            "versions": versions(),
            "seconds": round(self.seconds, 1),
        }

    def _refusal(self, name: str) -> dict[str, Any]:
        found = self.session.measured.get(name)
        fell = classes_that_fell(found)[:_LISTED] if found else []
        return {"reason": self.session.refused[name], "classes": fell}


def write_reports(report: Report, folder: Path) -> tuple[Path, Path, Path]:
    """Write report.json, report.md and accuracy_vs_size.png into ``folder``; return their paths."""
    data, text, picture = (
        folder / name for name in ("report.json", "report.md", "accuracy_vs_size.png")
    )
    write_json(data, report.to_dict())
    with atomic_write(picture) as temporary:
        _draw(report, temporary)
    with atomic_write(text) as temporary:
        temporary.write_text(_markdown(report, picture.name), "utf-8")
    return data, text, picture


def _markdown(report: Report, picture: str) -> str:
    shipped = set(report.shipped.values())
    rows = []
    for name, item in report.session.measured.items():
        values = [f"{item.row[key]:.4g}" for key in _COLUMNS]
        state = (
            "shipped" if name in shipped else "refused" if name in report.session.refused else ""
        )
        rows.append([name, *values, state])
    parts = [
        f"# Export of {cell(report.run.name)}",
        f"{report.counts['test']} test photos, {report.counts['classes']} classes, "
        f"{report.session.settings.threads} threads, {machine()['cpu']}. "
        "mb: 10^6 bytes; agreement: share of photos with the float model's first class; "
        "ms: median of one photo, the model alone (float: Keras, on all cores).",
        markdown_table(["variant", *_COLUMNS, ""], rows),
        f"![accuracy against size]({picture})",
    ]
    parts += [
        f"**{name} refused**: {cell(reason)}" for name, reason in report.session.refused.items()
    ]
    parts += [_drop_table(report), answer_table(report, list(report.session.measured))]
    parts += [part for part in (_mending_table(report), _sensitivity_table(report)) if part]
    for name in report.session.measured:
        fallen = classes_that_fell(report.session.measured[name])[:_LISTED]
        if fallen:
            listed = "; ".join(
                f"{cell(item['name'])} {item['f1']:.3f} ({100 * item['change']:+.1f} points, "
                f"{item['support']} photos)"
                for item in fallen
            )
            parts.append(f"{name}, classes that lost most F1: {listed}.")
    if report.filter:
        parts.append(filter_section(report.filter))
    return "\n\n".join(parts) + "\n"


def answer_table(report: Report, names: Sequence[str]) -> str:
    """Return at which rank variants named the test photos, as finely as their thresholds allow."""
    ranks = list(dict.fromkeys(r for n in names for r in report.session.measured[n].answered))
    if not ranks:
        return "No thresholds: too few validation photos, or no probability that is right enough."
    photos = report.counts["test"]
    rows = []
    for name in names:
        found = report.session.measured[name].answered
        thresholds = report.session.calibrations[name].thresholds
        total, right = (sum(item[key] for item in found.values()) for key in ("named", "right"))
        cells = [
            f"{found[r]['named'] / photos:.1%} ({thresholds[r]:.2f})" if r in found else "never"
            for r in ranks
        ]
        rows.append([name, *cells, f"{total / photos:.1%}", f"{right / max(total, 1):.1%}"])
    head = ["named at (from probability)", *ranks, "any rank", "of these right"]
    goal = report.session.settings.min_precision
    note = f"Thresholds are fitted on validation photos so that {goal:.0%} of the names are right."
    return f"{markdown_table(head, rows)}\n\n{note}"


def _drop_table(report: Report) -> str:
    """Return the losses against float, each with the least that noise leaves of it."""
    rows = [
        [
            name,
            *(
                f"{100 * item.drops[key].drop:.2f} ({100 * item.drops[key].low:.2f})"
                for key in TITLES
            ),
        ]
        for name, item in report.session.measured.items()
        if name != "float"
    ]
    head = ["points lost against float", *TITLES.values()]
    note = "In brackets: 95 % of paired bootstrap resamples lost more; above 0 is beyond noise."
    return f"{markdown_table(head, rows)}\n\n{note}"


def _mending_table(report: Report) -> str:
    """Return what was tried for variants that had been refused; empty if nothing."""

    def points(entry: Mapping[str, Any], side: str) -> str:
        drops = entry.get(side) or {}
        return ", ".join(f"{100 * drops[key]['drop']:.2f}" for key in TITLES if key in drops)

    rows = [
        [name, entry["step"], points(entry, "validation"), points(entry, "test"),
         cell(entry["result"])]
        for name, entries in report.session.mending.items()
        for entry in entries
    ]  # fmt: skip
    if not rows:
        return ""
    lost = f"points lost of {' and '.join(TITLES.values())}"
    head = ["mended", "by", f"validation: {lost}", f"test: {lost}", "result"]
    return markdown_table(head, rows)


def _sensitivity_table(report: Report) -> str:
    """Return the layers that lose most by rounding; empty if that was not measured."""
    rows = [
        [row.layer, str(row.weights), f"{row.noise:.2e}"]
        for row in report.session.sensitivity[:_SENSITIVE]
    ]
    if not rows:
        return ""
    head = ["layers most sensitive to rounding", "weights", "noise / signal at the logits"]
    return markdown_table(head, rows)


def _draw(report: Report, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shipped = set(report.shipped.values())
    for name, item in report.session.measured.items():
        size, score = item.row["mb"], item.row["macro_f1"]
        colour = "C2" if name in shipped else "C3" if name in report.session.refused else "C7"
        axes.plot(size, score, "o", color=colour)
        axes.annotate(name, (size, score), (5, 5), textcoords="offset points", fontsize=8)
    axes.set(
        xscale="log",
        xlabel="size (MB)",
        ylabel="macro-F1 on test photos",
        title="green: in the kit; red: refused; grey: neither",
    )
    axes.margins(x=0.2, y=0.15)
    axes.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=120)
