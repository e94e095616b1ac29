"""The base of all settings: checked fields, layers that override each other, a fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from rs_toolkit.errors import ConfigError

__all__ = ["Settings", "check_fractions", "choice", "flag", "load_settings", "number", "text"]

Kind = TypeVar("Kind", bound="Settings")


def number(default: float, low: float, high: float, text: str) -> Any:
    """Return a field for a number from ``low`` to ``high``; ``text`` is its help text."""
    return field(default=default, metadata={"low": low, "high": high, "text": text})


def choice(default: str, choices: tuple[str, ...], text: str) -> Any:
    """Return a field for one of ``choices``; ``text`` is its help text."""
    return field(default=default, metadata={"choices": choices, "text": text})


def flag(text: str) -> Any:
    """Return a field that is false unless it is set; ``text`` is its help text."""
    return field(default=False, metadata={"text": text})


def text(default: str, text: str) -> Any:
    """Return a field for a string; ``text`` is its help text."""
    return field(default=default, metadata={"text": text})


@dataclass(frozen=True)
class Settings:
    """Base class of settings; checks the fields that the functions of this module make.

    Raises
    ------
    ConfigError
        A value has the wrong type or is out of range.
    """

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.metadata:
                _check(item.name, getattr(self, item.name), item.type, item.metadata)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return asdict(self)

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with any setting."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_settings(kind: type[Kind], *layers: Mapping[str, Any]) -> Kind:
    """Return settings of a kind from layers of values: the last wins, and ``None`` is ignored.

    Raises
    ------
    ConfigError
        A key is unknown, or a value has the wrong type or is out of range.
    """
    known = [item.name for item in fields(kind)]
    given = [item for layer in layers for item in layer.items()]
    for key, _ in given:
        if key not in known:
            raise ConfigError(f"unknown setting {key!r}; wanted one of: {', '.join(known)}")
    return kind(**{key: value for key, value in given if value is not None})


def check_fractions(val: float, test: float) -> None:
    """Raise ConfigError where validation and test leave too few photos for training."""
    if val + test >= 0.9:
        raise ConfigError(
            f"val + test: got {val} + {test}, wanted less than 0.9 together, as the rest of the "
            "photos is for training; lower one of them"
        )


def _check(name: str, value: Any, kind: Any, rules: Mapping[str, Any]) -> None:
    """Check a value against its field's type and metadata (limits or choices)."""
    types: Any = {"int": int, "float": (int, float), "str": str, "bool": bool}[str(kind)]
    if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
        wanted = str(kind)
    elif "choices" in rules and value not in rules["choices"]:
        wanted = "one of " + ", ".join(name or "(empty)" for name in rules["choices"])
    elif "low" in rules and not rules["low"] <= value <= rules["high"]:
        wanted = f"{rules['low']} to {rules['high']}"
    else:
        return
    raise ConfigError(f"{name}: got {value!r}, wanted {wanted} ({rules['text']})")
