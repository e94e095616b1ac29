"""A real run, small enough to be fine-tuned in seconds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rs_export import convert
from rs_toolkit.config.training import TrainConfig
from rs_train.classifier.train import train

CONFIG = TrainConfig(
    backbone="tiny", weights="none", imgsz=32, epochs=12, patience=12, batch_size=16,
    learning_rate=1e-2, val=0.2, test=0.3,
)  # fmt: skip


@pytest.fixture(scope="session")
def trained(shapes, tmp_path_factory) -> Path:
    """The folder of a finished run on the shapes."""
    return train(shapes, CONFIG, tmp_path_factory.mktemp("runs") / "shapes")


def mark(value: Any) -> str:
    """What tells one argument of a conversion from another."""
    if hasattr(value, "get_weights"):
        value = (value.to_json(), *map(mark, value.get_weights()))
    if isinstance(value, np.ndarray):
        return f"{value.shape} {mark(value.tobytes())}"
    return hashlib.sha256(value if isinstance(value, bytes) else repr(value).encode()).hexdigest()


@pytest.fixture(scope="session", autouse=True)
def converted() -> Iterator[dict[Any, bytes]]:
    """Make each conversion once in a process, which takes most of the time of these tests.

    Gives what was converted so far; a test whose point is a second conversion clears it.
    """
    found: dict[Any, bytes] = {}
    models: dict[Path, Any] = {}

    def once(name: str) -> Any:
        function = getattr(convert, name)

        def wrapper(*arguments: Any) -> bytes:
            key = (name, *map(mark, (models.get(arguments[0], arguments[0]), *arguments[1:])))
            if key not in found:
                if arguments[0] in models and not any(arguments[0].iterdir()):
                    save(models[arguments[0]], arguments[0])
                found[key] = function(*arguments)
            return found[key]

        return wrapper

    save = convert.save_for_tflite
    with pytest.MonkeyPatch.context() as patch:
        for name in ("to_tflite", "to_onnx", "quantize_tflite", "quantize_onnx"):
            patch.setattr(convert, name, once(name))
        patch.setattr(
            convert, "save_for_tflite", lambda model, folder: models.update({folder: model})
        )
        yield found
