"""What ``rs-classify`` and ``rs-toolkit predict`` do: classify photos and print what is found."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from rs_runtime.console import complain, counted
from rs_runtime.interrupts import INTERRUPTED, begin_work, interrupted
from rs_runtime.outputs.context import folder_given
from rs_runtime.outputs.writers import Outputs
from rs_runtime.progress import Progress
from rs_runtime.results import UNLISTED, Failure, Prediction, Result

if TYPE_CHECKING:
    from pathlib import Path

    from rs_runtime.classify import Classifier, Photo
    from rs_runtime.sources.detections import Detections
    from rs_runtime.sources.given import Source

__all__ = ["Run", "classify_all", "keep_for"]

_GOOD, _SOME_FAILED, _UNUSABLE = 0, 1, 2
_OUT_OF_TIME = 124  # as of timeout(1)
_LATE, _INTERRUPTED = "the time is over", "interrupted"


def classify_all(classifier: Classifier, options: argparse.Namespace) -> int:
    """Classify each photo, or report why it cannot be used; return the exit code.

    ``options`` holds ``photos``, ``null``, ``watch``, ``boxes``, ``box_threshold``, ``top``,
    ``frames`` (None unless it was asked for),
    ``journal``, ``shard`` (of which only the journal is written), ``max_runtime``, ``sequence``
    (seconds) or ``sequences`` (a table), ``cameras`` and the options of outputs as ``rs-classify``
    has them, and ``program``, which begins complaints.
    An interrupted run writes what it has: see :mod:`rs_runtime.outputs.pending`.
    """
    run = Run(options)
    if options.shard is not None:
        return _classify_part(classifier, options, run)
    # The outputs that are opened next have columns for sequences.
    keep_for(classifier, options)
    classify = _how(classifier, options, run.complain)
    begin_work()
    with Outputs(classifier, options, run.complain) as outputs:
        results = classify(run.photos(), options.top, options.journal)
        if options.cameras:
            from rs_runtime.cameras import judge_cameras

            results = judge_cameras(results)
        try:
            with closing(results):
                for found in results:
                    outputs.add(found)
                    run.tell(found)
        except KeyboardInterrupt:
            run.say_how_to_go_on(_INTERRUPTED)
            outputs.close(complete=False)
            raise
        finally:
            run.progress.clear()
        run.say_what_is_odd()
        run.say_why_it_ends()
        outputs.close(complete=not run.why)
    return run.exit_code()


def _classify_part(classifier: Classifier, options: argparse.Namespace, run: Run) -> int:
    """Keep the answers of some photos in a journal, for a run of all; print none."""
    keep_for(classifier, options)
    begin_work()
    try:
        with closing(classifier.classify_many(run.photos(), options.top, options.journal)) as found:
            for result in found:
                run.tell(result)
    except KeyboardInterrupt:
        run.say_how_to_go_on(_INTERRUPTED)
        raise
    finally:
        run.progress.clear()
    run.say_why_it_ends()
    return run.exit_code()


def keep_for(classifier: Classifier, options: argparse.Namespace) -> None:
    """Let a classifier keep of each photo what ``--cameras`` and sequences need later."""
    classifier.keep_thumbnails = options.cameras
    classifier.keep_all = options.sequence is not None or options.sequences is not None


def _how(
    classifier: Classifier, options: argparse.Namespace, tell: Callable[[str], object]
) -> Callable[..., Generator[Result, None, None]]:
    """Return what classifies photos as ``classify_many`` does, with sequences if asked for."""
    if options.sequence is None and options.sequences is None:
        return classifier.classify_many
    from rs_runtime.sequences import ByTable, ByTime, classify_sequences, read_sequences

    base = folder_given(options)
    rule: ByTime | ByTable = ByTime(options.sequence or 0, base)
    if options.sequences is not None:
        rule = ByTable(read_sequences(options.sequences), base)

    def classify(
        photos: Iterator[Photo | Result | None], top: int, journal: Path | None
    ) -> Generator[Result, None, None]:
        def warn(problem: str) -> None:
            tell(f"warning: {problem}")

        return classify_sequences(classifier, photos, rule, top, journal, warn)

    return classify


class Run:
    """Complains about results, and knows what they mean for the exit code."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.progress = Progress(options.program, self._count)
        limit = options.max_runtime
        self._deadline = math.inf if limit is None else time.monotonic() + limit
        self._codes = {_GOOD}
        self._answers, self._engine_failed = 0, False
        self._unlisted = self._videos = 0
        self.why = ""
        """Why photos are left, in words; empty if none are."""
        self._detections: Detections | None = None
        if options.boxes is not None:
            from rs_runtime.sources.detections import Detections
            from rs_runtime.sources.given import start_folder

            given = [*options.photos, *([options.watch] if options.watch else [])]
            self._detections = Detections(options.boxes, options.box_threshold, start_folder(given))

    def photos(self) -> Iterator[Photo | Result | None]:
        """Yield the photos until the time is over, or until Ctrl-C.

        Those that have been taken get their results.
        """
        for photo in self._with_boxes(self._sources(self.complain)):
            if interrupted():
                self.why = _INTERRUPTED
                self.complain("ending with the photos that are begun; Ctrl-C again ends at once")
                return
            if self.is_late():
                # Where nothing has arrived, nothing is left.
                self.why = _LATE if photo is not None else ""
                return
            yield photo

    def is_late(self) -> bool:
        """Return whether the time is over."""
        return time.monotonic() >= self._deadline

    def _sources(self, tell: Callable[[str], object]) -> Iterator[Source]:
        from rs_runtime.photos.stored import photo_path
        from rs_runtime.sources.given import photos_given

        shard = self._options.shard
        for photo in photos_given(self._options.photos, tell, self._options.null):
            if shard is None or photo is None or shard.holds(photo_path(photo) or ""):
                yield photo
        if self._options.watch is not None:
            from rs_runtime.sources.watched import photos_arriving

            yield from photos_arriving(self._options.watch)

    def _with_boxes(self, sources: Iterator[Source]) -> Iterator[Photo | Result | None]:
        if self._detections is None:
            yield from sources
            return
        for photo in sources:
            if photo is None or isinstance(photo, Failure):
                yield photo
            else:
                yield self._detections.boxed(photo)

    def tell(self, found: Result) -> None:
        """Say what is wrong with one photo."""
        if isinstance(found, Prediction):
            self._answers += 1
            self._videos += found.frames is not None
            self._unlisted += found.original is not None and found.original.listed < UNLISTED
            if found.note:
                self.complain(f"warning: photo {found.path!r} {found.note}")
        else:
            self._codes.add(_UNUSABLE if found.kind == "folder" else _SOME_FAILED)
            self._engine_failed = self._engine_failed or found.kind == "engine"
            self.complain(found.problem)
        self.progress.step()

    def say_what_is_odd(self) -> None:
        """Say how many photos a list or a place does not fit, and what was asked for in vain."""
        if self._options.frames is not None and not self._videos and self._answers:
            self.complain("warning: --frames is for videos, and no video was classified")
        if self._unlisted:
            self.complain(
                f"warning: {counted(self._unlisted, 'photo')} probably of something that is not "
                f"expected: among all classes, those of the species list or place have less than "
                f"{UNLISTED:.0%}; look at these photos, or add what they show to the list"
            )

    def say_why_it_ends(self) -> None:
        """Say how to go on if photos are left."""
        if self.why:
            self.say_how_to_go_on(self.why)

    def say_how_to_go_on(self, why: str) -> None:
        """Say that not all photos were classified, and what keeps those that were."""
        if journal := self._options.journal:
            kept = f"journal {str(journal)!r} keeps them, and the same command goes on"
        elif why == _LATE:
            kept = "without --journal, the same command begins again"
        else:
            return
        self.complain(f"{why}; {counted(self._answers, 'photo')} with an answer: {kept}")

    def exit_code(self) -> int:
        """Return the exit code of a run that has ended."""
        if interrupted():
            return INTERRUPTED
        if self.why:
            return _OUT_OF_TIME
        return _UNUSABLE if self._engine_failed and not self._answers else max(self._codes)

    def complain(self, problem: str) -> None:
        """Print one line to standard error."""
        self.progress.clear()
        complain(self._options.program, problem)

    def _count(self) -> int | None:
        from rs_runtime.sources.given import STANDARD_INPUT

        listed = any(str(path) == STANDARD_INPUT for path in self._options.photos)
        if listed or self._options.watch is not None:
            return None
        return sum(1 for _ in self._sources(lambda problem: None))
