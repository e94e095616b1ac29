"""The kit and its model card: only what the run and the measurements say, so that the same run
gives the same bytes.  Latency, which never repeats, stays in report.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rs_export.described import class_infos, created_by
from rs_export.filter_report import filter_card
from rs_export.recipes import Recipe
from rs_export.report import Report, answer_table
from rs_export.tables import cell, markdown_table
from rs_export.verify import classes_that_fell
from rs_runtime.kit.kit import write_kit
from rs_runtime.kit.manifest import Manifest, Variant
from rs_toolkit.environment import versions
from rs_toolkit.files import atomic_write
from rs_toolkit.folders.kit import packed

__all__ = ["packed_mb", "ship"]

_CARD = "MODEL_CARD.md"
_MAX_TEXT = 500
_LISTED = 10
_SCORES = ("accuracy", "top5", "macro_f1", "worst_decile_f1", "ece")


def ship(report: Report, folder: Path) -> Path:
    """Write the model card and, last, the kit; return the kit's path."""
    card = _card(report).encode()
    with atomic_write(folder / _CARD) as temporary:
        temporary.write_bytes(card)
    kit = folder / f"{report.run.name}.rskit"
    _write(report, folder, card, kit)
    return kit


def packed_mb(report: Report, folder: Path) -> float:
    """Return the size in 10**6 bytes of the packed kit that :func:`ship` would leave."""
    with TemporaryDirectory(prefix="rs-kit-") as name:
        kit = Path(name) / "measured.rskit"
        _write(report, folder, _card(report).encode(), kit)
        return len(packed(kit.read_bytes())) / 1e6


def _write(report: Report, folder: Path, card: bytes, kit: Path) -> None:
    models = [Recipe.parse(name).member for name in report.shipped.values()]
    members = {member: (folder / member).read_bytes() for member in models}
    if report.filter:
        members |= report.filter.members()
    write_kit(kit, _manifest(report), {**members, _CARD: card})


def _manifest(report: Report) -> Manifest:
    run = report.run
    return Manifest(
        name=report.run.name,
        created_by=created_by(),
        rank=run.rank,
        classes=class_infos(run),
        preprocessing=run.preprocessing,
        variants=tuple(_variant(report, name) for name in report.shipped.values()),
        default_variants=report.shipped,
        calibration={"temperature": run.temperature},
        data_fingerprint=run.data_fingerprint,
        environment=versions(),
        filter=report.filter.spec() if report.filter else None,
    )


def _variant(report: Report, name: str) -> Variant:
    recipe, session = Recipe.parse(name), report.session
    row = session.measured[name].row
    failed = session.refused.get(name)
    return Variant(
        name=name,
        engine=recipe.engine,
        member=recipe.member,
        temperature=session.calibrations[name].temperature,
        thresholds=session.calibrations[name].thresholds,
        measured={key: value for key, value in row.items() if key != "ms"},
        warning=f"shipped by force: {failed}"[:_MAX_TEXT] if failed else None,
    )


def _card(report: Report) -> str:
    counts, run = report.counts, report.run
    shipped = list(report.shipped.values())
    names = ["float", *shipped]
    overall = [
        [
            name,
            f"{row['mb']:.2f}",
            *(f"{row[key]:.3f}" for key in _SCORES),
            f"{row['agreement']:.1%}",
        ]
        for name, row in ((name, report.session.measured[name].row) for name in names)
    ]
    columns = [report.session.measured[name].per_class for name in names]
    classes = [
        [cell(items[0]["name"]), str(items[0]["support"]), *(f"{item['f1']:.3f}" for item in items)]
        for items in zip(*columns, strict=True)
    ]
    untested = sum(1 for item in columns[0] if not item["support"])
    scores = ("accuracy", "top-5", "macro-F1", "worst-decile F1", "calibration error")
    head = ["variant", "MB", *scores, "as float"]
    return f"""# {cell(report.run.name)}

Names the {cell(run.rank)} of the organism in a photo, among {len(run.classes)} classes.
Trained on {counts["train"]} photos; validated on {counts["val"]}; the numbers below are from
{counts["test"]} test photos. No weight was trained on them, but they decided which variants were
accepted, refused or rounded in another way, so the numbers of a shipped variant may be a little
too good.
Input: RGB, {run.preprocessing.size} x {run.preprocessing.size} pixels, {run.preprocessing.resize}.

## Test results

`float` is the Keras model that the shipped variants were converted from. Calibration error:
expected calibration error in 15 bins, at the variant's own temperature. as float: share of
photos with the float model's first answer.

{markdown_table(head, overall)}

## Answers

A photo is named at the finest rank that is probable enough, or not at all.

{answer_table(report, names)}

## F1 by class

{markdown_table(["class", "test photos", *names], classes)}

## Known failures

{_failures(report)}

## Not measured

- {untested} of the classes have no test photos; nothing is known about them.
- Photos from other places, seasons and cameras than the data set's.
- Photos that show none of these classes: they get a class too, and may get a name.
- Speed and accuracy on other processors; `report.json` has the latency on the exporting machine.
{filter_card(report.filter) if report.filter else ""}"""


def _failures(report: Report) -> str:
    """Return as a list what failed the gate, which classes are worst, and which lost most."""
    lines = []
    for name in report.shipped.values():
        if reason := report.session.refused.get(name):
            lines.append(f"- **{name} failed its gate and was shipped by force**: {cell(reason)}.")
        elif tried := report.session.mending.get(name):
            lines.append(f"- {name} had failed its gate; mended by: {tried[-1]['step']}.")
        tested = [item for item in report.session.measured[name].per_class if item["support"]]
        worst = sorted(tested, key=lambda item: (item["f1"], -item["support"], item["name"]))
        lines.append(f"- {name}, lowest F1: {_listed(worst, 'f1')}.")
        if fallen := classes_that_fell(report.session.measured[name]):
            lines.append(f"- {name}, lost most against float: {_listed(fallen, 'change')}.")
    return "\n".join(lines)


def _listed(classes: Sequence[Mapping[str, Any]], key: str) -> str:
    return "; ".join(
        f"{cell(item['name'])} {item[key]:.3f} ({item['support']} test photos)"
        for item in classes[:_LISTED]
    )
