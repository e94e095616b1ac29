"""Labels that name no organism: blank photos, people and vehicles, and what nobody identified.

Camera-trap projects label photos so.  All readers treat such labels alike: they are no classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache

from rs_toolkit.data.photos import Dataset
from rs_toolkit.data.taxonomy import RANKS, Taxon, normalize_name

__all__ = ["is_organism", "kind_of_label", "kind_of_labels", "without_no_organisms"]

_UNIDENTIFIED = "unidentified"
# Words of Wildlife Insights, of LILA's collections, of eMammal and of Camtrap DP.
_WORDS = {
    "blank": (
        *("blank", "blanks", "empty", "nothing", "nothing here", "no animal", "no animals"),
        *("misfire", "misfires", "false trigger", "false triggers", "fire", "time lapse"),
        *("calibration", "calibration photos"),
    ),
    "human": (
        *("human", "humans", "person", "persons", "people", "homo sapiens", "homo"),
        *("homo species", "human camera trapper", "human non staff", "camera trapper", "staff"),
        *("human pedestrian", "pedestrian", "hiker", "setup", "setup pickup"),
    ),
    "vehicle": (
        *("vehicle", "vehicles", "car", "cars", "truck", "trucks", "bus", "motorcycle"),
        *("motorcycles", "motorbike", "bicycle", "bicycles", "motorized vehicle", "boat", "atv"),
    ),
    _UNIDENTIFIED: (
        *("animal", "animals", "unknown", "unidentified", "unclassified", "unclassifiable"),
        *("unlabelled", "unlabeled", "unidentifiable", "undefined", "unknown animal"),
        *("unidentified animal", "unidentifiable animal", "unknown species", "no cv result"),
    ),
}
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words}


def kind_of_label(name: str | None) -> str | None:
    """Return ``blank``, ``human``, ``vehicle`` or ``unidentified``; None for any other label.

    Hyphens and underscores count as spaces.
    """
    label = normalize_name(name) or ""
    return _KINDS.get(" ".join(label.replace("_", " ").replace("-", " ").split()))


def is_organism(name: str | None) -> bool:
    """Return whether a label names an organism, and not an empty photo, people or a vehicle."""
    return normalize_name(name) is not None and kind_of_label(name) is None


def kind_of_labels(names: Collection[str]) -> str | None:
    """Return the kind of a photo with several labels, none of them an organism; None: no label.

    People come first, and something unidentified comes before a blank, which it contradicts.
    """
    kinds = set(map(kind_of_label, names))
    return next(
        (kind for kind in ("human", "vehicle", _UNIDENTIFIED, "blank") if kind in kinds), None
    )


def without_no_organisms(dataset: Dataset) -> Dataset:
    """Take the labels that name no organism from the photos, and note how many there were.

    A photo with such a name at any rank has no label, and :attr:`Photo.no_organism` says what it
    shows.  Of a photo with ``unknown`` at some rank, the names at other ranks are kept.
    """
    photos, counts = [], Counter[str]()
    for photo in dataset.photos:
        taxon, common_name, kind = _sorted_out(photo.taxon, photo.common_name)
        if kind is not None:
            shows = None if kind == _UNIDENTIFIED else kind
            photo = replace(photo, taxon=taxon, common_name=common_name, no_organism=shows)
            if photo.error is None and not (common_name or taxon.to_dict()):
                counts[kind] += 1
        photos.append(photo)
    return replace(dataset, photos=tuple(photos), notes=(*dataset.notes, *_note(counts)))


@lru_cache(maxsize=10_000)
def _sorted_out(taxon: Taxon, common_name: str | None) -> tuple[Taxon, str | None, str | None]:
    """Return the names that are kept, and the kind of a label that is none (None: all are kept)."""
    names = {**taxon.to_dict(), "common_name": common_name or ""}
    kinds = {rank: _kind_at(rank, names) for rank in names}
    found: set[str] = set(filter(None, kinds.values()))
    if not found:
        return taxon, common_name, None
    if shown := sorted(found - {_UNIDENTIFIED}):
        return Taxon(), None, shown[0]
    kept = {rank: name for rank, name in names.items() if kinds[rank] is None}
    return Taxon(*map(kept.get, RANKS)), kept.get("common_name") or None, _UNIDENTIFIED


def _kind_at(rank: str, names: dict[str, str]) -> str | None:
    kind = kind_of_label(names[rank])
    if kind is None and rank == "species":
        # A taxon puts the genus before a species of one word: "canis unknown".
        kind = kind_of_label(names[rank].removeprefix(f"{names.get('genus')} "))
    return kind


def _note(counts: Counter[str]) -> list[str]:
    if not counts:
        return []
    shown = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    number = "1 photo has" if counts.total() == 1 else f"{counts.total()} photos have"
    reason = f"because the label given names no organism ({shown})"
    return [f"{number} no label, {reason}; to make it a class, give it another name"]
