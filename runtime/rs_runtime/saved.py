"""Read answers back from a journal, whose file may be damaged or written by anybody."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from rs_runtime.kit.json_node import JsonNode
from rs_runtime.kit.verdict import read_verdict
from rs_runtime.photos.exif import Exif
from rs_runtime.ranks import Answer
from rs_runtime.results import (
    BoxAnswer,
    ClassSet,
    Original,
    PhotoFacts,
    Prediction,
    Score,
    Unknown,
)

if TYPE_CHECKING:
    from rs_runtime.filter import FilterVerdict

__all__ = ["read_prediction"]

_MOST = 2**24
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,6})?([+-]\d\d:\d\d)?", re.A)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def read_prediction(path: str, found: JsonNode) -> Prediction:
    """Return the prediction of ``dataclasses.asdict``, less its path.

    Raises
    ------
    KitFormatError
        A field is not what it must be.
    """
    return Prediction(
        path,
        found.get("variant").text(),
        found.optional("answer", _answer),
        _scores(found.get("top")),
        found.optional("filter", _filter),
        found.optional("note", JsonNode.text),
        found.optional("verdict", read_verdict),
        found.optional("set", _set),
        found.optional("unknown", _unknown),
        found.optional("photo", _facts),
        found.optional("boxes", lambda node: tuple(_box(item) for item in node.items(0, _MOST))),
        found.optional("frames", lambda node: node.integer(1, _MOST)),
        found.optional("original", _original),
        # The answers to sequences are made anew, from what is kept of each photo.
        kept=found.optional("kept", _kept),
        # Verdicts of cameras are made anew, from the thumbnails.
        thumbnail=found.optional("thumbnail", _thumbnail),
    )


def _box(node: JsonNode) -> BoxAnswer:
    left, top, width, height = (side.within(0, 1) for side in node.get("box").items(4, 4))
    return BoxAnswer(
        (left, top, width, height),
        node.get("category").text(),
        node.get("confidence").within(0, 1),
        node.optional("answer", _answer),
        _scores(node.get("top")),
        node.optional("filter", _filter),
        node.optional("set", _set),
        node.optional("unknown", _unknown),
        node.optional("original", _original),
    )


def _answer(node: JsonNode) -> Answer:
    rank, name = (node.optional(key, JsonNode.text) for key in ("rank", "name"))
    return Answer(rank, name, node.get("probability").number())


def _scores(node: JsonNode) -> tuple[Score, ...]:
    return tuple(_score(item) for item in node.items(0, _MOST))


def _score(node: JsonNode) -> Score:
    return Score(
        node.get("class_id").integer(0, _MOST),
        node.get("name").text(),
        node.optional("common_name", JsonNode.text),
        node.get("probability").number(),
    )


def _filter(node: JsonNode) -> FilterVerdict:
    from rs_runtime.filter import FilterVerdict

    said, variant = (node.get(key).text() for key in ("verdict", "variant"))
    return FilterVerdict(said, node.get("probability").number(), variant)


def _set(node: JsonNode) -> ClassSet:
    return ClassSet(node.get("coverage").number(), _scores(node.get("classes")))


def _unknown(node: JsonNode) -> Unknown:
    return Unknown(node.get("score").text(), node.get("strangeness").number())


def _original(node: JsonNode) -> Original:
    top, part = _scores(node.get("top")), node.get("listed").number()
    return Original(node.optional("answer", _answer), top, node.optional("set", _set), part)


def _kept(node: JsonNode) -> str:
    if not isinstance(node.value, str) or not _BASE64.fullmatch(node.value):
        node.fail("base64")
    return node.value


def _thumbnail(node: JsonNode) -> str:
    from rs_runtime.background import read_thumbnail

    try:
        read_thumbnail(node.value)
    except (TypeError, ValueError):
        node.fail("a thumbnail")
    return str(node.value)


def _facts(node: JsonNode) -> PhotoFacts:
    exif = node.get("exif")
    taken = exif.optional("taken", _taken)
    make, model, serial = (exif.optional(key, JsonNode.text) for key in ("make", "model", "serial"))
    latitude = exif.optional("latitude", lambda node: node.within(-90, 90))
    longitude = exif.optional("longitude", lambda node: node.within(-180, 180))
    width, height = (node.get(key).integer(1, _MOST) for key in ("width", "height"))
    return PhotoFacts(width, height, Exif(taken, latitude, longitude, make, model, serial))


def _taken(node: JsonNode) -> str:
    """Read a time as :class:`rs_runtime.photos.exif.Exif` has it."""
    match = _TIME.fullmatch(node.text())
    try:
        datetime.fromisoformat(match[1] + (match[2] or "") if match else "")
    except ValueError:
        node.fail("a time such as 2025-03-09T06:30:12")
    return node.text()
