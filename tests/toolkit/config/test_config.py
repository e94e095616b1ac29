from __future__ import annotations

from dataclasses import fields

import pytest

from rs_toolkit.config.base import load_settings
from rs_toolkit.config.training import TrainConfig, read_config, sample_preset
from rs_toolkit.errors import ConfigError


def test_later_layers_win_and_none_does_not_count() -> None:
    config = load_settings(TrainConfig, {"imgsz": 96, "seed": 3}, {"imgsz": 128}, {"seed": None})
    assert (config.imgsz, config.seed) == (128, 3)


def test_settings_round_trip_and_fingerprint() -> None:
    config = TrainConfig(imgsz=96)
    assert TrainConfig(**config.to_dict()) == config
    assert config.fingerprint() != TrainConfig(imgsz=97).fingerprint()


def test_the_sample_preset_is_valid() -> None:
    assert load_settings(TrainConfig, sample_preset()).weights == "none"


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
