"""Ctrl-C ends the command: at once when it starts or if pressed again, or after what is begun."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from rs_runtime import interrupts

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")

# Some shells start what runs in the background deaf to Ctrl-C, and that is inherited.
_START = """
import os, signal, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
def press(): os.kill(os.getpid(), signal.SIGINT)
{}
from rs_runtime.cli import main
raise SystemExit(main())
"""

# The lock of a condition is taken, and Python has not yet noted that it must be given back.
_IN_A_LOCK = """
from rs_runtime import batch
real, pressed = threading.Condition.__enter__, []
class Condition(threading.Condition):
    def __enter__(self):
        found = real(self)
        if threading.current_thread() is threading.main_thread():
            pressed.append(1)
            if len(pressed) == 3:
                press()
        return found
class Semaphore(threading.Semaphore):
    def __init__(self, value):
        super().__init__(value)
        self._cond = Condition(threading.Lock())
batch.Semaphore = Semaphore
from rs_runtime.classify import Classifier
logits = Classifier.logits
Classifier.logits = lambda *given: time.sleep(0.05) or logits(*given)
"""

# As extensions of C++ do: whatever ends their import, they raise ImportError.
_WHILE_AN_ENGINE_IS_IMPORTED = """
import sys
class Finder:
    def find_spec(self, name, *_):
        if name == "onnxruntime":
            try:
                press()
            except BaseException:
                raise ImportError("initialization failed")
sys.meta_path.insert(0, Finder())
"""

_WHILE_A_MODEL_RUNS = """
from rs_runtime.classify import Classifier
real, pressed = Classifier.logits, []
def logits(self, pixels, engine=None):
    if engine and not pressed:
        pressed.append(1)
        for _ in range({presses}):
            press()
            time.sleep(0.3)
        time.sleep({seconds})
    return real(self, pixels, engine)
Classifier.logits = logits
"""


@pytest.fixture
def run(onnx_kit, tmp_path):
    """Run the command on 60 photos with a journal, changed by lines of Python."""
    folder = tmp_path / "card"
    folder.mkdir()
    for number in range(60):
        Image.new("RGB", (8, 8), "blue").save(folder / f"{number:02}.png")
    options = ["--kit", onnx_kit, "--journal", tmp_path / "run.journal", folder, "--threads", "2"]
    options += ["--output", tmp_path / "out.csv"]

    def started(lines: str = "", *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _START.format(lines), *map(str, options), *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return started


def kept(tmp_path: Path) -> int:
    return len((tmp_path / "run.journal").read_bytes().splitlines()) - 1


def test_while_the_command_starts_it_ends_at_once(run, tmp_path) -> None:
    done = run(_WHILE_AN_ENGINE_IS_IMPORTED)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    assert not (tmp_path / "run.journal").exists()


@pytest.mark.parametrize(
    "lines", [_IN_A_LOCK, _WHILE_A_MODEL_RUNS.format(presses=1, seconds=0)], ids=["lock", "model"]
)
def test_later_it_ends_with_the_answers_of_what_is_begun(run, tmp_path, lines) -> None:
    done = run(lines)
    assert done.returncode == 130, done.stderr
    ending, journal, wrote = done.stderr.splitlines()
    assert "Ctrl-C again ends at once" in ending and "interrupted; " in journal
    rows = (tmp_path / "out.partial.csv").read_text().splitlines()
    assert f"{len(rows) - 1} photos with an answer" in journal and "out.partial.csv" in wrote
    assert 16 <= len(rows) - 1 == kept(tmp_path) < 60
    assert run().returncode == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 61 and kept(tmp_path) == 60


def test_pressed_again_it_ends_at_once(run, tmp_path) -> None:
    begun = time.monotonic()
    done = run(_WHILE_A_MODEL_RUNS.format(presses=2, seconds=50))
    assert done.returncode == 130 and time.monotonic() - begun < 40
    assert 16 <= kept(tmp_path) < 60
    assert run().returncode == 0 and kept(tmp_path) == 60


def test_where_ctrl_c_is_ignored_it_stays_so(run) -> None:
    deaf = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    assert run(deaf + _WHILE_A_MODEL_RUNS.format(presses=2, seconds=0)).returncode == 0


def test_a_program_that_calls_the_command_keeps_its_own_handler(monkeypatch, capsys) -> None:
    from rs_runtime.cli import main

    monkeypatch.setattr(interrupts.signal, "signal", None)
    assert main(["--version"]) == 0 and "rs-classify" in capsys.readouterr().out
