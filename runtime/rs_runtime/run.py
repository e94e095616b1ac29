"""What ``rs-classify`` and ``rs-toolkit predict`` do: classify photos and print what is found."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rs_runtime.console import complain, say
from rs_runtime.results import Failure, Prediction, Result
from rs_runtime.table import table_lines

if TYPE_CHECKING:
    from rs_runtime.classify import Classifier

__all__ = ["classify_all"]

_GOOD, _SOME_FAILED, _UNUSABLE = 0, 1, 2


def classify_all(
    classifier: Classifier,
    options: argparse.Namespace,
    record: Callable[[Result], object] = lambda found: None,
) -> int:
    """Classify each photo, or report why it cannot be used; return the exit code.

    ``options`` holds ``photos`` (files and folders), ``json`` and ``top`` as ``rs-classify`` has
    them, and ``program``, which begins every complaint.  ``record`` is called with each result.
    """
    codes, answered, engine_failed = {_GOOD}, False, False

    def tell(problem: str) -> None:
        complain(options.program, problem)

    results = classifier.classify_many(_sources(options.photos, tell), options.top)
    with closing(results):
        for found in results:
            if isinstance(found, Prediction):
                answered = True
                if found.note:
                    tell(f"warning: photo {found.path!r} {found.note}")
            else:
                codes.add(_UNUSABLE if found.kind == "folder" else _SOME_FAILED)
                engine_failed = engine_failed or found.kind == "engine"
            if options.json:
                say(json.dumps(found.to_dict()))
            elif isinstance(found, Prediction):
                say(table_lines(found))
            if isinstance(found, Failure):
                tell(found.problem)
            record(found)
    return _UNUSABLE if engine_failed and not answered else max(codes)


def _sources(given: Sequence[Path], tell: Callable[[str], object]) -> Iterator[Path | Failure]:
    """Yield each photo of files and folders, or what is wrong with it or its folder."""
    from rs_runtime.photos.folder import photos_below, unsupported
    from rs_runtime.photos.formats import PHOTO_SUFFIXES

    for path in given:
        if not os.path.isdir(path):
            yield _source(str(path), unsupported(path))
            continue
        problems: list[OSError] = []
        empty = True
        outputs: list[str] = []
        for name, problem in photos_below(path, problems.append, outputs):
            empty = False
            yield _source(name, problem)
        for error in problems:
            place = str(error.filename or path)
            problem = f"folder {place!r} cannot be read: {error.strerror}"
            yield Failure(place, problem, "folder")
        for folder in outputs:
            tell(f"left out: folder {folder!r}, which rs-toolkit wrote")
        if empty and not problems:
            kinds = " ".join(sorted(PHOTO_SUFFIXES))
            problem = f"folder {str(path)!r} holds no photos; wanted files ending in {kinds}"
            yield Failure(str(path), problem, "folder")


def _source(name: str, problem: str | None) -> Path | Failure:
    return Failure(name, f"photo {name!r}: {problem}") if problem else Path(name)
