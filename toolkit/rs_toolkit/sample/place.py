"""Where the sample is drawn, and how it gets to its place whole."""

from __future__ import annotations

import glob
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rs_toolkit.errors import DataError

__all__ = ["placed", "remove_leftovers"]

# Moved in this order: a sample counts as whole once it has its metadata, so they come last.
_CONTENTS = ("photos", "README.txt", "truth.json", "metadata.csv")
_SAMPLE = "sample"


def _prefix(target: Path) -> str:
    return f".tmp-{target.name}-"


@contextmanager
def placed(target: Path) -> Iterator[Path]:
    """Yield a folder to draw in; when the block ends well, its content is at ``target``.

    A folder that exists is filled and never replaced: it may be a mount point, the working
    folder of a shell, or the one folder that may be written.  So the drawing is done inside it,
    on the same file system; a new folder is drawn beside its place and appears by one rename.

    Raises
    ------
    DataError
        A file of the same name has come to ``target`` meanwhile.
    """
    home = target if target.is_dir() else target.parent
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_prefix(target), dir=home) as scratch:
        root = Path(scratch) / _SAMPLE
        root.mkdir()
        yield root
        if target.is_dir():
            _move_contents(root, target)
        else:
            root.rename(target)


def _move_contents(root: Path, target: Path) -> None:
    """Move the sample's files into an existing folder: all of them or, after an error, none."""
    for name in _CONTENTS:
        if (target / name).exists():
            raise DataError(
                f"sample: {target / name} appeared while the sample was drawn; choose another "
                "folder or remove it"
            )
    try:
        for name in _CONTENTS:
            (root / name).rename(target / name)
    except BaseException:
        for name in _CONTENTS:
            if not (root / name).exists():
                (target / name).rename(root / name)
        raise


def remove_leftovers(target: Path) -> None:
    """Remove what killed runs for this very ``target`` left beside it or inside it."""
    # The eight characters are those that tempfile appends.
    pattern = glob.escape(_prefix(target)) + "?" * 8
    for entry in [*target.parent.glob(pattern), *target.glob(pattern)]:
        if _is_scratch(entry):
            shutil.rmtree(entry, ignore_errors=True)


def _is_scratch(folder: Path) -> bool:
    """Tell whether a folder holds nothing but what ``placed`` makes in it."""
    made = {folder / _SAMPLE, *(folder / _SAMPLE / name for name in _CONTENTS)}
    found = {*folder.glob("*"), *folder.glob("*/*")}
    return folder.is_dir() and not folder.is_symlink() and found <= made
