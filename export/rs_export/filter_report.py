"""What people read of a filter: a section of the report, and one of the model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rs_export.filter_record import FilterExport
from rs_export.tables import cell, markdown_table

__all__ = ["filter_card", "filter_section"]

_HEAD = (
    "filter", "MB", "AUROC", "organisms flagged", "others found", "uncertain", "as the student",
    "cosine",
)  # fmt: skip
_SHARES = ("flagged", "found", "uncertain", "agreement")
_NOTE = (
    "flagged, found: share called no organism; as the student: share of photos with its verdict; "
    "cosine: of the logits to the student's, less its mean."
)


def filter_section(found: FilterExport) -> str:
    """Return the report's section on a filter, in Markdown."""
    names = ["student", *found.models]
    shipped = set(found.shipped.values())
    states = ["shipped" if n in shipped else "refused" if n in found.refused else "" for n in names]
    parts = [
        "## Filter",
        f"Student {cell(found.source.student)}, of {cell(str(found.source.path))}. "
        f"{_photos(found)} {_NOTE}",
        _table(
            found, names, [("ms", [f"{_row(found, n)['ms']:.1f}" for n in names]), ("", states)]
        ),
    ]
    parts += [f"**{name} refused**: {cell(reason)}" for name, reason in found.refused.items()]
    if found.mending:
        parts.append(_mending(found.mending))
    return "\n\n".join(parts)


def filter_card(found: FilterExport) -> str:
    """Return the model card's section on a filter, in Markdown: nothing that never repeats."""
    source = found.source
    kinds = {
        kind: ", ".join(cell(item["name"]) for item in source.classes if item["organism"] is kind)
        for kind in (True, False)
    }
    lines = [
        f"- {name} had failed its gate; mended by: {tried[-1]['step']}."
        for name, tried in found.mending.items()
        if tried and tried[-1]["result"] == "passed"
    ]
    return f"""
## Filter

Says whether a photo shows an organism at all, before it is named. Organisms: {kinds[True]}.
Others: {kinds[False]}. No organism below a probability of
{source.thresholds["not_organism"]:.3g}, an organism from {source.thresholds["organism"]:.3g} on,
uncertain between. {_photos(found)}
`student` is the model that the shipped variants were converted from. {_NOTE}

{_table(found, ["student", *found.shipped.values()], [])}

{_teacher(source.teacher)}
Not measured: photos of other places and kinds than these, above all kinds of organisms and of
others that are not among the classes.
""" + "".join(f"{line}\n" for line in lines)


def _table(
    found: FilterExport, names: Sequence[str], more: Sequence[tuple[str, Sequence[str]]]
) -> str:
    rows = []
    for place, name in enumerate(names):
        row = _row(found, name)
        shares = [f"{row[key]:.1%}" for key in _SHARES]
        cells = [name, f"{row['mb']:.2f}", f"{row['auroc']:.4f}", *shares, f"{row['cosine']:.4f}"]
        rows.append([*cells, *(column[place] for _, column in more)])
    return markdown_table([*_HEAD, *(title for title, _ in more)], rows)


def _row(found: FilterExport, name: str) -> dict[str, float]:
    return (found.reference if name == "student" else found.models[name]).row


def _photos(found: FilterExport) -> str:
    test, val = found.counts["test"], found.counts["val"]
    return (
        f"Measured on {test['organisms']} test photos of organisms and {test['others']} of others; "
        f"probabilities fitted on {val['organisms']} and {val['others']} validation photos."
    )


def _teacher(teacher: Mapping[str, Any] | None) -> str:
    if teacher is None:
        return (
            "The student learnt from labels alone: no CLIP model taught it, and none was measured."
        )
    return f"The student was taught by {cell(str(teacher.get('name', 'a CLIP model')))}."


def _mending(mending: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return what was tried for variants that had been refused."""

    def scores(entry: Mapping[str, Any], side: str) -> str:
        found = entry.get(side)
        return f"{found['auroc']:.4f}, {found['agreement']:.1%}" if found else ""

    rows = [
        [name, entry["step"], scores(entry, "validation"), scores(entry, "test"),
         cell(entry["result"])]
        for name, entries in mending.items()
        for entry in entries
    ]  # fmt: skip
    shown = "AUROC, verdicts as the student's"
    return markdown_table(
        ["mended", "by", f"validation: {shown}", f"test: {shown}", "result"], rows
    )
