"""Lines of C and C++ libraries: dropped in a command, and never by a swap in a library call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading

import pytest

from rs_runtime.classify import Classifier
from rs_runtime.console import complain
from rs_runtime.kit.kit import open_kit
from rs_runtime.stderr import command_process, quiet_libraries, write_stderr


def test_lines_are_dropped_in_a_command_only(capfd) -> None:
    with quiet_libraries():
        os.write(2, b"library\n")
    with command_process(), quiet_libraries():
        subprocess.run(["sh", "-c", "echo dropped >&2"], check=True)
    with quiet_libraries():
        os.write(2, b"after\n")
    assert capfd.readouterr().err == "library\nafter\n"


def test_standard_error_is_itself_again_when_the_block_raises(capfd) -> None:
    with command_process(), pytest.raises(ValueError, match="no model"), quiet_libraries():
        os.write(2, b"INFO: Created a delegate\n")
        raise ValueError("no model")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_two_threads_leave_standard_error_as_it_was(capfd) -> None:
    # The second enters while the first is in, and leaves after it.
    entered, left = threading.Event(), threading.Event()

    def second() -> None:
        with quiet_libraries():
            entered.set()
            left.wait(10)
            os.write(2, b"dropped\n")

    with command_process():
        thread = threading.Thread(target=second)
        with quiet_libraries():
            thread.start()
            entered.wait(10)
        left.set()
        thread.join(10)
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_a_complaint_is_shown_while_another_thread_keeps_libraries_quiet(capfd) -> None:
    entered, said = threading.Event(), threading.Event()

    def decode() -> None:
        with quiet_libraries():
            entered.set()
            said.wait(10)
            os.write(2, b"dropped\n")

    with command_process():
        thread = threading.Thread(target=decode)
        thread.start()
        entered.wait(10)
        complain("rs-classify", "photo 'ä.jpg' is empty")
        said.set()
        thread.join(10)
        complain("rs-classify", "another")
    assert capfd.readouterr().err == "rs-classify: photo 'ä.jpg' is empty\nrs-classify: another\n"


def test_a_complaint_that_cannot_be_written_ends_nothing(capfd, monkeypatch) -> None:
    def fails(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with command_process(), quiet_libraries(), monkeypatch.context() as patched:
        patched.setattr(os, "write", fails)
        write_stderr("how far it is")
    assert capfd.readouterr().err == ""


def test_a_library_call_leaves_the_process_alone(litert_kit, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("the process is not ours, and no folder can be written")

    # Only here: pytest needs them too.
    with open_kit(litert_kit) as kit, monkeypatch.context() as patched:
        patched.setattr(os, "dup2", refuse)
        patched.setattr(os, "dup", refuse)
        patched.setattr(tempfile, "TemporaryFile", refuse)
        assert Classifier(kit, "litert").variant.engine == "litert"


@pytest.mark.parametrize("closed", ["2>&-", "0<&- 2>&-"])
@pytest.mark.parametrize("name", ["litert_kit", "onnx_kit"])
def test_the_command_works_without_stderr_and_temporary_folder(
    request, tmp_path, colour_photos, name, closed
) -> None:
    kit = request.getfixturevalue(name)
    script = f'exec "$0" -m rs_runtime --kit "$1" --json "$2" {closed}'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, kit, colour_photos],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "absent")},
    )
    assert done.returncode == 0
    names = [json.loads(line)["top"][0]["name"] for line in done.stdout.splitlines()]
    assert names == ["red", "green", "blue"]


def test_the_command_says_that_stdout_is_closed(onnx_kit, colour_photos, one_line) -> None:
    script = 'exec "$0" -m rs_runtime --kit "$1" "$2" >&-'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, onnx_kit, colour_photos],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 2
    assert "standard output is closed" in one_line(done.stderr, "rs-classify")
