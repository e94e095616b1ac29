"""JSON of SpeciesNet and of MegaDetector, as their public documentation describes them.

SpeciesNet: the predictions of ``run_model`` in the README of github.com/google/cameratrapai.
MegaDetector: the batch output format, version 1.5, of github.com/agentmorris/MegaDetector, which
Timelapse and other programs read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rs_runtime.kit.manifest import RANKS
from rs_runtime.outputs.context import Context
from rs_runtime.outputs.labels import BLANK, FAILURE, TAXON, Label
from rs_runtime.results import BoxAnswer, Failure, Prediction, Result

__all__ = ["MegaDetector", "SpeciesNet"]

# The labels that SpeciesNet and the programs that read its files know a blank and an unsure photo
# by.  Its labels of taxa begin with identifiers of Wildlife Insights, which kits do not know.
_BLANK_LABEL = "f1856211-cfb7-4a5b-9158-c0f72fd09ee6;;;;;;blank"
_UNSURE_LABEL = ";".join(("f2efdae9-efb8-48fb-8a91-eccf79ab4ffb", *("no cv result",) * 6))
_WHOLE = [0.0, 0.0, 1.0, 1.0]


# Those of MegaDetector, and one for what other detectors find.
_CATEGORIES = {"animal": "1", "person": "2", "vehicle": "3", "other": "4"}


def _place(box: BoxAnswer) -> dict[str, Any]:
    number = _CATEGORIES.get(box.category, _CATEGORIES["other"])
    return {"category": number, "conf": box.confidence, "bbox": [*box.box]}


class _Json:
    """One JSON object whose array is written element by element."""

    def __init__(self, context: Context) -> None:
        self._context, self._some = context, False

    def _start(self) -> str:
        raise NotImplementedError

    def _element(self, found: Result) -> dict[str, Any]:
        raise NotImplementedError

    def head(self) -> str:
        """Return everything before the first element."""
        return self._start()

    def piece(self, found: Result) -> str:
        """Return the element of a photo, on a line of its own."""
        comma, self._some = "," if self._some else "", True
        return f"{comma}{json.dumps(self._element(found))}\n"

    def tail(self) -> str:
        """Return what closes the array and the object."""
        return "]}\n"

    def _label(self, rank: str, lineage: Mapping[str, str], common: str | None, name: str) -> str:
        """Return a taxon as SpeciesNet writes it: seven parts, in lower case.

        They are an identifier, class, order, family, genus, epithet of the species, common name.
        """
        genus, species = lineage.get("genus", ""), lineage.get("species", "")
        epithet = species.removeprefix(f"{genus} ") if genus else species
        parts = [lineage.get(each, "") for each in ("class", "order", "family", "genus")]
        path = "/".join(f"{each}:{lineage[each]}" for each in RANKS if each in lineage)
        identity = self._context.identifier("taxon", rank, name, path)
        texts = (*parts, epithet, common or name)
        return ";".join((identity, *(text.lower().replace(";", ",") for text in texts)))


class SpeciesNet(_Json):
    """The predictions JSON of SpeciesNet."""

    def _start(self) -> str:
        return '{"predictions": [\n'

    def _element(self, found: Result) -> dict[str, Any]:
        context = self._context
        element: dict[str, Any] = {"filepath": context.relative(found.path)}
        if isinstance(found, Failure):
            element["failures"] = ["CLASSIFIER"]
            return {**element, "model_version": context.model, "error": found.problem}
        exif = found.photo.exif if found.photo else None
        if exif and exif.latitude is not None and exif.longitude is not None:
            element |= {"latitude": exif.latitude, "longitude": exif.longitude}
        if found.top:
            element["classifications"] = {
                "classes": [self._class(score.class_id, found) for score in found.top],
                "scores": [score.probability for score in found.top],
            }
        if found.boxes is not None:
            element["detections"] = [{"label": box.category, **_place(box)} for box in found.boxes]
        label = context.labels.of(found)
        element["prediction"] = self._prediction(label)
        if label.probability is not None:
            element["prediction_score"] = label.probability
        element["prediction_source"] = self._source(label, found)
        return {**element, "model_version": context.model}

    def _class(self, class_id: int, found: Prediction) -> str:
        rank = self._context.labels.rank
        item = next(score for score in found.top if score.class_id == class_id)
        lineage, common = self._context.labels.lineage(rank, item.name, (item,))
        return self._label(rank, lineage, common, item.name)

    def _prediction(self, label: Label) -> str:
        if label.kind == TAXON and label.rank and label.name:
            return self._label(label.rank, label.lineage, label.common_name, label.name)
        return _BLANK_LABEL if label.kind == BLANK else _UNSURE_LABEL

    def _source(self, label: Label, found: Prediction) -> str:
        if found.without_animal:
            return "detector"
        if label.kind == BLANK:
            return "filter"
        if label.kind == TAXON and label.rank != self._context.labels.rank:
            return f"classifier+rollup_to_{label.rank}"
        return "classifier"


class MegaDetector(_Json):
    """The batch output of MegaDetector: the boxes that were given, or one of the whole photo."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        labels = context.labels
        names = [(labels.rank, item.name) for item in context.manifest.classes]
        upper = RANKS[: RANKS.index(labels.rank)] if labels.rank in RANKS else RANKS
        for rank in upper:
            taxa = {item.taxon[rank] for item in context.manifest.classes if rank in item.taxon}
            names += [(rank, name) for name in sorted(taxa)]
        self._numbers = {pair: str(number) for number, pair in enumerate(dict.fromkeys(names))}

    def _start(self) -> str:
        titles, described = {}, {}
        given = self._context.options.boxes is not None
        categories = _CATEGORIES if given else {"animal": "1"}
        for (rank, name), number in self._numbers.items():
            lineage, common = self._context.labels.lineage(rank, name)
            titles[number] = common or name
            described[number] = self._label(rank, lineage, common, name)
        head = {
            "info": {"format_version": "1.5", "classifier": self._context.model},
            "detection_categories": {number: name for name, number in categories.items()},
            "classification_categories": titles,
            "classification_category_descriptions": described,
        }
        return f'{json.dumps(head)[:-1]}, "images": [\n'

    def _element(self, found: Result) -> dict[str, Any]:
        file = self._context.relative(found.path)
        label = self._context.labels.of(found)
        if isinstance(found, Failure) or label.kind == FAILURE:
            return {"file": file, "failure": label.remark, "detections": None}
        if found.boxes is not None:
            return {"file": file, "detections": [self._box(box, found) for box in found.boxes]}
        if label.kind == BLANK:
            return {"file": file, "detections": []}
        certain = found.filter.probability if found.filter else label.probability
        detection = {
            "category": "1",
            "conf": float(certain or 0.0),
            "bbox": _WHOLE,
            "classifications": self._classifications(label, found),
        }
        return {"file": file, "detections": [detection]}

    def _box(self, box: BoxAnswer, found: Prediction) -> dict[str, Any]:
        if not box.top:
            return _place(box)
        alone = replace(found, answer=box.answer, top=box.top, filter=box.filter, boxes=None)
        label = self._context.labels.of(alone)
        return {**_place(box), "classifications": self._classifications(label, alone)}

    def _classifications(self, label: Label, found: Prediction) -> list[list[object]]:
        """Return numbers of categories with probabilities, falling; the answer is the first."""
        rows: list[tuple[str, float]] = []
        if label.kind == TAXON and label.rank and label.name and label.probability is not None:
            rows.append((self._numbers[label.rank, label.name], label.probability))
        most = rows[0][1] if rows else 1.0
        rank = self._context.labels.rank
        for score in found.top:
            number = self._numbers[rank, score.name]
            if score.probability <= most and (not rows or number != rows[0][0]):
                rows.append((number, score.probability))
        return [[number, probability] for number, probability in rows]
