"""Each conversion is made once in a process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rs_export import convert


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
