"""What a result depends on besides code and photos: machine, package versions, Keras' settings."""

from __future__ import annotations

import gc
import os
import platform
import re
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from rs_runtime.errors import reason
from rs_runtime.stderr import quiet_libraries
from rs_toolkit.errors import ConfigError
from rs_toolkit.files import read_json
from rs_toolkit.garbage import rarely_collecting

__all__ = [
    "device",
    "keras_home",
    "machine",
    "quiet_tensorflow",
    "standard_settings",
    "use_device",
    "versions",
]

_BACKEND = "tensorflow"
# Settings that a user may have made for other work, in keras.json or by a variable, and the values
# with which results are made here.
_VARIABLES = {
    "KERAS_BACKEND": _BACKEND,
    "KERAS_MAX_EPOCHS": "",
    "KERAS_MAX_STEPS_PER_EPOCH": "",
    "KERAS_NNX_ENABLED": "",
}
_SETTINGS = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_LIMITS = ("max_epochs", "max_steps_per_epoch")

_PACKAGES = (
    "rs-toolkit",
    "numpy",
    "pillow",
    "tensorflow",
    "keras",
    "tf-keras",
    "tensorflow-model-optimization",
    "tf2onnx",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "scikit-learn",
    "cleanlab",
    "optuna",
    "faiss-cpu",
    "torch",
    "torchvision",
    "timm",
    "open_clip_torch",
)


def quiet_tensorflow() -> None:
    """Import TensorFlow and Keras with few messages, and with the settings of the toolkit.

    See :mod:`rs_runtime.stderr` for the messages.  Where a setting of the user's (``keras.json``, a
    variable such as ``KERAS_BACKEND``) is not used, a line on standard error says so.

    Raises
    ------
    ModuleNotFoundError
        TensorFlow is not installed.
    ConfigError
        Keras cannot read its ``keras.json``, or the program has loaded it with another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    unused = _standard_variables()
    first = "tensorflow" not in sys.modules
    try:
        with quiet_libraries(), rarely_collecting():
            import tensorflow

            # Looks for devices now, while TensorFlow's messages are dropped.
            tensorflow.config.list_physical_devices()
            import keras
    except (AssertionError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{keras_home() / 'keras.json'}: Keras cannot read it ({reason(error)}); delete it"
        ) from None
    if first:
        # What was loaded stays.  Each full look for garbage would take 0.2 s longer with it.
        gc.freeze()
    if (backend := keras.config.backend()) != _BACKEND:
        raise ConfigError(
            f"Keras was loaded with the backend {backend}, wanted {_BACKEND}; set KERAS_BACKEND="
            f"{_BACKEND} before it is imported"
        )
    for told in (*unused, *standard_settings(keras.config)):
        print(f"not used: Keras' setting {told}", file=sys.stderr)
    for name in _LIMITS:
        if hasattr(keras.config, f"set_{name}"):
            getattr(keras.config, f"set_{name}")(None)
    keras.config.set_dtype_policy(_SETTINGS["floatx"])


def use_device(wanted: str) -> str:
    """Make TensorFlow compute on ``auto``, ``cpu``, ``gpu`` or ``gpu:N``; return :func:`device`.

    ``auto`` is the first GPU, or the CPU where there is none; ``gpu`` is ``gpu:0``.  To be called
    before TensorFlow computes anything.

    Raises
    ------
    ConfigError
        The name is another one, or TensorFlow finds no such GPU.
    """
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    named = re.fullmatch(r"auto|cpu|gpu(?::(\d{1,3}))?", wanted)
    if not named:
        raise ConfigError(f"device: got {wanted!r}, wanted auto, cpu, gpu or gpu:N, such as gpu:1")
    number = int(named[1] or 0)
    if wanted == "cpu" or (wanted == "auto" and not found):
        tf.config.set_visible_devices([], "GPU")
        return device()
    if number >= len(found):
        raise ConfigError(f"device: got {wanted}, but {_gpus_found(len(found))}")
    tf.config.set_visible_devices(found[number], "GPU")
    # Otherwise TensorFlow takes all of the GPU's memory.
    tf.config.experimental.set_memory_growth(found[number], True)
    return device()


def device() -> str:
    """Return the name of the GPU that TensorFlow computes on, or else ``CPU``."""
    import tensorflow as tf

    for gpu in tf.config.get_visible_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        return str(details.get("device_name", gpu.name))
    return "CPU"


def _gpus_found(count: int) -> str:
    if count:
        return f"TensorFlow finds {count}, gpu:0 to gpu:{count - 1}; choose one of these, or cpu"
    if _NVIDIA_DRIVER.exists():
        return (
            "TensorFlow finds none, although there is an NVIDIA driver: its CUDA libraries are "
            "missing (pip install 'tensorflow[and-cuda]'); or use --device cpu"
        )
    return "TensorFlow finds none, and there is no NVIDIA driver; use --device cpu"


def _standard_variables() -> list[str]:
    """Set the variables that Keras reads when it is imported; return what was not used."""
    saved, unused = "", []
    with suppress(OSError, ValueError, KeyError, TypeError):
        saved = str(read_json(keras_home() / "keras.json")["backend"])
    for name, wanted in _VARIABLES.items():
        given = os.environ.pop(name, "") or (saved if name == "KERAS_BACKEND" else "")
        if given not in ("", wanted):
            unused.append(f"{name}={given}" + (f" (instead: {wanted})" if wanted else ""))
    # Wins over keras.json.
    os.environ["KERAS_BACKEND"] = _BACKEND
    return unused


def keras_home() -> Path:
    """Return the folder of Keras' settings and downloaded weights."""
    return Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"))


def standard_settings(backend: Any) -> list[str]:
    """Set the standard values in ``keras.config`` or ``tf_keras.backend``; return those not used.

    Both read ``keras.json`` when they are imported.
    """
    unused = []
    for name, wanted in _SETTINGS.items():
        if (given := getattr(backend, name)()) != wanted:
            unused.append(f"{name}={given} (instead: {wanted})")
            getattr(backend, f"set_{name}")(wanted)
    return unused


def machine() -> dict[str, str | int]:
    """Return processor, usable cores, memory (GiB; 0: unknown), system and Python version."""
    return {
        "cpu": _cpu_name(),
        "cores": _cores(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the installed packages that can change a result."""
    found = {}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _cores() -> int:
    # macOS cannot tell which cores a process may use.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _memory_gib() -> int:
    with suppress(AttributeError, ValueError, OSError):
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    return 0
