"""The commands for data before training: ``rs-toolkit check``, ``split``, ``clean``, ``review``."""

from __future__ import annotations

import shlex
from argparse import ArgumentTypeError
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rs_toolkit.cli import options
from rs_toolkit.config.training import TrainConfig, read_config
from rs_toolkit.errors import ConfigError
from rs_toolkit.folders.claim import claimed
from rs_toolkit.progress import ConsoleProgress, Progress

if TYPE_CHECKING:
    from rs_toolkit.checks.parts import PhotoWork
    from rs_toolkit.checks.run import Embed
    from rs_toolkit.clean.policy import Policy

__all__ = ["check", "clean", "review", "split"]

Data = Annotated[Path, options.DATA]
PartOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="K/N",
        help="Only do with part K of N of the photos what is done with each alone, and keep it in "
        "the cache, for machines that share it (docs/scale.md).",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Do what is done with each photo alone on a Ray cluster that shares the cache, at "
        "this address, auto or local, and then the rest here."
    ),
]


@options.takes_settings(TrainConfig)
def check(
    data: Data,
    out: Annotated[Path | None, options.folder_option("check/NAME")] = None,
    rank: str | None = None,
    keep_names: str | None = None,
    imgsz: int | None = None,
    strict_photos: bool | None = None,
    shard: PartOption = None,
    address: Address = None,
) -> None:
    """Check photos and labels, and write a report about them.

    Counts photos at every rank, and finds imbalance, unreadable files, duplicates, and blank, dark
    and blurred photos. Prints a summary and writes audit.html into the folder.

    Exit codes: 0 audited, 2 wrong usage or data, or no photo can be read, 130 interrupted.
    """
    settings = options.train_settings(None, locals())
    from rs_toolkit.audit.run import check as audit_data
    from rs_toolkit.checks.parts import PhotoWork

    work = PhotoWork(data, settings)
    if shard is not None:
        _do_part(work, shard)
        return
    folder = out or options.output_folder(Path("check"), data)
    with claimed(folder), ConsoleProgress() as progress:
        _do_on_ray(work, address, progress)
        page = audit_data(data, settings, folder, progress=progress)
    print(page)


def _do_part(work: PhotoWork, part: str) -> None:
    from rs_runtime.shards import shard
    from rs_toolkit.checks.parts import PartWorker

    try:
        wanted = shard(part)
    except ArgumentTypeError as error:
        raise ConfigError(f"--shard: {error}") from error
    with ConsoleProgress() as progress:
        worker = PartWorker(work, progress)
        count = worker.read(wanted)
        if work.needs_tensorflow:
            worker.compute(wanted)
    print(f"part {part}: {count:,} photos are in the cache")


def _do_on_ray(work: PhotoWork, address: str | None, progress: Progress) -> None:
    if address is not None:
        from rs_toolkit.checks.parts import work_on_ray

        work_on_ray(work, address, progress=progress)


@options.takes_settings(TrainConfig)
def split(
    data: Data,
    out: Annotated[Path, typer.Option(help="CSV file to write.")] = Path("splits.csv"),
    config: options.Config = None,
    rank: str | None = None,
    keep_names: str | None = None,
    group_by: str | None = None,
    val: float | None = None,
    test: float | None = None,
    splits_from: str | None = None,
    seed: int | None = None,
) -> None:
    """Assign photos to training, validation and test.

    Copies, near-duplicates and observations stay together (--group-by), and official splits are
    kept, as in train. With --group-by photo no photo is opened. Writes a table.

    Exit codes: 0 written, 2 wrong usage, data or settings, 130 interrupted.
    """
    settings = options.train_settings(config, locals())
    from rs_toolkit.checks.duplicates.search import photos_to_split
    from rs_toolkit.files import write_csv
    from rs_toolkit.splits.rank import settle_rank
    from rs_toolkit.splits.table import SplitRow, split_table

    with ConsoleProgress() as progress:
        photos = photos_to_split(data, settings, progress)
        rows, report = split_table(photos, settle_rank(photos, settings, progress))
        for note in (*report.notes(), report.question):
            progress.note(note)
    write_csv(out, SplitRow._fields, rows)
    print(", ".join(f"{side} {count}" for side, count in report.photos.items()))
    print(out)


