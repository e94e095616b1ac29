"""COCO Camera Traps JSON: images, annotations, categories.

The format is Microsoft's (github.com/microsoft/CameraTraps, data_management): COCO with
``location``, ``seq_id`` and ``datetime``.  LILA's camera-trap collections use it, and so does
iNaturalist 2021, whose categories also give the ranks.
"""

from __future__ import annotations

import json
import mmap
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from math import isfinite
from operator import itemgetter
from pathlib import Path
from typing import Any

from rs_toolkit.data.labels import kind_of_label
from rs_toolkit.data.photos import Dataset, Photo
from rs_toolkit.data.readers import rows
from rs_toolkit.data.readers.reading import relative_path
from rs_toolkit.data.readers.rows import described, tidy
from rs_toolkit.data.taxonomy import LABELS
from rs_toolkit.errors import DataError, MetadataError

__all__ = ["find_coco", "read_coco"]

# A category's name, and the names that its photos get from it, by rank or ``common_name``.
_Category = tuple[str, dict[str, Any]]
_WHOLE = re.compile(r"-?[0-9]+\.0+")


def find_coco(root: Path) -> Path | None:
    """Return the COCO file in a folder; None where there is none, DataError where several are."""
    found = [path for path in sorted(root.glob("[!.]*.json")) if path.is_file() and _is_coco(path)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:5])
        raise DataError(f"{root}: holds {len(found)} COCO files ({names}); give one of them")
    return found[0] if found else None


