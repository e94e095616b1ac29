"""What every format knows of a run: its folder, its kit, and how to speak to the user."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rs_runtime.errors import PhotoError
from rs_runtime.files import relative_path
from rs_runtime.installed import installed_version
from rs_runtime.results import Result

if TYPE_CHECKING:
    from rs_runtime.classify import Classifier
    from rs_runtime.outputs.labels import Labels
    from rs_runtime.photos.zipped import ZipPhoto

__all__ = ["Context", "Writer", "folder_given"]

# A random namespace of this project (RFC 9562, version 5), so that identifiers can be made again.
_NAMESPACE = "0f6a3a0e-5d6b-4f0b-9a5e-6d3f3c1c8a47"


class Writer(Protocol):
    """Something that is made of results."""

    def add(self, found: Result) -> None:
        """Take the next result."""

    def close(self, complete: bool) -> None:
        """Put everything in its place; ``complete`` is false if the run was interrupted."""

    def discard(self) -> None:
        """Leave nothing half done behind."""


class Context:
    """Facts about the run.

    Attributes
    ----------
    options
        As :func:`rs_runtime.outputs.options.add_output_options` has them, with ``photos``, ``top``.
    tell
        Called with one line for the user.
    base
        The folder that paths are relative to: :func:`folder_given`.
    """

    def __init__(
        self,
        classifier: Classifier,
        options: argparse.Namespace,
        tell: Callable[[str], object],
    ) -> None:
        self.classifier, self.options, self.tell = classifier, options, tell
        self.manifest = classifier.manifest
        self.base = folder_given(options)
        self._archived: ZipPhoto | None = None
        self._folder: tuple[str, str | None] = ("", None)
        self.model = f"{self.manifest.name} ({classifier.variant.name})"

    @cached_property
    def labels(self) -> Labels:
        """Finds the label of a result."""
        from rs_runtime.outputs.labels import Labels

        return Labels(self.manifest)

    @cached_property
    def software(self) -> str:
        """Name and version of the program."""
        return f"rs-toolkit {installed_version() or 'of unknown version'}"

    def photo(self, path: str | None) -> Path | bytes | None:
        """Return a photo's file, or its bytes if it is in an archive; None if it is not there."""
        if path is None or os.path.isfile(path):
            return None if path is None else Path(path)
        from rs_runtime.photos.zipped import photo_in_archive

        # It keeps its archive open for the next one.
        self._archived = photo_in_archive(path)
        try:
            return None if self._archived is None else self._archived.read()
        except PhotoError:
            return None

    def archive(self, path: str | None) -> str | None:
        """Return the relative path of the archive that a photo is in, None if it is in none."""
        folder = os.path.dirname(path or "")
        if folder != self._folder[0]:
            from rs_runtime.photos.zipped import archive_of

            inside = folder and archive_of(folder)
            self._folder = folder, inside and self.relative(inside)
        return self._folder[1] or None

    def relative(self, path: str | None) -> str:
        """Return a photo's path relative to the run's folder, with ``/`` between its parts.

        A path outside of the folder is absolute; a photo without a path has the empty text.
        """
        if path is None:
            return ""
        # That of a photo elsewhere, such as s3://bucket/name, is no path of this machine.
        return path if "://" in path else relative_path(path, self.base)

    def identifier(self, kind: str, *facts: str | None) -> str:
        """Return an identifier (UUID) that is the same each time for the same facts."""
        import uuid

        text = "\0".join((kind, *(fact or "" for fact in facts)))
        # A name may hold bytes that are no text.
        name = text.encode("utf-8", "backslashreplace").decode()
        return str(uuid.uuid5(uuid.UUID(_NAMESPACE), name))


def folder_given(options: argparse.Namespace) -> str:
    """Return the folder that holds all ``photos`` and ``watch``; for one folder, that folder."""
    folders = []
    for path in [*options.photos, *([options.watch] if options.watch else [])]:
        folder = os.path.abspath(path)
        # Of a pattern such as photos/**/*.jpg, the part that is there.
        while not os.path.isdir(folder) and folder != os.path.dirname(folder):
            folder = os.path.dirname(folder)
        folders.append(folder)
    try:
        return os.path.commonpath(folders)
    except ValueError:
        # None, or on different disks of Windows.
        return os.getcwd()
