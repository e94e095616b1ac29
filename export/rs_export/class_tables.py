"""Tables that say more of the classes in a kit: where they occur, and names in other languages."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rs_export.task import Task
from rs_runtime.files import read_text
from rs_runtime.kit.json_node import MAX_TEXT
from rs_runtime.kit.manifest import RANKS, ClassInfo
from rs_runtime.kit.ranges import MAX_BOXES, MAX_COUNTRIES, Range, is_country, is_locale
from rs_runtime.species import folded, spellings
from rs_toolkit.config.export import ExportSettings
from rs_toolkit.errors import ExportError

__all__ = ["with_names", "with_ranges", "with_tables"]

_MAX_BYTES = 50_000_000
_SHOWN = 3
# Other spellings of columns, without capitals and underscores.
_EDGES = (
    *(("minlongitude", "minlon"), ("minlatitude", "minlat")),
    *(("maxlongitude", "maxlon"), ("maxlatitude", "maxlat")),
)


class _Row(NamedTuple):
    """A row of a table: what messages call it, its name as kits have them, and its cells."""

    where: str
    name: str
    cells: Mapping[str, str]


def with_tables(task: Task, settings: ExportSettings, note: Callable[[str], object]) -> Task:
    """Return a classifier's task whose classes have what the tables of the settings say.

    ``note`` is called with lines about names without a class, and classes without a range.

    Raises
    ------
    ExportError
        A table cannot be used.
    """
    classes = task.about.classes
    if settings.ranges is not None:
        classes = with_ranges(classes, Path(settings.ranges), note)
    if settings.names is not None:
        classes = with_names(classes, task.about.rank, Path(settings.names), note)
    return replace(task, about=replace(task.about, classes=classes))


def with_ranges(
    classes: Sequence[ClassInfo], path: Path, note: Callable[[str], object]
) -> tuple[ClassInfo, ...]:
    """Return classes with the ranges of a CSV table.

    Its columns are ``scientificName``, and ``countries`` (ISO 3166-1 alpha-3 codes with spaces or
    ``;`` between them), or ``minLatitude``, ``maxLatitude``, ``minLongitude``, ``maxLongitude`` in
    degrees, or all of these.  Several rows of a name add up.  A name may be of any rank; a class
    has the range of its finest taxon in the table.

    Raises
    ------
    ExportError
        The table cannot be read, a row is wrong, or none is of a class.
    """
    found: dict[str, Range] = {}
    for row in _rows(path, "ranges"):
        old = found.get(row.name, Range())
        countries = {*old.countries, *_countries(row)}
        boxes = dict.fromkeys((*old.boxes, *_boxes(row)))
        if not (countries or boxes):
            raise ExportError(f"{row.where} has neither countries nor limits; give one of them")
        if len(countries) > MAX_COUNTRIES or len(boxes) > MAX_BOXES:
            most = f"at most {MAX_COUNTRIES} countries and {MAX_BOXES} boxes"
            raise ExportError(f"{row.where}: a name may have {most}; leave some out")
        found[row.name] = Range(tuple(sorted(countries)), tuple(boxes))
    used: set[str] = set()

    def told(item: ClassInfo) -> ClassInfo:
        name = next((name for name in _own_names(item) if name in found), None)
        if name is None:
            return item
        used.add(name)
        return replace(item, range=found[name])

    made = tuple(map(told, classes))
    _check_used(path, "ranges", found, used, note)
    if lacking := [item.name for item in made if item.range is None]:
        note(f"no range: {len(lacking):,} of {len(made):,} classes ({_some(lacking)})")
    return made


def with_names(
    classes: Sequence[ClassInfo], rank: str, path: Path, note: Callable[[str], object]
) -> tuple[ClassInfo, ...]:
    """Return classes with the names of a CSV table, by language.

    Its columns are those of Darwin Core's vernacular names: ``scientificName``, ``vernacularName``
    and ``language``, a tag such as ``sw`` or ``pt-BR``.  The first name of a class in a language is
    taken.  Classes of the ``rank`` ``common_name`` are known by their finest taxon.

    Raises
    ------
    ExportError
        As for :func:`with_ranges`.
    """
    found: dict[str, dict[str, str]] = {}
    for row in _rows(path, "names", "vernacularName", "language"):
        told, language = (row.cells.get(key, "") for key in ("vernacularname", "language"))
        language = language.replace("_", "-")
        if not is_locale(language):
            wanted = "a language such as sw or pt-BR"
            raise ExportError(f"{row.where}: language must be {wanted}, got {language!r}")
        if not 1 <= len(told) <= MAX_TEXT or not told.isprintable():
            wanted = f"1 to {MAX_TEXT} printable characters"
            raise ExportError(f"{row.where}: vernacularName must be {wanted}, got {told[:60]!r}")
        found.setdefault(row.name, {}).setdefault(language, told)
    used: set[str] = set()

    def named(item: ClassInfo) -> ClassInfo:
        own = _own_names(item)
        name = next((name for name in own[: 1 + (rank == "common_name")] if name in found), None)
        if name is None:
            return item
        used.add(name)
        return replace(item, common_names=dict(sorted(found[name].items())))

    made = tuple(map(named, classes))
    _check_used(path, "names", found, used, note)
    return made


def _own_names(item: ClassInfo) -> list[str]:
    """Return a class's name and those of its taxa, the finest first, as tables have them."""
    taxa = [item.taxon[rank] for rank in reversed(RANKS) if rank in item.taxon]
    return list(dict.fromkeys(folded(name) for name in (item.name, *taxa)))


