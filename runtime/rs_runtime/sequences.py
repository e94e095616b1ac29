"""One answer for the photos of a sequence, beside the photos' own.

A camera that is triggered takes several photos of the same animal.  Its sequence is given, or told
by the times of the photos.  The answer comes from the mean of the logarithms of the photos'
calibrated probabilities, normalized: a class must be probable in most photos, not only in one.

Answers are made from results as they come, also from those of a journal, so that a run that goes on
after a crash has the answers of one that was never disturbed.
"""

from __future__ import annotations

import base64
import csv
import io
import os
import re
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rs_runtime.errors import SequenceError
from rs_runtime.files import read_text, relative_path
from rs_runtime.kit.manifest import NOT_ORGANISM
from rs_runtime.results import Prediction, Result, SequenceAnswer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_runtime.classify import Classifier

__all__ = [
    "MOST",
    "ByTable",
    "ByTime",
    "SequenceRule",
    "classify_sequences",
    "read_sequences",
]

MOST = 500
"""So many results wait at most for the end of a sequence; then it ends as it is."""

_MAX_BYTES = 50_000_000
_ZERO = datetime(1, 1, 1)


def _warn(problem: str) -> None:
    warnings.warn(problem, RuntimeWarning, stacklevel=3)


class SequenceRule(Protocol):
    """Says which sequence each photo belongs to, in the order of the results."""

    def place(self, found: Result) -> str | None:
        """Return the name of a result's sequence, None if it is in none."""

    def goes_on(self, name: str) -> bool:
        """Return whether more photos of a sequence may come."""

    def cut(self) -> None:
        """Take note that all sequences were ended."""

    def problem(self) -> str | None:
        """Return one line if none of the results so far could be in a sequence; None else."""


class ByTime:
    """Photos that one camera took within so many seconds of the one before.

    A camera is a folder, and the make, model and serial number in the EXIF data.  Photos of a
    sequence follow each other in the results; photos without a time, or without an answer, are in
    none.  The name of a sequence is the path of its first photo, relative to the folder ``base``.
    """

    def __init__(self, seconds: float, base: str = "") -> None:
        self._seconds, self._base = seconds, os.path.abspath(base)
        self._name: str | None = None
        self._folder, self._camera, self._time = "", ("",) * 3, 0.0
        self._count = 0

    def place(self, found: Result) -> str | None:
        """Return the name of a result's sequence."""
        folder = os.path.dirname(found.path or "")
        if folder != self._folder:
            self._name, self._folder = None, folder
        exif = found.photo.exif if isinstance(found, Prediction) and found.photo else None
        if exif is None or exif.taken is None:
            return None
        camera = (exif.make or "", exif.model or "", exif.serial or "")
        time = _seconds(exif.taken)
        self._count += 1
        near = camera == self._camera and abs(time - self._time) <= self._seconds
        if self._name is None or not near:
            path = found.path and relative_path(found.path, self._base)
            self._name = path or f"photo {self._count}"
        self._camera, self._time = camera, time
        return self._name

    def goes_on(self, name: str) -> bool:
        """Return whether it is the sequence of the last photo."""
        return name == self._name

    def cut(self) -> None:
        """Begin a new sequence with the next photo."""
        self._name = None

    def problem(self) -> str | None:
        """Return a line if no photo has a time."""
        if self._count or not self._folder:
            return None
        return "no photo so far says when it was taken, so that none is in a sequence"


def _seconds(taken: str) -> float:
    """Return a camera's time in seconds; its offset from UTC is the same for all its photos."""
    match = re.match(r"(.{19})(\.\d+)?", taken)
    if match is None:
        return 0.0
    return (datetime.fromisoformat(match[1]) - _ZERO).total_seconds() + float(match[2] or 0)


class ByTable:
    """Sequences of a table, such as :func:`read_sequences` returns.

    ``sequences`` maps the path of a photo, relative to the folder ``base``, to its sequence.
    """

    def __init__(self, sequences: Mapping[str, str], base: str = "") -> None:
        self._sequences, self._base = sequences, os.path.abspath(base)
        self._left = Counter(sequences.values())
        self._absent = dict(sequences)
        self._first = ""

    def place(self, found: Result) -> str | None:
        """Return the name of a result's sequence."""
        path = relative_path(found.path, self._base) if found.path else ""
        self._first = self._first or path
        name = self._sequences.get(path)
        if self._absent.pop(path, None) is not None:
            self._left[self._sequences[path]] -= 1
        return name

    def goes_on(self, name: str) -> bool:
        """Return whether photos of the sequence are still to come."""
        return self._left[name] > 0

    def cut(self) -> None:
        """Do nothing: photos that come later make another part of their sequence."""

    def problem(self) -> str | None:
        """Return a line with a path of each side if no photo is in the table."""
        if not self._first or len(self._absent) < len(self._sequences):
            return None
        named = next(iter(self._sequences), None)
        wanted = f"which names {named!r}" if named else "which is empty"
        return (
            f"no photo so far is in the table of sequences, {wanted}; such paths are relative to "
            f"{self._base!r}, as {self._first!r} is"
        )


def read_sequences(path: Path) -> dict[str, str]:
    """Return the sequence of each path in a CSV table with the columns ``path`` and ``sequence``.

    Raises
    ------
    SequenceError
        The file cannot be read, has more than 50 MB, or is no such table.
    """
    where = f"sequences {str(path)!r}"
    text = io.StringIO(read_text(path, _MAX_BYTES, where, SequenceError), newline="")
    try:
        return dict(_rows(csv.DictReader(text), where))
    except csv.Error as error:
        raise SequenceError(f"{where}: no CSV table ({error}); save it as one") from error


