"""Settings that a user has made for other work with Keras change no result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
