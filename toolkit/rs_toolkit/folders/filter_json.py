"""``filter.json`` of a filter folder: written and read with the same checks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.errors import RunError, reason
from rs_toolkit.files import write_json

__all__ = ["checked_json", "read_filter_json", "write_filter_json"]

T = TypeVar("T")

_FORMAT, _VERSION = "rs-filter", 1
_MAX_BYTES = 16 * 2**20
_MAX_CLASSES = 1000
_MAX_TEXT = 500
_MAX_TEMPERATURE, _MAX_BIAS = 1e3, 1e6


def write_filter_json(folder: Path, *, preprocessing: Preprocessing, **values: Any) -> None:
    """Write ``filter.json``, the last file of a filter folder.

    ``values`` are attributes of :class:`rs_toolkit.folders.filter.FilterFolder`: classes,
    calibration, thresholds, student, teacher, metrics and data_fingerprint.

    Raises
    ------
    RunError
        A value is missing or out of range: the folder could not be opened.
    """
    values = {"format": _FORMAT, "version": _VERSION, **values}
    values["preprocessing"] = preprocessing.to_dict()
    try:
        _checked(values)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder / 'filter.json'}: not written ({error})") from None
    write_json(folder / "filter.json", values)


def read_filter_json(folder: Path) -> dict[str, Any]:
    """Return the arguments of :func:`write_filter_json`; unknown keys are ignored.

    Raises
    ------
    RunError
        The file is missing, damaged, of another version, or a value is out of range.
    """
    return checked_json(folder / "filter.json", _checked)


def checked_json(path: Path, check: Callable[[dict[str, Any]], T]) -> T:
    """Return what ``check`` makes of the JSON object in a file of a filter folder.

    Raises
    ------
    RunError
        The file is missing, larger than 16 MiB or no JSON object, or ``check`` raised ValueError,
        KeyError or TypeError.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES} bytes")
        values = json.loads(path.read_bytes(), parse_constant=_no_constant)
        if not isinstance(values, dict):
            raise ValueError(f"wanted an object, got {type(values).__name__}")
        return check(values)
    except KeyError as error:
        raise RunError(f"{path}: damaged ({error} is missing); distil again") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{path}: damaged ({reason(error)}); distil again") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    version = values["version"]
    if values["format"] != _FORMAT or type(version) is not int or version != _VERSION:
        raise ValueError(f"format: wanted {_FORMAT} version {_VERSION}; update rs-toolkit")
    teacher, metrics = values["teacher"], values["metrics"]
    if not isinstance(metrics, dict) or not isinstance(teacher, dict | None):
        raise ValueError("metrics and teacher: wanted objects")
    temperature = _number(values["calibration"], "temperature", 0, _MAX_TEMPERATURE)
    if not temperature:
        raise ValueError("temperature: got 0, wanted more")
    bias = _number(values["calibration"], "bias", -_MAX_BIAS, _MAX_BIAS)
    low = _number(values["thresholds"], "not_organism", 0, 1)
    high = _number(values["thresholds"], "organism", low, 1)
    return {
        "classes": _classes(values["classes"]),
        "preprocessing": Preprocessing.from_dict(values["preprocessing"]),
        "calibration": {"temperature": temperature, "bias": bias},
        "thresholds": {"not_organism": low, "organism": high},
        "student": _text(values["student"], "student"),
        "teacher": teacher,
        "metrics": metrics,
        "data_fingerprint": _text(values["data_fingerprint"], "data_fingerprint"),
    }


def _classes(items: Any) -> list[dict[str, Any]]:
    if not isinstance(items, list) or not 2 <= len(items) <= _MAX_CLASSES:
        raise ValueError(f"classes: wanted a list of 2 to {_MAX_CLASSES}")
    found = []
    for item in items:
        if not isinstance(item, dict) or type(item["organism"]) is not bool:
            raise ValueError("classes: wanted a name and true or false for organism in each")
        found.append({"name": _text(item["name"], "class"), "organism": item["organism"]})
    if len({item["name"] for item in found}) < len(found):
        raise ValueError("classes: two have the same name")
    if len({item["organism"] for item in found}) < 2:
        raise ValueError("classes: wanted organisms and others")
    return found


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT or not value.isprintable():
        raise ValueError(f"{name}: wanted a printable text of 1 to {_MAX_TEXT} characters")
    return value


def _number(values: Any, name: str, low: float, high: float) -> float:
    value: Any = values[name] if isinstance(values, dict) else None
    if type(value) not in (int, float) or not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name}: wanted a number from {low:g} to {high:g}")
    return float(value)
