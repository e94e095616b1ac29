"""``rs-classify``: classify photos with a kit, offline."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rs_runtime.console import Parser, complain, positive, printable, run_command, say, share
from rs_runtime.errors import (
    EngineError,
    FilterError,
    PhotoError,
    RuntimeKitError,
    UnreadablePhotoError,
)

if TYPE_CHECKING:
    from rs_runtime.classify import Classifier, Prediction
    from rs_runtime.filter import Filter
    from rs_runtime.kit.kit import Kit

__all__ = ["classify_all", "main"]

_GOOD, _SOME_FAILED, _UNUSABLE = 0, 1, 2
_DOUBTS = {"not_organism": "not an organism", "uncertain": "maybe no organism"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``rs-classify`` and return its exit code.

    0: every photo was classified, or left out as ``--filter on`` asks.  1: some photos could not
    be used, or the engine failed on them.  2: wrong usage, no photos, or the kit or the engine
    cannot be used.  130: interrupted.  141: the output was closed.
    """
    return run_command(_parser(), argv, _run)


def _run(options: argparse.Namespace) -> int:
    if options.version:
        from importlib.metadata import version

        say(f"rs-classify {version('rs-toolkit')}")
        return _GOOD
    if not options.photos:
        _parser().error("no photos given")
    from rs_runtime.classify import Classifier
    from rs_runtime.kit.kit import find_kit, open_kit
    from rs_runtime.kit.signature import find_public_key

    with open_kit(find_kit(options.kit), find_public_key(options.public_key)) as kit:
        classifier = Classifier(
            kit,
            options.engine,
            options.variant,
            options.threads,
            options.min_probability,
            only_organisms=options.filter == "on",
            coverage=options.coverage,
        )
        classifier.filter = _filter(kit, classifier.variant.engine, options)
    if warning := classifier.variant.warning:
        complain(options.program, f"warning: {warning}")
    return classify_all(classifier, options)


def classify_all(
    classifier: Classifier,
    options: argparse.Namespace,
    record: Callable[[Path, Prediction | str], object] = lambda path, found: None,
) -> int:
    """Classify each photo, or report why it cannot be used; return the exit code.

    ``options`` holds ``photos`` (files and folders), ``json``, ``top``, ``filter`` and
    ``strict_photos`` as ``rs-classify`` has them, and ``program``, which begins every complaint.
    ``record`` is called with each photo, and its prediction or what is wrong with it.
    """
    show = _show_json if options.json else _show_table
    codes, answered, engine_failed = {_GOOD}, False, False

    def fail(path: Path, problem: str, code: int = _SOME_FAILED) -> None:
        codes.add(code)
        if options.json:
            say(json.dumps({"path": str(path), "error": problem}))
        complain(options.program, problem)
        record(path, problem)

    for path, problem, code in _photos(options):
        if problem:
            fail(path, problem, code)
            continue
        try:
            prediction = _classify(classifier, path, options)
        except PhotoError as error:
            fail(path, str(error))
        except EngineError as error:
            # Go on: perhaps only this photo was too large for the memory.
            engine_failed = True
            fail(path, f"photo {str(path)!r}: {error}")
        else:
            answered = True
            if prediction.note:
                complain(options.program, f"warning: photo {str(path)!r} {prediction.note}")
            show(prediction)
            record(path, prediction)
    return _UNUSABLE if engine_failed and not answered else max(codes)


def _filter(kit: Kit, engine: str, options: argparse.Namespace) -> Filter | None:
    """Return the filter that the options ask for, if there is one that can be used."""
    spec = kit.manifest.filter
    if options.filter == "off" or (spec is None and options.filter != "on"):
        return None
    from rs_runtime.filter import Filter

    # Prefer the classifier's engine, which is already loaded.
    if spec is None or engine not in {variant.engine for variant in spec.variants}:
        engine = options.engine
    try:
        return Filter(kit, engine, threshold=options.filter_threshold)
    except RuntimeKitError as error:
        _go_on_without_filter(error, options)
        return None


def _classify(classifier: Classifier, path: Path, options: argparse.Namespace) -> Prediction:
    try:
        found = classifier.classify(path, options.top)
    except FilterError as error:
        _go_on_without_filter(error, options)
        classifier.filter = None
        found = classifier.classify(path, options.top)
    if found.note and options.strict_photos:
        raise UnreadablePhotoError(f"photo {str(path)!r} {found.note}; copy it again")
    return found


def _go_on_without_filter(error: RuntimeKitError, options: argparse.Namespace) -> None:
    # With --filter on, a photo that the filter did not judge must not be classified.
    if options.filter == "on":
        raise error
    complain(options.program, f"warning: photos are not judged by the filter: {error}")


