"""The result of ``label_noise.py`` as Markdown."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import Any

__all__ = ["table"]


def table(result: dict[str, Any]) -> str:
    """Return the whole report."""
    parts = [_flips(result), _comparison(result["compared"]), _sample(result["sample"])]
    return "\n\n".join([*parts, _suspects(result)]) + "\n"


def _rows(head: list[str], rows: list[list[Any]], align: str = "---:") -> str:
    lines = [head, ["---", *[align] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _text(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 100)


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _flips(result: dict[str, Any]) -> str:
    birds = result["birds_as_they_are"]
    head = ["px, seed", "flagged", "precision", "recall", "precision at recall 0.7"]
    head += ["average precision", "estimated share", "suggestion right", "small classes", "s"]
    rows = []
    for key, size in (("flipped_birds_160", 160), ("flipped_birds", 224)):
        for row in result[key]["seeds"]:
            small = row["small_classes"]
            rows.append(
                [
                    f"{size}, {row['seed']}",
                    row["flagged"],
                    *(row[name] for name in ("precision", "recall", "precision_at_recall_0.7")),
                    *(row[name] for name in ("average_precision", "estimated_share")),
                    row["suggestion_right"],
                    f"{small['precision']:.2f} / {small['recall']:.2f}",
                    f"{row['seconds']['cpu']:.1f}",
                ]
            )
        average = result[key]
        rows.append(
            [
                f"**{size}, mean**",
                f"{average['flagged']:.0f}",
                *(average[name] for name in ("precision", "recall", "precision_at_recall_0.7")),
                *(average[name] for name in ("average_precision", "estimated_share")),
                average["suggestion_right"],
                "",
                "",
            ]
        )
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
    return f"# Label noise\n\n{about}\n\n{_rows(head, rows)}\n\n{without}"


def _comparison(compared: dict[str, Any]) -> str:
    rules = [
        [name, f"{row['flagged']:.0f}", row["precision"], row["recall"]]
        for name, row in compared["rules"].items()
    ]
    scores = [
        [name, row["average_precision"], row["precision_at_recall_0.7"]]
        for name, row in compared["scores"].items()
    ]
    by = [
        [name, *(row[key] for key in ("accuracy", "average_precision", "precision", "recall"))]
        for name, row in compared["by"].items()
    ]
    about = _text("""
        Means over the same flips at 224 px. `doubt` is the probability that a label is wrong under
        the model of `toolkit/rs_toolkit/checks/labels/noise_model.py`. cleanlab's filters alone
        flag most photos that the classifier gets wrong, and it gets a third of the soundly labelled
        ones wrong. Accuracy is on the true families.""")
    tables = [
        _rows(["flagged by", "flagged", "precision", "recall"], rules),
        _rows(["ranked by", "average precision", "precision at recall 0.7"], scores),
        _rows(["classifier", "accuracy", "average precision", "precision", "recall"], by),
    ]
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


def _suspects(result: dict[str, Any]) -> str:
    found = result["suspects"]
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
    return f"{title}\n\n{about}\n\n{_rows([*head, 'verdict', 'what is seen'], rows, '---')}"
