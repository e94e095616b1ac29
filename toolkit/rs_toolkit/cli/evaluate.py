"""The commands that use models: ``rs-toolkit val``, ``predict``, ``compare``, ``report``."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from rs_runtime.console import complain, duration
from rs_toolkit.cli import options
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.errors import ConfigError, RunError
from rs_toolkit.folders.claim import claimed
from rs_toolkit.progress import ConsoleProgress

__all__ = ["classify", "compare", "predict", "report", "val"]

MinProbability = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Least probability of the rank that is named.",
        show_default="the model's thresholds",
    ),
]


@options.takes_settings(TrainConfig)
def val(
    model: Annotated[Path, typer.Argument(metavar="RUN|KIT", help="A run folder, or a kit.")],
    data: Annotated[
        Path | None,
        typer.Argument(
            help="Photos with labels (docs/data.md), or a run folder for its photos. Default: the "
            "photos of the run, or of the run that holds the kit."
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Photos to measure on: train, val, test or all.",
            show_default="test of a run's photos, all of others",
        ),
    ] = None,
    out: Annotated[Path | None, options.folder_option("val/NAME")] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Run that the kit was exported from: tells which photos it has learned from.",
            show_default="the run that holds the kit",
        ),
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="Which model of the kit.", show_default="the kit's default")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="litert, onnxruntime or auto.", show_default="auto")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=256, help="CPU threads of the kit's engine.")
    ] = None,
    min_probability: MinProbability = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Coverage of the sets of classes.", show_default="0.8, 0.9 and 0.95"
        ),
    ] = None,
    group_by: str | None = None,
    keep_names: str | None = None,
    strict_photos: bool | None = None,
) -> None:
    """Measure a run or a kit on labelled photos.

    Accuracy, top-5 and macro-F1 at every rank, with intervals; each class; calibration; what is
    named by the thresholds, and how much of it is right. Photos that the model has learned from,
    and taxa that it does not know, are counted apart. Writes val.html, val.json and
    predictions.csv.

    Exit codes: 0 measured, 2 wrong usage, model or data, 130 interrupted.
    """
    settings = options.train_settings(None, {**locals(), "out": None})
    from rs_toolkit.data.readers import require_data
    from rs_toolkit.evaluation.model import open_model
    from rs_toolkit.evaluation.val import validate

    if data is not None:
        require_data(data)
    _require_engine(engine)
    with options.new_folder(out, "val", model) as folder, ConsoleProgress() as progress:
        opened = open_model(
            model,
            _calibrated,
            engine=engine,
            variant=variant,
            threads=threads,
            min_probability=min_probability,
            trained_by=run,
            progress=progress,
        )
        page = validate(
            opened,
            data,
            folder,
            split=split,
            group_by=group_by,
            keep_names=settings.keep_names,
            coverage=coverage,
            strict=settings.strict_photos,
            progress=progress,
        )
    print(page)


def predict(
    run: Annotated[Path, typer.Argument(help="Run folder that rs-toolkit train made.")],
    photos: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTO|FOLDER|ZIP|PATTERN|-...",
            help="Photos, folders (recursively), and what else rs-classify takes.",
        ),
    ],
    top: Annotated[
        int, typer.Option(min=1, max=9999, help="How many classes to list, best first.")
    ] = 5,
    min_probability: MinProbability = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Also list the classes that each photo may show; for this share of photos, the "
            "true class is among them.",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="What is written, as by rs-classify.", show_default="by --output, else table"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write to this file, and not to standard output."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Also write a CSV file.")] = None,
    strict_photos: Annotated[
        bool, typer.Option("--strict-photos", help="Refuse photos that lack a few bytes.")
    ] = False,
    boxes: Annotated[
        Path | None,
        typer.Option(help="A JSON file of MegaDetector: classify the boxes of animals in it."),
    ] = None,
    box_threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Least confidence of a box.", show_default="by the file, else 0.2"
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=1, max=9999, help="How many frames of a video are classified.")
    ] = 8,
    species: Annotated[
        Path | None,
        typer.Option(help="Answer only with these names of any rank, one a line, or a CSV."),
    ] = None,
    sequence: Annotated[
        str | None,
        typer.Option(
            help="Also answer for photos of one camera within this time, such as 30s.",
            metavar="TIME",
        ),
    ] = None,
    sequences: Annotated[
        Path | None, typer.Option(help="Also answer for the sequences of this CSV: path, sequence.")
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(help="Keep the answers in this file; after a crash the same command goes on."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Classify on a Ray cluster that shares photos and run, at this address, auto or "
            "local; needs --journal."
        ),
    ] = None,
) -> None:
    """Classify photos with a run's model, before it is exported.

    Prints what rs-classify prints. Once a run is exported, rs-classify is faster and needs no
    TensorFlow.

    Exit codes: 0 all classified, 1 some photos failed, 2 wrong usage or run, 130 interrupted.
    """
    given = locals()
    if run.is_file():
        raise RunError(f"{run}: is no run folder; of a kit: rs-classify PHOTOS --kit {run}")
    from rs_runtime.outputs.options import FORMATS, output_defaults
    from rs_runtime.run import classify_all
    from rs_toolkit.evaluation.model import run_classifier
    from rs_toolkit.folders.run import Run

    if format not in (None, *FORMATS):
        raise ConfigError(f"--format: got {format!r}, wanted one of: {', '.join(FORMATS)}")

    try:
        seconds = None if sequence is None else duration(sequence)
    except ArgumentTypeError as error:
        raise ConfigError(f"--sequence: {error}") from error
    if sequence is not None and sequences is not None:
        raise ConfigError("--sequence: not allowed with --sequences; leave one out")
    with ConsoleProgress() as progress:
        opened = Run.open(run)
        classifier = run_classifier(opened, _calibrated, min_probability, progress, coverage)
    classifier.strict_photos, classifier.frames = strict_photos, frames
    for problem in classifier.narrow(species):
        complain("rs-toolkit", f"warning: {problem}")
    names = ("photos", "format", "output", "json", "csv", "top", "boxes", "box_threshold")
    unused = dict.fromkeys(("max_runtime", "watch", "shard", "threads", "frames"))
    more = (*names, "sequences", "journal")
    asked = output_defaults() | unused | {name: given[name] for name in more}
    asked |= {"cameras": False, "sequence": seconds}
    namespace = Namespace(program="rs-toolkit", null=False, **asked)
    if address is not None:
        from rs_toolkit.evaluation.on_ray import fill_journal

        fill_journal(classifier, namespace, address, classifier.opening(species))
    code = classify_all(classifier, namespace)
    if code:
        raise typer.Exit(code)


def classify(
    context: typer.Context,
    address: Annotated[
        str,
        typer.Option(
            help="Address of a Ray cluster; auto: the one of this machine; local: this machine's "
            "cores, for the time of the command."
        ),
    ] = "local",
) -> None:
    """Classify as rs-classify does, but on a Ray cluster.

    All other arguments and options are those of rs-classify, of which --journal is needed: it gets
    the answers of the cluster, and then the command prints and writes what rs-classify does.
    docs/scale.md.

    Exit codes: 0 all classified, 1 some photos failed, 2 wrong usage, kit or cluster, 124 out of
    time, 130 interrupted, 141 the output was closed.
    """
    from rs_runtime.cli import main
    from rs_toolkit.evaluation.on_ray import fill_journal

    code = main(context.args, partial(fill_journal, address=address))
    if code:
        raise typer.Exit(code)


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run folders; gains are over the first."),
    ],
    out: Annotated[Path | None, options.folder_option("compare/NAME")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print compare.json instead of tables.")
    ] = False,
) -> None:
    """Compare runs: overfitting, and scores on the test photos.

    For each run the gap between training and validation, accuracy and macro-F1 with intervals, and
    what each gains over the first run on the test photos that both have. Writes compare.html and
    compare.json.

    Exit codes: 0 compared, 2 wrong usage or runs, 130 interrupted.
    """
    from rs_toolkit.evaluation.compare import compare_runs
    from rs_toolkit.evaluation.compare_page import print_comparison, write_comparison

    with ConsoleProgress() as progress:
        found = compare_runs(runs, progress)
    with options.new_folder(out, "compare", runs[0]) as folder:
        page = write_comparison(found, folder)
    if json:
        print((folder / "compare.json").read_text("utf-8"), end="")
        return
    print_comparison(found)
    print(page)


def report(
    run: Annotated[Path, typer.Argument(help="Run folder that rs-toolkit train made.")],
) -> None:
    """Write the page of a run, as train does when it ends: RUN/run.html.

    Curves of the epochs, scores on the test photos at every rank, calibration, F1 against class
    size, confusions with names, and the worst classes with photos and Grad-CAM.

    Exit codes: 0 written, 2 wrong usage or run, 130 interrupted.
    """
    from rs_toolkit.evaluation.run_page import write_run_page

    if not run.is_dir():
        raise RunError(f"{run}: no such run folder; give one that rs-toolkit train made")
    with claimed(run), ConsoleProgress() as progress:
        page = write_run_page(run, progress)
    print(page)


def _require_engine(engine: str | None) -> None:
    from rs_runtime.kit.variants import ENGINES

    known = ("auto", *ENGINES)
    if engine not in (None, *known):
        raise ConfigError(f"--engine: got {engine!r}, wanted one of: {', '.join(known)}")


def _calibrated(logits: Any, labels: Any, groups: Any, ranks: Any) -> dict[str, Any]:
    """Return what an export fits on validation photos, as fields of a kit's variant."""
    from rs_export.certainty import calibrate
    from rs_toolkit.config.export import ExportSettings

    fitted = calibrate(logits, labels, groups, ranks, ExportSettings().min_precision)
    return {
        "temperature": fitted.temperature,
        "thresholds": fitted.thresholds,
        "sets": fitted.sets,
        "unknown": fitted.unknown,
    }
