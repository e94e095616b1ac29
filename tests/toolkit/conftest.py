"""The command line as a user meets it."""

from __future__ import annotations

import sys

import pytest

from rs_toolkit.cli.main import main


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs the command line and gives (exit code, stdout, stderr)."""

    def run_(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rs-toolkit", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return run_
