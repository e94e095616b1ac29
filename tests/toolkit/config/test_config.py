from __future__ import annotations

from dataclasses import fields

import pytest

from rs_toolkit.cli.options import train_settings
from rs_toolkit.config.base import load_settings
from rs_toolkit.config.training import PRESETS, TrainConfig, read_config, read_preset
from rs_toolkit.errors import ConfigError


def test_later_layers_win_and_none_does_not_count() -> None:
    config = load_settings(TrainConfig, {"imgsz": 96, "seed": 3}, {"imgsz": 128}, {"seed": None})
    assert (config.imgsz, config.seed) == (128, 3)


def test_settings_round_trip_and_fingerprint() -> None:
    config = TrainConfig(imgsz=96)
    assert TrainConfig(**config.to_dict()) == config
    assert config.fingerprint() != TrainConfig(imgsz=97).fingerprint()


def test_the_sample_preset_is_valid() -> None:
    assert load_settings(TrainConfig, read_preset("sample")).weights == "none"


def test_every_preset_is_a_file_that_changes_one_setting(repository) -> None:
    folder = repository / "toolkit" / "rs_toolkit" / "config" / "presets"
    assert sorted(PRESETS) == sorted(path.stem for path in folder.iterdir())
    default = TrainConfig().to_dict()
    for name in set(PRESETS) - {"sample"}:
        settings = load_settings(TrainConfig, read_preset(name)).to_dict()
        changed = {key for key, value in settings.items() if value != default[key]}
        assert len(changed) == 2 and "preset" in changed, name


def test_options_override_the_file_which_overrides_its_preset(tmp_path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('preset = "dropout"\nseed = 3\nepochs = 4\n')
    found = train_settings(file, {"epochs": 5, "weights": "none"}, sample=True)
    assert (found.preset, found.dropout, found.seed, found.epochs) == ("dropout", 0.5, 3, 5)
    # Beneath them, the sample's preset.
    assert found.backbone == "baseline-cnn-w50"
    found = train_settings(file, {"preset": "smaller-head"})
    assert (found.preset, found.dropout, found.bottleneck) == ("smaller-head", 0.3, 32)
    file.write_text("preset = 7\n")
    with pytest.raises(ConfigError, match=r"preset: got 7, wanted one of: dropout"):
        train_settings(file, {})


def test_the_settings_file_of_the_samples_shows_every_setting(repository) -> None:
    shown = read_config(repository / "samples" / "birds.toml")
    # The weights' place differs from machine to machine: they are given as a flag.
    assert {*shown, "weights"} == {item.name for item in fields(TrainConfig)}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("imgz", 96, "unknown setting 'imgz'"),
        ("imgsz", "96", "wanted int"),
        ("imgsz", True, "wanted int"),
        ("imgsz", 7, "wanted 32 to 1024"),
        ("precision", "int4", "wanted one of float32"),
        ("learning_rate", float("nan"), "wanted"),
        ("val", 0.5, "val"),
    ],
)
def test_a_wrong_setting_is_named(key, value, said) -> None:
    with pytest.raises(ConfigError, match=said):
        load_settings(TrainConfig, {"test": 0.5} if key == "val" else {}, {key: value})


def test_a_bad_file_is_one_line(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("imgsz = = 3")
    with pytest.raises(ConfigError, match="not a TOML file"):
        read_config(tmp_path / "bad.toml")


def test_what_another_setting_switches_off_is_refused_not_ignored(one_line) -> None:
    with pytest.raises(ConfigError, match="refit_folds: got 4 with refit val") as caught:
        TrainConfig(refit="val", refit_folds=4)
    one_line(str(caught.value))
    with pytest.raises(
        ConfigError, match="randaugment_magnitude: got 5 with randaugment 0"
    ) as caught:
        TrainConfig(randaugment_magnitude=5)
    one_line(str(caught.value))
    given = TrainConfig(refit="all", refit_folds=4, randaugment=1, randaugment_magnitude=5)
    assert (given.unrepeated().refit, given.unrepeated().randaugment_magnitude) == ("none", 5)


@pytest.mark.parametrize("name", ["crop_scale", "randaugment", "mixup", "cutmix"])
def test_changes_of_photos_that_a_teacher_would_not_see_are_refused(name, one_line) -> None:
    with pytest.raises(ConfigError, match=f"{name}: got 1 with a teacher") as caught:
        TrainConfig(teacher="run", **{name: 1})
    one_line(str(caught.value))


def test_a_teacher_that_knows_the_photos_of_the_folds_is_refused(one_line) -> None:
    with pytest.raises(ConfigError, match="refit: got all with a teacher") as caught:
        TrainConfig(teacher="run", refit="all")
    one_line(str(caught.value))