def _rows(rows: csv.DictReader[str], where: str) -> Iterator[tuple[str, str]]:
    if not {"path", "sequence"} <= {*(rows.fieldnames or ())}:
        raise SequenceError(f"{where}: line 1 lacks the columns path, sequence; add them")
    known: dict[str, str] = {}
    for row in rows:
        path, name = (row["path"] or "").strip(), (row["sequence"] or "").strip()
        if not path or not name:
            continue
        if len(name) > 500 or not name.isprintable():
            wanted = "at most 500 printable characters"
            raise SequenceError(
                f"{where}: line {rows.line_num} has a sequence of more than {wanted}"
            )
        path = os.path.normpath(path).replace(os.sep, "/")
        if known.setdefault(path, name) != name:
            problem = f"line {rows.line_num} has {path!r} in another sequence than before"
            raise SequenceError(f"{where}: {problem}; give each photo one sequence")
        yield path, name


def classify_sequences(
    classifier: Classifier,
    photos: Iterable[Any],
    rule: SequenceRule,
    top: int = 5,
    journal: str | Path | None = None,
    warn: Callable[[str], object] = _warn,
) -> Generator[Result, None, None]:
    """Classify photos as :meth:`Classifier.classify_many`, and the sequences they are in.

    A photo's result waits until its sequence ends, or until something ends the run.  From now on
    the classifier keeps all classes' probabilities of each photo.

    Parameters
    ----------
    rule
        Says which photos are a sequence: :class:`ByTime` or :class:`ByTable`.
    warn
        Called with one line of text if a sequence was answered in parts, or if no photo can be in
        a sequence.

    The other parameters, and errors, are those of :meth:`Classifier.classify_many`.
    """
    classifier.keep_all = True
    waiting: deque[tuple[Result, _Sequence | None]] = deque()
    unfinished: dict[str, _Sequence] = {}
    with closing(classifier.classify_many(photos, top, journal)) as results:
        try:
            for name, found in _placed(results, rule, warn):
                sequence = None
                if isinstance(found, Prediction):
                    if name is not None:
                        sequence = unfinished.setdefault(name, _Sequence(name, classifier, top))
                        sequence.add(found)
                    found = replace(found, kept=None)
                waiting.append((found, sequence))
                for each in [each for each in unfinished if not rule.goes_on(each)]:
                    unfinished.pop(each).end()
                yield from _ended(waiting)
                if len(waiting) >= MOST:
                    problem = (
                        f"has more than {MOST} photos, or they lie apart; it is answered in parts"
                    )
                    warn(f"sequence {next(iter(unfinished))!r} {problem}")
                    rule.cut()
                    unfinished.clear()
                    yield from _all(waiting)
        except (KeyboardInterrupt, Exception):
            yield from _all(waiting)
            raise
    yield from _all(waiting)


def _placed(
    results: Iterator[Result], rule: SequenceRule, warn: Callable[[str], object]
) -> Iterator[tuple[str | None, Result]]:
    """Yield each result with the name of its sequence; say once if none can be in any."""
    problem = None
    for count, found in enumerate(results, 1):
        yield rule.place(found), found
        if count == MOST and (problem := rule.problem()):
            warn(problem)
    if problem is None and (problem := rule.problem()):
        warn(problem)


def _all(waiting: deque[tuple[Result, _Sequence | None]]) -> Iterator[Result]:
    """End all sequences, and yield the results that wait."""
    for _, sequence in waiting:
        if sequence is not None and sequence.answer is None:
            sequence.end()
    yield from _ended(waiting)


def _ended(waiting: deque[tuple[Result, _Sequence | None]]) -> Iterator[Result]:
    """Yield the first results up to one whose sequence has not ended."""
    while waiting and (waiting[0][1] is None or waiting[0][1].answer is not None):
        found, sequence = waiting.popleft()
        if sequence is not None and isinstance(found, Prediction):
            found = replace(found, sequence=sequence.answer)
        yield found


class _Sequence:
    """Adds up the photos of a sequence; ``answer`` is None until it has ended."""

    def __init__(self, name: str, classifier: Classifier, top: int) -> None:
        self._name, self._classifier, self._top = name, classifier, top
        self._photos = self._counted = 0
        self._sum: NDArray[np.float64] = np.zeros(len(classifier.manifest.classes))
        self._last: Prediction | None = None
        self.answer: SequenceAnswer | None = None

    def add(self, found: Prediction) -> None:
        """Add a photo; it does not count if it was not classified, or shows no organism."""
        self._photos += 1
        empty = found.filter is not None and found.filter.verdict == NOT_ORGANISM
        if found.kept is None or empty:
            return
        data = base64.b64decode(found.kept)
        # Somebody may have written the journal.
        if len(data) != 4 * len(self._sum):
            return
        logs = np.frombuffer(data, "<f4")
        if np.isfinite(logs).all():
            self._sum += logs
            self._counted, self._last = self._counted + 1, found

    def end(self) -> None:
        """Make the answer."""
        counts = self._name, self._photos, self._counted
        if self._last is None:
            self.answer = SequenceAnswer(*counts, None, ())
        elif self._counted == 1:
            own = self._last
            self.answer = SequenceAnswer(*counts, own.answer, own.top, own.original)
        else:
            classifier = self._classifier
            mean = self._sum[None] / self._counted * classifier.variant.temperature
            logits = mean.astype(np.float32)
            answer, scores, _, _ = classifier.interpret(logits, self._top)
            original = classifier.beside(logits, self._top).get("original")
            self.answer = SequenceAnswer(*counts, answer, scores, original)
