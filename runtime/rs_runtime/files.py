"""Write files atomically: whole or not at all.  Read small ones that may be anything."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_write", "put", "read_text", "relative_path", "temporary_beside"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` when the block ends well.

    The temporary file lies in the same folder and keeps the suffixes of ``path``, because some
    writers (Keras, matplotlib) choose their format by suffix.  It is flushed to disk before the
    rename, and removed when the block raises.

    Raises
    ------
    OSError
        The folder cannot be made or written, or the disk is full; its ``filename`` is the folder.
        ``path`` is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        yield temporary
        put(temporary, path)
    except OSError as error:
        # Unlike errors of opening, those of writing do not say where.
        if error.errno in _FULL and error.filename is None:
            error.filename = str(path.parent)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """Make an empty hidden file in the folder of ``path``, with its suffixes, and return it."""
    # A temporary file that kill -9 leaves behind must not be taken for the newest kit.
    suffix = "" if ".rskit" in path.suffixes else "".join(path.suffixes[-2:])
    temporary = path.with_name(f".tmp-{os.urandom(8).hex()}{suffix}")
    # Unlike with tempfile.mkstemp, permissions are those that the umask allows.
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return temporary


def put(temporary: Path, path: Path) -> None:
    """Flush a closed temporary file to the disk, and let it replace ``path``."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def relative_path(path: str, base: str) -> str:
    """Return a path relative to a folder, with ``/`` between its parts; absolute if outside."""
    whole, start = os.path.abspath(path), os.path.join(base, "")
    inside = whole[len(start) :] if whole.startswith(start) else whole
    return inside.replace(os.sep, "/")


def read_text(path: Path, most: int, where: str, error: type[Exception]) -> str:
    """Return the text of a small file in UTF-8, without a byte order mark.

    Raises
    ------
    error
        The file cannot be read, has more than ``most`` bytes, or is not UTF-8; ``where`` begins
        its message.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise error(f"{where} is larger than {most} bytes; shorten it")
        return data.decode("utf-8-sig")
    except OSError as problem:
        raise error(f"{where} cannot be read: {problem.strerror}; check the path") from problem
    except UnicodeDecodeError as problem:
        raise error(f"{where} is no text in UTF-8 ({problem}); save it as UTF-8") from problem
