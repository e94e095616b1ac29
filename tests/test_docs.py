"""The documents name what exists, and leave no command, option or exit code out."""

from __future__ import annotations

import pkgutil
import re
import runpy
from pathlib import Path

import pytest

from rs_runtime.errors import PhotoError, RuntimeKitError
from rs_toolkit.errors import ToolkitError

FOLDERS = ("toolkit", "train", "export", "runtime", "tests", "samples", "benchmarks", "docs")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "docs/**/*.md")
# Names such as rs_runtime.photos.preprocess: in code spans, and in docstrings as Sphinx marks them.
MODULE = r"`(rs_(?:toolkit|train|export|runtime)(?:\.\w+)+)`"
REFERENCE = r":\w+:`~?(rs_(?:toolkit|train|export|runtime)(?:\.\w+)+)`"
CODES = {
    "rs-toolkit": {0, ToolkitError.exit_code, RuntimeKitError.exit_code, 130},
    "rs-toolkit kit": {0, RuntimeKitError.exit_code},
    "rs-toolkit kit diff": {0, 1, RuntimeKitError.exit_code},
    "rs-toolkit cache": {0, ToolkitError.exit_code},
    "rs-toolkit predict": {0, PhotoError.exit_code, ToolkitError.exit_code, 130},
    "rs-toolkit classify": {0, PhotoError.exit_code, RuntimeKitError.exit_code, 124, 130, 141},
    "rs-classify": {0, PhotoError.exit_code, RuntimeKitError.exit_code, 124, 130, 141},
    "python -m rs_runtime.probe": {0, RuntimeKitError.exit_code, 130, 141},
}
# No fixture: the options must be known when tests are collected.
REPOSITORY = Path(__file__).resolve().parent.parent
GENERATOR = runpy.run_path(str(REPOSITORY / "docs" / "make_commands.py"))


def options() -> list[tuple[str, str]]:
    """Return each command's name with each of its long options."""
    found = [
        (name, flag)
        for name, command in GENERATOR["commands"]()
        for item in command.params
        for flag in (*item.opts, *item.secondary_opts)
    ]
    found += [
        (name, flag)
        for name, parser in GENERATOR["parsers"]()
        for action in parser._actions
        for flag in action.option_strings
    ]
    return [(name, flag) for name, flag in found if flag.startswith("--")]


@pytest.fixture(scope="module")
def readme(repository) -> str:
    return (repository / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def commands(repository) -> dict[str, str]:
    """The sections of ``docs/commands.md`` by the commands' names."""
    text = (repository / "docs" / "commands.md").read_text("utf-8")
    return dict(section.split("\n", 1) for section in text.split("\n## ")[1:])


def test_the_list_of_commands_is_current(repository) -> None:
    committed = (repository / "docs" / "commands.md").read_text("utf-8")
    assert committed == GENERATOR["text"](), (
        "a command's help has changed; renew its list: python docs/make_commands.py"
    )


@pytest.mark.parametrize(("command", "flag"), options())
def test_every_option_is_in_the_list_of_commands(commands, command, flag) -> None:
    rows = [line.split(" | ") for line in commands[command].splitlines()]
    (row,) = (row for row in rows if re.search(rf"`{flag}`", row[0]))
    assert len(row) == 4 and row[-1].strip(" |"), "it has no help text"


def test_options_were_found() -> None:
    found = {command for command, _ in options()}
    assert found >= {"rs-toolkit sample", "rs-toolkit train", "rs-toolkit export", "rs-classify"}
    assert found >= {"rs-toolkit", "rs-toolkit kit sign", "python -m rs_runtime.probe"}


def test_every_command_says_its_exit_codes(commands) -> None:
    names = [name for name, _ in (*GENERATOR["commands"](), *GENERATOR["parsers"]())]
    assert len(names) > 15
    for name in names[1:]:  # The first is rs-toolkit itself.
        (text,) = re.findall(r"^Exit codes: (.*?)\.$", commands[name], re.M | re.S)
        parts = [part.split()[0] for part in text.split(",")]
        said = {int(part) for part in parts if part.isdecimal()}
        group = name if name in CODES else name.rpartition(" ")[0]
        assert said == CODES[group], name


def test_the_readme_is_read_in_two_minutes(readme) -> None:
    assert len(readme.splitlines()) <= 150
    assert "_PLACEHOLDER" not in readme


def test_the_readme_gives_a_newcomer_two_commands(readme) -> None:
    # As .ci/run reads them.
    part = readme.partition("<!-- newcomer -->\n```bash\n")[2].partition("```\n<!-- /newcomer -->")
    assert len(part[0].splitlines()) == 2 and part[1]


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
    roof: dict[str, set[str]] = {}
    above: list[str] = []
    for line in picture.splitlines():
        depth = (len(line) - len(line.lstrip())) // 4
        # Each package stands in a folder of its own.
        parent = "/".join(above[:depth]).partition("/")[2]
        folder, *_ = line.split()
        above[depth:] = [folder.strip("/")]
        names = {name.removesuffix(".py") for name in line.split() if name.endswith(".py")}
        if depth and (folder.endswith("/") or folder == enforced["OTHERS"]):
            floors[parent] = (*floors.get(parent, ()), folder.strip("/"))
        elif depth:
            (ground if parent in floors else roof)[parent] = names
    assert floors == enforced["FLOORS"]
    assert ground == enforced["GROUND"]
    drawn = {
        parent: {name for name in names if "__" not in name}
        for parent, names in enforced["ROOF"].items()
    }
    assert roof == drawn


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


def test_numbers_in_the_documents_are_the_committed_ones(repository) -> None:
    measured = (repository / "docs" / "measured.md").read_text("utf-8")
    results = (repository / "benchmarks" / "results" / "birds-family.md").read_text("utf-8")
    rows = [line for line in results.splitlines() if line.startswith("|")]
    assert len(rows) > 8
    assert [row for row in rows if row not in measured] == []


def test_numbers_in_the_readme_are_in_the_results_that_it_links(repository, readme) -> None:
    rows = [line for line in readme.splitlines() if "](benchmarks/results/" in line]
    assert len(rows) > 5
    for row in rows:
        text = "".join(
            (repository / link).read_text("utf-8") for link in re.findall(r"\]\(([^)]+)\)", row)
        )
        _, what, result, *_ = row.split("|")
        numbers = re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", result)
        assert numbers, row
        for number in numbers:
            assert re.search(
                rf"(?<![\d.]){re.escape(number.replace(',', ''))}(?![\d]|\.\d)", text
            ), f"{what}: {number}"


def test_pictures_are_small(repository) -> None:
    pictures = sorted((repository / "docs" / "pictures").iterdir())
    assert len(pictures) >= 3
    assert not [file.name for file in pictures if file.stat().st_size >= 100_000]
