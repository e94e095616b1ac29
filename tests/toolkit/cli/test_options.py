from __future__ import annotations

from pathlib import Path

import pytest

from rs_toolkit.cli.options import output_folder


def test_a_folder_keeps_its_whole_name(tmp_path) -> None:
    for name in ("photos.2024", "photos.2025", "photos.csv", "photos"):
        (tmp_path / name).mkdir()
        assert output_folder(Path("clean"), tmp_path / name) == Path("clean") / name


@pytest.mark.parametrize("suffix", [".csv", ".zip", ".json", ".parquet", ".ZIP"])
def test_a_file_loses_its_suffix(tmp_path, suffix) -> None:
    data = tmp_path / f"photos.2024{suffix}"
    data.touch()
    assert output_folder(Path("runs"), data) == Path("runs/photos.2024")


def test_this_folder_has_a_name(tmp_path, monkeypatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    assert output_folder(Path("check"), Path()) == Path("check/photos")


def test_the_root_of_a_file_system_gets_a_name() -> None:
    assert output_folder(Path("runs"), Path("/")) == Path("runs/photos")
