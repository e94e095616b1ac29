from __future__ import annotations

import os
import subprocess

import pytest

from rs_runtime.stderr import held_stderr


def is_error(line: bytes) -> bool:
    return line.startswith(b"ERROR")


def test_lines_that_do_not_pass_are_dropped(capfd) -> None:
    with held_stderr(is_error):
        os.write(2, b"INFO: Created a delegate\nERROR: op missing\n")
    assert capfd.readouterr().err == "ERROR: op missing\n"


def test_lines_pass_when_the_block_raises(capfd) -> None:
    with pytest.raises(ValueError, match="no model"), held_stderr(is_error):
        os.write(2, b"INFO: Created a delegate\nERROR: op missing\n")
        raise ValueError("no model")
    assert capfd.readouterr().err == "ERROR: op missing\n"


def test_standard_error_is_itself_again_afterwards(capfd) -> None:
    with held_stderr(lambda line: False):
        subprocess.run(["sh", "-c", "echo held >&2"], check=True)
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
