"""Classification on Ray ends as it does without, also where a worker is killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_export import ExportSettings, export_run

# Each command with Ray takes seconds to start it: there are few, and each looks at much.
# Runs in each process of Python; a worker of Ray dies at the photo of this name, once.
_KILLER = """
import os, signal
from pathlib import Path

if b"default_worker.py" in Path("/proc/self/cmdline").read_bytes():
    from rs_runtime import classify

    real, mark = classify.load_each, Path(os.environ["RS_KILLED"])

    def load_each(photo, models):
        if photo.name == "21.png" and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(photo, models)

    classify.load_each = load_each
"""


@pytest.fixture(scope="module")
def kit(trained, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("exported") / "shapes"
    shutil.copytree(trained, run)
    export_run(run, ExportSettings(recipes=("tflite_fp32",), force=True))
    return run / "export" / "shapes.rskit"


@pytest.fixture
def card(tmp_path: Path, kit: Path, monkeypatch) -> Path:
    """A folder of 40 photos, one of them damaged."""
    folder = tmp_path / "card"
    folder.mkdir()
    generator = np.random.default_rng(1)
    for number in range(40):
        colour = tuple(generator.integers(0, 256, 3).tolist())
        Image.new("RGB", (40, 40), colour).save(folder / f"{number}.png")
    (folder / "7.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    monkeypatch.setenv("RS_KIT", str(kit))
    return folder


def command(*arguments: object, start: tuple[str, ...], path: str = "") -> tuple[int, str, str]:
    """Run a command in a process of its own; ``path`` is where Python looks for modules first."""
    done = subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([path, *sys.path])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return without_progress((done.returncode, done.stdout, done.stderr))


def without_progress(done: tuple[int, str, str]) -> tuple[int, str, str]:
    """Drop the lines that say how far a command is, where it takes long."""
    said = [line for line in done[2].splitlines() if " a second" not in line]
    return *done[:2], "\n".join(said)


ALONE = ("-m", "rs_runtime")
RAY = ("-m", "rs_toolkit", "classify")


def test_rays_answers_are_those_of_one_process(card, tmp_path) -> None:
    pytest.importorskip("ray", reason="needs the [ray] extra")
    options = (card, "--json", "--sequence", "2m")
    wanted = command(*options, start=ALONE)
    journal = tmp_path / "a.journal"
    assert wanted[0] == 1 and "7.png" in wanted[2]
    assert command(*options, "--journal", journal, start=RAY) == wanted
    kept = journal.read_bytes()
    assert kept.count(b'"crc32"') == 39
    # Without Ray the journal answers all photos.
    assert command(*options, "--journal", journal, start=ALONE) == wanted
    assert journal.read_bytes() == kept


def test_a_worker_that_is_killed_changes_nothing(card, tmp_path, monkeypatch) -> None:
    pytest.importorskip("ray", reason="needs the [ray] extra")
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("needs /proc, to know a worker")
    wanted = command(card, "--json", start=ALONE)
    mark, journal = tmp_path / "killed", tmp_path / "a.journal"
    monkeypatch.setenv("RS_KILLED", str(mark))
    (tmp_path / "killer").mkdir()
    (tmp_path / "killer" / "sitecustomize.py").write_text(_KILLER)
    options = (card, "--json", "--journal", journal)
    assert command(*options, start=RAY, path=str(tmp_path / "killer")) == wanted
    assert mark.exists() and journal.read_bytes().count(b'"crc32"') == 39


def test_a_cluster_that_is_not_there_is_an_error(card, tmp_path) -> None:
    pytest.importorskip("ray", reason="needs the [ray] extra")
    options = (card, "--journal", tmp_path / "a.journal", "--address", "127.0.0.1:1")
    code, out, err = command(*options, start=RAY)
    assert (code, out) == (2, "") and "--address 127.0.0.1:1: no cluster there" in err
    assert len(err.splitlines()) == 1


def test_a_journal_is_needed_and_photos_that_can_be_found_twice(card, run) -> None:
    assert "--journal" in run("classify", card)[2]
    code, out, err = run("classify", "-", "--journal", card.parent / "a.journal")
    assert (code, out) == (2, "") and "standard input" in err


def test_without_ray_it_is_named(card, run, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = run("classify", card, "--journal", card.parent / "a.journal")
    assert code == 2 and "pip install 'rs-toolkit[ray]'" in err


def test_a_runs_model_on_ray_answers_as_it_does_here(trained, card, run, tmp_path) -> None:
    pytest.importorskip("ray", reason="needs the [ray] extra")
    (tmp_path / "few.txt").write_text("discidae\ntrigonidae\n")
    options = (trained, card, "--json", "--species", tmp_path / "few.txt")
    wanted = without_progress(run("predict", *options))
    assert wanted[0] == 1 and "7.png" in wanted[2]
    journal = tmp_path / "a.journal"
    on_ray = run("predict", *options, "--journal", journal, "--address", "local")
    assert without_progress(on_ray) == wanted
    kept = journal.read_bytes()
    assert kept.count(b'"crc32"') == 39
    # The journal answers all photos; of another model it is not asked.
    assert without_progress(run("predict", *options, "--journal", journal)) == wanted
    assert journal.read_bytes() == kept
    shutil.copytree(trained, tmp_path / "other")
    with (tmp_path / "other" / "model.keras").open("ab") as file:
        file.write(b"\0")
    assert run("predict", tmp_path / "other", *options[1:], "--journal", journal)[0] == 1
    assert journal.read_bytes().count(b'"crc32"') == 2 * 39
