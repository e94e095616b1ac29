"""The command line as a user meets it: what is printed, and the exit code."""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path

import pytest
import typer

import rs_toolkit.cli.main
from rs_export import ExportSettings
from rs_toolkit.cli.main import app
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.config.tuning import TuneConfig
from rs_toolkit.files import write_json

# A value for each training flag that neither the defaults nor the sample's preset have.
FLAGS = {
    "weights": "imagenet",
    "backbone": "xception-w50",
    "rank": "genus",
    "keep_names": "none,na",
    "imgsz": 77,
    "resize": "pad",
    "val": 0.11,
    "test": 0.31,
    "stratify_by": "genus",
    "head_strength": 0.5,
    "epochs": 3,
    "batch_size": 5,
    "time": "30m",
    "patience": 0,
    "learning_rate": 0.003,
    "layer_decay": 0.5,
    "head_rate": 2.0,
    "weight_decay": 5.0,
    "average": "swa",
    "loss": "balanced_softmax",
    # Another value needs that loss.
    "logit_adjustment": 1.0,
    "label_smoothing": 0.05,
    "dropout": 0.1,
    "bottleneck": 7,
    "augment": 0.5,
    # Other values are refused: some with a teacher, first_size with a time, the magnitude
    # without operations, and folds without a refit on all photos.
    "crop_scale": 0.0,
    "randaugment": 0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "first_size": 0,
    "randaugment_magnitude": 9,
    "refit_folds": 5,
    "fine_tune_from": "last",
    "teacher": str(Path("runs/teacher").resolve()),
    "teacher_weights": "",
    # Other values need a teacher.
    "teacher_weight": 0.9,
    "teacher_temperature": 4.0,
    "teacher_views": 8,
    "refit": "val",
    "balance": 0.25,
    "group_by": "site",
    "splits_from": str(Path("runs/earlier").resolve()),
    "seed": 9,
    "precision": "mixed_bfloat16",
}
WITHOUT_A_VALUE = ("strict_photos", "tau_head")
# Small and without a download, for runs that fail after the backbone is built.
SMALL = ("--weights", "none", "--backbone", "xception-w25", "--imgsz", 48)


def spelled(name: str) -> str:
    return "--" + name.replace("_", "-")


@pytest.fixture
def refused(run, one_line):
    """Return a function that runs a command that must fail with code 2, and gives its line."""

    def refused_(*arguments: object, notes: bool = False) -> str:
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        return one_line(err, "rs-toolkit", notes=notes)

    return refused_


@pytest.fixture
def asked(run, monkeypatch):
    """Return a function that runs ``train`` up to the training and gives what was asked of it."""

    def asked_(*arguments: object) -> tuple[Path, TrainConfig, Path]:
        calls = []
        monkeypatch.setattr(
            rs_toolkit.cli.main,
            "_train",
            lambda *wanted, resume, tensorboard, device: calls.append(
                (*wanted, resume or tensorboard or device != "auto")
            ),
        )
        code, _, err = run("train", *arguments)
        assert code == 0, err
        ((data, settings, folder, resume),) = calls
        assert not resume
        return data, settings, folder

    return asked_


def test_every_training_flag_is_a_setting_or_known_and_every_setting_has_one() -> None:
    train = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]
    flags = {flag for item in train.params for flag in item.opts if flag.startswith("--")}
    flags -= {"--out", "--resume", "--config", "--tensorboard", "--device", "--help"}
    settings = {item.name for item in fields(TrainConfig)}
    assert flags == {spelled(name) for name in settings}
    # Tested below, each by its own value.
    assert set(FLAGS) == settings - {"preset", *WITHOUT_A_VALUE}


@pytest.mark.parametrize(
    ("command", "kind", "others"),
    [
        ("check", TrainConfig, {"data", "out", "shard", "address"}),
        ("split", TrainConfig, {"data", "out", "config"}),
        (
            "clean",
            TrainConfig,
            {"data", "out", "config", "policy", "filter_", "again", "shard", "address"},
        ),
        ("train", TrainConfig, {"data", "out", "config", "resume", "tensorboard", "device"}),
        (
            "tune",
            TrainConfig,
            {"data", "out", "config", "trials", "budget", "device", "address"}
            | {*TuneConfig().to_dict()},
        ),
        ("distill", DistillConfig, {"data", "out", "not_organism", "resume"}),
        ("export", ExportSettings, {"run", "out", "data", "recipe", "filter_folder"}),
    ],
)
def test_an_option_that_is_not_handed_on_by_its_name_is_known(command, kind, others) -> None:
    """Options are handed on where they are called like a setting; no other may be lost."""
    options = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    assert {item.name for item in options} - {item.name for item in fields(kind)} == others


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_reaches_the_settings(asked, tmp_path, name) -> None:
    _, before, _ = asked(tmp_path)
    _, after, _ = asked(tmp_path, spelled(name), FLAGS[name])
    changed = {key for key, value in after.to_dict().items() if before.to_dict()[key] != value}
    assert changed <= {name}
    assert getattr(after, name) == FLAGS[name]


@pytest.mark.parametrize("name", WITHOUT_A_VALUE)
def test_an_option_without_a_value_reaches_the_settings(asked, tmp_path, name) -> None:
    assert not getattr(asked(tmp_path)[1], name)
    assert getattr(asked(tmp_path, spelled(name))[1], name)


def test_data_and_out_reach_the_training(asked, tmp_path) -> None:
    data, _, folder = asked(tmp_path, "--out", tmp_path / "r")
    assert (data, folder) == (tmp_path, tmp_path / "r")


