"""Options that several commands of ``rs-toolkit`` take, with one help text each."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

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
    "resolved",
    "settings_among",
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


def resolved(value: str | Path | None) -> str | None:
    """Return a path so that it is found from any folder; names of weights stay as they are."""
    if value is None:
        return None
    if value in ("none", "imagenet", "package"):
        return str(value)
    return str(Path(value).expanduser().resolve())
