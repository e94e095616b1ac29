"""Names of files and folders that are made from names of taxa and photos."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from rs_runtime.errors import OutputError
from rs_runtime.files import atomic_write
from rs_runtime.outputs.pending import folder_is_new
from rs_runtime.photos.folder import MARK, is_marked

__all__ = ["flat_name", "open_folder", "safe_name"]

# Names that Windows keeps for devices, whatever the suffix.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.I)
_MARK_TEXT = "rs-classify wrote this folder. What is in it is never read as photos.\n"


def safe_name(text: str, longest: int = 100) -> str:
    """Return a text as the name of a file on any system: no separators, no device, not hidden."""
    kept = "".join(c if c.isalnum() or c in " -_.()" else "_" for c in text)
    name = kept.encode()[:longest].decode("utf-8", "ignore").strip(" .") or "_"
    return f"_{name}" if _DEVICES.match(name) else name


def flat_name(path: str, suffix: str = "") -> str:
    """Return one name for a relative path, ``a/b/c.jpg`` as ``a__b__c.jpg``, with a suffix added.

    If characters had to be replaced or left out, the name ends in a hash of the path, so that two
    paths do not get one name.
    """
    wanted = path.replace("/", "__")
    stem, dot, kind = wanted.rpartition(".")
    name = safe_name(stem or wanted, 180)
    kind = safe_name(kind, 10) if stem and dot else ""
    if f"{name}.{kind}" != wanted and name != wanted:
        digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:10]
        name = f"{name}-{digest}"
    return f"{name}{'.' + kind if kind else ''}{suffix}"


def open_folder(folder: Path, used_by: str) -> None:
    """Make a folder for pictures, and mark it so that they are not taken for photos of cameras.

    ``used_by`` is the name of a file that shows that the same option has made the folder.

    Raises
    ------
    OutputError
        It is there and holds something else.
    OSError
        It cannot be made.
    """
    if not folder.parent.is_dir():
        raise OutputError(
            f"{str(folder)!r}: folder {str(folder.parent)!r} is not there; make it, or give another"
        )
    if not folder_is_new(folder) and not (is_marked(folder) and (folder / used_by).is_file()):
        raise OutputError(f"{str(folder)!r} holds other files; give a new folder")
    folder.mkdir(exist_ok=True)
    if not is_marked(folder):
        with atomic_write(folder / MARK) as temporary:
            temporary.write_text(_MARK_TEXT, "utf-8")
