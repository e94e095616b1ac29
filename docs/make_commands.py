"""Write ``docs/commands.md`` from the commands' help: every command, option and default.

    python docs/make_commands.py

``tests/test_docs.py`` fails if a command was changed and this was not run.
"""

from __future__ import annotations

import argparse
import inspect
import re
import typing
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer

import rs_runtime.cli
import rs_runtime.probe
from rs_toolkit.cli.main import app
from rs_toolkit.config.training import TrainConfig

COMMANDS = Path(__file__).with_name("commands.md")
HEAD = """# Commands

<!-- Written by docs/make_commands.py from the commands' own help texts; change those instead. -->

Every command shows its part with `--help`. An error is one line on standard error and an exit code.
Ctrl-C gives exit code 130, output whose reader closed it 141, and output that cannot be written 2.
"""
SETTINGS = """## Settings files

`--config settings.toml` reads the settings of a training from a file, such as
[`samples/birds.toml`](../samples/birds.toml). A key is the name of an option of `train`, with `_`
for `-`, and every setting has an option. Options override the file.
"""
PARSERS = {"rs-classify": rs_runtime.cli, "python -m rs_runtime.probe": rs_runtime.probe}
KINDS = {int: "integer", float: "number", str: "text", Path: "path"}

Row = tuple[str, ...]


def commands() -> Iterator[tuple[str, Any]]:
    """Yield the name and click object of each command of ``rs-toolkit`` but bare groups."""

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", {})
        if not children or command.params:
            yield name, command
        for child, subcommand in children.items():
            yield from below(f"{name} {child}", subcommand)

    yield from below("rs-toolkit", typer.main.get_command(app))


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the name and the parser of each command of the runtime."""
    for name, module in PARSERS.items():
        yield name, module._parser()


def text() -> str:
    """Return the text of ``docs/commands.md``."""
    found = [(name, *_of_click(command)) for name, command in commands()]
    found += [(name, *_of_argparse(parser)) for name, parser in parsers()]
    overview = "".join(
        f"- [`{name}`](#{_anchor(name)}): {(help_text.splitlines() or [''])[0]}\n"
        for name, _, help_text, _ in found
    )
    sections = [_section(*command) for command in found]
    settings = [
        (f"`{item.name}`", _value(item.default), _limits(item.metadata), item.metadata["text"])
        for item in fields(TrainConfig)
    ]
    table = _table(("key", "default", "range", "meaning"), settings)
    return "\n".join((HEAD, overview, *sections, SETTINGS, table))


def _of_click(command: Any) -> tuple[str, str, list[Row]]:
    """Return a command's arguments in one line, its help text and its rows."""
    hints = typing.get_type_hints(command.callback, include_extras=True)
    arguments, rows = [], []
    for item in command.params:
        if item.param_type_name == "argument":
            title = item.metavar or item.name.upper()
            arguments.append(title if item.required else f"[{title}]")
            flags = [title]
        else:
            flags = [*item.opts, *item.secondary_opts]
        # Of a pair such as --on/--off, the first flag means true.
        default = flags[0] if item.default is True else item.default
        shown = item.show_default if isinstance(item.show_default, str) else _value(default)
        rows.append((_code(flags), _kind(hints[item.name]), shown, item.help or ""))
    return " ".join(arguments), inspect.cleandoc(command.help or ""), rows


def _of_argparse(parser: argparse.ArgumentParser) -> tuple[str, str, list[Row]]:
    """Return the same for a parser of argparse."""
    arguments, rows = [], []
    formatter = parser._get_formatter()
    for item in parser._actions:
        flags = [flag for flag in item.option_strings if flag.startswith("--")]
        title = str(item.metavar or item.dest)
        value = ", ".join(item.choices or ()) or item.metavar or item.dest.upper()
        if not flags:
            arguments.append(f"{title}…" if item.nargs == "*" else title)
        default = "" if item.default is argparse.SUPPRESS else _value(item.default)
        meaning = formatter._expand_help(item) if item.help else ""
        shown = str(value) if flags and item.nargs != 0 else ""
        rows.append((_code(flags or [title]), shown, default, meaning))
    return " ".join(arguments), f"{parser.description}\n\n{parser.epilog}", rows


def _section(name: str, arguments: str, help_text: str, rows: Sequence[Row]) -> str:
    parts = [f"## {name}", f"`{f'{name} {arguments}'.strip()}`", help_text]
    if rows:
        parts.append(_table(("option", "value", "default", "meaning"), rows).rstrip("\n"))
    return "\n\n".join(parts) + "\n"


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in escaped)


def _code(flags: Sequence[str]) -> str:
    return ", ".join(f"`{flag}`" for flag in flags)


def _kind(hint: Any) -> str:
    """Return the type and the limits of an option's value from its annotation; none for flags."""
    annotated = typing.get_origin(hint) is typing.Annotated
    annotation, option, *rules = typing.get_args(hint) if annotated else (hint, None)
    # Unwrap "X | None" (an optional value) and "list[X]" (a repeated option).
    while inner := [kind for kind in typing.get_args(annotation) if kind is not type(None)]:
        (annotation,) = inner
    low, high = (getattr(option, name, None) for name in ("min", "max"))
    limits = _limits(*rules or [{"low": low, "high": high}])
    kind = "" if rules and "choices" in rules[0] else KINDS.get(annotation, "")
    return ", ".join(part for part in (kind, limits) if part)


def _limits(metadata: Any) -> str:
    if choices := metadata.get("choices"):
        return ", ".join(choice or "empty" for choice in choices)
    low, high = metadata.get("low"), metadata.get("high")
    if low is None:
        return ""
    return f"{_value(low)} or more" if high is None else f"{_value(low)} to {_value(high)}"


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _value(value: Any) -> str:
    if value is None or value is False:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Write the file."""
    COMMANDS.write_text(text(), "utf-8", newline="\n")
    print(COMMANDS)


if __name__ == "__main__":
    main()
