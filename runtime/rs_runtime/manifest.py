"""The kit's manifest: what the models are, what they know and how to run them."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn, TypeVar

from rs_runtime.errors import KitFormatError, KitVersionError
from rs_runtime.preprocess import Preprocessing

__all__ = ["ClassInfo", "Manifest", "Member", "Variant"]

SCHEMA = "1.2"
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
ENGINES = {"litert": ".tflite", "onnxruntime": ".onnx"}

MAX_MANIFEST_BYTES = 16 * 2**20
MAX_CLASSES = 100_000
MAX_VARIANTS = 32
MAX_TEXT = 500
MAX_TEMPERATURE = 1000.0

Scalar = str | int | float | bool | None
T = TypeVar("T")


@dataclass(frozen=True)
class ClassInfo:
    """One class the models tell apart; ``id`` is its place in the logits."""

    id: int
    name: str
    common_name: str | None
    taxon: Mapping[str, str]


@dataclass(frozen=True)
class Variant:
    """One model in the kit: the same classifier for one engine at one precision.

    ``warning`` says why its answers deserve distrust; None: no known reason.  ``thresholds`` gives
    by rank the least probability at which a name should be believed; see rs_runtime.ranks.
    """

    name: str
    engine: str
    member: str
    temperature: float = 1.0
    measured: Mapping[str, Scalar] = field(default_factory=dict)
    warning: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """What a member's bytes must be."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """The content of ``manifest.json``; docs/kit-format.md specifies every field."""

    name: str
    created_by: str
    rank: str
    classes: tuple[ClassInfo, ...]
    preprocessing: Preprocessing
    variants: tuple[Variant, ...]
    default_variants: Mapping[str, str]
    calibration: Mapping[str, float]
    data_fingerprint: str
    environment: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Member] = field(default_factory=dict)
    schema: str = SCHEMA

    def variant(self, name: str) -> Variant:
        """Return the variant called ``name``.

        Raises
        ------
        KitFormatError
            There is none; the message lists those there are.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        known = ", ".join(variant.name for variant in self.variants)
        raise KitFormatError(f"kit {self.name!r} has no variant {name!r}; choose one of: {known}")

    def to_json(self) -> bytes:
        """Return canonical UTF-8 JSON: sorted keys, indent 2, one final newline."""
        values = asdict(self)
        values["format"] = "rskit"
        text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return text.encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Read and validate a manifest; unknown keys are ignored.

        Raises
        ------
        KitVersionError
            The schema's major number is not 1.
        KitFormatError
            Anything else is wrong: the message names the field, what it holds and what it must.
        """
        root = _Node("manifest", _parse(data))
        if root.get("format").value != "rskit":
            root.get("format").fail("'rskit'")
        schema = root.get("schema").text()
        match = re.fullmatch(r"([0-9]{1,4})\.[0-9]{1,4}", schema)
        if match is None:
            root.get("schema").fail("MAJOR.MINOR")
        if int(match[1]) != int(SCHEMA.split(".")[0]):
            raise KitVersionError(
                f"kit has schema {schema}, this runtime reads 1.x; "
                "update rs-toolkit, or export the kit again"
            )
        manifest = cls(
            name=root.get("name").text(),
            created_by=root.get("created_by").text(),
            rank=root.get("rank").choice((*RANKS, "common_name")),
            classes=tuple(_class_info(item) for item in root.get("classes").items(MAX_CLASSES)),
            preprocessing=_preprocessing(root.get("preprocessing")),
            variants=tuple(_variant(item) for item in root.get("variants").items(MAX_VARIANTS)),
            default_variants=root.get("default_variants").mapping(_Node.text),
            calibration=root.get("calibration").mapping(_Node.number),
            data_fingerprint=root.get("data_fingerprint").text(),
            environment=root.get("environment").mapping(_Node.text),
            members=root.get("members").mapping(_member),
            schema=schema,
        )
        _check_references(manifest)
        return manifest