def _is_coco(path: Path) -> bool:
    """Look for COCO's keys without parsing the file, which may have hundreds of megabytes."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return all(text.find(key) >= 0 for key in (b'"images"', b'"annotations"'))
    except (OSError, ValueError):
        # An empty file cannot be mapped.
        return False


def read_coco(path: Path) -> Dataset:
    """Read a COCO Camera Traps file.

    Each image becomes a photo.  The category's name is the species (or the family, if all names
    end as families' names do), unless the category has names by rank.  A photo of several
    categories, at least one of them an organism, is an error, because its label is ambiguous.
    ``location`` becomes the site and ``seq_id`` the observation.  If exactly one annotation of a
    photo has a ``bbox`` (left, top, width, height in pixels of the upright photo), that is its box;
    without the photo's ``width`` and ``height`` it has no box, and a note says so.

    Raises as :func:`rs_toolkit.data.readers.read_dataset` does.
    """
    content = rows.read_object(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise MetadataError(f"{path}: no list {key!r}; give a COCO Camera Traps file")
    categories = _categories(path, content["categories"])
    unsized: list[str] = []
    rows_ = _photos(content["images"], content["annotations"], categories, unsized)
    photos = tuple(rows.keep_first(rows_))
    if not photos:
        raise MetadataError(f"{path}: has no images; add one per photo")
    return Dataset(path.parent, photos, "coco", tuple(_unsized_note(unsized)))


def _unsized_note(places: list[str]) -> list[str]:
    if not places:
        return []
    return [
        f"photos with a bbox in pixels, but no width and height: {len(places)}, such as "
        f"{places[0]}; they are used whole; add these for boxes"
    ]


def _key(item: Any, name: str) -> str | None:
    """Return an id as text; None where it is no number or text.

    Some files quote a number in one place and not in another, or write whole numbers as 1.0.
    """
    value = item.get(name) if isinstance(item, dict) else None
    if type(value) is float:
        # pandas writes NaN for an empty cell.
        value = int(value) if value.is_integer() else value if isfinite(value) else None
    if type(value) not in (str, int, float):
        return None
    text = str(value)
    return text.split(".")[0] if _WHOLE.fullmatch(text) else text


def _shown(item: Any, name: str) -> str:
    """Return the value of an id as the file has it, cut after 80 characters."""
    return json.dumps(item.get(name) if isinstance(item, dict) else item)[:80]


def _categories(path: Path, categories: list[Any]) -> dict[str, _Category]:
    named: dict[str, dict[str, Any]] = {}
    for number, item in enumerate(categories):
        key = _key(item, "id")
        if key is None or not isinstance(item.get("name"), str):
            got = f"got id {_shown(item, 'id')} and name {_shown(item, 'name')}"
            raise MetadataError(
                f"{path}: categories[{number}] lacks an id or a name: {got}; add it"
            )
        if key in named:
            raise MetadataError(f"{path}: categories[{number}] repeats the id {key!r}; renumber it")
        named[key] = item
    rank = rows.label_rank(item["name"] for item in named.values())
    return {key: (item["name"], _cells(item, rank)) for key, item in named.items()}


def _cells(category: dict[str, Any], name_rank: str) -> dict[str, Any]:
    cells = {column: tidy(category.get(column), column) for column in LABELS}
    return {**cells, name_rank: cells[name_rank] or category["name"]}


def _photos(
    images: list[Any],
    annotations: list[Any],
    categories: dict[str, _Category],
    unsized: list[str],
) -> Iterator[tuple[str, Photo]]:
    """Yield a photo and its place for each image, then an error for each stray annotation.

    The places of photos that lose their box, because they have no sizes, are added to ``unsized``.
    """
    marks: dict[str | None, list[tuple[int, Any]]] = defaultdict(list)
    for number, item in enumerate(annotations):
        marks[_key(item, "image_id")].append((number, item))
    # Annotations without an id are of no image.
    strays = marks.pop(None, [])
    seen: set[str] = set()
    for number, image in enumerate(images):
        key = _key(image, "id")
        place = f"images[{number}]" if key is None else f"images[{number}] (id {key[:80]!r})"
        if key is None:
            got = _shown(image, "id")
            error = f"is no object with an id that is a number or text (got {got}); correct it"
            photo = described({}, "", error)
        elif key in seen:
            photo = _photo(image, [], categories)
            photo = replace(photo, error="repeats the id of another image; renumber it")
        else:
            own = [item for _, item in marks.pop(key, [])]
            photo = _photo(image, own, categories)
            seen.add(key)
            if photo.error is None and photo.box is None and len(_boxes(own, categories)) == 1:
                unsized.append(place)
        yield place, photo
    for number, stray in sorted((*strays, *chain(*marks.values())), key=itemgetter(0)):
        got = _shown(stray, "image_id")
        error = f"image_id {got} is of no image; add the image, or delete the annotation"
        yield f"annotations[{number}]", described({}, "", error)


def _photo(
    image: dict[str, Any], marks: list[dict[str, Any]], categories: dict[str, _Category]
) -> Photo:
    path, error = relative_path(image.get("file_name"))
    cells = {"site": _key(image, "location"), "observation": _key(image, "seq_id")}
    keys = {_key(mark, "category_id"): mark for mark in marks}
    labels = dict(categories[key] for key in sorted(filter(None, keys)) if key in categories)
    boxes = _boxes(marks, categories)
    try:
        if error is not None:
            raise ValueError(error)
        if unknown := [mark for key, mark in keys.items() if key not in categories]:
            got = _shown(unknown[0], "category_id")
            raise ValueError(f"category_id {got} is of no category; add the category")
        name = rows.one_label(labels)
        cells["box"] = _box(boxes[0], image) if len(boxes) == 1 else None
        # Labels of no organism are told by their kind.
        cells |= labels.get(name, {"species": name}) if name else {}
    except ValueError as problem:
        error = str(problem)
    return described(cells, path, error)


def _boxes(marks: list[dict[str, Any]], categories: dict[str, _Category]) -> list[Any]:
    """Return the boxes of a photo, but none that mark nothing: empty, all zeros, or of a blank."""
    return [
        box
        for mark in marks
        if (box := mark.get("bbox"))
        and box != [0, 0, 0, 0]
        and kind_of_label(categories.get(_key(mark, "category_id") or "", ("", {}))[0]) != "blank"
    ]


def _box(pixels: Any, image: dict[str, Any]) -> str | None:
    """Return left, top, width, height in pixels as fractions of the image's sides.

    None where the image has no sides.
    """
    sides: list[Any] = [image.get("width"), image.get("height")]
    if not all(type(side) in (int, float) and 0 < side < 1e9 for side in sides):
        return None
    try:
        parts = [float(part) / side for part, side in zip(pixels, sides * 2, strict=True)]
    except (TypeError, ValueError, OverflowError):
        wanted = "wanted left, top, width, height in pixels"
        raise ValueError(f"bbox {str(pixels)[:80]!r}: {wanted}") from None
    return ",".join(map(str, parts))
