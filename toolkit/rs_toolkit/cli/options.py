"""What several commands share: options with one help text each, folders, how they go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from rs_toolkit.config.base import load_settings
from rs_toolkit.progress import ConsoleProgress, Progress

__all__ = [
    "BACKBONES",
    "DATA",
    "WEIGHTS",
    "Backbone",
    "BatchSize",
    "Config",
    "GroupBy",
    "Pixels",
    "Rank",
    "Seed",
    "SplitsFrom",
    "Weights",
    "folder_option",
    "free_folder",
    "output_folder",
    "resolved",
    "resumable",
    "settings_among",
    "train_settings",
]

BACKBONES = (
    "xception, xception-w50, xception-w25, xception-mini, efficientnet_lite0 or mobilenetv2-w50"
)
WEIGHTS = (
    "imagenet (Keras downloads them), package (installed, of efficientnet_lite0), none (random), "
    "or a .h5 file."
)
DATA = typer.Argument(help="Photos, in a layout that train takes (docs/data.md).")
Backbone = Annotated[str | None, typer.Option(help=f"{BACKBONES}.")]
BatchSize = Annotated[int | None, typer.Option(help="Photos a step.")]
Config = Annotated[
    Path | None, typer.Option(help="TOML file of settings, as of train; flags override it.")
]
GroupBy = Annotated[
    str | None,
    typer.Option(help="What no split separates: duplicates, species, site or observation."),
]
Pixels = Annotated[int | None, typer.Option(help="Pixels per side that the model sees.")]
Rank = Annotated[
    str | None, typer.Option(help="Rank of the classes: kingdom … species, or common_name.")
]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random.")]
SplitsFrom = Annotated[
    str | None, typer.Option(help="Earlier run or clean folder whose photos keep their side.")
]
Weights = Annotated[str | None, typer.Option(help=WEIGHTS)]


def folder_option(default: str, text: str = "Folder to write.") -> Any:
    """Return ``--out``; ``default`` says what is written where it is left out."""
    return typer.Option(help=text, show_default=default)


def settings_among(options: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Return those options of a command that are called like a field of a dataclass."""
    names = [item.name for item in fields(kind)]
    return {name: value for name, value in options.items() if name in names}


def train_settings(config: Path | None, options: dict[str, Any], preset: dict[str, Any]) -> Any:
    """Return a TrainConfig: the preset, overridden by a settings file, overridden by options."""
    from rs_toolkit.config.training import TrainConfig, read_config

    flags = settings_among(options, TrainConfig)
    return load_settings(TrainConfig, preset, read_config(config) if config else {}, flags)


def resolved(value: str | Path | None) -> str | None:
    """Return a path so that it is found from any folder; names of weights stay as they are."""
    if value is None:
        return None
    if value in ("none", "imagenet", "package"):
        return str(value)
    return str(Path(value).expanduser().resolve())


def output_folder(parent: Path, data: Path) -> Path:
    """Return ``parent/NAME``, where a command writes what it made of a data set.

    A folder gives its whole name, ``photos.2024`` too; a file (.csv, .json, .parquet, .zip) its
    name without the suffix.
    """
    path = data.resolve()
    return parent / (path.stem if path.is_file() else path.name)


def free_folder(parent: Path, data: Path) -> Path:
    """Return :func:`output_folder`, with a number behind it, from 2, where that is taken."""
    first = folder = output_folder(parent, data)
    number = 2
    while folder.exists():
        folder, number = first.with_name(f"{first.name}-{number}"), number + 1
    return folder


@contextmanager
def resumable(command: str, folder: Path) -> Iterator[Progress]:
    """Show progress; where Ctrl-C ends the work, say how ``folder`` is gone on with."""
    with ConsoleProgress() as progress:
        try:
            yield progress
        except KeyboardInterrupt:
            if (folder / "config.json").exists():
                progress.note(f"interrupted; continue with: rs-toolkit {command} --resume {folder}")
            raise
