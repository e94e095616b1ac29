"""What ``pip install .`` without extras brings to a field laptop."""

from __future__ import annotations

import json
import subprocess
import venv
from pathlib import Path

import pytest

MOST_BYTES = 200_000_000
ABSENT = ("tensorflow", "torch", "keras", "onnx", "typer", "rich", "cryptography")
# Came with the environment, not with the install.
TOOLS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def lean(repository, tmp_path_factory) -> Path:
    """An environment that holds this repository's package and no extra."""
    folder = tmp_path_factory.mktemp("lean")
    environment = folder / "venv"
    venv.create(environment, with_pip=True)
    pip = [environment / "bin" / "python", "-m", "pip", "--no-input", "--disable-pip-version-check"]
    lock = ["-c", repository / "requirements.lock"]
    # Without the lock: versions that cannot be had are a failure, not a reason to skip.
    probe = [*pip, "download", "--no-deps", "--dest", folder / "probe", "hatchling"]
    reached = subprocess.run(probe, capture_output=True, text=True)
    if reached.returncode:
        pytest.skip(f"pip reaches no registry: {reached.stderr.strip().splitlines()[-1]}")
    done = subprocess.run([*pip, "install", *lock, repository], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return environment


def run(lean: Path, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    # Elsewhere than in the repository, whose folders Python could import.
    command = [lean / "bin" / name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=lean)


def test_it_is_small(lean) -> None:
    (packages,) = lean.glob("lib/python*/site-packages")
    sizes = {
        entry.name: sum(file.stat().st_size for file in (entry, *entry.rglob("*")))
        for entry in packages.iterdir()
        if not entry.name.startswith(TOOLS)
    }
    assert {"numpy", "PIL", "ai_edge_litert", "rs_runtime"} <= sizes.keys()
    assert sum(sizes.values()) < MOST_BYTES, sorted(sizes.items(), key=lambda item: -item[1])[:9]


def test_it_brings_no_training_package(lean) -> None:
    code = f"from importlib.util import find_spec; print([x for x in {ABSENT} if find_spec(x)])"
    done = run(lean, "python", "-c", code)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_it_classifies(lean, litert_kit, colour_photos) -> None:
    assert run(lean, "rs-classify", "--version").stdout == "rs-classify 0.1.0\n"
    done = run(lean, "rs-classify", "--kit", litert_kit, "--json", colour_photos)
    assert (done.returncode, done.stderr) == (0, "")
    names = [json.loads(line)["top"][0]["name"] for line in done.stdout.splitlines()]
    assert names == ["red", "green", "blue"]


def test_signatures_name_their_extra(lean, litert_kit, colour_photos, one_line) -> None:
    done = run(lean, "rs-classify", "--kit", litert_kit, "--public-key", "a.pub", colour_photos)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'rs-toolkit[sign]'" in one_line(done.stderr, "rs-classify")


@pytest.mark.parametrize("arguments", [[], ["train", "photos"], ["--version"]])
def test_the_toolkit_names_its_extra(lean, one_line, arguments) -> None:
    done = run(lean, "rs-toolkit", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'rs-toolkit[toolkit]'" in one_line(done.stderr, "rs-toolkit")
