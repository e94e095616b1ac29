"""The command line as a user meets it: what is printed, and the exit code."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import typer

from rs_toolkit.cli import app, main

README = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")


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


def one_line(err: str) -> str:
    """Return the last line, and fail on a traceback."""
    assert "Traceback" not in err
    assert err.strip(), "nothing was said"
    return err.strip().splitlines()[-1]


def test_every_command_is_in_the_readme() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert set(commands) == {"sample", "train", "export"}
    for name in commands:
        assert f"`rs-toolkit {name}" in README


def test_every_training_flag_is_a_setting_or_documented(run) -> None:
    from dataclasses import fields

    from rs_toolkit.config import TrainConfig

    code, out, _ = run("train", "--help")
    assert code == 0
    flags = {flag.replace("-", "_") for flag in re.findall(r"--([a-z0-9-]+)", out)}
    assert flags - {"out", "resume", "config", "help"} <= {
        item.name for item in fields(TrainConfig)
    }


def test_version(run) -> None:
    assert run("--version")[:2] == (0, "rs-toolkit 0.1.0\n")


def test_wrong_path(run, tmp_path) -> None:
    code, _, err = run("train", tmp_path / "none", "--weights", "none", "--out", tmp_path / "r")
    assert code == 2
    assert str(tmp_path / "none") in one_line(err)


def test_empty_folder(run, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = run("train", tmp_path / "empty", "--weights", "none", "--out", tmp_path / "r")
    assert code == 2
    assert "empty" in one_line(err)


def test_one_class(run, shapes, tmp_path) -> None:
    code, _, err = run(
        "train", shapes / "discidae", "--weights", "none", "--out", tmp_path / "r", "--imgsz", 96
    )
    assert code == 2
    assert one_line(err).startswith("rs-toolkit:")


def test_missing_weights_file(run, shapes, tmp_path) -> None:
    code, _, err = run("train", shapes, "--weights", tmp_path / "w.h5", "--out", tmp_path / "r")
    assert code == 2
    assert "no such weights file" in one_line(err)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--imgsz", "7"], "wanted 32 to 1024"),
        (["--precision", "int4"], "wanted one of float32"),
        (["--backbone", "resnet"], "wanted one of"),
        (["--rank", "tribe"], "tribe"),
    ],
)
def test_wrong_setting(run, shapes, tmp_path, arguments, said) -> None:
    fixed = ["--weights", "none", "--out", tmp_path / "r"]
    backbone = [] if "--backbone" in arguments else ["--backbone", "xception-w25"]
    code, _, err = run("train", shapes, *fixed, *backbone, *arguments)
    assert code == 2
    assert said in one_line(err)


def test_resume_of_nothing(run, tmp_path) -> None:
    code, _, err = run("train", "--resume", tmp_path / "none")
    assert code == 2
    assert "no run to resume" in one_line(err)


def test_resume_takes_no_other_setting(run, shapes, tmp_path) -> None:
    code, _, err = run("train", "--resume", tmp_path, "--seed", 3)
    assert code == 2
    assert "--resume takes every setting" in one_line(err)


def test_export_of_no_run(run, tmp_path) -> None:
    code, _, err = run("export", tmp_path / "none")
    assert code == 2
    assert "no such run folder" in one_line(err)


def test_unknown_flag_is_a_usage_error(run) -> None:
    code, _, err = run("train", "--colour")
    assert code == 2
    assert "Traceback" not in err


def test_full_disk_is_one_line(run, monkeypatch, tmp_path) -> None:
    import errno

    import rs_toolkit.sample

    def full(*arguments: object, **settings: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x"))

    monkeypatch.setattr(rs_toolkit.sample, "generate_sample", full)
    code, _, err = run("sample", tmp_path / "s")
    assert code == 2
    assert "No space left on device" in one_line(err)


def test_ctrl_c_exits_130(run, monkeypatch, tmp_path) -> None:
    import rs_toolkit.sample

    def interrupted(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rs_toolkit.sample, "generate_sample", interrupted)
    code, _, err = run("sample", tmp_path / "s")
    assert code == 130
    assert "Traceback" not in err
