"""Whatever lies in a folder that is to be resumed, the answer is one line."""

from __future__ import annotations

import json

import pytest

from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.errors import RunError
from rs_toolkit.progress import Progress
from rs_train.classifier.prepare import prepare
from rs_train.run_folder import is_finished, settings_begun
from rs_train.student.data import prepare_distillation

SPOILT = ["", "[]", "[1]", '"x"', "{}", '{"settings": [1]}', '{"settings": {"imgsz": "x"}}']


@pytest.mark.parametrize("kind", [TrainConfig, DistillConfig])
@pytest.mark.parametrize("text", [*SPOILT, '{"settings": {}}', "\x00"])
def test_spoilt_settings(tmp_path, one_line, kind, text) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunError, match="damaged") as caught:
        settings_begun(tmp_path, kind)
    one_line(str(caught.value))


@pytest.mark.parametrize("text", SPOILT)
def test_spoilt_settings_under_a_run_that_goes_on(tmp_path, one_line, text) -> None:
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "index.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"damaged|other settings") as caught:
        prepare(tmp_path, TrainConfig(), tmp_path, None, Progress())
    one_line(str(caught.value))
    with pytest.raises(RunError, match=r"damaged|other settings") as caught:
        prepare_distillation(tmp_path, None, DistillConfig(), tmp_path, None, Progress())
    one_line(str(caught.value))


def test_a_spoilt_index(tmp_path, one_line) -> None:
    (tmp_path / "index.parquet").write_bytes(b"PAR1")
    saved = {"data_root": "x", "data_fingerprint": "y", "data_photos": 1, "not_organism_root": None}
    for settings in (TrainConfig(), DistillConfig()):
        text = json.dumps({**saved, "settings": settings.to_dict()})
        (tmp_path / "config.json").write_text(text)
        (tmp_path / "classes.json").write_text('{"classes": []}')
        with pytest.raises(RunError, match="damaged") as caught:
            if isinstance(settings, TrainConfig):
                prepare(tmp_path, settings, tmp_path, None, Progress())
            else:
                prepare_distillation(tmp_path, None, settings, tmp_path, None, Progress())
        one_line(str(caught.value))


def test_nothing_to_resume(tmp_path) -> None:
    for kind in (TrainConfig, DistillConfig):
        with pytest.raises(RunError, match="nothing to resume"):
            settings_begun(tmp_path, kind)


def test_what_is_there_is_never_written_over(tmp_path) -> None:
    assert not is_finished(tmp_path, "last.json", "run", False, Progress())
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunError, match="holds a run already"):
        is_finished(tmp_path, "last.json", "run", False, Progress())
    assert not is_finished(tmp_path, "last.json", "run", True, Progress())
    (tmp_path / "last.json").write_text("{}")
    assert is_finished(tmp_path, "last.json", "run", True, Progress())
