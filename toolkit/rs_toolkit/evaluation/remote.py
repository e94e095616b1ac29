"""Photos in object stores: ``s3://`` and ``gs://``, listed and read through pyarrow.

Only ``rs-toolkit`` reads them; ``rs-classify`` stays offline.  Credentials, region and endpoint are
those of the environment, as pyarrow finds them.
"""

from __future__ import annotations

import posixpath
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from rs_runtime.errors import PhotoTooLargeError, RuntimeKitError, UnreadablePhotoError, reason
from rs_runtime.photos.folder import is_hidden, photo_problem
from rs_runtime.photos.photo import MAX_PHOTO_BYTES
from rs_runtime.photos.room import enough_memory
from rs_runtime.photos.stored import PhotoBytes, StoredPhoto

__all__ = ["RemotePhoto", "is_remote", "with_remote"]

Found = TypeVar("Found")

# pathlib has taken away one of the two slashes.
_REMOTE = re.compile(r"(s3|gs):/{1,2}(?=[^/])")
_TRIES = 3
_PAUSE_S = 1.0


@dataclass(frozen=True)
class RemotePhoto(StoredPhoto):
    """A photo in an object store.

    ``scheme`` is ``s3`` or ``gs``, ``key`` the bucket and the name in it.  ``problem`` is why it is
    not read, if that is known.
    """

    scheme: str
    key: str
    size: int = 0
    mtime_ns: int = 0
    problem: str = ""

    @property
    def path(self) -> str:
        """What results call the photo: its address."""
        return f"{self.scheme}://{self.key}"

    def __fspath__(self) -> str:
        """Return the address: outputs ask what was given for its name."""
        return self.path

    def __str__(self) -> str:
        return self.path

    @property
    def mark(self) -> str:
        """The kind of store."""
        return self.scheme

    def read(self) -> PhotoBytes:
        """Return the photo's bytes.

        Raises
        ------
        UnreadablePhotoError
            There is no such object, it has changed since it was listed, or it cannot be read, also
            when that is tried three times.
        PhotoTooLargeError
            It has more than 200 MB, and is not fetched; or than the memory allows.
        """
        where = f"photo {self.path!r}"
        if self.problem:
            raise UnreadablePhotoError(f"{where}: {self.problem}")
        if self.size > MAX_PHOTO_BYTES:
            raise PhotoTooLargeError(f"{where} is larger than {MAX_PHOTO_BYTES} bytes; shrink it")
        try:
            with enough_memory(where):
                data = _tried(self._fetched)
        except FileNotFoundError as error:
            raise UnreadablePhotoError(f"{where} does not exist; check the address") from error
        except OSError as error:
            problem = f"cannot be read: {reason(error)}; check the network and the credentials"
            raise UnreadablePhotoError(f"{where} {problem}") from error
        if len(data) != self.size:
            raise UnreadablePhotoError(f"{where} has changed since it was listed; try again")
        return PhotoBytes.named(data, self.path)

    def _fetched(self) -> bytes:
        with _store(self.scheme, self.key.partition("/")[0]).open_input_stream(self.key) as stream:
            return bytes(stream.read(self.size + 1))


def is_remote(path: object) -> bool:
    """Return whether a path is the address of an object store."""
    return _REMOTE.match(str(path)) is not None


def with_remote(given: Sequence[Path]) -> list[Path | RemotePhoto]:
    """Return paths, with each address of an object store replaced by the photos there.

    An address is that of one photo, or of all below it.  What is there is known by its suffix; of
    videos and archives nothing is found.  An address without photos stays, as one that is not read.

    Raises
    ------
    RuntimeKitError
        The store cannot be reached.
    """
    found: list[Path | RemotePhoto] = []
    for path in given:
        if not is_remote(path):
            found.append(path)
            continue
        address = _REMOTE.sub(r"\1://", str(path))
        scheme, _, key = address.partition("://")
        try:
            photos = _tried(partial(_listed, scheme, key))
        except OSError as error:
            raise RuntimeKitError(
                f"{address}: cannot be listed ({reason(error)}); check the address, the network "
                "and the credentials"
            ) from error
        found += photos or [RemotePhoto(scheme, key, problem="there is no photo at this address")]
    return found


def _listed(scheme: str, key: str) -> list[RemotePhoto]:
    from pyarrow.fs import FileSelector, FileType

    key = key.rstrip("/")
    store = _store(scheme, key.partition("/")[0])
    one = store.get_file_info(key)
    infos = [one]
    if one.type == FileType.Directory:
        infos = store.get_file_info(FileSelector(key, recursive=True))
    found = []
    for info in sorted(infos, key=lambda info: str(info.path)):
        inside = str(info.path)[len(key) :].split("/")
        problem = photo_problem(posixpath.basename(info.path), lambda: b"")
        if info.type == FileType.File and not any(map(is_hidden, inside)) and problem is not None:
            found.append(RemotePhoto(scheme, info.path, info.size, info.mtime_ns or 0, problem))
    return found


@cache
def _store(scheme: str, bucket: str) -> Any:
    """Return pyarrow's file system of a bucket; its paths begin with the bucket."""
    from pyarrow.fs import FileSystem

    return FileSystem.from_uri(f"{scheme}://{bucket}")[0]


def _tried(task: Callable[[], Found]) -> Found:
    """Return what a task returns; it is tried again after errors that may pass."""
    for number in range(_TRIES):
        try:
            return task()
        except FileNotFoundError:
            raise
        except OSError:
            if number == _TRIES - 1:
                raise
            time.sleep(_PAUSE_S * 2**number)
    raise AssertionError("unreachable")
