"""What commands share: options made from settings, names of output folders, and Ctrl-C."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from rs_toolkit.config.base import load_settings
from rs_toolkit.config.training import TrainConfig, read_config, read_preset
from rs_toolkit.errors import ConfigError
from rs_toolkit.folders.claim import claimed, claimed_new
from rs_toolkit.progress import ConsoleProgress, Progress

__all__ = [
    "DATA",
    "Config",
    "Device",
    "folder_option",
    "new_folder",
    "output_folder",
    "resolved",
    "resumable",
    "settings_among",
    "take_device",
    "takes_settings",
    "train_settings",
]

DATA = typer.Argument(help="Photos, in a layout that train takes (docs/data.md).")
Device = Annotated[
    str, typer.Option(help="What computes: auto (a GPU if there is one), cpu, gpu or gpu:N.")
]
Config = Annotated[
    Path | None, typer.Option(help="File of settings (docs/commands.md); options override it.")
]
Command = TypeVar("Command", bound=Callable[..., None])


def takes_settings(kind: type[Any], *, every: bool = False) -> Callable[[Command], Command]:
    """Return a decorator for a command: parameters named like a setting become options.

    The help shows text and default of the setting in the dataclass ``kind``.  The default of the
    parameter itself is None, which means that the option was not given.  With ``every``, all
    settings become options, and the command gets those that it does not name as keyword arguments.
    """
    settings = {item.name: item for item in fields(kind) if item.metadata}

    def decorate(command: Command) -> Command:
        signature = _with_every_setting(command, settings) if every else None
        hints = get_type_hints(command, include_extras=True)
        for name in hints.keys() & settings.keys():
            setting = settings[name]
            text = setting.metadata["text"]
            shown: str | bool = str(setting.default) or False
            names: list[str] = []
            if setting.default is False:
                # Without --no-NAME, which typer would add.
                shown, names = False, [f"--{name.replace('_', '-')}"]
            option = typer.Option(*names, help=f"{text[0].upper()}{text[1:]}.", show_default=shown)
            # docs/make_commands.py reads limits and choices from the metadata.
            hints[name] = Annotated[hints[name], option, setting.metadata]
        command.__annotations__ = hints
        if signature:
            rows = signature.parameters.items()
            known = [item.replace(annotation=hints[name]) for name, item in rows]
            command.__signature__ = signature.replace(parameters=known)  # type: ignore[attr-defined]
        return command

    return decorate


def _with_every_setting(command: Any, settings: Any) -> inspect.Signature:
    """Return the signature of a command, with a keyword for each setting in the place of ``**``."""
    *named, rest = inspect.signature(command).parameters.values()
    kinds = {"int": int, "float": float, "str": str, "bool": bool}
    del command.__annotations__[rest.name]
    for name, item in settings.items():
        command.__annotations__[name] = kinds[str(item.type)] | None
    keywords = [inspect.Parameter(name, rest.KEYWORD_ONLY, default=None) for name in settings]
    return inspect.Signature([*named, *keywords])


def folder_option(default: str, text: str = "Folder to write.") -> Any:
    """Return the option ``--out``; ``default`` is shown as the folder that is used without it."""
    return typer.Option(help=text, show_default=default)


def settings_among(options: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Return those options of a command that are named like a field of the dataclass ``kind``."""
    names = [item.name for item in fields(kind)]
    return {name: value for name, value in options.items() if name in names}


def train_settings(
    config: Path | None, options: dict[str, Any], *, sample: bool = False
) -> TrainConfig:
    """Return training settings from presets, a settings file and options; the last one wins.

    The presets are that of the sample, if ``sample``, and the one that options or file name.
    """
    flags = settings_among(options, TrainConfig)
    file = read_config(config) if config else {}
    named = flags.get("preset") or file.get("preset")
    presets = [read_preset(name) for name in (sample and "sample", named) if name]
    found = load_settings(TrainConfig, *presets, file, flags)
    is_path = not found.teacher_weights or Path(found.teacher).is_file()
    # ``--resume`` and ``--again`` may be run in another working directory.
    return replace(
        found,
        weights=resolved(found.weights),
        splits_from=resolved(found.splits_from),
        # With weights, the teacher may be the name of a model.
        teacher=resolved(found.teacher) if is_path else found.teacher,
        teacher_weights=resolved(found.teacher_weights),
    )


def resolved(value: str | Path) -> str:
    """Return a path as an absolute one; names that stand for weights stay as they are."""
    if value in ("", "none", "imagenet", "package"):
        return str(value)
    try:
        return str(Path(value).expanduser().resolve())
    except RuntimeError:
        raise ConfigError(f"{value}: there is no such home folder; give the whole path") from None


def take_device(wanted: str, progress: Progress) -> None:
    """Make TensorFlow compute on what ``--device`` names, and say so if it is a GPU."""
    from rs_toolkit.environment import quiet_tensorflow, use_device

    quiet_tensorflow()
    if (used := use_device(wanted)) != "CPU":
        progress.note(f"device: {used}")


def output_folder(parent: Path, data: Path) -> Path:
    """Return ``parent/NAME``, the folder for a command's results; NAME is that of the data.

    Of a file (.csv, .json, .parquet, .zip) the suffix is left out; a folder such as
    ``photos.2024`` keeps its whole name.
    """
    path = data.resolve()
    # The root of a file system has no name.
    return parent / ((path.stem if path.is_file() else path.name) or "photos")


def new_folder(out: Path | None, parent: str, data: Path) -> AbstractContextManager[Path]:
    """Claim ``out`` if it is given, else a new folder named like :func:`output_folder`."""
    return claimed(out) if out else claimed_new(output_folder(Path(parent), data))


@contextmanager
def resumable(command: str, folder: Path) -> Iterator[Progress]:
    """Show progress; after Ctrl-C, tell the user how to continue in ``folder``."""
    with ConsoleProgress() as progress:
        try:
            yield progress
        except KeyboardInterrupt:
            if (folder / "config.json").exists():
                progress.note(f"interrupted; continue with: rs-toolkit {command} --resume {folder}")
            raise