def _rows(path: Path, option: str, *needed: str) -> Iterator[_Row]:
    where = f"--{option} {str(path)!r}"
    text = read_text(path, _MAX_BYTES, where, ExportError)
    try:
        rows = csv.reader(io.StringIO(text, newline=""))
        heads = [head.strip().lower().replace("_", "") for head in next(rows, [])]
        for column in ("scientificName", *needed):
            if column.lower() not in heads:
                raise ExportError(f"{where}: line 1 lacks the column {column}; add it")
        for row in rows:
            cells = {head: cell.strip() for head, cell in zip(heads, row, strict=False)}
            if name := cells.get("scientificname", ""):
                # Of a name with its author, the name alone.
                *_, plain = list(spellings(name))[:2]
                yield _Row(f"{where}: line {rows.line_num}", plain, cells)
    except csv.Error as error:
        raise ExportError(f"{where}: no CSV table ({error}); save it as one") from error


def _countries(row: _Row) -> list[str]:
    codes = row.cells.get("countries", "").replace(";", " ").replace("|", " ").upper().split()
    for code in codes:
        if not is_country(code):
            wanted = "ISO 3166-1 codes of three letters, such as GBR KEN"
            raise ExportError(f"{row.where}: countries must be {wanted}, got {code[:20]!r}")
    return codes


def _boxes(row: _Row) -> list[tuple[float, float, float, float]]:
    texts = [next((row.cells[n] for n in names if row.cells.get(n)), "") for names in _EDGES]
    if not any(texts):
        return []
    try:
        west, south, east, north = map(float, texts)
    except ValueError:
        west = south = east = north = 999.0
    right = -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90
    if not right:
        wanted = "minLatitude <= maxLatitude, -90 to 90, and longitudes from -180 to 180"
        raise ExportError(f"{row.where}: wanted {wanted}, got {', '.join(texts)[:80]!r}")
    return [(west, south, east, north)]


def _check_used(
    path: Path,
    option: str,
    found: Mapping[str, object],
    used: set[str],
    note: Callable[[str], object],
) -> None:
    others = [name for name in found if name not in used]
    if not used:
        told = f"none of its {len(found):,} names is of a class"
        hint = "names must be scientific, as in the training data"
        raise ExportError(f"--{option} {str(path)!r}: {told} ({_some(others)}); {hint}")
    if others:
        note(f"{path.name}: {len(others):,} names are of no class ({_some(others)})")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(name[:80] for name in names[:_SHOWN])
    return f"{shown} …" if len(names) > _SHOWN else shown
