"""Read untrusted JSON value by value; an error is one line that says where the fault is."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from rs_runtime.errors import KitFormatError

__all__ = ["MAX_TEXT", "JsonNode", "Scalar", "parse_json"]

MAX_TEXT = 500
_MAX_KEYS = 1000
_REQUIRED = object()

Scalar = str | int | float | bool | None
T = TypeVar("T")


class JsonNode:
    """A JSON value, and its place for messages, such as ``manifest.classes[3].name``.

    ``value`` is a result of ``json.loads``.  Each method that returns a value raises KitFormatError
    if the JSON value is not what it describes.
    """

    def __init__(self, where: str, value: Any) -> None:
        self.where = where
        self.value = value

    def fail(self, wanted: str) -> NoReturn:
        """Raise a KitFormatError that says what is wanted here and what was found."""
        got = reprlib.repr(self.value)
        got = got if len(got) <= 60 else got[:57] + "..."
        raise KitFormatError(f"{self.where} must be {wanted}, got {got}; export the kit again")

    def get(self, key: str, default: Any = _REQUIRED) -> JsonNode:
        """Return an object's value under a key, which must exist unless a default is given."""
        if not isinstance(self.value, dict):
            self.fail("an object")
        value = self.value.get(key, default)
        if value is _REQUIRED:
            raise KitFormatError(f"{self.where} lacks {key!r}; export the kit again")
        return JsonNode(f"{self.where}.{key}", value)

    def optional(self, key: str, read: Callable[[JsonNode], T]) -> T | None:
        """Return ``read`` of the value under a key, or None if it is null or absent."""
        node = self.get(key, None)
        return None if node.value is None else read(node)

    def text(self) -> str:
        """Return text of 1 to 500 printable characters."""
        if not isinstance(self.value, str) or not 1 <= len(self.value) <= MAX_TEXT:
            self.fail(f"text of 1 to {MAX_TEXT} characters")
        # Names are printed to terminals, which would obey control characters.
        if not self.value.isprintable():
            self.fail("printable text")
        return self.value

    def choice(self, choices: tuple[str, ...]) -> str:
        """Return one of the choices."""
        if self.value not in choices:
            self.fail(f"one of {', '.join(choices)}")
        return str(self.value)

    def truth(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            self.fail("true or false")
        return self.value

    def integer(self, low: int, high: int) -> int:
        """Return an integer from ``low`` to ``high``."""
        if type(self.value) is not int or not low <= self.value <= high:
            self.fail(f"an integer from {low} to {high}")
        return self.value

    def number(self) -> float:
        """Return a number from -1e300 to 1e300."""
        if type(self.value) not in (int, float) or not abs(self.value) <= 1e300:
            self.fail("a finite number")
        return float(self.value)

    def within(self, low: float, high: float) -> float:
        """Return a number from ``low`` to ``high``."""
        if not low <= self.number() <= high:
            self.fail(f"a number from {low:g} to {high:g}")
        return self.number()

    def scalar(self) -> Scalar:
        """Return text, a number, true, false or null."""
        if isinstance(self.value, str):
            return self.text()
        if self.value is None or isinstance(self.value, bool):
            return self.value
        return self.number()

    def items(self, least: int, most: int) -> list[JsonNode]:
        """Return a list's items, ``least`` to ``most`` of them."""
        if not isinstance(self.value, list) or not least <= len(self.value) <= most:
            self.fail(f"a list of {least} to {most} items")
        return [JsonNode(f"{self.where}[{i}]", value) for i, value in enumerate(self.value)]

    def mapping(self, read: Callable[[JsonNode], T]) -> dict[str, T]:
        """Return ``read`` of each value of an object, by key; at most 1000 keys, all of text."""
        if not isinstance(self.value, dict) or len(self.value) > _MAX_KEYS:
            self.fail(f"an object of at most {_MAX_KEYS} keys")
        for key in self.value:
            JsonNode(f"key in {self.where}", key).text()
        return {key: read(JsonNode(f"{self.where}.{key}", v)) for key, v in self.value.items()}


def parse_json(data: bytes, most: int) -> Any:
    """Return the value of ``manifest.json``: UTF-8 JSON (RFC 8259) of at most ``most`` bytes.

    Raises KitFormatError if it is longer, invalid or nested too deep, or repeats a key.
    """

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("an object has a key twice")
        return result

    def refuse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no JSON number")

    if len(data) > most:
        raise KitFormatError(f"manifest.json exceeds {most} bytes; export the kit again")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=refuse_duplicates,
            parse_constant=refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        raise KitFormatError(
            f"manifest.json is no valid JSON: {error}; export the kit again"
        ) from error
