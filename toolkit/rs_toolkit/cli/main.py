"""The ``rs-toolkit`` command line; other commands are in ``cli.data``, ``distill`` and ``kit``.

Every expected error is printed as one line on standard error.  Exit codes: 0 success, 1 kits differ
(``kit diff``), 2 wrong usage, data or settings, or no variant good enough, 130 interrupted, 141 the
output was closed.
"""

from __future__ import annotations

import io
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from rs_runtime.console import complain, system_problem
from rs_runtime.errors import OutputClosedError, RuntimeKitError
from rs_runtime.stderr import command_process
from rs_toolkit.cli import options
from rs_toolkit.cli.backbones import backbones
from rs_toolkit.cli.cache import app as cache_app
from rs_toolkit.cli.cache import limit_cache
from rs_toolkit.cli.data import check, clean, review, split
from rs_toolkit.cli.distill import distill
from rs_toolkit.cli.evaluate import classify, compare, predict, report, val
from rs_toolkit.cli.kit import app as kit_app
from rs_toolkit.cli.merge import merge
from rs_toolkit.cli.tune import tune
from rs_toolkit.config.base import load_settings
from rs_toolkit.config.export import ExportSettings
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.errors import ConfigError, ToolkitError
from rs_toolkit.folders.claim import claimed
from rs_toolkit.progress import ConsoleProgress

__all__ = ["app", "main"]

app = typer.Typer(
    help="Turn a folder of labelled wildlife photos into a small, tested, offline classifier.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(kit_app, name="kit")
app.add_typer(cache_app, name="cache")
for command in (check, split, clean, review, distill, merge):
    app.command()(command)

SAMPLE_DIR = Path("rs-sample")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"rs-toolkit {installed('rs-toolkit')}")
        raise typer.Exit


@app.command()
def sample(
    directory: Annotated[Path, typer.Argument(help="Folder to make.")] = SAMPLE_DIR,
    photos: Annotated[int, typer.Option(min=100, max=20_000, help="Number of photos.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds draw equal files.")] = 0,
) -> None:
    """Draw the synthetic sample data set.

    It contains typical faults of real photos and labels, which its truth.json lists.

    Exit codes: 0 drawn, 2 wrong usage, 130 interrupted.
    """
    _draw_sample(directory, photos, seed)
    print(directory)


@app.command()
@options.takes_settings(TrainConfig, every=True)
def train(
    data: Annotated[
        Path | None,
        typer.Argument(help="Photos with labels (docs/data.md). Default: the synthetic sample."),
    ] = None,
    out: Annotated[Path | None, options.folder_option("runs/NAME", "Run folder.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Continue the interrupted run in this folder.")
    ] = None,
    config: options.Config = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write RUN/tensorboard while it runs.")
    ] = False,
    device: options.Device = "auto",
    **settings: Any,
) -> None:
    """Train a classifier by hybrid transfer learning, with rare classes oversampled.

    Indexes and splits the photos, trains a linear layer on the frozen backbone (stage 1),
    fine-tunes (stage 2) and measures on the test photos. Where no epoch is better on the validation
    photos than a class-balanced linear layer on the frozen backbone, that one is kept. Writes a run
    folder, which export reads.

    Exit codes: 0 trained, 2 wrong usage, data or settings, 130 interrupted (--resume continues).
    """
    if resume is not None:
        if any(value is not None for value in (data, out, config, *settings.values())):
            raise ConfigError("--resume takes every setting from the run; leave the others out")
        from rs_train.run_folder import settings_begun

        begun, data, _ = settings_begun(resume, TrainConfig)
        with claimed(resume):
            _train(data, begun, resume, resume=True, tensorboard=tensorboard, device=device)
        return
    chosen = options.train_settings(config, settings, sample=data is None)
    if data is None:
        data = SAMPLE_DIR
        _draw_sample(data, 1000, 0)
    with options.new_folder(out, "runs", data) as folder:
        _train(data, chosen, folder, resume=False, tensorboard=tensorboard, device=device)


