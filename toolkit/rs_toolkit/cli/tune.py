"""``rs-toolkit tune``: searches for settings of a training that score best."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from rs_toolkit.cli import options
from rs_toolkit.config.base import load_settings
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.config.tuning import TuneConfig
from rs_toolkit.progress import ConsoleProgress, Progress

__all__ = ["tune"]

_TRIALS = 30


@options.takes_settings(TuneConfig)
@options.takes_settings(TrainConfig)
def tune(
    data: Annotated[Path, options.DATA],
    out: Annotated[Path | None, options.folder_option("tune/NAME", "Study folder.")] = None,
    stage: int | None = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="End when the study has so many finished trials, of all processes together.",
            show_default=f"{_TRIALS}, or with --time no limit",
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--time", help="Time for this process: 30m, 2h or 90s.")
    ] = None,
    only: str | None = None,
    folds: int | None = None,
    config: options.Config = None,
    preset: str | None = None,
    weights: str | None = None,
    backbone: str | None = None,
    rank: str | None = None,
    keep_names: str | None = None,
    imgsz: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    precision: str | None = None,
    group_by: str | None = None,
    splits_from: str | None = None,
    seed: int | None = None,
    strict_photos: bool | None = None,
    device: options.Device = "auto",
    address: Annotated[
        str | None,
        typer.Option(
            help="Run the trials on a Ray cluster that shares the photos, the cache and the study "
            "folder, at this address, auto or local."
        ),
    ] = None,
) -> None:
    """Search for better settings of a training, with Optuna.

    Each trial is scored by macro-F1 on photos that it has not learned from; the test photos are
    never asked. Several processes may work on one study, and the same command goes on with it.
    Writes a study folder: best.toml, which train takes as --config, trials.csv and importance.png.

    Exit codes: 0 tuned, 2 wrong usage, data or settings, or no trial has a score, 130 interrupted
    (the same command goes on).
    """
    given = {name: value for name, value in locals().items() if value is not None}
    settings = options.train_settings(config, given)
    tuning = load_settings(TuneConfig, options.settings_among(given, TuneConfig))
    # Not with the other settings, some of which a training cannot have with a time.
    seconds = TrainConfig(time=budget).seconds if budget else None
    folder = out or options.output_folder(Path("tune"), data)
    wanted = trials if trials or seconds else _TRIALS
    _tune((data, settings, tuning, folder), wanted, seconds, device, address)


def _tune(
    what: tuple[Path, TrainConfig, TuneConfig, Path],
    trials: int | None,
    seconds: float | None,
    device: str,
    address: str | None,
) -> None:
    from rs_train.tuning.results import said_values
    from rs_train.tuning.tune import tune as search

    folder = what[-1]
    with ConsoleProgress() as progress, _spread(what, trials, device, address, progress) as spread:
        options.take_device(device, progress)
        try:
            found: Any = search(
                *what, trials=trials, seconds=seconds, progress=progress, spread=spread
            )
        except KeyboardInterrupt:
            progress.note("interrupted; the same command goes on")
            raise
    given = "" if found.given is None else f" (as given: {found.given:.4f})"
    counts = f"{found.pruned} of them pruned, {found.failed} failed"
    print(f"best of {found.trials} trials, {counts}: macro-F1 {found.best:.4f}{given}")
    print(f"{said_values(found.values)}\n{folder / 'best.toml'}")


@contextmanager
def _spread(
    what: tuple[Path, TrainConfig, TuneConfig, Path],
    trials: int | None,
    device: str,
    address: str | None,
    progress: Progress,
) -> Iterator[Callable[..., None] | None]:
    """Connect to Ray, if that is asked for; what is yielded runs trials there."""
    if address is None:
        yield None
        return
    from rs_toolkit.data.readers import require_data
    from rs_toolkit.ray_cluster import connected
    from rs_train.tuning.on_ray import Job, run_trials

    require_data(what[0])
    with connected(address, None) as ray:
        yield partial(run_trials, ray, Job(*what, trials, device), progress)
