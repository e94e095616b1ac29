"""Options that several commands of ``rs-toolkit`` take, with one help text each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "BACKBONES",
    "WEIGHTS",
    "Backbone",
    "Config",
    "GroupBy",
    "Pixels",
    "Rank",
    "Seed",
    "SplitsFrom",
    "Weights",
    "resolved",
]

BACKBONES = (
    "xception, xception-w50, xception-w25, xception-mini, efficientnet_lite0 or mobilenetv2-w50"
)
WEIGHTS = (
    "imagenet (Keras downloads them), package (installed, of efficientnet_lite0), none (random), "
    "or a .h5 file."
)
Backbone = Annotated[str | None, typer.Option(help=f"{BACKBONES}.")]
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


def resolved(weights: str | None) -> str | None:
    """Return weights so that they are found from any folder; names stay as they are."""
    if weights in (None, "none", "imagenet", "package"):
        return weights
    return str(Path(str(weights)).expanduser().resolve())
