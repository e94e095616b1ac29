"""COCO Camera Traps JSON: images, annotations, categories.

The format is Microsoft's (github.com/microsoft/CameraTraps, data_management): COCO with
``location``, ``seq_id`` and ``datetime``.  LILA's camera-trap collections use it, and so does
iNaturalist 2021, whose categories also give the ranks.
"""

from __future__ import annotations

import mmap
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rs_toolkit.data.photos import Dataset, Photo
from rs_toolkit.data.readers import rows
from rs_toolkit.data.readers.rows import described, is_organism, relative_path, tidy
from rs_toolkit.data.taxonomy import LABELS
from rs_toolkit.errors import DataError, MetadataError

__all__ = ["find_coco", "read_coco"]

# A category's name, and the names that its photos get from it, by rank or ``common_name``.
_Category = tuple[str, dict[str, Any]]


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
    end as families' names do), unless the category has names by rank.  A category that is not an
    organism (empty, human, vehicle …) gives no label.  A photo of several categories, at least one
    of them an organism, is an error, because its label is ambiguous.  ``location`` becomes the
    site and ``seq_id`` the observation.  If exactly one annotation of a photo has a ``bbox`` (left,
    top, width, height in pixels of the upright photo), that is its box.

    Raises as :func:`rs_toolkit.data.readers.read_dataset` does.
    """
    content = rows.read_object(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise MetadataError(f"{path}: no list {key!r}; give a COCO Camera Traps file")
    categories = _categories(path, content["categories"])
    photos = tuple(rows.keep_first(_photos(content["images"], content["annotations"], categories)))
    if not photos:
        raise MetadataError(f"{path}: has no images; add one per photo")
    return Dataset(path.parent, photos, "coco")


def _key(item: Any, name: str) -> str | None:
    """Return an id as text, because some files quote a number in one place and not in another."""
    value = item.get(name) if isinstance(item, dict) else None
    return str(value) if type(value) in (str, int) else None


def _categories(path: Path, categories: list[Any]) -> dict[str, _Category]:
    named: dict[str, dict[str, Any]] = {}
    for number, item in enumerate(categories):
        key = _key(item, "id")
        if key is None or not isinstance(item.get("name"), str):
            raise MetadataError(f"{path}: categories[{number}] lacks an id or a name; add it")
        if key in named:
            raise MetadataError(f"{path}: categories[{number}] repeats the id {key!r}; renumber it")
        named[key] = item
    rank = rows.label_rank(item["name"] for item in named.values() if is_organism(item["name"]))
    return {key: (item["name"], _cells(item, rank)) for key, item in named.items()}


def _cells(category: dict[str, Any], name_rank: str) -> dict[str, Any]:
    if not is_organism(category["name"]):
        return {}
    cells = {column: tidy(category.get(column), column) for column in LABELS}
    return {**cells, name_rank: cells[name_rank] or category["name"]}


def _photos(
    images: list[Any], annotations: list[Any], categories: dict[str, _Category]
) -> Iterator[tuple[str, Photo]]:
    """Yield a photo and its place for each image, then an error for each stray annotation."""
    marks: dict[str | None, list[tuple[int, Any]]] = defaultdict(list)
    for number, item in enumerate(annotations):
        marks[_key(item, "image_id")].append((number, item))
    seen: set[str] = set()
    for number, image in enumerate(images):
        key = _key(image, "id")
        place = f"images[{number}]" if key is None else f"images[{number}] (id {key[:80]!r})"
        if key is None:
            photo = described({}, "", "is no object with an id; write the file again")
        elif key in seen:
            photo = _photo(image, [], categories)
            photo = replace(photo, error="repeats the id of another image; renumber it")
        else:
            photo = _photo(image, [item for _, item in marks.pop(key, [])], categories)
            seen.add(key)
        yield place, photo
    strays = sorted((number, key or "") for key, items in marks.items() for number, _ in items)
    for number, stray in strays:
        error = f"image_id {stray[:80]!r} is of no image; add the image, or delete the annotation"
        yield f"annotations[{number}]", described({}, "", error)


def _photo(
    image: dict[str, Any], marks: list[dict[str, Any]], categories: dict[str, _Category]
) -> Photo:
    path, error = relative_path(image.get("file_name"))
    cells = {"site": image.get("location"), "observation": image.get("seq_id")}
    keys = sorted({_key(mark, "category_id") or "" for mark in marks})
    labels = dict(categories[key] for key in keys if key in categories)
    boxes = [mark["bbox"] for mark in marks if mark.get("bbox") is not None]
    try:
        if error is not None:
            raise ValueError(error)
        if unknown := [key for key in keys if key not in categories]:
            raise ValueError(f"category_id {unknown[0][:80]!r} is of no category; add the category")
        name = rows.one_label(labels)
        cells["box"] = _box(boxes[0], image) if len(boxes) == 1 else None
        cells |= labels[name] if name else {}
    except ValueError as problem:
        error = str(problem)
    return described(cells, path, error)


def _box(pixels: Any, image: dict[str, Any]) -> str:
    """Return left, top, width, height in pixels as fractions of the image's sides."""
    sides: list[Any] = [image.get("width"), image.get("height")]
    if not all(type(side) in (int, float) and 0 < side < 1e9 for side in sides):
        raise ValueError("has a bbox in pixels, but no width and height; add them")
    try:
        parts = [float(part) / side for part, side in zip(pixels, sides * 2, strict=True)]
    except (TypeError, ValueError, OverflowError):
        wanted = "wanted left, top, width, height in pixels"
        raise ValueError(f"bbox {str(pixels)[:80]!r}: {wanted}") from None
    return ",".join(map(str, parts))
