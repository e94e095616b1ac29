"""Ranks of the Linnaean classification, and the names of an organism at them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rs_runtime.kit.manifest import RANKS
from rs_toolkit.errors import ConfigError

__all__ = ["EMPTY_WORDS", "LABELS", "RANKS", "Taxon", "normalize_name", "printable"]

LABELS = (*RANKS, "common_name")
"""Where a photo's label can be taken from: any rank, or the common name."""

EMPTY_WORDS = frozenset({"-", "na", "n/a", "#n/a", "<na>", "nan", "none", "null"})
"""What R, pandas, databases and spreadsheets write into an empty cell, in lower case."""


def printable(text: str) -> str:
    """Return a text with single spaces and without characters that cannot be seen.

    Those are, for example, zero-width spaces, soft hyphens and control characters.
    """
    if not text.isprintable():
        text = "".join(char for char in text if char.isprintable() or char.isspace())
    return " ".join(text.split())


def normalize_name(name: str | None) -> str | None:
    """Return a name in lower case and Unicode NFC as :func:`printable` text; None if it is blank.

    :data:`EMPTY_WORDS` are names here: the readers of data sets have left them out, unless the
    user said that an organism has such a name.
    """
    return unicodedata.normalize("NFC", printable(name or "")).lower() or None


@dataclass(frozen=True)
class Taxon:
    """Names of one organism from kingdom to species, as far as they are known.

    Every field is stored as :func:`normalize_name` returns it.  A species of one word gets its
    genus in front, if that is known, because an epithet alone (``vulgaris``) is ambiguous.
    """

    kingdom: str | None = None
    phylum: str | None = None
    class_: str | None = None
    order: str | None = None
    family: str | None = None
    genus: str | None = None
    species: str | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, normalize_name(value))
        if self.species and self.genus and " " not in self.species:
            object.__setattr__(self, "species", f"{self.genus} {self.species}")

    def at(self, rank: str) -> str | None:
        """Return the name at a rank of :data:`RANKS`, None where it is unknown.

        Raises
        ------
        ConfigError
            There is no such rank.
        """
        if rank not in RANKS:
            raise ConfigError(f"rank: got {rank!r}, wanted one of: {', '.join(RANKS)}")
        name: str | None = getattr(self, "class_" if rank == "class" else rank)
        return name

    @property
    def names(self) -> tuple[str | None, ...]:
        """The names at all :data:`RANKS`, in their order; None where one is unknown."""
        return tuple(vars(self).values())

    def to_dict(self) -> dict[str, str]:
        """Return the known names by rank, highest rank first."""
        return {rank: name for rank, name in zip(RANKS, self.names, strict=True) if name}

    @classmethod
    def from_dict(cls, names: Mapping[str, Any]) -> Taxon:
        """Build from names by rank; keys that are no rank are ignored."""
        return cls(*map(names.get, RANKS))