@options.takes_settings(TrainConfig)
def clean(
    data: Annotated[Path | None, options.DATA] = None,
    out: Annotated[Path | None, options.folder_option("clean/NAME")] = None,
    policy: Annotated[
        Path | None, typer.Option(help="TOML file: what findings do to photos (docs/data.md).")
    ] = None,
    filter_: Annotated[
        Path | None,
        typer.Option("--filter", help="Filter folder or kit, to find photos without an organism."),
    ] = None,
    config: options.Config = None,
    weights: str | None = None,
    backbone: str | None = None,
    rank: str | None = None,
    keep_names: str | None = None,
    imgsz: int | None = None,
    group_by: str | None = None,
    val: float | None = None,
    test: float | None = None,
    splits_from: str | None = None,
    seed: int | None = None,
    strict_photos: bool | None = None,
    shard: PartOption = None,
    address: Address = None,
    again: Annotated[
        Path | None,
        typer.Option(help="Clean this clean folder again with its own settings.", metavar="FOLDER"),
    ] = None,
) -> None:
    """Find duplicates, doubtful labels, outliers and unusable photos.

    Groups and splits the photos, and lowers the training weight of bad ones; none is deleted, and
    caps protect small classes. Labels are compared by features of the backbone, or not at all with
    --weights none. Writes a folder that train takes as its data.

    Exit codes: 0 cleaned, 2 wrong usage, data or settings, 130 interrupted.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    from rs_toolkit.clean.policy import Policy
    from rs_toolkit.clean.run import recorded_clean

    if again is not None:
        if len(given) > 1:
            raise ConfigError("--again takes every setting from the folder; leave the others out")
        _clean(again, *recorded_clean(again))
        return
    if data is None:
        raise ConfigError("clean: got no photos; give DATA, or --again FOLDER")
    settings = options.train_settings(config, given)
    rules = Policy.from_dict(read_config(policy)) if policy else Policy()
    if shard is not None:
        _do_part(_work(data, settings, filter_), shard)
        return
    folder = out or options.output_folder(Path("clean"), data)
    _clean(folder, data, settings, rules, filter_, address)


def _work(data: Path, settings: TrainConfig, filter_: Path | None) -> PhotoWork:
    from rs_toolkit.checks.parts import PhotoWork

    return PhotoWork(data, settings, _embedder(settings), filter_.resolve() if filter_ else None)


def _embedder(
    settings: TrainConfig, progress: Progress | None = None
) -> Callable[[], Embed] | None:
    # Features of random weights say nothing about photos.
    if settings.weights == "none":
        return None
    from rs_train.classifier.embed import Embedding

    return partial(Embedding, settings.backbone, settings.weights, progress or Progress())


def _clean(
    folder: Path,
    data: Path,
    settings: TrainConfig,
    rules: Policy,
    filter_: Path | None,
    address: str | None = None,
) -> None:
    from rs_toolkit.checks.organisms import read_filter
    from rs_toolkit.clean.run import clean as clean_data

    organisms = read_filter(filter_) if filter_ else None
    with claimed(folder), ConsoleProgress() as progress:
        _do_on_ray(_work(data, settings, filter_), address, progress)
        embedder = _embedder(settings, progress)
        embed = None if embedder is None else embedder()
        found = clean_data(
            data, settings, rules, folder, embed=embed, organisms=organisms, progress=progress
        )
    print(found.summary)
    print(folder)


def review(
    folder: Annotated[Path, typer.Argument(help="Folder that rs-toolkit clean made.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Decide about flagged photos, on a page in the browser.

    Only this machine can open the page. Every decision is saved at once; clean --again FOLDER
    applies them.

    Exit codes: 0 closed, 2 wrong usage or no clean folder, 130 interrupted.
    """
    from rs_toolkit.review.server import serve

    with ConsoleProgress() as progress:
        serve(folder, port=port, open_browser=browser, progress=progress)
    print(f"apply the decisions with: rs-toolkit clean --again {shlex.quote(str(folder))}")
