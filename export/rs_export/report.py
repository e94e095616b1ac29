"""The report of an export: JSON for programs, Markdown and a picture for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rs_export.answers import answers_section
from rs_export.gate import TITLES, drops, fallen_rows, interval, verdict_words
from rs_export.result import About, Export, Measured, Result
from rs_export.tables import by_name, cell, markdown_table
from rs_toolkit.environment import machine, versions
from rs_toolkit.files import atomic_write, write_json
from rs_toolkit.pictures import draw_picture

__all__ = ["filter_photos", "learned", "write_reports"]

_PICTURE = "accuracy_vs_size.png"
_LISTED = 5
_SENSITIVE = 15
_VERDICTS = (
    "In brackets: the limits of the true loss, each of them wrong at most once in 20 times (paired "
    "bootstrap over groups of photos). Kept: the upper limit of the first score is within what is "
    "allowed. Lost: the lower limit of a score is beyond that, or a class is named no more. "
    "Undecided: neither."
)
_FILTER_NOTE = (
    "cosine: mean cosine similarity to the student's logits, the student's mean logits subtracted; "
    "agreement: share of photos with the student's answer; flagged, found: share of the organisms, "
    "and of the others, called no organism; uncertain: share of photos called neither"
)


def write_reports(export: Export, folder: Path, note: Callable[[str], None]) -> Path:
    """Write report.json, report.md and a picture into ``folder``; return the path of report.md.

    ``note`` is called with the reason where the picture cannot be drawn.
    """
    write_json(folder / "report.json", _json(export))
    draw_picture(folder / _PICTURE, lambda: _picture(export.classifier), note)
    with atomic_write(folder / "report.md") as temporary:
        temporary.write_text(_markdown(export), "utf-8")
    return folder / "report.md"


def filter_photos(about: About) -> str:
    """Return how many photos a filter was measured on."""
    test, val = about.counts["test"], about.counts["val"]
    return (
        f"Measured on {test['organisms']} test photos of organisms and {test['others']} of others; "
        f"calibrated on {val['organisms']} and {val['others']} validation photos."
    )


def learned(about: About) -> str:
    """Say from which photos a classifier has learned."""
    train, val = about.counts["train"], about.counts["val"]
    if about.folds:
        left = f"{train - val} could not be judged, as no other part shows their class. "
        left *= train > val
        return (
            f"Trained on {train} photos, all there are. Measured and calibrated by {about.folds} "
            "other models, trained and converted in the same way, each without a part of the "
            f"photos: the {val} test photos are those of all parts, each shown to the model that "
            f"has not learned from it. {left}Thresholds and sets were checked on each part as "
            "fitted on the others. Variants that lost too much were not mended, as no photos are "
            "left to choose a step by."
        )
    if not about.refitted:
        return f"Trained on {train} photos; validated on {val}."
    return (
        f"Trained on {train + val} photos. Temperature, thresholds and sets were fitted on {val} "
        f"of them, with a model that was trained on the other {train}; for this model they are an "
        "approximation, which the test photos check."
    )


def _json(export: Export) -> dict[str, Any]:
    """Return the content of report.json."""
    found = export.classifier
    return {
        "run": found.about.name,
        "data_fingerprint": found.about.data_fingerprint,
        "question": found.about.question,
        **_task_json(found),
        "filter": _filter_json(export.filter) if export.filter else None,
        "settings": asdict(export.settings),
        "machine": machine(),
        "versions": versions(),
        "seconds": round(export.seconds, 1),
    }


def _task_json(found: Result) -> dict[str, Any]:
    """Return what classifiers and filters both report."""
    measured = {item.name: item for item in found.measured}
    variants = found.variants.items()
    rounded = {name: item.how for name, item in variants if item.recipe.calibrated}
    classes = [item.name for item in found.about.classes]
    return {
        "table": {name: item.row for name, item in measured.items()},
        "shipped": dict(found.shipped),
        "calibrations": {name: asdict(item.calibration) for name, item in measured.items()},
        "answered": {name: item.test.answered for name, item in measured.items()},
        "sets": {name: item.test.sets for name, item in measured.items()},
        "refused": {
            name: {
                "reason": reason,
                "classes": measured[name].test.fallen[:_LISTED] if name in measured else [],
            }
            for name, reason in found.refused.items()
        },
        "mending": dict(found.mending),
        "mended": {name: asdict(item.mended) for name, item in variants if item.mended},
        "quantization": {name: asdict(how) for name, how in rounded.items()},
        "sensitivity": [asdict(row) for row in found.sensitivity],
        "drops": {name: drops(item.verdict) for name, item in measured.items()},
        "verdicts": {
            name: {**item.verdict.to_dict(), "looks": item.verdict.looks} for name, item in variants
        },
        "fallen": {name: fallen_rows(item.verdict, classes) for name, item in variants},
        "per_class": {name: item.test.per_class for name, item in measured.items()},
        "recipes": [asdict(item.recipe) for item in found.variants.values()],
        "counts": found.about.counts,
    }


def _filter_json(found: Result) -> dict[str, Any]:
    about = found.about
    return {
        "folder": about.folder,
        "student": about.name,
        "teacher": about.teacher,
        "data_fingerprint": about.data_fingerprint,
        "classes": [asdict(item) for item in about.classes],
        "thresholds": about.thresholds,
        "filter.json": asdict(about.calibration),
        **_task_json(found),
    }


def _markdown(export: Export) -> str:
    found, settings = export.classifier, export.settings
    counts = found.about.counts
    parts = [
        f"# Export of {cell(found.about.name)}",
        f"{counts['test']} test photos, {counts['classes']} classes, "
        f"{settings.threads} threads, {machine()['cpu']}. "
        "mb: 10^6 bytes; agreement: share of photos with the float model's most probable class; "
        "ms: median time of the model for one photo (float: Keras, on all cores).",
        learned(found.about),
        _table(found),
        f"![accuracy against size]({_PICTURE})",
        f"The numbers answer: {cell(found.about.question)}",
        *_findings(found),
        answers_section(found.measured, counts["test"], settings.min_precision),
        *(_fallen_classes(item) for item in found.measured if item.test.fallen),
        *_recalls(found),
    ]
    if export.filter:
        about = export.filter.about
        parts += [
            "## Filter",
            f"Student {cell(about.name)} in {cell(about.folder)}. {filter_photos(about)} "
            f"{_FILTER_NOTE}.",
            _table(export.filter),
            *_findings(export.filter),
        ]
    return "\n\n".join(parts) + "\n"


def _table(found: Result) -> str:
    """Return a table of every model's scores, its verdict, and whether it is shipped or refused."""
    rows = {i.name: {**i.row, "state": _state(found, i.name)} for i in found.measured}
    for name, item in found.variants.items():
        rows[name]["verdict"] = verdict_words(item.verdict)
    numbers = {key: (key, ".4g") for key in found.reference.row}
    verdict = ("verdict (points lost)", "")
    return by_name(rows, {**numbers, "verdict": verdict, "state": ("", "")})


