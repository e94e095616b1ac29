"""What every reader does with a row: check its path, refuse repeats, tidy its texts."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon, normalize_name, printable

__all__ = ["is_organism", "keep_first", "label_rank", "one_label", "relative_path", "tidy"]

# Absolute paths of POSIX, and of Windows with a drive letter.
_ABSOLUTE = re.compile(r"[/\\]|[a-z]:", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Endings that the codes of nomenclature prescribe for families of animals and of plants.
_FAMILY_ENDINGS = ("idae", "aceae")
# What camera-trap projects call frames that show no organism, or none that was named.
_NO_ORGANISM = frozenset(
    {
        *("empty", "blank", "nothing", "no animal", "misfire", "false trigger"),
        *("human", "humans", "person", "people", "homo sapiens"),
        *("vehicle", "vehicles", "car", "truck", "motorcycle", "bicycle"),
        *("animal", "unknown", "unidentified", "unclassified", "unlabelled", "unlabeled"),
        *("unidentifiable", "unknown animal", "unidentified animal"),
        *("setup", "setup_pickup", "calibration"),
    }
)


def is_organism(name: str | None) -> bool:
    """Return whether a label names an organism, and not an empty frame, people or vehicles."""
    label = normalize_name(name)
    return label is not None and label not in _NO_ORGANISM


def one_label(names: Collection[str]) -> str | None:
    """Return the organism among the different labels of a photo; None where none is an organism.

    Raises
    ------
    ValueError
        There is an organism and another label: the photo has no one label.
    """
    organisms = sorted(filter(is_organism, names))
    if organisms and len(names) > 1:
        labels = ", ".join(sorted(repr(name[:80]) for name in names))
        raise ValueError(f"has several labels ({labels}); leave one")
    return organisms[0] if organisms else None


def label_rank(names: Iterable[str]) -> str:
    """Return ``family`` where all class names end as families' names do, else ``species``."""
    families = all(name.strip().lower().endswith(_FAMILY_ENDINGS) for name in names)
    return "family" if families else "species"


def tidy(value: object) -> str | None:
    """Return a text or a whole number as one printable line; None for anything else or empty."""
    if type(value) not in (str, int):
        return None
    return printable(str(value)) or None


def relative_path(value: object) -> tuple[str, str | None]:
    """Check the path of a photo, which comes from a file that is not trusted.

    Returns
    -------
    path, error
        The path in POSIX form relative to the data set's root, below which it stays, and None;
        or the text as it was given, fit to be written, and why it cannot be used.
    """
    given = value if isinstance(value, str) else ""
    path = posixpath.normpath(given.replace("\\", "/"))
    error = None
    if not given:
        error = "no path; fill it in"
    elif "\0" in given:
        error = "a NUL character in the path; write the file anew"
    elif (writable := given.encode("utf-8", "backslashreplace").decode()) != given:
        given, error = writable, "the path is not Unicode; rename the file"
    elif _URL.match(given):
        error = "a URL; download the photo and give its path"
    elif _ABSOLUTE.match(given):
        error = "absolute path; give it relative to the data set's folder"
    elif path == "." or path.split("/")[0] == "..":
        error = "path leads out of the folder of the data set; move the photo below it"
    return (path, None) if error is None else (given, error)


def keep_first(rows: Iterable[tuple[str, Photo]], what: str = "path") -> Iterator[Photo]:
    """Yield the photos of rows; an error begins with its row's place, and repeats are errors.

    ``rows`` are the place of each (``line 4``), and its photo; ``what`` is what a row with the
    path of an earlier one is said to repeat.
    """
    first: dict[str, tuple[str, Taxon]] = {}
    for place, photo in rows:
        error = photo.error
        if error is None and photo.path in first:
            earlier, taxon = first[photo.path]
            label = "the same label" if photo.taxon == taxon else "another label, not used"
            error = f"repeats the {what} of {earlier} with {label}; delete one"
        elif error is None:
            first[photo.path] = place, photo.taxon
        yield photo if error is None else replace(photo, error=f"{place}: {error}")
