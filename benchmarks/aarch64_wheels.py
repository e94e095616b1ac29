"""Ask the package index for an aarch64 wheel of each dependency of rs-classify.

    python benchmarks/aarch64_wheels.py

For each Python that the runtime supports: the newest version that pyproject.toml allows and that
has a wheel for Linux on aarch64 (glibc 2.28 or older, which Debian 10, Raspberry Pi OS and Ubuntu
20.04 have), and the wheels of all that it needs.  Only these packages are asked for; ``pip
download`` fetches them into a folder that is deleted.

Writes ``results/aarch64-wheels.json`` and ``.md``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from common import ROOT, grid, options, publish

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PLATFORMS = [f"manylinux{name}_aarch64" for name in ("2014", "_2_17", "_2_26", "_2_27", "_2_28")]
# Extras that are not for the field.
OTHERS = {"toolkit", "training", "clip", "gpu", "all", "dev"}


def wanted() -> dict[str, list[str]]:
    """Return the runtime's requirements by extra; "" needs none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    optional = project["optional-dependencies"]
    return {"": project["dependencies"], **{x: optional[x] for x in optional if x not in OTHERS}}


def wheels(python: str, requirement: str) -> dict[str, str | None]:
    """Return the file names of a requirement's wheel, and of all that it needs; None without."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:"]
        command += ["--python-version", python, *(f"--platform={name}" for name in PLATFORMS)]
        found: dict[str, str | None] = {}
        for key, more in (("wheel", ["--no-deps"]), ("with_dependencies", [])):
            target = Path(folder, key)
            done = subprocess.run(
                [*command, *more, "-d", target, requirement], capture_output=True, check=False
            )
            names = sorted(file.name for file in target.glob("*.whl"))
            found[key] = None if done.returncode else ", ".join(names)
    return found


def table(result: dict[str, Any]) -> str:
    """Return the Markdown table: versions by Python."""

    def version(wheel: str | None) -> str:
        return "none" if wheel is None else wheel.split("-")[1]

    rows = [
        [row["requirement"], row["extra"], *(version(row[python]["wheel"]) for python in PYTHONS)]
        for row in result["rows"]
    ]
    complete = all(row[python]["with_dependencies"] for row in result["rows"] for python in PYTHONS)
    return (
        "# Wheels for Linux on aarch64\n\nWritten by `python benchmarks/aarch64_wheels.py`: the "
        "newest version with a wheel, for each Python; glibc 2.28 or newer. "
        + ("All that they need has wheels too.\n\n" if complete else "\n\n")
        + grid(("requirement", "extra", *PYTHONS), rows)
    )


def main() -> None:
    """Ask for each requirement under each Python and write the files."""
    options(__doc__).parse_args()
    rows = [
        {
            "requirement": requirement,
            "extra": extra,
            **{python: wheels(python, requirement) for python in PYTHONS},
        }
        for extra, requirements in wanted().items()
        for requirement in requirements
    ]
    publish("aarch64-wheels", {"platforms": PLATFORMS, "rows": rows}, table)


if __name__ == "__main__":
    main()
