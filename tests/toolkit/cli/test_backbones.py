"""``rs-toolkit backbones``, and what ``train`` says about a download without a network."""

from __future__ import annotations

import json

import pytest

from rs_toolkit.cli.backbones import _table
from rs_train.classifier.backbones import BACKBONES, Backbone


def broken(imgsz: int) -> None:
    raise RuntimeError("this one\nis broken")


@pytest.fixture
def with_broken(monkeypatch):
    monkeypatch.setitem(BACKBONES, "broken", Backbone("broken", broken, ()))  # type: ignore[arg-type]


def test_a_broken_backbone_does_not_lose_the_others(run, with_broken, monkeypatch) -> None:
    monkeypatch.setattr("rs_toolkit.cli.backbones._SECONDS", 0.0)
    code, out, err = run("backbones", "broken", "tiny", "--imgsz", 32, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["imgsz"] == 32 and found["threads"] >= 1
    failed, measured = found["backbones"]
    assert failed == {"name": "broken", "weights": "", "error": "this one is broken"}
    assert measured.pop("ms") >= 0
    # 864 parameters; with 100 classes, 3,120 weights of one byte and 136 biases of four.
    assert measured == {"name": "tiny", "weights": "", "parameters": 0.001, "int8_mb": 0.004}
    lines = _table([failed, {**measured, "ms": 1.25}]).splitlines()
    assert [line.split()[0] for line in lines] == ["backbone", "broken", "tiny"]
    assert lines[1].endswith("failed: this one is broken")
    assert lines[2].split()[1:] == ["0.00", "0.00", "1.2", "none"]


def test_where_nothing_can_be_measured_the_command_fails(run, with_broken, one_line) -> None:
    code, out, err = run("backbones", "broken", "--imgsz", 32)
    assert code == 2 and "none could be measured" in one_line(err, "rs-toolkit")
    assert "failed: this one is broken" in out


def test_ctrl_c_prints_what_was_measured(run, with_broken, monkeypatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(BACKBONES, "slow", Backbone("slow", interrupted, ()))  # type: ignore[arg-type]
    code, out, _ = run("backbones", "broken", "slow", "--imgsz", 32)
    assert code == 130
    assert "broken  failed" in out and "slow" not in out


def test_an_unknown_name_is_one_line(run, one_line) -> None:
    code, out, err = run("backbones", "resnet")
    assert (code, out) == (2, "") and "xception-w25" in one_line(err, "rs-toolkit")


def test_offline_a_download_is_announced_and_refused(
    run, shapes, tmp_path, monkeypatch, one_line
) -> None:
    from keras.src.utils import file_utils

    def offline(file: str, origin: str, **settings: object) -> None:
        print(f"Downloading data from {origin}")
        raise OSError(f"URL fetch failure on {origin}: no network")

    monkeypatch.setattr(file_utils, "get_file", offline)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    code, out, err = run(
        *("train", shapes, "--backbone", "mobilenetv3-large", "--weights", "imagenet"),
        *("--imgsz", 32, "--out", tmp_path / "run"),
    )
    assert (code, out) == (2, "")
    line = one_line(err, "rs-toolkit", notes=True)
    assert "cannot be downloaded" in line and "--weights FILE.h5" in line
    assert err.startswith("weights imagenet: Keras downloads weights_mobilenet_v3_large")
    assert not (tmp_path / "run" / "config.json").exists()
