"""What docs/field-guide.md shows of the terminal is what the commands print.

After a change of what they print: RS_RENEW_DOCS=1 python -m pytest THIS_FILE
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rs_runtime.kit.kit import open_kit, write_kit

BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
DEPLOYMENTS = (
    "deploymentID,latitude,longitude,deploymentStart,deploymentEnd\n"
    "CAM1,-1.51,36.72,2025-03-01T09:00:00+03:00,2025-03-31T17:00:00+03:00\n"
    "CAM2,-1.53,36.75,2025-03-01T11:30:00+03:00,2025-03-31T15:00:00+03:00\n"
)
COMMON_NAMES = ("red fox", "grey wolf", "great tit")


@pytest.fixture
def camp(tmp_path, field_kit, photo) -> Path:
    """A folder with a kit, a card of two cameras, and a table of where they stood."""
    camp = tmp_path / "camp"
    photo(camp / "card" / "CAM1" / "IMG_0001.JPG", "fox", "2025:03:09 06:30:12")
    photo(camp / "card" / "CAM1" / "IMG_0002.JPG", "dog", "2025:03:11 23:00:00")
    photo(camp / "card" / "CAM2" / "IMG_0001.JPG", "empty", "2025:03:12 07:14:00")
    photo(camp / "card" / "CAM2" / "IMG_0002.JPG", "grey", "2025:03:12 07:15:30")
    damaged = photo(camp / "card" / "CAM2" / "IMG_0003.JPG", "fox")
    damaged.write_bytes(damaged.read_bytes()[:300])
    (camp / "deployments.csv").write_text(DEPLOYMENTS)
    with open_kit(field_kit) as kit:
        manifest = kit.manifest
        models = {name: kit.read(name) for name in kit.members}
    named = zip(manifest.classes, COMMON_NAMES, strict=True)
    classes = tuple(replace(item, common_name=name) for item, name in named)
    write_kit(camp / "field.rskit", replace(manifest, classes=classes), models)
    return camp


@pytest.fixture
def shell(camp, tmp_path):
    """Run a line of the guide in the camp; return what the terminal shows."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "rs-classify"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rs_runtime "$@"\n')
    command.chmod(0o755)
    place = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    surroundings = {
        **os.environ, "PATH": place, "RS_KIT": "field.rskit", "RS_CACHE": str(tmp_path / "cache"),
        "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1",
    }  # fmt: skip

    def run(line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=camp,
            env=surroundings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        return done.stdout

    return run


@pytest.mark.skipif(shutil.which("bash") is None, reason="the guide's commands need bash")
def test_the_terminal_of_the_guide_is_what_is_printed(repository, shell) -> None:
    guide = repository / "docs" / "field-guide.md"
    text = guide.read_text("utf-8")

    def shown(block: re.Match[str]) -> str:
        commands = [line for line in block[1].splitlines() if line.startswith("$ ")]
        return "```console\n" + "".join(f"{x}\n{shell(x[2:])}" for x in commands) + "```"

    renewed = BLOCK.sub(shown, text)
    if os.environ.get("RS_RENEW_DOCS"):
        guide.write_text(renewed, "utf-8")
    assert text == renewed, "renew the guide as this file's first lines say"
