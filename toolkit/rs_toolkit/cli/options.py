"""What several commands share: options made of settings, names of folders, and Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from rs_toolkit.config.base import load_settings
from rs_toolkit.config.training import TrainConfig, read_config
from rs_toolkit.progress import ConsoleProgress, Progress

__all__ = [
    "DATA",
    "Config",
    "folder_option",
    "free_folder",
    "output_folder",
    "resolved",
    "resumable",
    "settings_among",
    "takes_settings",
    "train_settings",
]

DATA = typer.Argument(help="Photos, in a layout that train takes (docs/data.md).")
Config = Annotated[
    Path | None, typer.Option(help="TOML file of settings, as of train; flags override it.")
]
Command = TypeVar("Command", bound=Callable[..., None])


def takes_settings(kind: type[Any]) -> Callable[[Command], Command]:
    """Return a decorator for a command: parameters called like a setting become options.

    Their help and default are those of the setting in the dataclass ``kind``.  None, the default
    of the parameter itself, means that the option was not given.
    """
    settings = {item.name: item for item in fields(kind) if item.metadata}

    def decorate(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        for name in hints.keys() & settings.keys():
            setting = settings[name]
            text = setting.metadata["text"]
            shown = str(setting.default) or False
            option = typer.Option(help=f"{text[0].upper()}{text[1:]}.", show_default=shown)
            # The last part is for docs/make_commands.py, which shows its limits.
            hints[name] = Annotated[hints[name], option, setting.metadata]
        command.__annotations__ = hints
        return command

    return decorate


def folder_option(default: str, text: str = "Folder to write.") -> Any:
    """Return ``--out``; ``default`` says what is written where it is left out."""
    return typer.Option(help=text, show_default=default)


def settings_among(options: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Return those options of a command that are called like a field of a dataclass."""
    names = [item.name for item in fields(kind)]
    return {name: value for name, value in options.items() if name in names}


def train_settings(
    config: Path | None, options: dict[str, Any], preset: dict[str, Any] | None = None
) -> TrainConfig:
    """Return the settings of a preset, overridden by a settings file, overridden by options."""
    flags = settings_among(options, TrainConfig)
    found = load_settings(TrainConfig, preset or {}, read_config(config) if config else {}, flags)
    # ``--resume`` and ``--again`` may start in another folder.
    return replace(found, weights=resolved(found.weights), splits_from=resolved(found.splits_from))


def resolved(value: str | Path) -> str:
    """Return a path so that it is found from any folder; names of weights stay as they are."""
    if value in ("", "none", "imagenet", "package"):
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
    """Show progress; where Ctrl-C ends the work, say how to continue in ``folder``."""
    with ConsoleProgress() as progress:
        try:
            yield progress
        except KeyboardInterrupt:
            if (folder / "config.json").exists():
                progress.note(f"interrupted; continue with: rs-toolkit {command} --resume {folder}")
            raise
