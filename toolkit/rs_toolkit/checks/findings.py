"""Findings: what the checks say about photos, one row for each photo and flag.

==================  ================================================================
flag                score, 0 (sound) to 1 (surely bad)
==================  ================================================================
unreadable          1
exact_duplicate     1; ``detail`` names the photo that it repeats
near_duplicate      similarity to the photo that ``detail`` names
blank               share of the frame without structure
dark                how much darker than middle grey its brightest parts are
blurred             how much less sharp than a usable photo its sharpest parts are
not_organism        probability, by a filter, that it shows no organism
label_noise         probability that its label is wrong
outlier             how unusual its distance from photos of its class is
==================  ================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rs_toolkit.data.table import read_table, write_table

__all__ = ["FLAGS", "Finding", "read_findings", "write_findings"]

FLAGS = (
    *("unreadable", "exact_duplicate", "near_duplicate", "blank", "dark", "blurred"),
    *("not_organism", "label_noise", "outlier"),
)
_FORMAT = {b"rs_toolkit.findings": b"1"}


@dataclass(frozen=True)
class Finding:
    """One problem of one photo; the table of this module says what flag and score mean.

    ``suggested_label`` is a class that fits better, if any; ``suggested_weight``, 0 to 1, is how
    much the photo should count in training, before any cap; ``detail`` tells the user why.
    """

    path: str
    flag: str
    score: float
    suggested_label: str | None = None
    suggested_weight: float = 1.0
    detail: str = ""

    def __post_init__(self) -> None:
        for name in ("score", "suggested_weight"):
            if not (math.isfinite(value := getattr(self, name)) and 0 <= value <= 1):
                raise ValueError(f"finding {self.path}: {name} is {value}, not from 0 to 1")
        if self.flag not in FLAGS:
            raise ValueError(f"finding {self.path}: flag {self.flag!r} is none of {FLAGS}")


def write_findings(path: Path, findings: Iterable[Finding]) -> None:
    """Write findings as a Parquet table, one row each, atomically."""
    write_table(path, map(asdict, findings), _schema())


def read_findings(path: Path) -> tuple[Finding, ...]:
    """Read what :func:`write_findings` wrote.

    Raises
    ------
    DataError
        The file is missing, damaged, or holds no findings of this version.
    """
    return read_table(path, lambda row: Finding(**row), [_schema()], "findings", "clean again")


def _schema() -> Any:
    import pyarrow

    kinds = {"float": pyarrow.float64()}
    columns = [(item.name, kinds.get(str(item.type), pyarrow.string())) for item in fields(Finding)]
    return pyarrow.schema(columns, metadata=_FORMAT)
