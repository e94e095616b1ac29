"""From the scientific names of a Camera Trap Data Package to taxa."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from rs_toolkit.data.readers.rows import label_rank, tidy
from rs_toolkit.data.taxonomy import RANKS, Taxon, normalize_name

__all__ = ["Names", "names_of"]

Names = Callable[[str], tuple[Taxon, str | None]]
"""From a scientific name to its taxon and its English name, if the package has one."""

_BELOW_SPECIES = frozenset({"subspecies", "variety", "form"})
# "Canis sp." is some species of the genus.
_SOME_SPECIES = frozenset({"sp", "sp.", "spp", "spp.", "indet", "indet."})


def names_of(package: dict[str, Any]) -> Names:
    """Return what looks names up in the content of ``datapackage.json``.

    A name stands at the ``taxonRank`` that the package's list ``taxonomic`` has for it.  Without
    one, a name of two words or more is a species', one that ends in ``idae`` or ``aceae`` a
    family's, and any other a genus's.
    """
    taxonomic = package.get("taxonomic")
    listed: dict[str | None, dict[str, Any]] = {
        normalize_name(item["scientificName"]): item
        for item in (taxonomic if isinstance(taxonomic, list) else [])
        if isinstance(item, dict) and isinstance(item.get("scientificName"), str)
    }

    @cache
    def named(name: str) -> tuple[Taxon, str | None]:
        item = listed.get(normalize_name(name), {})
        common = item.get("vernacularNames")
        english = (common.get("eng") or common.get("en")) if isinstance(common, dict) else None
        return _taxon(name, item), tidy(english)

    return named


def _taxon(name: str, listed: dict[str, Any]) -> Taxon:
    names = {rank: tidy(listed.get(rank)) for rank in RANKS}
    first, *rest = name.split()
    given = listed.get("taxonRank")
    rank = normalize_name(given) if isinstance(given, str) else None
    if rank is None:
        rank = "species" if rest else label_rank([first])
        if rank == "species" and (not rest or rest[0].lower() in _SOME_SPECIES):
            rank = "genus"
    if rank == "species" or rank in _BELOW_SPECIES:
        names["species"] = " ".join((first, *rest[:1]))
        names["genus"] = names["genus"] or first
    elif rank in RANKS:
        names[rank] = first
    return Taxon.from_dict(names)