@app.command()
@options.takes_settings(ExportSettings)
def export(
    run: Annotated[Path, typer.Argument(help="Run folder that rs-toolkit train made.")],
    int8: Annotated[bool, typer.Option("--int8", help="Make the int8 variants too.")] = False,
    out: Annotated[Path | None, options.folder_option("RUN/export")] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="The run's photos, where they are no longer where train found them.",
            show_default="as recorded in the run",
        ),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="Make only this variant, or all; may be repeated. export/rs_export/recipes.py "
            "explains the names: tflite_sp50_int8 has half of the weights pruned, in int8."
        ),
    ] = None,
    target: str | None = None,
    max_mb: float | None = None,
    max_drop: float | None = None,
    max_decile_drop: float | None = None,
    min_precision: float | None = None,
    force: Annotated[
        bool, typer.Option("--force", help="If all lose too much, ship one with a warning.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Refuse variants of which the test photos cannot tell what they lost."
        ),
    ] = False,
    mend: Annotated[
        bool, typer.Option(help="Try other ways to quantize variants that lose too much.")
    ] = True,
    passes: float | None = None,
    threads: int | None = None,
    seed: int | None = None,
    filter_folder: Annotated[
        Path | None,
        typer.Option(
            "--filter",
            help="Folder that rs-toolkit distill made: its filter goes into the kit, and has to "
            "meet limits like the classifier.",
        ),
    ] = None,
    ranges: Annotated[
        Path | None,
        typer.Option(
            help="CSV of where the classes occur, for rs-classify --country, --lat and --lon.",
            metavar="FILE",
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            help="CSV of common names in other languages, for rs-classify --locale.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Convert a run to TFLite and ONNX, and write a kit.

    Every variant is measured class by class on the test photos: kept (it lost no more than is
    allowed), lost (left out, or with --force given a warning that rs-classify shows) or undecided
    (the photos cannot tell; used only where none was kept). Writes RUN/export/NAME.rskit, which
    rs-classify reads, and a report beside it.

    Exit codes: 0 written, 2 wrong usage, run or settings, or no variant good enough to ship,
    130 interrupted.
    """
    given = locals()
    from rs_export import export_run
    from rs_toolkit.environment import quiet_tensorflow

    given |= {"recipes": tuple(recipe or ()), "filter": filter_folder and str(filter_folder)}
    given |= {"ranges": ranges and str(ranges), "names": names and str(names)}
    settings = load_settings(ExportSettings, options.settings_among(given, ExportSettings))
    quiet_tensorflow()
    with ConsoleProgress() as progress:
        result = export_run(run, settings, out=out, data=data, progress=progress)
    print(result.kit)


app.command()(tune)
app.command()(val)
app.command()(predict)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(classify)
app.command()(compare)
app.command()(report)
app.command()(backbones)


@app.command()
def benchmark(
    target: Annotated[Path, typer.Argument(metavar="KIT|RUN", help="A kit, or an exported run.")],
    against: Annotated[
        Path | None, typer.Option(help="Another kit, measured in turns with the first.")
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(min=1, max=256, help="CPU threads; may be repeated.", show_default="1 and 2"),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, max=1000, help="Measurements of each variant; gives their median.")
    ] = 3,
    out: Annotated[Path | None, options.folder_option("benchmark beside the kit")] = None,
) -> None:
    """Measure size, speed, memory and accuracy of a kit's variants on this machine.

    Speed is start-up, latency and CPU time. Variants take turns, each time in a new process. On a
    machine without the toolkit, python -m rs_runtime.probe KIT measures one variant.

    Exit codes: 0 measured, 2 wrong usage, kit or run, or no variant could be measured,
    130 interrupted.
    """
    from rs_export.measure.benchmark import benchmark as measure

    with ConsoleProgress() as progress:
        found = measure(
            target,
            against=against,
            threads=threads or (1, 2),
            rounds=rounds,
            out=out,
            progress=progress,
        )
    print(f"{found.text}\n\n{found.paths[1]}")


def _draw_sample(directory: Path, photos: int, seed: int) -> None:
    from rs_toolkit.sample import generate_sample

    with ConsoleProgress() as progress:
        shown = partial(progress.update, "draw the sample")
        generate_sample(directory, seed=seed, photos=photos, progress=shown)


def _train(
    data: Path, settings: Any, run: Path, *, resume: bool, tensorboard: bool, device: str
) -> None:
    from rs_toolkit.evaluation.run_page import attempt_run_page
    from rs_toolkit.folders.run import read_metrics
    from rs_train.classifier.train import train as train_run

    with options.resumable("train", run) as progress:
        options.take_device(device, progress)
        train_run(data, settings, run, resume=resume, tensorboard=tensorboard, progress=progress)
        attempt_run_page(run, progress)
    metrics = read_metrics(run)
    test, folds = metrics["test"], metrics.get("out_of_fold")
    what = f"out of {folds['folds']} folds" if folds else "test"
    print(
        f"{what} ({test['n']} photos): accuracy {test['accuracy']:.3f}, top-5 {test['top5']:.3f}, "
        f"macro-F1 {test['macro_f1']:.3f}, worst-decile F1 {test['worst_decile_f1']:.3f}"
    )
    print(run)


def _fail(message: str, code: int) -> NoReturn:
    complain("rs-toolkit", " ".join(message.split()))
    sys.exit(code)


def _run_and_limit_cache() -> None:
    try:
        app()
    except SystemExit as ended:
        if not ended.code and "--help" not in sys.argv and sys.argv[1:2] != ["cache"]:
            limit_cache()
        raise


def main() -> None:
    """Run the command line; print an error as one line, and exit with its code."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A name may have letters that the terminal's encoding lacks.
            sys.stdout.reconfigure(errors="backslashreplace")
        with command_process(), warnings.catch_warnings():
            # Pillow warns about odd metadata of photos that can be used all the same.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _run_and_limit_cache()
    except OutputClosedError as error:
        sys.exit(error.exit_code)
    except (ToolkitError, RuntimeKitError) as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail(system_problem(error), 2)
    except MemoryError:
        _fail("not enough memory; close other programs, or lower --batch-size or --imgsz", 2)
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed; pip install 'rs-toolkit[toolkit]'", 2)
