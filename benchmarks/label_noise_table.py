"""Write the result of ``label_noise.py`` as Markdown."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping
from typing import Any

from common import grid

__all__ = ["table"]

_FLIPS = {
    "flagged": "flagged",
    "precision": "precision",
    "recall": "recall",
    "precision_at_recall_0.7": "precision at recall 0.7",
    "average_precision": "average precision",
    "estimated_share": "estimated share",
    "suggestion_right": "suggestion right",
}


def table(result: dict[str, Any]) -> str:
    """Return the whole report."""
    parts = [_flips(result), _comparison(result["compared"]), _sample(result["sample"])]
    return "\n\n".join([*parts, _suspects(result["suspects"])]) + "\n"


def _text(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 100)


def _numbers(row: Mapping[str, Any], keys: Mapping[str, str]) -> list[Any]:
    return [f"{row[key]:.0f}" if key == "flagged" else row[key] for key in keys]


def _flips(result: dict[str, Any]) -> str:
    birds, rows = result["birds_as_they_are"], []
    for key, size in (("flipped_birds_160", 160), ("flipped_birds", 224)):
        for row in result[key]["seeds"]:
            small = row["small_classes"]
            found = f"{small['precision']:.2f} / {small['recall']:.2f}"
            seconds = f"{row['seconds']['cpu']:.1f}"
            rows.append([f"{size}, {row['seed']}", *_numbers(row, _FLIPS), found, seconds])
        rows.append([f"**{size}, mean**", *_numbers(result[key], _FLIPS), None, None])
    about = _text(f"""
        {result["flipped_birds"]["seeds"][0]["flipped"]} of {birds["photos"]} family labels
        ({birds["classes"]} families, 68 of them with 4 photos) flipped at random, each to any other
        family; frozen ImageNet Xception features of a photo and its mirror image, 5 folds, one
        repeat. The settings were chosen on other flips of the same photos. Only flips count as
        found: a label that was wrong before counts against precision. `small classes`: precision /
        recall within classes of fewer than 8 photos. `s`: processor seconds from features to flags,
        on {result["machine"]["cpu"]}.""")
    without = _text(f"""
        Without flips, {birds["flagged"]} labels are flagged at 224 px, and {birds["outliers"]}
        photos are outliers.""")
    head = ["px, seed", *_FLIPS.values(), "small classes", "s"]
    return f"# Label noise\n\n{about}\n\n{grid(head, rows)}\n\n{without}"


def _comparison(compared: dict[str, Any]) -> str:
    about = _text("""
        Means over the same flips at 224 px. `doubt` is the probability that a label is wrong under
        the model of `toolkit/rs_toolkit/checks/labels/noise_model.py`. cleanlab's filters alone
        flag most photos that the classifier gets wrong, and it gets a third of the soundly labelled
        ones wrong. Accuracy is on the true families.""")
    tables = []
    for title, kind, keys in (
        ("flagged by", "rules", ("flagged", "precision", "recall")),
        ("ranked by", "scores", ("average_precision", "precision_at_recall_0.7")),
        ("classifier", "by", ("accuracy", "average_precision", "precision", "recall")),
    ):
        columns = {key: _FLIPS.get(key, key) for key in keys}
        rows = [[name, *_numbers(row, columns)] for name, row in compared[kind].items()]
        tables.append(grid([title, *columns.values()], rows))
    return "\n\n".join(["## What makes the difference", about, *tables])


def _sample(sample: dict[str, Any]) -> str:
    flagged, both = sample["flagged"], sample["flagged_or_no_organism"]
    far, odd = sample["outliers"], sample["outliers_or_wrong"]
    labels = _text(f"""
        {sample["photos"]} readable photos of {sample["classes"]} species, drawn by a program; the
        same weights at 160 px; exact duplicates are grouped, near-duplicates are not. Of
        {sample["planted"]} wrong labels, **{sample["recall"]:.2f}** are among the
        {2 * sample["planted"]} least probable labels (average precision
        {sample["average_precision"]:.2f}); {sample["no_organism_in_top"]} of the others there show
        no organism, so that no label is right. Flagged: {flagged["flagged"]}, precision
        {flagged["precision"]:.2f} ({both["precision"]:.2f} with pictures of no organism), recall
        {flagged["recall"]:.2f}.""")
    outliers = _text(f"""
        Outliers: {far["flagged"]}, among them {far["recall"]:.2f} of the {far["planted"]} pictures
        of no organism; precision {far["precision"]:.2f} ({odd["precision"]:.2f} with wrong
        labels).""")
    without = _text("""
        A machine without pretrained weights has no features worth comparing: `rs-toolkit clean`
        then looks for neither label noise nor outliers.""")
    return "\n\n".join(["## The sample's planted faults", labels, outliers, without])


def _suspects(found: list[dict[str, Any]]) -> str:
    counts = Counter(row["verdict"] for row in found).most_common()
    seen = ", ".join(f"{count} {verdict}" for verdict, count in counts)
    rows = [
        [
            f"`{row['path'].removeprefix('photos/')}`",
            row["suggested"],
            f"{row['own']:.1g}",
            f"{row['doubt']:.2f}",
            "yes" if row["flagged"] else "",
            row["verdict"],
            row["why"],
        ]
        for row in found
    ]
    about = _text(f"""
        Looked at one by one, beside other photos of the same species, by no ornithologist; a
        verdict is about the family, which is the label, not about the species. {seen}.""")
    head = ["photo, by its family", "suggested", "own probability", "doubt", "flagged"]
    title = f"## The {len(found)} most suspect labels of the birds as they are"
    return f"{title}\n\n{about}\n\n{grid([*head, 'verdict', 'what is seen'], rows)}"
