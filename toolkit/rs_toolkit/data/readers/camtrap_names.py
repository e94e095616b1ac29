"""From the scientific names of a Camera Trap Data Package to taxa."""

from __future__ import annotations

from typing import Any

from rs_toolkit.data.readers.rows import label_rank, tidy
from rs_toolkit.data.taxonomy import RANKS, Taxon, normalize_name

__all__ = ["Names"]

_BELOW_SPECIES = frozenset({"subspecies", "variety", "form"})
# "Canis sp." is some species of the genus.
_SOME_SPECIES = frozenset({"sp", "sp.", "spp", "spp.", "indet", "indet."})


class Names:
    """The taxa of a package's ``taxonomic`` list, and those that names themselves stand for.

    Parameters
    ----------
    package
        Content of ``datapackage.json``.
    """

    def __init__(self, package: dict[str, Any]) -> None:
        listed = package.get("taxonomic")
        self._listed: dict[str | None, dict[str, Any]] = {
            normalize_name(item["scientificName"]): item
            for item in (listed if isinstance(listed, list) else [])
            if isinstance(item, dict) and isinstance(item.get("scientificName"), str)
        }
        self._known: dict[str, tuple[Taxon, str | None]] = {}

    def of(self, name: str) -> tuple[Taxon, str | None]:
        """Return a scientific name's taxon and its English name, if the package has one.

        The name stands at its listed ``taxonRank``; else a name of two words or more is a
        species', one that ends in ``idae`` or ``aceae`` a family's, and any other a genus's.
        """
        if name not in self._known:
            listed = self._listed.get(normalize_name(name), {})
            common = listed.get("vernacularNames")
            english = (common.get("eng") or common.get("en")) if isinstance(common, dict) else None
            self._known[name] = _taxon(name, listed), tidy(english)
        return self._known[name]


def _taxon(name: str, listed: dict[str, Any]) -> Taxon:
    names = {rank: tidy(listed.get(rank)) for rank in RANKS}
    first, *rest = name.split()
    given = listed.get("taxonRank")
    rank = normalize_name(given) if isinstance(given, str) else None
    if rank is None:
        rank = "species" if rest else label_rank([first], "species")
        if rank == "species" and (not rest or rest[0].lower() in _SOME_SPECIES):
            rank = "genus"
    if rank == "species" or rank in _BELOW_SPECIES:
        names["species"] = " ".join((first, *rest[:1]))
        names["genus"] = names["genus"] or first
    elif rank in RANKS:
        names[rank] = first
    return Taxon.from_dict(names)