def _state(found: Result, name: str) -> str:
    if name in found.shipped.values():
        return "shipped"
    return "refused" if name in found.refused else ""


def _findings(found: Result) -> list[str]:
    """Return paragraphs and tables on what was refused, lost and mended."""
    parts = [f"**{name} refused**: {cell(reason)}" for name, reason in found.refused.items()]
    lost = [
        [name, *(f"{100 * d.loss:.2f} ({interval(d)})" for d in item.verdict.losses)]
        for name, item in found.variants.items()
    ]
    if lost:
        margins = [
            f"{TITLES[d.metric]}, {100 * d.margin:g}" for d in found.reference.verdict.losses
        ]
        head = [f"points lost against {found.reference.name}; allowed:", *margins]
        parts += [markdown_table(head, lost), _VERDICTS]
    mended = [
        [name, entry["step"], entry["variant"], _evidence(entry.get("validation")),
         _evidence(entry.get("test")), cell(entry["result"])]
        for name, entries in found.mending.items()
        for entry in entries
    ]  # fmt: skip
    if mended:
        head = ["refused", "step", "new", "on validation photos", "on test photos", "result"]
        parts.append(markdown_table(head, mended))
    layers = [
        [row.layer, str(row.weights), f"{row.noise:.2e}"] for row in found.sensitivity[:_SENSITIVE]
    ]
    if layers:
        head = ["layers most sensitive to rounding", "weights", "noise / signal at the logits"]
        parts.append(markdown_table(head, layers))
    return parts


def _evidence(values: Mapping[str, Any] | None) -> str:
    """Return the points that a mending step's variant lost."""
    if not values:
        return ""
    return ", ".join(f"{TITLES[key]} {100 * drop['drop']:.2f} lost" for key, drop in values.items())


def _fallen_classes(item: Measured) -> str:
    listed = "; ".join(
        f"{cell(row['name'])} {row['f1']:.3f} ({100 * row['change']:+.1f} points, "
        f"{row['support']} photos)"
        for row in item.test.fallen[:_LISTED]
    )
    return f"{item.name}, classes that lost most F1: {listed}."


def _recalls(found: Result) -> list[str]:
    """Return a table of every class whose recall fell in a shipped variant, if any."""
    names = [item.name for item in found.about.classes]
    rows = [
        [item.name, cell(row["name"]), str(row["photos"]), f"{row['recall_before']:.2f}",
         f"{row['recall_after']:.2f}", f"{100 * row['low']:.0f} to {100 * row['high']:.0f}"]
        for item in found.in_kit
        for row in fallen_rows(item.verdict, names)
    ]  # fmt: skip
    if not rows:
        return []
    head = [
        "shipped variant",
        "class whose recall fell",
        "test photos",
        "from",
        "to",
        "points lost",
    ]
    note = "Limits are for one class alone: of a hundred classes, some are beyond theirs by chance."
    return [markdown_table(head, rows), note]


def _picture(found: Result) -> Any:
    """Return the figure of accuracy against size."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    # Names are in a column, in the order of the scores: beside the points they would overlap.
    order = sorted(found.measured, key=lambda item: (item.row["macro_f1"], item.size))
    size = (8, max(4.5, 1 + 0.22 * len(order)))
    figure = Figure(size, dpi=120, layout="constrained")
    axes = figure.subplots()
    colours = {"shipped": "C2", "refused": "C3", "": "C7"}
    for place, item in enumerate(order):
        point, colour = (item.row["mb"], item.row["macro_f1"]), colours[_state(found, item.name)]
        axes.plot(*point, "o", color=colour)
        axes.annotate(
            item.name,
            point,
            (1.05, (place + 0.5) / len(order)),
            textcoords="axes fraction",
            verticalalignment="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": colour, "alpha": 0.4, "relpos": (0, 0.5)},
        )
    axes.set(xscale="log", xlabel="size (MB)", ylabel="macro-F1 on test photos")
    axes.set_title("green: in the kit; red: refused; grey: neither")
    # Ticks as plain numbers: 2, not 2 x 10^0.
    axes.xaxis.set(major_formatter=LogFormatter(), minor_formatter=LogFormatter())
    axes.margins(x=0.1, y=0.15)
    axes.grid(alpha=0.3)
    return figure
