"""Print the size of the code and its limits, and which commands or options are gone.

    python benchmarks/code_size.py [--since REVISION]

Counts the lines of the Python files that git tracks, without ``tests/``.  A function's lines are
those of its body without the docstring.  With ``--since`` every command, argument and option of
that revision must still exist.  The exit code is 1 if a limit is exceeded or something is gone.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("toolkit", "train", "export", "runtime")
# 25,500 lines when the folders were tidied up; what was built since has raised the limit: odd
# photos and tables (2,400); leak-free splits, gate, thresholds and sets, with benchmarks (3,200);
# val and predict, with benchmarks of their intervals and of unknown families (2,100); 14 backbones,
# losses, rates and refits, stage 1's solver, presets, compare and the page of a run (2,900); known
# files and batches made ahead, tune, teachers, refits on every photo with their export by folds,
# augmentations, and the runtime's batches, journal and Python interface (6,000); the runtime's
# outputs for other tools, inputs, species lists and sequences, small machines, with benchmarks, and
# a probe and CLIP models in training (7,500); places and common names by
# language, in kits, export and runtime (500); the
# cache's size, runs in parts and on Ray, near-linear searches, and benchmarks of these and of a
# small kit (2,400); on Ray also features, filters, trials and a run's model, and photos of stores
# such as S3 (300).
MAX_LINES, MAX_MEDIAN, MAX_FILE, MAX_FUNCTION = 53_100, 140, 350, 45

# Run once with the code of each revision: prints a line for each command and each option.
LIST_COMMANDS = """
import typer
from rs_runtime import cli, probe
try:
    from rs_toolkit.cli.main import app
except ModuleNotFoundError:
    from rs_toolkit.cli import app

def show(name, command):
    print(name)
    for item in command.params:
        for flag in (*item.opts, *item.secondary_opts):
            print(name, flag if flag.startswith("-") else "argument " + flag)
    for child, below in getattr(command, "commands", {}).items():
        show(f"{name} {child}", below)

show("rs-toolkit", typer.main.get_command(app))
for name, module in (("rs-classify", cli), ("python -m rs_runtime.probe", probe)):
    for action in module._parser()._actions:
        for flag in action.option_strings or ("argument " + action.dest,):
            print(name, flag)
"""


def python_files() -> list[str]:
    """Return the Python files outside tests, relative to the repository."""
    listed = subprocess.check_output(["git", "ls-files", "*.py"], cwd=ROOT, text=True).split()
    return [name for name in listed if not name.startswith("tests/") and (ROOT / name).is_file()]


def functions(name: str) -> Iterator[tuple[int, str]]:
    """Yield each function's number of lines, and its place and name."""
    for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef):
            code = node.body[1:] if ast.get_docstring(node) else node.body
            lines = node.body[-1].end_lineno - code[0].lineno + 1 if code else 0
            yield lines, f"{name}:{node.lineno} {node.name}"


def sizes_exceeded() -> bool:
    """Print sizes; return whether any is above its limit."""
    lines = {name: len((ROOT / name).read_bytes().splitlines()) for name in python_files()}
    folders = Counter[str]()
    for name, count in lines.items():
        folders[name.partition("/")[0]] += count
    longest_file = max(lines, key=lines.__getitem__)
    longest, where = max(found for name in lines for found in functions(name))
    rows = [
        ("lines outside tests", sum(lines.values()), MAX_LINES, ""),
        ("median file", median(lines.values()), MAX_MEDIAN, f"{len(lines)} files"),
        ("longest file", lines[longest_file], MAX_FILE, longest_file),
        ("longest function", longest, MAX_FUNCTION, where),
    ]
    for title, value, limit, detail in rows:
        mark = "  ABOVE" if value > limit else ""
        print(f"{title:20} {value:8,.0f} of at most {limit:6,}{mark}  {detail}".rstrip())
    for folder, count in folders.most_common():
        print(f"  in {folder:15} {count:8,}")
    return any(value > limit for _, value, limit, _ in rows)


def commands(folder: Path) -> set[str]:
    """Return the commands and options of the code in a folder, one string each."""
    path = os.pathsep.join(str(folder / package) for package in PACKAGES)
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", LIST_COMMANDS]
    return set(subprocess.check_output(command, env=environment, text=True).splitlines())


def commands_gone(revision: str) -> bool:
    """Print the commands and options of a revision that are gone; return whether any is."""
    with tempfile.TemporaryDirectory(prefix="rs-size-") as folder:
        tar = subprocess.check_output(["git", "archive", revision, *PACKAGES], cwd=ROOT)
        subprocess.run(["tar", "--extract", f"--directory={folder}"], input=tar, check=True)
        before = commands(Path(folder))
    gone = sorted(before - commands(ROOT))
    print(f"{len(before)} commands, arguments and options at {revision}: {len(gone)} are gone")
    print("".join(f"  {line}\n" for line in gone), end="")
    return bool(gone)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--since", metavar="REVISION", help="find commands gone since then")
    since = parser.parse_args().since
    failures = [sizes_exceeded(), since is not None and commands_gone(since)]
    sys.exit(any(failures))


if __name__ == "__main__":
    main()