def test_files_are_found_from_another_folder(asked, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, settings, _ = asked(tmp_path, "--weights", "w.h5", "--splits-from", "run")
    assert settings.weights == str(tmp_path / "w.h5")
    assert settings.splits_from == str(tmp_path / "run")


@pytest.mark.parametrize("name", FLAGS)
def test_flags_override_the_settings_file(asked, tmp_path, name) -> None:
    config = tmp_path / "settings.toml"
    config.write_text('backbone = "xception-w25"\nimgsz = 99\nval = 0.12\nseed = 4\n')
    _, settings, _ = asked(tmp_path, "--config", config, spelled(name), FLAGS[name])
    expected = {"backbone": "xception-w25", "imgsz": 99, "val": 0.12, "seed": 4, name: FLAGS[name]}
    assert settings == TrainConfig(**expected)


def test_the_settings_file_of_the_samples_loads(asked, repository, tmp_path) -> None:
    _, settings, _ = asked(tmp_path, "--config", repository / "samples" / "birds.toml")
    assert (settings.stratify_by, settings.imgsz) == ("common_name", 160)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("imgz = 96", "unknown setting 'imgz'"),
        ("[train]\nimgsz = 96", "unknown setting 'train'"),
        ("imgsz = '96'", "wanted int"),
        ("imgsz = = 3", "not a TOML file"),
    ],
)
def test_a_wrong_settings_file(refused, tmp_path, text, said) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(text)
    assert said in refused("train", tmp_path, "--config", config)


@pytest.mark.parametrize("resumed", [False, True], ids=["new", "resumed"])
@pytest.mark.parametrize(
    ("device", "said"),
    [("gpu", "got gpu, but TensorFlow finds none"), ("tpu", "wanted auto, cpu, gpu or gpu:N")],
)
def test_a_device_that_is_not_there(refused, monkeypatch, tmp_path, device, said, resumed) -> None:
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *kind: [])
    run, begun = tmp_path / "r", {"settings": TrainConfig().to_dict(), "data": str(tmp_path)}
    where = ("--resume", run) if resumed else (tmp_path, "--out", run)
    if resumed:
        write_json(run / "config.json", begun)
    line = refused("train", *where, "--device", device)
    assert said in line
    assert run.exists() == resumed
    assert said in refused("tune", tmp_path, "--out", tmp_path / "study", "--device", device)
    assert not (tmp_path / "study").exists()


def test_version(run) -> None:
    assert run("--version")[:2] == (0, "rs-toolkit 0.1.0\n")


def test_wrong_path(refused, tmp_path) -> None:
    # No weights are downloaded for data that are not there.
    line = refused("train", tmp_path / "none", "--out", tmp_path / "r")
    assert f"{tmp_path / 'none'}: no such folder or CSV file" in line


def test_empty_folder(refused, tmp_path) -> None:
    (tmp_path / "data").mkdir()
    line = refused("train", tmp_path / "data", *SMALL, "--out", tmp_path / "r")
    assert "no photos below it" in line


def test_one_class(refused, shapes, tmp_path) -> None:
    shutil.copytree(shapes / "discidae", tmp_path / "data" / "discidae")
    line = refused("train", tmp_path / "data", *SMALL, "--out", tmp_path / "r")
    assert "got only 'discidae' in 30 photos, wanted two classes" in line


def test_no_readable_photo(refused, tmp_path) -> None:
    (tmp_path / "data" / "discidae").mkdir(parents=True)
    (tmp_path / "data" / "discidae" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    line = refused("train", tmp_path / "data", *SMALL, "--out", tmp_path / "r", notes=True)
    assert "none of the 1 photos can be read" in line


def test_missing_weights_file(refused, shapes, tmp_path) -> None:
    line = refused("train", shapes, "--weights", tmp_path / "w.h5", "--out", tmp_path / "r")
    assert "no such weights file" in line
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
def test_wrong_setting(refused, shapes, tmp_path, arguments, said) -> None:
    assert said in refused("train", shapes, *SMALL, "--out", tmp_path / "r", *arguments)
    assert not (tmp_path / "r").exists()


def test_resume_of_nothing(refused, tmp_path) -> None:
    assert "nothing to resume" in refused("train", "--resume", tmp_path / "none")


@pytest.mark.parametrize("other", [["--seed", 3], ["--out", "r"], ["--config", "c.toml"], ["data"]])
def test_resume_takes_no_other_setting(refused, tmp_path, other) -> None:
    line = refused("train", "--resume", tmp_path, *other)
    assert "--resume takes every setting" in line


def test_export_of_no_run(refused, tmp_path) -> None:
    assert "no such run folder" in refused("export", tmp_path / "none")


def test_unknown_flag_is_a_usage_error(run) -> None:
    code, _, err = run("train", "--colour")
    assert code == 2
    assert "--colour" in err and "Traceback" not in err


def test_full_disk_is_one_line(refused, monkeypatch, tmp_path) -> None:
    import errno

    import rs_toolkit.sample

    def full(*arguments: object, **settings: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x"))

    monkeypatch.setattr(rs_toolkit.sample, "generate_sample", full)
    assert "No space left on device" in refused("sample", tmp_path / "s")


def test_ctrl_c_exits_130(run, monkeypatch, tmp_path) -> None:
    import rs_toolkit.sample

    def interrupted(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rs_toolkit.sample, "generate_sample", interrupted)
    code, _, err = run("sample", tmp_path / "s")
    assert code == 130
    assert "Traceback" not in err
