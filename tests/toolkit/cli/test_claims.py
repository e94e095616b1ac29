"""Two commands never write into one folder, whatever they are and however they were started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import rs_toolkit.cli.distill
import rs_toolkit.cli.main
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.files import write_json
from rs_toolkit.folders.claim import claimed

COMMANDS = {
    "check": ("check", "DATA", "--out", "FOLDER"),
    "clean": ("clean", "DATA", "--weights", "none", "--out", "FOLDER"),
    "train": ("train", "DATA", "--weights", "none", "--out", "FOLDER"),
    "distill": ("distill", "DATA", "--out", "FOLDER"),
    "val": ("val", "DATA", "--out", "FOLDER"),
    "resumed training": ("train", "--resume", "FOLDER"),
    "resumed distillation": ("distill", "--resume", "FOLDER"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_leaves_a_folder_in_use_alone(run, shapes, tmp_path, one_line, name) -> None:
    folder = tmp_path / "r"
    kind = DistillConfig if name == "resumed distillation" else TrainConfig
    write_json(folder / "config.json", {"settings": kind().to_dict(), "data": str(shapes)})
    before = sorted(os.listdir(folder))
    words = {"DATA": shapes, "FOLDER": folder}
    with claimed(folder):
        code, out, err = run(*(words.get(word, word) for word in COMMANDS[name]))
    assert (code, out) == (2, "")
    assert "another rs-toolkit command is writing into it" in one_line(err, "rs-toolkit")
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize("command", ["check", "clean"])
def test_so_does_one_that_was_given_no_name(run, shapes, tmp_path, monkeypatch, command) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ("--weights", "none") if command == "clean" else ()
    with claimed(Path(command, shapes.name)):
        code, _, err = run(command, shapes, *settings)
    assert code == 2 and "another rs-toolkit command" in err


@pytest.mark.parametrize(("command", "parent"), [("train", "runs"), ("distill", "filters")])
def test_without_a_name_another_is_taken(
    run, shapes, tmp_path, monkeypatch, command, parent
) -> None:
    module = rs_toolkit.cli.main if command == "train" else rs_toolkit.cli.distill
    claims: list[Path] = []

    def trained(
        data: Path, settings: object, folder: Path, *others: object, **more: object
    ) -> None:
        claims.append(folder)
        if len(claims) < 3:
            # Started while this one runs.
            assert run(command, shapes)[0] == 0
        (folder / "result").touch()

    monkeypatch.setattr(module, f"_{command}", trained)
    monkeypatch.chdir(tmp_path)
    assert run(command, shapes)[0] == 0
    name = Path(parent, shapes.name)
    assert claims == [name, Path(f"{name}-2"), Path(f"{name}-3")]
