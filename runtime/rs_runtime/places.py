"""Which classes are to be expected at a place, by the ranges in the kit."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rs_runtime.errors import PlaceError
from rs_runtime.kit.ranges import is_country

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_runtime.kit.manifest import ClassInfo, Manifest

__all__ = ["WEIGHT", "Expected", "Place", "expected_classes", "given_place", "localized"]

WEIGHT = 0.01
"""The factor on the probability of a class outside its range, unless another is given."""


@dataclass(frozen=True)
class Place:
    """Where photos were taken: a country, coordinates, or both.

    Attributes
    ----------
    country
        An ISO 3166-1 alpha-3 code such as ``KEN``, in any case.
    latitude, longitude
        In degrees, -90 to 90 and -180 to 180; north and east are positive.
    weight
        The factor on the probability of a class outside its range, 0 to 1; 0 leaves it out.

    Raises
    ------
    PlaceError
        There is neither, one coordinate lacks the other, or a value is none of these.
    """

    country: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    weight: float = WEIGHT

    def __post_init__(self) -> None:
        if self.country is None and self.latitude is None and self.longitude is None:
            raise PlaceError("place: give a country, or latitude and longitude")
        if (self.latitude is None) != (self.longitude is None):
            raise PlaceError("place: latitude and longitude go together; give both")
        for name, most in (("latitude", 90), ("longitude", 180)):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and abs(value) <= most):
                raise PlaceError(f"{name} must be from -{most} to {most} degrees, got {value!r}")
        if not 0 <= self.weight <= 1:
            raise PlaceError(f"weight of a place must be from 0 to 1, got {self.weight!r}")
        if self.country is not None:
            object.__setattr__(self, "country", self.country.upper())
            if not is_country(self.country.upper()):
                wanted = "three letters of ISO 3166-1, such as GBR or KEN"
                raise PlaceError(f"country must be {wanted}, got {self.country!r}")

    def __str__(self) -> str:
        parts = [self.country] if self.country else []
        if self.latitude is not None:
            parts.append(f"{self.latitude:g}, {self.longitude:g}")
        return " at ".join(parts)


def given_place(
    country: str | None, latitude: float | None, longitude: float | None, weight: float | None
) -> Place | None:
    """Return the place that options give, None if they give none; PlaceError: they do not fit."""
    if country is None and latitude is None and longitude is None:
        if weight is not None:
            raise PlaceError("--place-weight needs --country, or --lat and --lon")
        return None
    return Place(country, latitude, longitude, WEIGHT if weight is None else weight)


@dataclass(frozen=True)
class Expected:
    """What ranges say of a place: ``classes``, bool (classes,), are in their range or have none.

    ``warning`` is one line about classes whose range is not known, or None.
    """

    classes: NDArray[np.bool_]
    warning: str | None


def expected_classes(place: Place, classes: Sequence[ClassInfo], name: str) -> Expected:
    """Return the classes to be expected at a place; ``name`` is that of the kit.

    A class is expected where its range is not known, or does not tell of such places.

    Raises
    ------
    PlaceError
        The kit has no ranges that tell of such places, or no class has the place in its range.
    """
    inside = [
        item.range and item.range.holds(place.country, place.latitude, place.longitude)
        for item in classes
    ]
    unknown = inside.count(None)
    if unknown == len(inside):
        raise PlaceError(f"kit {name!r} {_lack(place, classes)}")
    if not any(inside):
        raise PlaceError(
            f"kit {name!r} has no class whose range holds {place}{_nearest(place, classes)}"
        )
    warning = None
    if unknown:
        warning = (
            f"place {place}: {unknown:,} of {len(inside):,} classes have no such range; "
            "they are taken as expected"
        )
    return Expected(np.array([found is not False for found in inside]), warning)


def _lack(place: Place, classes: Sequence[ClassInfo]) -> str:
    if all(item.range is None for item in classes):
        return "has no ranges; leave out the place, or export the kit with --ranges"
    if place.country is None:
        return "tells ranges by countries only; give the country"
    return "tells ranges by coordinates only; give latitude and longitude"


def _nearest(place: Place, classes: Sequence[ClassInfo]) -> str:
    """Return a hint at the code that was perhaps meant."""
    known = {code for item in classes if item.range for code in item.range.countries}
    if place.country is None or place.country in known:
        return "; check the place, or leave it out"
    near = difflib.get_close_matches(place.country, sorted(known), 3, 0.6)
    some = ", ".join(near or sorted(known)[:5])
    return f"; the kit's ranges tell of {len(known)} countries, such as {some}" if some else ""


def localized(manifest: Manifest, locale: str) -> tuple[Manifest, str | None]:
    """Return a manifest whose common names are those of a language, and a warning or None.

    ``locale`` is a tag such as ``sw``, ``pt-BR`` or ``pt_BR``; names in ``pt`` serve for ``pt-BR``
    too.  A class without a name in the language keeps its common name.
    """
    tags = {tag.lower(): tag for item in manifest.classes for tag in item.common_names}
    parts = locale.replace("_", "-").lower().split("-")
    wanted = ("-".join(parts[:count]) for count in range(len(parts), 0, -1))
    chain = [tags[tag] for tag in wanted if tag in tags]
    if not chain:
        has = ", ".join(sorted(tags.values())[:20])
        problem = f"has no common names in {locale!r}"
        return manifest, f"kit {manifest.name!r} {problem}; it has: {has or 'no other languages'}"

    def told(item: ClassInfo) -> ClassInfo:
        found = next((item.common_names[tag] for tag in chain if tag in item.common_names), None)
        return replace(item, common_name=found) if found else item

    return replace(manifest, classes=tuple(map(told, manifest.classes))), None
