"""Where the taxon of a class occurs, and its names in other languages, as a kit tells them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rs_runtime.kit.json_node import JsonNode

__all__ = [
    "MAX_BOXES",
    "MAX_COUNTRIES",
    "Range",
    "is_country",
    "is_locale",
    "read_names",
    "read_range",
]

MAX_COUNTRIES, MAX_BOXES = 300, 100
_COUNTRY = re.compile(r"[A-Z]{3}")
_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")


@dataclass(frozen=True)
class Range:
    """Where a taxon occurs: countries, boxes, or both, which then tell of the same range.

    ``countries`` are codes of ISO 3166-1 alpha-3, such as ``KEN``.  ``boxes`` are west, south,
    east, north in degrees, as in RFC 7946 (GeoJSON), section 5: a box whose west is above its east
    crosses the meridian of 180 degrees.
    """

    countries: tuple[str, ...] = ()
    boxes: tuple[tuple[float, float, float, float], ...] = ()

    def holds(
        self, country: str | None, latitude: float | None, longitude: float | None
    ) -> bool | None:
        """Return whether a place is in the range; None: the range says nothing of such places.

        Of a place with a country and coordinates, both must be in the range where it tells of both.
        """
        found = []
        if country is not None and self.countries:
            found.append(country in self.countries)
        if latitude is not None and longitude is not None and self.boxes:
            found.append(any(_within(box, latitude, longitude) for box in self.boxes))
        return all(found) if found else None


def _within(box: tuple[float, float, float, float], latitude: float, longitude: float) -> bool:
    west, south, east, north = box
    if not south <= latitude <= north:
        return False
    return west <= longitude <= east if west <= east else longitude >= west or longitude <= east


def is_country(text: str) -> bool:
    """Return whether a text has the form of an ISO 3166-1 alpha-3 code: three capital letters."""
    return _COUNTRY.fullmatch(text) is not None


def is_locale(text: str) -> bool:
    """Return whether a text is a language tag such as ``sw`` or ``pt-BR`` (BCP 47)."""
    return _LOCALE.fullmatch(text) is not None


def read_range(node: JsonNode) -> Range:
    """Read a class's ``range``; KitFormatError: it is none."""
    countries, boxes = node.get("countries", []), node.get("boxes", [])
    found = Range(
        tuple(_country(item) for item in countries.items(0, MAX_COUNTRIES)),
        tuple(_box(item) for item in boxes.items(0, MAX_BOXES)),
    )
    if not (found.countries or found.boxes):
        node.fail("an object with countries or boxes")
    return found


def read_names(node: JsonNode) -> dict[str, str]:
    """Read a class's ``common_names`` by language; KitFormatError: they are none."""
    found = node.mapping(JsonNode.text)
    for tag in found:
        if not is_locale(tag):
            JsonNode(f"key in {node.where}", tag).fail("a language such as sw or pt-BR")
    return found


def _country(node: JsonNode) -> str:
    if not is_country(node.text()):
        node.fail("three capital letters")
    return node.text()


def _box(node: JsonNode) -> tuple[float, float, float, float]:
    west, south, east, north = node.items(4, 4)
    low = south.within(-90, 90)
    return west.within(-180, 180), low, east.within(-180, 180), north.within(low, 90)
