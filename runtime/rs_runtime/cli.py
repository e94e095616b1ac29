"""``rs-classify``: classify photos with a kit, offline."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rs_runtime.arguments import parser_of_arguments as _parser
from rs_runtime.console import complain, run_command, say
from rs_runtime.interrupts import hear_interrupts

if TYPE_CHECKING:
    from rs_runtime.ahead import Ahead
    from rs_runtime.classify import Classifier
    from rs_runtime.first import Loaded
    from rs_runtime.kit.kit import Kit
    from rs_runtime.places import Place

__all__ = ["main", "open_classifier"]

# So many photos, or a folder, are worth the seconds that it takes to measure the kit's models.
_MANY = 16
_SHORT_S = 1e-4
_FRAMES = 8


def main(
    argv: Sequence[str] | None = None,
    before: Callable[[Classifier, argparse.Namespace], object] | None = None,
) -> int:
    """Run ``rs-classify`` and return its exit code.

    ``before`` is called with the classifier and the options before photos are classified.

    0: every photo was classified, or left out as ``--filter on`` asks.  1: some photos could not
    be used, or the engine failed on them.  2: wrong usage, no photos, or the kit or the engine
    cannot be used.  124: --max-runtime was over.  130: interrupted.  141: the output was closed.
    """
    if argv is None:
        hear_interrupts()
    parser = _parser()
    # With no arguments given, they are those of the process, which does nothing else.
    parser.set_defaults(only_this=argv is None, before=before)
    return run_command(parser, argv, _run)


def _run(options: argparse.Namespace) -> int:
    if options.version:
        from importlib.metadata import version

        say(f"rs-classify {version('rs-toolkit')}")
        return 0
    if options.undo_sort is not None:
        from rs_runtime.outputs.sort import undo_sort

        return undo_sort(options.undo_sort, lambda said: complain(options.program, said))
    if options.cameras and options.watch is not None:
        _parser().error("--cameras compares a folder's photos once all are there: not with --watch")
    if options.cameras and options.boxes is not None:
        _parser().error("--cameras judges whole frames: not with --boxes, whose file tells of each")
    if twice := next((path for path in options.photos if _lies_in(path, options.watch)), None):
        _parser().error(f"--watch classifies {str(twice)!r} too; leave it out of the photos")
    if not options.photos and options.watch is None:
        _parser().error("no photos given")
    if options.shard is not None and (options.journal is None or options.watch is not None):
        _parser().error("--shard keeps its answers in a --journal, and is not for --watch")
    if options.box_threshold is not None and options.boxes is None:
        _parser().error("--box-threshold is for --boxes; give the file of boxes too")
    with _quick_start(options.only_this):
        classifier = _classifier(options)
        from rs_runtime.run import classify_all
    if options.before is not None:
        options.before(classifier, options)
    return classify_all(classifier, options)


def open_classifier(file: Path, options: argparse.Namespace) -> Classifier:
    """Return what ``rs-classify`` would classify with by its options, but for the kit's file."""
    from rs_runtime.kit.kit import open_kit

    with open_kit(file, every_member=False) as kit:
        return _loaded(kit, None, options)


@contextmanager
def _quick_start(only_this: bool) -> Iterator[None]:
    """Import and load in the block without what takes a tenth of a cold start.

    ``only_this``: the process ends with this command.
    """
    interval = sys.getswitchinterval()
    # What is imported and loaded is no garbage, and is not searched for it.
    gc.disable()
    # The threads that read and decode need Python's lock often, and for a moment each.
    sys.setswitchinterval(_SHORT_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if only_this:
            gc.freeze()
        gc.enable()


def _classifier(options: argparse.Namespace) -> Classifier:
    from rs_runtime.first import decode_ahead, read_ahead
    from rs_runtime.kit.kit import to_classify

    with to_classify(options.kit, options.public_key) as kit:
        # Both go on while NumPy is imported.
        read_ahead(kit, options.engine, options.variant)
        photo = None if _first_is_other(options) else _first_photo(options.photos)
        first = decode_ahead(photo, kit.manifest, options.filter)
        return _loaded(kit, first, options)


def _loaded(kit: Kit, first: Ahead[Loaded] | None, options: argparse.Namespace) -> Classifier:
    from rs_runtime.classify import Classifier

    def tell(text: str) -> None:
        complain(options.program, text)

    many = len(options.photos) >= _MANY or options.watch or any(map(_holds_many, options.photos))
    return Classifier.open(
        kit,
        engine=options.engine,
        variant=options.variant,
        threads=options.threads,
        min_probability=options.min_probability,
        coverage=options.coverage,
        filter=options.filter,
        filter_threshold=options.filter_threshold,
        strict_photos=options.strict_photos,
        frames=options.frames or _FRAMES,
        warn=lambda problem: tell(f"warning: {problem}"),
        measure=tell if many else None,
        first=first,
        species=options.species,
        place=_place(options),
        locale=options.locale,
    )


def _place(options: argparse.Namespace) -> Place | None:
    given = options.country, options.lat, options.lon, options.place_weight
    if given == (None,) * 4:
        return None
    from rs_runtime.places import given_place

    return given_place(*given)


def _first_is_other(options: argparse.Namespace) -> bool:
    """Return whether more or others are made of the first photo than of a photo alone."""
    return bool(options.boxes or options.watch or options.cameras or options.shard)


def _first_photo(given: Sequence[Path]) -> Path | None:
    from rs_runtime.photos.formats import PHOTO_SUFFIXES

    first = given[0]
    # Unlike os.path, pathlib raises for names that are too long, and folders that are locked.
    known = first.suffix.lower() in PHOTO_SUFFIXES and os.path.isfile(first)
    return first if known else None


def _lies_in(path: Path, folder: Path | None) -> bool:
    if folder is None or str(path) == "-":
        return False
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _holds_many(path: Path) -> bool:
    return (
        os.path.isdir(path) or path.suffix.lower() == ".zip" or str(path) == "-" or "*" in str(path)
    )
