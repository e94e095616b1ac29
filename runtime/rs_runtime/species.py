"""Which classes a list of species allows, such as the species that live in a region."""

from __future__ import annotations

import csv
import difflib
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_runtime.errors import SpeciesListError
from rs_runtime.files import read_text
from rs_runtime.kit.json_node import MAX_TEXT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_runtime.kit.manifest import ClassInfo
    from rs_runtime.ranks import Level

__all__ = [
    "Allowed",
    "allowed_classes",
    "allowed_levels",
    "folded",
    "read_species",
    "spellings",
]

MAX_BYTES = 10_000_000

_COLUMN = "scientificname"
_NAMED = 3
# A name with who gave it, and when: Panthera leo (Linnaeus, 1758).  A subgenus is left alone.
_AUTHORED = re.compile(r"(\w+(?: [a-z][\w-]*)*),?(?! \(\w+\) [a-z]) \(?[^\W\d_].*\d{4}\)?")


@dataclass(frozen=True)
class Allowed:
    """What a list allows: ``classes``, bool (classes,), in the order of the logits.

    ``warning`` is one line about names that the kit does not have, or None.
    """

    classes: NDArray[np.bool_]
    warning: str | None


def read_species(path: Path) -> tuple[str, ...]:
    """Return the names in a file: one a line, or a table with a column ``scientificName``.

    In a list, ``#`` begins a comment.  A table is CSV, separated by commas, semicolons or tabs.

    Raises
    ------
    SpeciesListError
        The file cannot be read, has more than 10 MB, is not UTF-8, or names nothing.
    """
    where = f"species list {str(path)!r}"
    text = read_text(path, MAX_BYTES, where, SpeciesListError)
    try:
        names = tuple(name for name in _names(text) if name)
    except csv.Error as error:
        raise SpeciesListError(f"{where} is no CSV table ({error}); save it as one") from error
    if not names:
        raise SpeciesListError(f"{where} has no names; write one a line")
    return names


def _names(text: str) -> Iterator[str]:
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    head = next(filter(None, lines), "").replace('"', "").lower()
    for mark in (",", ";", "\t"):
        columns = [column.strip() for column in head.split(mark)]
        if _COLUMN in columns:
            place = columns.index(_COLUMN)
            rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
            found = (row[place].strip() for row in rows if len(row) > place)
            yield from (name for name in found if name.lower() != _COLUMN)
            return
    yield from (line.strip('"').strip() for line in lines)


def folded(name: str) -> str:
    """Return a name without differences that do not matter: of case, spaces and underscores."""
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").casefold().split())


def spellings(name: str) -> Iterator[str]:
    """Yield what a name may be in a kit: as it is, without its author, without its subspecies."""
    yield folded(name)
    if len(name) > MAX_TEXT:
        # No kit has it, and to look for its author would take long.
        return
    match = _AUTHORED.fullmatch(" ".join(name.split()))
    plain = match[1] if match else name
    yield folded(plain)
    words = plain.split()
    if len(words) == 3:
        yield folded(" ".join(words[:2]))


def allowed_classes(names: Iterable[str], classes: Sequence[ClassInfo], where: str) -> Allowed:
    """Return the classes that a list allows.

    A class is allowed if the list has its name or that of a taxon that it belongs to, of any rank.
    ``where`` says in messages what the list is.

    Raises
    ------
    SpeciesListError
        No class is allowed.
    """
    of_class = [{folded(each) for each in (item.name, *item.taxon.values())} for item in classes]
    known = set().union(*of_class)
    wanted: set[str] = set()
    unknown: dict[str, None] = {}
    for name in names:
        spelling = next((each for each in spellings(name) if each in known), None)
        if spelling is None:
            unknown[name] = None
        else:
            wanted.add(spelling)
    allowed = np.array([not wanted.isdisjoint(each) for each in of_class])
    told = "; ".join(_told(name, known) for name in list(unknown)[:_NAMED])
    more = f" and {len(unknown) - _NAMED:,} more" if len(unknown) > _NAMED else ""
    if not allowed.any():
        hint = "a table needs a column scientificName, a list one name a line"
        raise SpeciesListError(
            f"{where} allows no class of the kit: it has no {told or 'names'}{more}; {hint}"
        )
    count, problems = int(allowed.sum()), []
    if unknown:
        problems.append(f"names that the kit does not know: {len(unknown):,} ({told}{more})")
    if count == 1:
        problems.append("every photo will be answered with that class")
    said = f"{where} allows {count:,} of {len(classes):,} classes; {'; '.join(problems)}"
    return Allowed(allowed, said if problems else None)


def _told(name: str, known: set[str]) -> str:
    """Return how messages tell an unknown name: with the kit's nearest name."""
    near = difflib.get_close_matches(folded(name[:80]), known, 1, 0.8)
    return f"{name[:80]!r}" + (f" (perhaps {near[0]!r})" if near else "")


def allowed_levels(levels: Sequence[Level], allowed: NDArray[np.bool_]) -> tuple[Level, ...]:
    """Return the ranks at which the allowed classes differ; the first, the trained one, is kept.

    At a rank where all of them belong to one taxon, it would be the answer to every photo.
    """
    upper = (level for level in levels[1:] if len({*level.places[allowed].tolist()} - {-1}) > 1)
    return (levels[0], *upper)
