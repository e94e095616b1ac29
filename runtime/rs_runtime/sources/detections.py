"""Boxes of MegaDetector, or of another detector that writes its format.

The format is that of https://lila.science/megadetector-output-format, versions 1.x: an object with
``info``, ``detection_categories`` and ``images``, each image with a ``file`` and ``detections``,
whose ``bbox`` is left, top, width, height as fractions of the upright photo.
"""

from __future__ import annotations

import json
import os
import posixpath
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

from rs_runtime.errors import InputError, reason
from rs_runtime.photos.boxes import ANIMAL, BoxedPhoto, DetectedBox
from rs_runtime.photos.stored import StoredPhoto, photo_path
from rs_runtime.results import Failure

__all__ = ["Detections"]

# What MegaDetector 5 and later recommend; a file may hold the recommendation of its own model.
_THRESHOLD = 0.2
# Below this no model's recommendation lies, so such boxes are not kept; files are full of them.
_LEAST = 0.05
_CATEGORIES = {"1": ANIMAL, "2": "person", "3": "vehicle"}
_ITEM = "images[]"
_CHUNK = 1 << 20
_LONGEST_VALUE = 64 << 20

# A box in little memory: number of its category, confidence, four sides.
_BOX = struct.Struct("<H5d")


class Detections:
    """What a detector found, by photo.

    Parameters
    ----------
    file
        A JSON file in MegaDetector's format.
    threshold
        0 to 1, least confidence of a box that counts; None: the file's ``info`` says what its
        detector recommends (``typical_detection_threshold``), or else 0.2.
    start
        Absolute path of the folder that all photos lie in.

    Raises
    ------
    InputError
        The file is not in this format.
    OSError
        It cannot be read.
    """

    def __init__(self, file: Path, threshold: float | None, start: str) -> None:
        self._file, self._start = str(file), _normal(start)
        self._found: dict[str, bytes | str] = {}
        self._numbers: dict[str, int] = {}
        self._least = _LEAST if threshold is None else threshold
        named: Any = _CATEGORIES
        info: Any = None
        read = False
        with file.open(encoding="utf-8-sig", errors="surrogateescape") as opened:
            for key, value in _members(opened, self._fail):
                if key == _ITEM:
                    self._keep(value)
                elif key == "images":
                    read = value == []
                elif key == "detection_categories":
                    named = value
                elif key == "info":
                    info = value
        if not read:
            self._fail("holds no list of 'images'")
        self._categories = self._named(named)
        typical = self._typical(info)
        self._threshold = typical if threshold is None else threshold

    def boxed(self, photo: Path | StoredPhoto) -> BoxedPhoto | Failure:
        """Return a photo with its boxes, or why there are none.

        The file's name of a photo is the longest end of its path that is in the file; it reaches at
        least up to the folder that all photos lie in.  So a photo of another folder with the same
        name is not mistaken for it.
        """
        path = photo_path(photo) or ""
        found = self._find(path)
        if found is None:
            problem = f"is not in boxes {self._file!r}; give the folder that the detector was given"
        elif isinstance(found, str):
            problem = f"has no boxes in {self._file!r}: {found}"
        else:
            names = [self._categories.get(key) for key in self._numbers]
            try:
                boxes = (
                    DetectedBox((left, top, width, height), confidence, name)
                    for number, confidence, left, top, width, height in _BOX.iter_unpack(found)
                    if confidence >= self._threshold and (name := names[number])
                )
                return BoxedPhoto(photo, tuple(boxes))
            except ValueError as error:
                problem = f"has a box in {self._file!r} that {error}"
        return Failure(path, f"photo {path!r} {problem}")

    def _find(self, path: str) -> bytes | str | None:
        whole = _normal(os.path.abspath(path))
        parts = whole.split("/")
        inside = whole.removeprefix(self._start.rstrip("/") + "/")
        shortest = len(inside.split("/")) if inside != whole else len(parts)
        ends = ("/".join(parts[start:]) for start in range(len(parts) - shortest + 1))
        return next((self._found[end] for end in ends if end in self._found), None)

    def _keep(self, image: Any) -> None:
        """Keep what one image of the file says, in little memory."""
        name = image.get("file") if isinstance(image, dict) else None
        if not isinstance(name, str):
            self._fail(f"has an image without 'file': {reason(ValueError(repr(image)))}")
        name = _normal(name)
        if name in self._found:
            self._found[name] = "it is there twice"
        elif failure := image.get("failure"):
            self._found[name] = f"the detector says {reason(ValueError(failure))!r}"
        else:
            self._found[name] = self._boxes(image.get("detections"))

    def _boxes(self, detections: Any) -> bytes | str:
        try:
            return b"".join(
                _BOX.pack(self._number(item["category"]), item["conf"], *_four(item["bbox"]))
                for item in detections
                if _share(item["conf"]) >= self._least
            )
        except (TypeError, KeyError, ValueError, struct.error, OverflowError):
            return "its detections must each have category, conf (0 to 1) and bbox (4 numbers)"

    def _number(self, category: Any) -> int:
        return self._numbers.setdefault(str(category), len(self._numbers))

    def _named(self, categories: Any) -> dict[str, str]:
        """Return the names of categories; unlike those in the file they are known to be text."""
        items = categories.items() if isinstance(categories, dict) else ()
        named = {key: name.strip() for key, name in items if isinstance(name, str)}
        found = {
            key: ANIMAL if name.lower() == ANIMAL else name[:100]
            for key, name in named.items()
            if name and name.isprintable()
        }
        if ANIMAL not in found.values():
            self._fail(f"names no category {ANIMAL!r} in 'detection_categories'")
        return found

    def _typical(self, info: Any) -> float:
        """Return the threshold that a file recommends, or else ours; refuse other versions."""
        known = info if isinstance(info, dict) else {}
        version = str(known.get("format_version", "1"))
        if version.partition(".")[0] != "1":
            self._fail(f"has format_version {reason(ValueError(version))}, wanted 1.x")
        metadata = known.get("detector_metadata")
        try:
            share = _share((metadata or {}).get("typical_detection_threshold", _THRESHOLD))
        except (AttributeError, ValueError):
            return _THRESHOLD
        return max(share, _LEAST)

    def _fail(self, problem: str) -> NoReturn:
        wanted = "give a JSON file of MegaDetector's batch format 1.x"
        raise InputError(f"boxes {self._file!r}: {problem}; {wanted}")


