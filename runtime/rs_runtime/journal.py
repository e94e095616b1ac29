"""The journal of a long run: what was answered is kept, through ``kill -9`` and power loss.

:mod:`rs_runtime.journal_file` is its file; docs/decisions/0024-a-journal-of-answers.md says why.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_runtime.installed import installed_version
from rs_runtime.journal_file import Journal, PhotoKey
from rs_runtime.photos.boxes import BoxedPhoto
from rs_runtime.photos.formats import PHOTO_SUFFIXES
from rs_runtime.photos.stored import StoredPhoto
from rs_runtime.results import Prediction, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_runtime.classify import Classifier

__all__ = ["photo_key", "resumed", "settings_of"]


def photo_key(photo: object, frames: int = 0) -> PhotoKey | None:
    """Return the key of a photo's file; None for other objects, and if there is no such file.

    ``frames`` are those of the classifier.
    """
    if isinstance(photo, str | Path):
        try:
            found = os.stat(photo)
        except (OSError, ValueError):
            return None
        # What has the suffix of a photo is hardly ever a video, and is not opened to find out.
        suffix = os.path.splitext(photo)[1].lower()
        more = "" if suffix in PHOTO_SUFFIXES else f"frames:{frames}"
        return PhotoKey(str(photo), found.st_size, found.st_mtime_ns, more)
    if isinstance(photo, StoredPhoto):
        more = f"{photo.mark}:frames:{frames}"
        return PhotoKey(photo.path, photo.size, photo.mtime_ns, more)
    if isinstance(photo, BoxedPhoto) and (key := photo_key(photo.photo)):
        digest = hashlib.sha256(repr(photo.boxes).encode()).hexdigest()[:32]
        return key._replace(more=f"{key.more}:boxes:{digest}")
    return None


def settings_of(classifier: Classifier, top: int) -> dict[str, Any]:
    """Return everything that the answers depend on, apart from the photos, as JSON values."""
    judge = classifier.filter
    return {
        "version": installed_version(),
        # The manifest holds the hash of each model, and the settings of each filter.
        "kit": hashlib.sha256(classifier.manifest.to_json()).hexdigest(),
        "variant": classifier.variant.name,
        "engine": classifier.variant.engine,
        "thresholds": dict(classifier.thresholds),
        "coverage": classifier.coverage,
        "filter": judge and {"variant": judge.variant.name, "thresholds": judge.thresholds},
        "only_organisms": classifier.only_organisms,
        "strict_photos": classifier.strict_photos,
        "top": top,
        "species": _digest(classifier.allowed),
        # Weights of 1 are those of every place; the answer tells what is expected at this one.
        "place": [_digest(classifier.weights), _digest(classifier.expected)],
        "keep_all": classifier.keep_all,
        "thumbnails": classifier.keep_thumbnails,
        # Answers of a release that kept less of them are not taken for this one's.
        "fields": [field.name for field in fields(Prediction)],
    }


def _digest(of_classes: NDArray[Any] | None) -> str | None:
    return None if of_classes is None else hashlib.sha256(of_classes.tobytes()).hexdigest()


def resumed(
    classifier: Classifier, photos: Iterable[Any], top: int, path: Path
) -> Generator[Result, None, None]:
    """Classify many photos as :meth:`Classifier.classify_many`, those in the journal not again.

    A photo without an answer is tried again each time: its disk or the memory may be there again.

    Raises
    ------
    JournalError
        As for :class:`rs_runtime.journal_file.Journal`.
    OSError
        The journal cannot be read or written.
    """
    keys: deque[PhotoKey | None] = deque()
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(Journal(path, settings_of(classifier, top)))

        def unanswered() -> Iterator[Any]:
            for photo in photos:
                if photo is None:
                    yield None
                    continue
                key = photo_key(photo, classifier.frames)
                known = journal.find(key) if key else None
                if known and not _is_whole(known, key, classifier):
                    known = None
                keys.append(None if known else key)
                yield known or photo

        results = classifier.classify_many(unanswered(), top)
        stack.enter_context(contextlib.closing(results))
        for found in results:
            key = keys.popleft()
            if key and isinstance(found, Prediction):
                journal.add(key, found)
            yield found


def _is_whole(known: Prediction, key: PhotoKey | None, classifier: Classifier) -> bool:
    """Return whether an answer from the journal is the one that would be given now."""
    if classifier.filter and not known.filter and not known.without_animal:
        # The filter failed at this photo.
        return False
    # The key of a video with the suffix of a photo does not say how many frames there are.
    return not known.frames or (key is not None and "frames" in key.more)
