"""The documents name what exists, and leave no command, option or exit code out."""

from __future__ import annotations

import pkgutil
import re
import runpy
from pathlib import Path

import pytest
import typer

import rs_runtime.cli
from rs_runtime.errors import PhotoError, RuntimeKitError
from rs_toolkit.cli.main import app
from rs_toolkit.errors import ToolkitError

FOLDERS = ("toolkit", "train", "export", "runtime", "tests", "samples", "benchmarks", "docs")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "docs/**/*.md")
# Names such as rs_runtime.photos.preprocess: in code spans, and in docstrings as Sphinx marks them.
MODULE = r"`(rs_(?:toolkit|train|export|runtime)(?:\.\w+)+)`"
REFERENCE = r":\w+:`~?(rs_(?:toolkit|train|export|runtime)(?:\.\w+)+)`"
CODES = {
    "rs-toolkit": {0, ToolkitError.exit_code, RuntimeKitError.exit_code, 130},
    "rs-classify": {0, PhotoError.exit_code, RuntimeKitError.exit_code, 130, 141},
}


def options() -> list[tuple[str, str]]:
    """Return each command's name with each of its long options."""
    commands = {"rs-toolkit": typer.main.get_command(app)}
    for name, command in list(commands["rs-toolkit"].commands.items()):  # type: ignore[attr-defined]
        commands[f"rs-toolkit {name}"] = command
        for below, subcommand in getattr(command, "commands", {}).items():
            commands[f"rs-toolkit {name} {below}"] = subcommand
    found = [
        (name, flag)
        for name, command in commands.items()
        for item in command.params
        for flag in (*item.opts, *item.secondary_opts)
    ]
    found += [
        ("rs-classify", flag)
        for action in rs_runtime.cli._parser()._actions
        for flag in action.option_strings
    ]
    return [(name, flag) for name, flag in found if flag.startswith("--")]


@pytest.fixture(scope="module")
def readme(repository) -> str:
    return (repository / "README.md").read_text("utf-8")


@pytest.mark.parametrize(("command", "flag"), options())
def test_every_option_is_in_the_readme(readme, command, flag) -> None:
    assert f"`{command}" in readme
    assert re.search(rf"`{flag}[` =]", readme)


def test_kit_commands_are_in_the_readme(readme) -> None:
    group = typer.main.get_command(app).commands["kit"]  # type: ignore[attr-defined]
    row = next(line for line in readme.splitlines() if line.startswith("| `rs-toolkit kit "))
    assert all(name in row for name in group.commands)


def test_options_were_found() -> None:
    commands = {command for command, _ in options()}
    assert commands >= {"rs-toolkit sample", "rs-toolkit train", "rs-toolkit export", "rs-classify"}


@pytest.mark.parametrize(
    "command", ["rs-toolkit sample", "rs-toolkit train", "rs-toolkit export", "rs-classify"]
)
def test_exit_codes_are_in_the_readmes_table(readme, command) -> None:
    rows = [line for line in readme.splitlines() if line.startswith(f"| `{command} ")]
    said = {int(code) for row in rows for code in re.findall(r"\b\d+\b", row.split("|")[-2])}
    assert said == CODES[command.split()[0]]


def test_the_readme_is_finished(readme) -> None:
    assert "_PLACEHOLDER" not in readme


def paths(text: str) -> set[str]:
    """Return the words of code spans and blocks that are paths in the repository."""
    blocks = re.findall(r"^```.*?^```", text, re.M | re.S)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    words = {word.rstrip(".,;:)") for part in (*blocks, *spans) for word in part.split()}
    return {
        word
        for word in words
        if word.partition("/")[0] in FOLDERS
        and "/" in word
        # Globs, and names that a command makes.
        and not re.search(r"[*?<>{}…]|\b(?!README\b)[A-Z]{2,}\b", word)
    }


def missing(repository: Path, found: set[str]) -> list[str]:
    """Return paths that neither exist nor are made by a program and ignored by git."""
    made = {line.strip("/") for line in (repository / ".gitignore").read_text("utf-8").split()}
    return sorted(p for p in found if p.strip("/") not in made and not (repository / p).exists())


def test_paths_in_documents_exist(repository) -> None:
    documents = [file for pattern in DOCUMENTS for file in sorted(repository.glob(pattern))]
    assert len(documents) >= 5
    found = {file: paths(file.read_text("utf-8")) for file in documents}
    assert sum(map(len, found.values())) > 10
    assert not {file.name: gone for file in documents if (gone := missing(repository, found[file]))}


def test_modules_in_documents_and_docstrings_exist(repository) -> None:
    documents = [file for pattern in DOCUMENTS for file in sorted(repository.glob(pattern))]
    found = {(file, name) for file in documents for name in re.findall(MODULE, file.read_text())}
    for folder in ("toolkit", "train", "export", "runtime"):
        for file in sorted((repository / folder).rglob("*.py")):
            found |= {(file, name) for name in re.findall(REFERENCE, file.read_text("utf-8"))}
    assert len(found) > 50
    gone = []
    for file, name in sorted(found):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            gone.append(f"{file.name}: {name}")
    assert gone == []


def test_the_design_draws_the_floors_that_are_enforced(repository) -> None:
    enforced = runpy.run_path(str(repository / "tests" / "test_architecture.py"))
    text = (repository / "docs" / "design.md").read_text("utf-8")
    picture = text.partition("## Floors")[2].partition("```\n")[2].partition("```")[0]
    floors: dict[str, tuple[str, ...]] = {}
    ground: dict[str, set[str]] = {}
    above: list[str] = []
    for line in picture.splitlines():
        depth = (len(line) - len(line.lstrip())) // 4
        # Each package stands in a folder of its own.
        parent = "/".join(above[:depth]).partition("/")[2]
        folder, *_ = line.split()
        above[depth:] = [folder.strip("/")]
        if depth and folder.endswith("/"):
            floors[parent] = (*floors.get(parent, ()), folder.strip("/"))
        elif depth:
            ground[parent] = {name.removesuffix(".py") for name in line.split()}
    assert floors == enforced["FLOORS"]
    assert ground == enforced["GROUND"]


def test_links_in_documents_lead_somewhere(repository) -> None:
    for pattern in DOCUMENTS:
        for file in sorted(repository.glob(pattern)):
            for target in re.findall(r"\]\(([^)#\s]+)", file.read_text("utf-8")):
                if not target.startswith(("http:", "https:", "mailto:")):
                    assert (file.parent / target).exists(), f"{file.name}: {target}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see `docs/a.md`, `runtime/` and `runs/x`", {"docs/a.md", "runtime/"}),
        ("`bash samples/x.sh --odd`", {"samples/x.sh"}),
        ("`benchmarks/*.json` `docs/NAME.md` `docs/README.md` `train 3/4`", {"docs/README.md"}),
        ("`export/NAME.rskit`\n```bash\nbash samples/y.sh\n```", {"samples/y.sh"}),
    ],
)
def test_paths_are_found(text, expected) -> None:
    assert paths(text) == expected


def test_numbers_in_the_readme_are_the_committed_ones(repository, readme) -> None:
    results = (repository / "benchmarks" / "results" / "birds-family.md").read_text("utf-8")
    rows = [line for line in results.splitlines() if line.startswith("|")]
    assert len(rows) > 8
    assert [row for row in rows if row not in readme] == []