def _normal(path: str) -> str:
    """Return a path with ``/`` between its parts, which some files have and others not."""
    return posixpath.normpath(path.replace("\\", "/"))


def _share(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError(value)
    return float(value)


def _four(value: Any) -> tuple[float, float, float, float]:
    left, top, width, height = value
    if not all(type(side) in (int, float) for side in value):
        raise ValueError(value)
    return float(left), float(top), float(width), float(height)


def _members(file: TextIO, fail: Callable[[str], NoReturn]) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of a JSON object.

    Of a list ``images``, an empty list is yielded, and then each item with the key ``_ITEM``.  The
    file may be larger than the memory; only one value is held at a time.
    """
    reader = _Reader(file)
    try:
        reader.take("{")
        while reader.ahead() != "}":
            key = reader.value()
            reader.take(":")
            if key == "images" and reader.ahead() == "[":
                reader.take("[")
                yield key, []
                while reader.ahead() != "]":
                    yield _ITEM, reader.value()
                    if reader.ahead() != "]":
                        reader.take(",")
                reader.take("]")
            else:
                yield key, reader.value()
            if reader.ahead() != "}":
                reader.take(",")
    except (ValueError, RecursionError) as error:
        fail(f"is no such JSON ({reason(error)})")


class _Reader:
    """Reads JSON (RFC 8259) value by value from a file."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._at, self._ended = file, "", 0, False
        self._decoder = json.JSONDecoder()

    def ahead(self) -> str:
        """Return the next character that is no blank, an empty text at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in " \t\r\n":
                    return self._text[self._at]
                self._at += 1
            if self._ended:
                return ""
            self._fill(_CHUNK)

    def take(self, character: str) -> None:
        """Pass a character that must come next; else raise ValueError."""
        if self.ahead() != character:
            raise ValueError(f"wanted {character!r}, got {self.ahead()!r}")
        self._at += 1

    def value(self) -> Any:
        """Return the next value, or raise ValueError."""
        self.ahead()
        size = _CHUNK
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
                # A number may go on.
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
            except ValueError:
                if self._ended or len(self._text) - self._at > _LONGEST_VALUE:
                    raise
            self._fill(size)
            size *= 2

    def _fill(self, size: int) -> None:
        more = self._file.read(size)
        self._ended = not more
        self._text, self._at = self._text[self._at :] + more, 0
