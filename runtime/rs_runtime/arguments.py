"""The arguments of ``rs-classify``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rs_runtime.console import Parser, duration, positive, share
from rs_runtime.outputs.options import add_output_options

if TYPE_CHECKING:
    from rs_runtime.shards import Shard

__all__ = ["parser_of_arguments"]


def parser_of_arguments() -> argparse.ArgumentParser:
    """Return the parser, whose options :func:`rs_runtime.run.classify_all` explains."""
    parser = Parser(
        prog="rs-classify",
        description="Classify wildlife photos with a kit, offline. Names the finest rank that is "
        "certain enough, and lists the most probable classes with common names and calibrated "
        "probabilities.",
        epilog="Exit codes: 0 all classified, 1 some photos failed, 2 wrong usage, no photos or an "
        "unusable kit or engine, 124 out of time, 130 interrupted, 141 the output was closed.",
    )
    parser.add_argument(
        "photos",
        nargs="*",
        type=Path,
        metavar="PHOTO|FOLDER|ZIP|PATTERN|-",
        help="photos and videos, folders (recursively), zip archives (which are not unpacked), "
        "patterns such as 'card/**/*.jpg', or - for a list of these on standard input",
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
        help="what runs the model; auto: the fastest on this machine, which is measured before a "
        "folder or many photos are classified for the first time, or else the first installed one",
    )
    parser.add_model_options()
    _add_answer_options(parser)
    _add_source_options(parser)
    _add_photo_options(parser)
    _add_run_options(parser)
    add_output_options(parser)
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
    parser.add_argument(
        "--species",
        type=Path,
        metavar="FILE",
        help="answer only with these: scientific names of any rank, one a line, or a CSV with a "
        "column scientificName; the answer among all classes is told beside it",
    )
    _add_place_options(parser)
    sequences = parser.add_mutually_exclusive_group()
    sequences.add_argument(
        "--sequence",
        type=duration,
        metavar="TIME",
        help="also answer for sequences: photos of one camera (folder, make, model, serial number) "
        "within this time, such as 30s, of the one before",
    )
    sequences.add_argument(
        "--sequences",
        type=Path,
        metavar="FILE",
        help="also answer for the sequences of this CSV with the columns path (relative to the "
        "folder given) and sequence",
    )


def _add_place_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--country",
        metavar="CODE",
        help="where the photos were taken, such as GBR or KEN (ISO 3166-1 alpha-3): classes that "
        "do not occur there, by the kit's ranges, become less probable; the answer without the "
        "place is told beside it",
    )
    parser.add_argument(
        "--lat", type=float, metavar="DEGREES", help="the same by latitude, north is positive"
    )
    parser.add_argument("--lon", type=float, metavar="DEGREES", help="longitude, east is positive")
    parser.add_argument(
        "--place-weight",
        type=share,
        metavar="W",
        help="the factor on the probability of a class outside its range, 0 to 1; 0 leaves it out "
        "(default: 0.01)",
    )
    parser.add_argument(
        "--locale",
        metavar="LANGUAGE",
        help="common names in this language, such as sw or pt-BR, where the kit has them",
    )


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        # Not -0 as well: with it, argparse would take the value of --timezone -03:00 for an option.
        "--null",
        action="store_true",
        help="paths on standard input end in NUL, as from find -print0, not in a new line",
    )
    parser.add_argument(
        "--watch",
        type=Path,
        metavar="DIR",
        help="also classify the photos in this folder, and go on with those that arrive in it, "
        "until Ctrl-C or --max-runtime",
    )
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="FILE",
        help="a JSON file of MegaDetector: each box of an animal gets an answer, and the photo one "
        "from its boxes; photos without such a box are not classified",
    )
    parser.add_argument(
        "--box-threshold",
        type=share,
        metavar="P",
        help="least confidence of a box, 0 to 1 (default: what the file recommends, or else 0.2)",
    )
    parser.add_argument(
        "--frames",
        type=positive,
        metavar="N",
        help="how many frames of a video are classified, evenly over it (default: 8)",
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
        "--cameras",
        action="store_true",
        help="the photos of each folder are those of one fixed camera: also compare each with the "
        "camera's other frames of the same light, and print 'empty frame?' where it is like them; "
        "docs/filter.md. The answers of a folder come when it is done",
    )
    parser.add_argument(
        "--strict-photos",
        action="store_true",
        help="refuse photos that lack a few bytes at their end; without it they are used",
    )


def _shard(text: str) -> Shard:
    from rs_runtime.shards import shard

    return shard(text)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--journal",
        type=Path,
        metavar="FILE",
        help="keep each answer in this file: after a crash, power loss or Ctrl-C, the same command "
        "prints these answers again and classifies the other photos; photos that could not be used "
        "are tried again",
    )
    parser.add_argument(
        "--shard",
        type=_shard,
        metavar="K/N",
        help="only classify part K of N of the photos, and only write its --journal; with the "
        "journals of all parts in one file (rs-toolkit merge), the same command without --shard "
        "prints all answers",
    )
    parser.add_argument(
        "--max-runtime",
        type=duration,
        metavar="TIME",
        help="take no more photos after this time, such as 45s, 30m or 1h30m, and end with those "
        "that were taken; exit code 124 if some are left",
    )
