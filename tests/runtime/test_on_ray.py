"""Classification on Ray ends as it does without, also where a worker is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.cli import main

# Each command with Ray takes seconds to start it: there are few, and each looks at much.
_KILLER = """
import os, signal, sys
from pathlib import Path
from rs_runtime import classify, cli

mark, name = Path(sys.argv.pop(1)), sys.argv.pop(1)
real = classify.load_each

def load_each(photo, models):
    # In a worker only, and once.
    if str(photo).endswith(name) and "ray::" in Path("/proc/self/cmdline").read_text():
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return real(photo, models)
        os.kill(os.getpid(), signal.SIGKILL)
    return real(photo, models)

def opened(file, options):
    classify.load_each = load_each
    return worker(file, options)

worker, cli._in_worker = cli._in_worker, opened
raise SystemExit(cli.main())
"""


@pytest.fixture
def card(tmp_path: Path, onnx_kit: Path, monkeypatch) -> Path:
    """A folder of 40 photos, one of them damaged."""
    folder = tmp_path / "card"
    folder.mkdir()
    generator = np.random.default_rng(1)
    for number in range(40):
        colour = tuple(generator.integers(0, 256, 3).tolist())
        Image.new("RGB", (40, 40), colour).save(folder / f"{number}.png")
    (folder / "7.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    monkeypatch.setenv("RS_KIT", str(onnx_kit))
    return folder


def command(*arguments: object, script: str = "") -> tuple[int, str, str]:
    """Run rs-classify in a process of its own."""
    start = ["-c", script] if script else ["-m", "rs_runtime"]
    done = subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_rays_answers_are_those_of_one_process(card, tmp_path) -> None:
    pytest.importorskip("ray", reason="needs the [ray] extra")
    wanted = command(card, "--json", "--sequence", "2m")
    journal = tmp_path / "a.journal"
    ray = ("--ray", "local", "--journal", journal, "--json", "--sequence", "2m")
    assert wanted[0] == 1 and "7.png" in wanted[2]
    assert command(card, *ray) == wanted
    kept = journal.read_bytes()
    assert kept.count(b'"crc32"') == 39
    # Without Ray the journal answers all photos.
    assert command(card, *ray[2:]) == wanted
    assert journal.read_bytes() == kept


def test_a_worker_that_is_killed_changes_nothing(card, tmp_path) -> None:
    pytest.importorskip("ray", reason="needs the [ray] extra")
    wanted = command(card, "--json")
    mark = tmp_path / "killed"
    ray = ("--json", "--ray", "local", "--journal", tmp_path / "a.journal")
    assert command(mark, "21.png", card, *ray, script=_KILLER) == wanted
    assert mark.exists()


def test_ray_needs_a_journal_and_photos_that_can_be_found_twice(card, capfd) -> None:
    assert main([str(card), "--ray", "local"]) == 2
    assert main(["-", "--ray", "local", "--journal", str(card.parent / "a.journal")]) == 2
    said = capfd.readouterr().err
    assert "--journal" in said and "not -" in said


def test_without_ray_it_is_named(card, capfd, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([str(card), "--ray", "local", "--journal", str(card.parent / "a.journal")]) == 2
    assert "pip install 'rs-toolkit[ray]'" in capfd.readouterr().err


def test_a_cluster_that_is_not_there_is_an_error(card, tmp_path) -> None:
    pytest.importorskip("ray", reason="needs the [ray] extra")
    code, out, err = command(card, "--ray", "127.0.0.1:1", "--journal", tmp_path / "a.journal")
    assert (code, out) == (2, "") and "--ray 127.0.0.1:1: no cluster there" in err
    assert len(err.splitlines()) == 1
