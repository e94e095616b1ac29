"""The model card.  It has no latencies, so exporting the same run again gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rs_export.answers import answers_section
from rs_export.gate import TITLES, verdict_words
from rs_export.report import filter_photos, learned
from rs_export.result import Export, Measured, Result
from rs_export.tables import by_name, cell, markdown_table

__all__ = ["model_card"]

_LISTED = 10
_UNSEEN = "No model was measured on photos that its weights were trained on"
# Column heading and number format of each score.
_CLASSIFIER = {
    "mb": ("MB", ".2f"),
    "accuracy": ("accuracy", ".3f"),
    "top5": ("top-5", ".3f"),
    "macro_f1": ("macro-F1", ".3f"),
    "worst_decile_f1": ("worst-decile F1", ".3f"),
    "ece": ("calibration error", ".3f"),
    "agreement": ("as float", ".1%"),
}
_FILTER = {
    "mb": ("MB", ".2f"),
    "auroc": ("AUROC", ".4f"),
    "flagged": ("organisms flagged", ".1%"),
    "found": ("others found", ".1%"),
    "uncertain": ("uncertain", ".1%"),
    "agreement": ("as the student", ".1%"),
    "cosine": ("cosine", ".4f"),
}


def model_card(export: Export) -> str:
    """Return the card as Markdown."""
    found = export.classifier
    about, counts, pixels = found.about, found.about.counts, found.about.preprocessing.size
    models = [found.reference, *found.in_kit]
    return (
        f"""# {cell(about.name)}

Names the {cell(about.rank)} of the organism in a photo, among {len(about.classes)} classes.
{learned(about)} The numbers below are from
{counts["test"]} test photos. {_UNSEEN if about.folds else "No weight was trained on them"}, but \
they decided which variants were
accepted or refused, so the numbers of a shipped variant may be a little too good.
The numbers answer: {cell(about.question)}
Input: RGB, {pixels} x {pixels} pixels, {about.preprocessing.resize}.

## Test results

`float` is the Keras model that the shipped variants were converted from. Calibration error is the
expected calibration error in 15 bins, at the variant's own temperature. "As float" is the share of
photos to which a variant gives the same first answer as the float model.

{by_name({item.name: item.row for item in models}, _CLASSIFIER)}

{_verdicts(found)}

## Answers

A photo is named at the finest rank whose probability reaches the threshold, or not at all.

{answers_section(models, counts["test"], export.settings.min_precision)}

## F1 by class

{_classes(models)}

## Known failures

{_failures(found)}

{_not_measured(found)}
{_filter(export.filter) if export.filter else ""}""".rstrip()
        + "\n"
    )


def _not_measured(found: Result) -> str:
    untested = sum(1 for item in found.reference.test.per_class if not item["support"])
    return f"""## Not measured

- {untested} of the classes have no test photos; nothing is known about them.
- Photos from other places, seasons and cameras than the data set's.
- Photos that show none of these classes: they get a class too, and may get a name. `rs-classify`
  marks photos that are stranger than 95% of the validation photos, which finds some of them.
- Speed and accuracy on other processors; `report.json` has the latency on the exporting machine."""


def _filter(found: Result) -> str:
    """Return the section on a filter."""
    about = found.about
    kinds = {
        kind: ", ".join(cell(item.name) for item in about.classes if item.organism is kind)
        for kind in (True, False)
    }
    taught = (
        "The student learnt from labels alone: no CLIP model taught it, and none was measured."
        if about.teacher is None
        else f"The student was taught by {cell(str(about.teacher.get('name', 'a CLIP model')))}."
    )
    return f"""
## Filter

Says whether a photo shows an organism at all, before it is named. Classes of organisms:
{kinds[True]}. Other classes: {kinds[False]}. Below a probability of
{about.thresholds["not_organism"]:.3g} the answer is no organism, from
{about.thresholds["organism"]:.3g} on it is an organism, and in between it is uncertain.
{filter_photos(about)}
`student` is the model that the shipped variants were converted from. Organisms flagged, others
found: share of each called no organism. As the student: share of photos with the student's answer.
Cosine: mean cosine similarity to the student's logits, the student's mean logits subtracted.

{by_name({item.name: item.row for item in (found.reference, *found.in_kit)}, _FILTER)}

{_verdicts(found)}

{taught}
Not measured: photos from other places, and photos of organisms or things that are not among the
classes.

{_failures(found)}
"""


def _verdicts(found: Result) -> str:
    """Return, as a list, whether the shipped variants lost too much."""
    lines = []
    for item in found.in_kit:
        loss = item.verdict.decisive
        lines.append(
            f"- {item.name}: {verdict_words(item.verdict)} points of {TITLES[loss.metric]} lost "
            f"against {found.reference.name}, {100 * loss.margin:g} allowed."
        )
    told = (
        "Kept: the test photos show that it lost no more. Undecided: they are too few to tell. "
        "In brackets: the limits of the true loss, each of them wrong at most once in 20 times."
    )
    return "\n".join([*lines, "", told])


def _classes(models: Sequence[Measured]) -> str:
    rows = [
        [cell(items[0]["name"]), str(items[0]["support"]), *(f"{item['f1']:.3f}" for item in items)]
        for items in zip(*(item.test.per_class for item in models), strict=True)
    ]
    return markdown_table(["class", "test photos", *(item.name for item in models)], rows)


def _failures(found: Result) -> str:
    """Return, as a list, failed gates, the classes of lowest F1, and the largest losses of F1."""
    lines = []
    for item in found.in_kit:
        if item.refusal:
            lines.append(
                f"- **{item.name} failed its gate and was shipped by force**: {cell(item.refusal)}."
            )
        if item.mended:
            lines.append(
                f"- {item.name}: {item.mended.name} had failed its gate "
                f"({cell(item.mended.reason)}); mended by: {item.mended.step}."
            )
        tested = [row for row in item.test.per_class if row["support"]]
        worst = sorted(tested, key=lambda row: (row["f1"], -row["support"], row["name"]))
        if worst:
            lines.append(f"- {item.name}, lowest F1: {_listed(worst, 'f1')}.")
        if fallen := item.test.fallen:
            lines.append(f"- {item.name}, lost most against float: {_listed(fallen, 'change')}.")
    return "\n".join(lines)


def _listed(classes: Sequence[Mapping[str, Any]], key: str) -> str:
    return "; ".join(
        f"{cell(item['name'])} {item[key]:.3f} ({item['support']} test photos)"
        for item in classes[:_LISTED]
    )
