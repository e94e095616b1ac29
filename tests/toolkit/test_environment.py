"""Settings that a user has made for other work with Keras change no result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rs_toolkit.environment import use_device
from rs_toolkit.errors import ConfigError

STANDARD = {"floatx": "float32", "epsilon": 1e-7, "backend": "tensorflow"}
STANDARD["image_data_format"] = "channels_last"
FOUND = """
import json
from rs_runtime.stderr import command_process
from rs_toolkit.environment import quiet_tensorflow, standard_settings
with command_process():
    quiet_tensorflow()
    quiet_tensorflow()
import keras, tf_keras
standard_settings(tf_keras.backend)
x = keras.Input((8, 6, 3))
layer = keras.layers.Conv2D(5, 1)
found = {name: getattr(keras.config, name)() for name in SETTINGS}
both = [tuple(getattr(kind, name)() for name in ("floatx", "epsilon", "image_data_format"))
        for kind in (keras.config, tf_keras.backend)]
print(json.dumps([found, layer(x).shape[1:], layer.kernel.dtype, both[0] == both[1],
                  keras.config.max_epochs()]))
""".replace("SETTINGS", repr(tuple(STANDARD)))


def loaded(home: Path, text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Load Keras with this keras.json and these variables, in a new process."""
    (home / ".keras").mkdir()
    (home / ".keras" / "keras.json").write_text(text)
    mine = {key: value for key, value in os.environ.items() if not key.startswith("KERAS")}
    mine |= {"HOME": str(home), "USERPROFILE": str(home), **variables}
    return subprocess.run([sys.executable, "-c", FOUND], capture_output=True, text=True, env=mine)


@pytest.mark.parametrize(
    ("saved", "variables", "told"),
    [
        ({}, {}, []),
        (
            {"floatx": "float16", "epsilon": 1e-3, "image_data_format": "channels_first"},
            {"KERAS_BACKEND": "jax", "KERAS_MAX_EPOCHS": "1"},
            [
                *("KERAS_BACKEND=jax", "KERAS_MAX_EPOCHS=1", "floatx=float16", "epsilon=0.001"),
                "image_data_format=channels_first",
            ],
        ),
    ],
    ids=["standard", "other"],
)
def test_what_is_not_used_is_said_once(tmp_path, saved, variables, told) -> None:
    done = loaded(tmp_path, json.dumps(STANDARD | saved), **variables)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [STANDARD, [8, 6, 5], "float32", True, None]
    lines = done.stderr.splitlines()
    assert [line.split()[4] for line in lines] == told, done.stderr
    assert all(line.startswith("not used: Keras' setting") for line in lines)


@pytest.mark.parametrize("text", ['{"floatx": "float8"}', "[]"])
def test_settings_that_keras_cannot_read_are_one_line(tmp_path, text) -> None:
    done = loaded(tmp_path, text)
    last = done.stderr.splitlines()[-1]
    assert "keras.json: Keras cannot read it" in last and "ConfigError" in last


class Gpu(NamedTuple):
    name: str


@pytest.fixture
def gpus(monkeypatch) -> dict[str, list[Any]]:
    """Two GPUs that TensorFlow claims to have; what it is told to show, and to let grow."""
    import tensorflow as tf

    found, told = [Gpu("one"), Gpu("two")], dict[str, list[Any]](shown=[], grown=[])
    config = tf.config
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: found)
    monkeypatch.setattr(config, "get_visible_devices", lambda kind: told["shown"])
    monkeypatch.setattr(
        config, "set_visible_devices",
        lambda gpus, kind: told.update(shown=gpus if isinstance(gpus, list) else [gpus]),
    )  # fmt: skip
    monkeypatch.setattr(
        config.experimental, "set_memory_growth", lambda gpu, grows: told["grown"].append(gpu)
    )
    monkeypatch.setattr(
        config.experimental, "get_device_details", lambda gpu: {"device_name": f"Card {gpu.name}"}
    )
    told["found"] = found
    return told


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("auto", "one"), ("gpu", "one"), ("gpu:0", "one"), ("gpu:1", "two"), ("cpu", None)],
)
def test_one_gpu_is_used_or_none(gpus, wanted, name) -> None:
    said = use_device(wanted)
    assert said == (f"Card {name}" if name else "CPU")
    assert gpus["shown"] == gpus["grown"] == ([Gpu(name)] if name else [])


def test_auto_is_the_cpu_where_there_is_no_gpu(gpus) -> None:
    gpus["found"].clear()
    assert use_device("auto") == "CPU"


def test_a_gpu_that_is_not_there_is_one_line_that_says_what_is(
    gpus, tmp_path, monkeypatch, one_line
) -> None:
    def line(wanted: str) -> str:
        with pytest.raises(ConfigError) as caught:
            use_device(wanted)
        return one_line(str(caught.value))

    assert "finds 2, gpu:0 to gpu:1" in line("gpu:2")
    gpus["found"].clear()
    driver = tmp_path / "version"
    monkeypatch.setattr("rs_toolkit.environment._NVIDIA_DRIVER", driver)
    assert "no NVIDIA driver" in line("gpu")
    driver.touch()
    assert "tensorflow[and-cuda]" in line("gpu:0")
    assert "gpu:-1" in line("gpu:-1")
