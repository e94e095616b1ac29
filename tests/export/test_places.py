"""Where an export reads its photos, and where it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rs_export import ExportSettings, export_run
from rs_runtime.photos.folder import is_output
from rs_toolkit.errors import RunError
from rs_toolkit.folders.claim import claimed
from rs_toolkit.folders.run import Run

ONE = ExportSettings(recipes=("onnx_fp32",), mend=False)


@pytest.fixture
def moved(trained, shapes, tmp_path, monkeypatch) -> tuple[Path, Path]:
    """A run whose photos were moved, and their new place; no photo is in the cache."""
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    run, data = tmp_path / "run", tmp_path / "new place"
    shutil.copytree(trained, run)
    shutil.copytree(shapes, data)
    config = json.loads((run / "config.json").read_text())
    config["data_root"] = str(tmp_path / "old place")
    (run / "config.json").write_text(json.dumps(config))
    return run, data


def test_photos_that_were_moved_are_found_where_they_are_now(moved, trained, one_line) -> None:
    run, data = moved
    with pytest.raises(RunError, match=r"no longer in .*old place.*export --data") as caught:
        export_run(run, ONE)
    one_line(str(caught.value))
    accuracy = json.loads((trained / "metrics.json").read_text())["test"]["accuracy"]
    found = export_run(run, ONE, data=data).table["float"]
    assert found["accuracy"] == pytest.approx(accuracy)


def test_any_layout_that_holds_the_photos_will_do(moved) -> None:
    run, data = moved
    archive = shutil.make_archive(str(data), "zip", data)
    table = data.parent / "metadata.csv"
    table.write_text("file_path,label\ndiscidae/00.png,discidae\n")
    assert (Run.open(run).moved(Path(archive)).data_root / "discidae" / "00.png").is_file()
    (data / "metadata.csv").write_text(table.read_text())
    assert Run.open(run).moved(data / "metadata.csv").data_root == data.resolve()


def test_a_folder_without_the_photos_is_refused(moved, one_line) -> None:
    run, data = moved
    for folder in data.iterdir():
        folder.rename(folder.with_name(f"other {folder.name}"))
    with pytest.raises(RunError, match="holds none of the photos") as caught:
        export_run(run, ONE, data=data)
    one_line(str(caught.value))


def test_two_exports_never_write_into_one_folder(trained, tmp_path) -> None:
    folder = tmp_path / "kit"
    with claimed(folder), pytest.raises(RunError, match="another rs-toolkit command"):
        export_run(trained, ONE, out=folder)
    assert not folder.exists()
    export_run(trained, ONE, out=folder)
    assert is_output(folder, [path.name for path in folder.iterdir()])
