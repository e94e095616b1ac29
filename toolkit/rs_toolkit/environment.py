"""The machine and the package versions that a result was made with."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from rs_runtime.stderr import quiet_libraries

__all__ = ["machine", "quiet_tensorflow", "versions"]

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
    "faiss-cpu",
    "torch",
    "torchvision",
    "timm",
    "open_clip_torch",
)


def quiet_tensorflow() -> None:
    """Import TensorFlow with as few messages as possible; see :mod:`rs_runtime.stderr`.

    Raises
    ------
    ModuleNotFoundError
        TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_libraries():
        import tensorflow

        # Looks for devices now, while TensorFlow's messages are dropped.
        tensorflow.config.list_physical_devices()


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
