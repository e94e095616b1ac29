"""Write and read the ``filter.json`` of a filter folder, with the same checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rs_runtime.errors import KitFormatError, reason
from rs_runtime.kit.json_node import JsonNode
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.errors import RunError
from rs_toolkit.files import write_json

__all__ = ["checked_json", "read_filter_json", "write_filter_json"]

T = TypeVar("T")

_FORMAT, _VERSION = "rs-filter", 1
_MAX_BYTES = 16 * 2**20
_MAX_CLASSES = 1000
_MAX_TEMPERATURE, _MAX_BIAS = 1e3, 1e6


def write_filter_json(folder: Path, *, preprocessing: Preprocessing, **values: Any) -> None:
    """Write ``filter.json``, the last file of a filter folder.

    ``values`` are attributes of :class:`rs_toolkit.folders.filter.FilterFolder`: classes,
    calibration, thresholds, student, teacher, metrics and data_fingerprint.

    Raises
    ------
    RunError
        A value is missing or out of range, so that the folder could not be opened later.
    """
    values = {"format": _FORMAT, "version": _VERSION, **values}
    values["preprocessing"] = preprocessing.to_dict()
    try:
        _checked(JsonNode("filter", values))
    except (KitFormatError, ValueError) as error:
        raise RunError(f"{folder / 'filter.json'}: not written ({error})") from None
    write_json(folder / "filter.json", values)


def read_filter_json(folder: Path) -> dict[str, Any]:
    """Return the arguments of :func:`write_filter_json`; raises as :func:`checked_json` does."""
    return checked_json(folder / "filter.json", _checked)


def checked_json(path: Path, check: Callable[[JsonNode], T]) -> T:
    """Read a JSON file of a filter folder, and return what ``check`` returns for its content.

    Raises
    ------
    RunError
        The file is missing, larger than 16 MiB or not JSON, or ``check`` refused it.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES} bytes")
        values = json.loads(path.read_bytes(), parse_constant=_no_constant)
        return check(JsonNode(path.stem, values))
    except KitFormatError as error:
        # What follows the last semicolon is advice about kits.
        problem = str(error).rpartition("; ")[0]
    except (OSError, ValueError, RecursionError) as error:
        problem = reason(error)
    raise RunError(f"{path}: damaged ({problem}); distil again")


def _no_constant(name: str) -> float:
    raise ValueError(f"got {name}, wanted a finite number")


def _checked(node: JsonNode) -> dict[str, Any]:
    version = node.get("version").value
    if node.get("format").value != _FORMAT or type(version) is not int or version != _VERSION:
        raise ValueError(f"format: wanted {_FORMAT} version {_VERSION}; update rs-toolkit")
    teacher, metrics = node.get("teacher").value, node.get("metrics").value
    if not isinstance(metrics, dict) or not isinstance(teacher, dict | None):
        raise ValueError("metrics and teacher: wanted JSON objects")
    calibration, thresholds = node.get("calibration"), node.get("thresholds")
    temperature = calibration.get("temperature").within(0, _MAX_TEMPERATURE)
    if not temperature:
        raise ValueError("temperature: got 0, wanted above 0")
    bias = calibration.get("bias").within(-_MAX_BIAS, _MAX_BIAS)
    low = thresholds.get("not_organism").within(0, 1)
    high = thresholds.get("organism").within(low, 1)
    return {
        "classes": _classes(node.get("classes")),
        "preprocessing": Preprocessing.from_dict(node.get("preprocessing").value),
        "calibration": {"temperature": temperature, "bias": bias},
        "thresholds": {"not_organism": low, "organism": high},
        "student": node.get("student").text(),
        "teacher": teacher,
        "metrics": metrics,
        "data_fingerprint": node.get("data_fingerprint").text(),
    }


def _classes(node: JsonNode) -> list[dict[str, Any]]:
    found = [
        {"name": item.get("name").text(), "organism": item.get("organism").truth()}
        for item in node.items(2, _MAX_CLASSES)
    ]
    if len({item["name"] for item in found}) < len(found):
        raise ValueError("classes: two have the same name")
    if len({item["organism"] for item in found}) < 2:
        raise ValueError("classes: wanted at least one organism and one other")
    return found