class _Node:
    """A JSON value that knows its place, for messages."""

    def __init__(self, where: str, value: Any) -> None:
        self.where = where
        self.value = value

    def fail(self, wanted: str) -> NoReturn:
        got = reprlib.repr(self.value)
        got = got if len(got) <= 60 else got[:57] + "..."
        raise KitFormatError(f"{self.where} must be {wanted}, got {got}; export the kit again")

    def get(self, key: str) -> _Node:
        if not isinstance(self.value, dict):
            self.fail("an object")
        if key not in self.value:
            raise KitFormatError(f"{self.where} lacks {key!r}; export the kit again")
        return _Node(f"{self.where}.{key}", self.value[key])

    def has(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def text(self) -> str:
        if not isinstance(self.value, str) or not 1 <= len(self.value) <= MAX_TEXT:
            self.fail(f"text of 1 to {MAX_TEXT} characters")
        # Names are printed to terminals, where control characters are commands.
        if not self.value.isprintable():
            self.fail("printable text")
        return self.value

    def optional_text(self, key: str) -> str | None:
        if isinstance(self.value, dict) and self.value.get(key) is None:
            return None
        return self.get(key).text()

    def choice(self, choices: tuple[str, ...]) -> str:
        if self.value not in choices:
            self.fail(f"one of {', '.join(choices)}")
        return str(self.value)

    def integer(self, low: int, high: int) -> int:
        if type(self.value) is not int or not low <= self.value <= high:
            self.fail(f"an integer from {low} to {high}")
        return self.value

    def number(self) -> float:
        if type(self.value) not in (int, float) or not abs(self.value) <= 1e300:
            self.fail("a finite number")
        return float(self.value)

    def scalar(self) -> Scalar:
        if isinstance(self.value, str):
            return self.text()
        if self.value is None or isinstance(self.value, bool):
            return self.value
        return self.number()

    def items(self, most: int) -> list[_Node]:
        if not isinstance(self.value, list) or not 1 <= len(self.value) <= most:
            self.fail(f"a list of 1 to {most} items")
        return [_Node(f"{self.where}[{i}]", value) for i, value in enumerate(self.value)]

    def mapping(self, read: Callable[[_Node], T]) -> dict[str, T]:
        if not isinstance(self.value, dict) or len(self.value) > 1000:
            self.fail("an object of at most 1000 keys")
        for key in self.value:
            _Node(f"key in {self.where}", key).text()
        return {key: read(_Node(f"{self.where}.{key}", v)) for key, v in self.value.items()}


def _class_info(node: _Node) -> ClassInfo:
    taxon = node.get("taxon")
    names = taxon.mapping(_Node.scalar)
    for rank in names:
        _Node(f"key in {taxon.where}", rank).choice(RANKS)
    return ClassInfo(
        id=node.get("id").integer(0, MAX_CLASSES),
        name=node.get("name").text(),
        common_name=node.optional_text("common_name"),
        taxon={rank: taxon.get(rank).text() for rank, name in names.items() if name is not None},
    )


def _variant(node: _Node) -> Variant:
    temperature = node.get("temperature")
    # Schema 1.2 brought thresholds.
    thresholds = node.get("thresholds") if node.has("thresholds") else _Node(node.where, {})
    if not 0 < temperature.number() <= MAX_TEMPERATURE:
        temperature.fail(f"above 0 and at most {MAX_TEMPERATURE:g}")
    return Variant(
        name=node.get("name").text(),
        engine=node.get("engine").choice(tuple(ENGINES)),
        member=node.get("member").text(),
        temperature=temperature.number(),
        measured=node.get("measured").mapping(_Node.scalar),
        warning=node.optional_text("warning"),
        thresholds=_thresholds(thresholds),
    )


def _thresholds(node: _Node) -> dict[str, float]:
    found = node.mapping(_Node.number)
    for rank, value in found.items():
        _Node(f"key in {node.where}", rank).choice((*RANKS, "common_name"))
        if not 0 <= value <= 1:
            node.get(rank).fail("a number from 0 to 1")
    return found


def _member(node: _Node) -> Member:
    sha256 = node.get("sha256")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256.text()):
        sha256.fail("64 lower-case hexadecimal digits")
    return Member(sha256.text(), node.get("size").integer(0, 2**31 - 1))


def _preprocessing(node: _Node) -> Preprocessing:
    try:
        return Preprocessing.from_dict(node.value)
    # An integer may exceed every float, and the message repeats what was given at any length.
    except (ValueError, OverflowError, RecursionError) as error:
        problem = str(error)[:200]
        raise KitFormatError(f"{node.where}: {problem}; export the kit again") from error


def _check_references(manifest: Manifest) -> None:
    def require(holds: bool, problem: str) -> None:
        if not holds:
            raise KitFormatError(f"manifest: {problem}; export the kit again")

    ids = [item.id for item in manifest.classes]
    require(ids == list(range(len(ids))), "class ids must be 0, 1, 2, … in order")
    names = {item.name for item in manifest.classes}
    require(len(names) == len(ids), "class names must be unique")
    variants = {item.name: item for item in manifest.variants}
    require(len(variants) == len(manifest.variants), "variant names must be unique")
    for name, variant in variants.items():
        suffix = ENGINES[variant.engine]
        require(
            variant.member.startswith("models/") and variant.member.endswith(suffix),
            f"variant {name!r} must be a member models/*{suffix}, got {variant.member!r}",
        )
        require(variant.member in manifest.members, f"member {variant.member!r} is not listed")
    for engine, name in manifest.default_variants.items():
        require(
            name in variants and variants[name].engine == engine,
            f"default_variants.{engine} must name a variant of that engine, got {name!r}",
        )


def _parse(data: bytes) -> Any:
    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("an object has a key twice")
        return result

    def refuse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no JSON number")

    if len(data) > MAX_MANIFEST_BYTES:
        raise KitFormatError(f"manifest.json exceeds {MAX_MANIFEST_BYTES} bytes")
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