def _photos(options: argparse.Namespace) -> Iterator[tuple[Path, str | None, int]]:
    """Yield each photo, or what is wrong with it or its folder, and the exit code of that."""
    from rs_runtime.photos.folder import photos_below, unsupported
    from rs_runtime.photos.formats import PHOTO_SUFFIXES

    for path in options.photos:
        if not os.path.isdir(path):
            problem = unsupported(path)
            yield path, problem and f"photo {str(path)!r}: {problem}", _SOME_FAILED
            continue
        problems: list[OSError] = []
        empty = True
        outputs: list[str] = []
        for name, problem in photos_below(path, problems.append, outputs):
            empty = False
            yield Path(name), problem and f"photo {name!r}: {problem}", _SOME_FAILED
        for error in problems:
            place = error.filename or str(path)
            problem = f"folder {str(place)!r} cannot be read: {error.strerror}"
            yield Path(place), problem, _UNUSABLE
        for folder in outputs:
            complain(options.program, f"left out: folder {folder!r}, which rs-toolkit wrote")
        if empty and not problems:
            kinds = " ".join(sorted(PHOTO_SUFFIXES))
            problem = f"folder {str(path)!r} holds no photos; wanted files ending in {kinds}"
            yield path, problem, _UNUSABLE


def _show_json(prediction: Prediction) -> None:
    say(json.dumps(prediction.to_dict()))


def _show_table(prediction: Prediction) -> None:
    rows = [(score.common_name or score.name, score) for score in prediction.top]
    width = max((len(title) for title, _ in rows), default=0)
    told = f"{_answer(prediction)}{_strange(prediction)}{_doubt(prediction)}"
    lines = [printable(f"{prediction.path}{told}")]
    for title, score in rows:
        name = "" if title == score.name else score.name
        line = f"  {score.probability:7.1%}  {title:<{width}}  {name}"
        lines.append(printable(line.rstrip()))
    if prediction.set:
        names = [score.common_name or score.name for score in prediction.set.classes]
        listed = "; ".join(names) or "no class is probable enough"
        lines.append(printable(f"  set of {100 * prediction.set.coverage:.4g}%: {listed}"))
    say("\n".join(lines))


def _answer(prediction: Prediction) -> str:
    answer = prediction.answer
    if answer is None:
        return ""
    if answer.name is None:
        return "  uncertain"
    rank = (answer.rank or "").replace("_", " ")
    return f"  {rank} {answer.name} ({answer.probability:.1%})"


def _strange(prediction: Prediction) -> str:
    from rs_runtime.sets import STRANGE

    found = prediction.unknown
    if found is None or found.strangeness < STRANGE:
        return ""
    return f"  perhaps none of the classes (stranger than {found.strangeness:.0%} of known photos)"


def _doubt(prediction: Prediction) -> str:
    found = prediction.filter
    if found is None or found.verdict not in _DOUBTS:
        return ""
    left_out = "" if prediction.top else ", not classified"
    return f"  {_DOUBTS[found.verdict]} ({found.probability:.0%}){left_out}"


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="rs-classify",
        description="Classify wildlife photos with a kit, offline. Names the finest rank that is "
        "certain enough, and lists the most probable classes with common names and calibrated "
        "probabilities.",
        epilog="Exit codes: 0 all classified, 1 some photos failed, 2 wrong usage, no photos or an "
        "unusable kit or engine, 130 interrupted, 141 the output was closed.",
    )
    parser.add_argument(
        "photos", nargs="*", type=Path, metavar="PHOTO|FOLDER", help="photos, folders (recursively)"
    )
    parser.add_argument(
        "--kit",
        type=Path,
        help="the .rskit file (default: $RS_KIT, or the newest .rskit in this folder)",
    )
    parser.add_argument(
        "--public-key",
        type=Path,
        metavar="FILE",
        help="refuse kits that this public key does not verify (default: $RS_PUBLIC_KEY, or none)",
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "litert", "onnxruntime"),
        default="auto",
        help="what runs the model; auto: the first installed one that the kit has a model for",
    )
    parser.add_model_options()
    _add_answer_options(parser)
    _add_photo_options(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per line (JSON Lines)"
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    parser.set_defaults(program=parser.prog)
    return parser


def _add_answer_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--top", type=positive, default=5, metavar="K", help="how many classes to list, best first"
    )
    parser.add_argument(
        "--min-probability",
        type=share,
        metavar="P",
        help="least probability, 0 to 1, of the rank that is named (default: the kit's thresholds)",
    )
    parser.add_argument(
        "--coverage",
        type=share,
        metavar="P",
        help="also list the classes that each photo may show; for this share of photos, 0 to 1, "
        "the true class is among them",
    )


def _add_photo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--filter",
        choices=("on", "off", "report"),
        default="report",
        help="let the kit's filter judge first whether a photo shows an organism. report: print "
        "'not an organism (3%%)' or 'maybe no organism (40%%)' beside the answer, if the kit has "
        "a filter; on: also do not classify photos that show none; off: do not use the filter",
    )
    parser.add_argument(
        "--filter-threshold",
        type=share,
        metavar="P",
        help="judge that a photo shows an organism from this probability on, 0 to 1 (default: by "
        "the kit's two thresholds)",
    )
    parser.add_argument(
        "--strict-photos",
        action="store_true",
        help="refuse photos that lack a few bytes at their end; without it they are used",
    )
