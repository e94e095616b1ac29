"""The kit's manifest: its models, the classes they know, and how to run them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rs_runtime.errors import KitFormatError, KitVersionError
from rs_runtime.kit.json_node import MAX_TEXT, JsonNode, Scalar, parse_json
from rs_runtime.kit.ranges import Range, read_names, read_range
from rs_runtime.kit.sets import SetSpec, UnknownSpec, read_sets, read_unknown
from rs_runtime.kit.variants import ENGINES
from rs_runtime.kit.verdict import LossVerdict, read_verdict
from rs_runtime.photos.preprocess import Preprocessing

__all__ = [
    "MAX_TEXT",
    "ClassInfo",
    "FilterClass",
    "FilterSpec",
    "FilterVariant",
    "Manifest",
    "Member",
    "Offer",
    "Variant",
]

SCHEMA = "1.6"
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
ORGANISM, NOT_ORGANISM, UNCERTAIN = "organism", "not_organism", "uncertain"
"""A filter's three verdicts; the first two also name its thresholds."""

MAX_MANIFEST_BYTES = 16 * 2**20
MAX_CLASSES = 100_000
MAX_VARIANTS = 32
MAX_FILTER_CLASSES = 1000
MAX_SCALING = 1000.0
"""The largest temperature, and the largest absolute value of a bias."""


@dataclass(frozen=True)
class ClassInfo:
    """One class of the classifier; ``id`` is its index in the logits.

    ``common_names`` maps languages, such as ``sw`` or ``pt-BR``, to names.  ``range`` is where the
    taxon occurs; None: not known.
    """

    id: int
    name: str
    common_name: str | None
    taxon: Mapping[str, str]
    common_names: Mapping[str, str] = field(default_factory=dict)
    range: Range | None = None


@dataclass(frozen=True)
class Offer:
    """One model in the kit, for one engine at one precision.

    ``temperature``, above 0, calibrates its logits; ``measured`` holds results of the export, and
    ``verdict`` whether shrinking cost too much; None: not known.
    """

    name: str
    engine: str
    member: str
    temperature: float = 1.0
    measured: Mapping[str, Scalar] = field(default_factory=dict)
    verdict: LossVerdict | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Variant(Offer):
    """A model of the classifier.

    ``warning`` says why its answers deserve distrust; None: no known reason.  ``thresholds`` gives
    by rank the least probability at which a name should be believed; see rs_runtime.ranks.
    ``sets`` and ``unknown`` are for rs_runtime.sets; None: they were not fitted.
    """

    warning: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    sets: SetSpec | None = None
    unknown: UnknownSpec | None = None


@dataclass(frozen=True)
class FilterClass:
    """One class of the filter: what a photo may show, and whether that is an organism."""

    name: str
    organism: bool


@dataclass(frozen=True)
class FilterVariant(Offer):
    """A model of the filter; see :func:`rs_runtime.filter.organism_probability` for ``bias``."""

    bias: float = 0.0


@dataclass(frozen=True)
class FilterSpec:
    """The manifest's ``filter``; docs/kit-format.md specifies every field.

    ``classes`` are in the order of the logits; some are organisms and some are not.
    ``preprocessing`` may differ from the classifier's.  ``thresholds`` are for
    :func:`rs_runtime.filter.verdict`.
    """

    classes: tuple[FilterClass, ...]
    preprocessing: Preprocessing
    variants: tuple[FilterVariant, ...]
    default_variants: Mapping[str, str]
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class Member:
    """The SHA-256, in hexadecimal, and the number of bytes that a member must have."""

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
    filter: FilterSpec | None = None
    schema: str = SCHEMA

    @property
    def minor(self) -> int:
        """The schema's minor number."""
        return int(self.schema.partition(".")[2])

    def to_json(self) -> bytes:
        """Return canonical UTF-8 JSON: sorted keys, indent 2, one final newline."""
        values = {**asdict(self), "format": "rskit"}
        for item in values["classes"]:
            for key in ("common_names", "range"):
                if not item[key]:
                    del item[key]
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
            Anything else is wrong: the message names the field, and what it must hold.
        """
        root = JsonNode("manifest", parse_json(data, MAX_MANIFEST_BYTES))
        if root.get("format").value != "rskit":
            root.get("format").fail("'rskit'")
        schema = root.get("schema").text()
        match = re.fullmatch(r"([0-9]{1,4})\.([0-9]{1,4})", schema)
        if match is None:
            root.get("schema").fail("MAJOR.MINOR")
        if int(match[1]) != int(SCHEMA.split(".")[0]):
            raise KitVersionError(
                f"kit has schema {schema}, this runtime reads 1.x; "
                "update rs-toolkit, or export the kit again"
            )
        # Schemas before 1.3 do not define the key "filter", those before 1.5 not "verdict", "sets"
        # and "unknown", those before 1.6 not "common_names" and "range": these are ignored there.
        minor = int(match[2])
        manifest = cls(
            name=root.get("name").text(),
            created_by=root.get("created_by").text(),
            rank=root.get("rank").choice((*RANKS, "common_name")),
            classes=tuple(
                _class_info(item, minor) for item in root.get("classes").items(1, MAX_CLASSES)
            ),
            preprocessing=_preprocessing(root.get("preprocessing")),
            variants=tuple(
                _variant(item, minor) for item in root.get("variants").items(1, MAX_VARIANTS)
            ),
            default_variants=root.get("default_variants").mapping(JsonNode.text),
            calibration=root.get("calibration").mapping(JsonNode.number),
            data_fingerprint=root.get("data_fingerprint").text(),
            environment=root.get("environment").mapping(JsonNode.text),
            members=root.get("members").mapping(_member),
            filter=_defined(root, minor, 3).optional("filter", lambda node: _filter(node, minor)),
            schema=schema,
        )
        _check_references(manifest)
        return manifest


def _class_info(node: JsonNode, minor: int) -> ClassInfo:
    told = _defined(node, minor, 6)
    taxon = node.get("taxon")
    names = taxon.mapping(JsonNode.scalar)
    for rank in names:
        JsonNode(f"key in {taxon.where}", rank).choice(RANKS)
    return ClassInfo(
        id=node.get("id").integer(0, MAX_CLASSES),
        name=node.get("name").text(),
        common_name=node.optional("common_name", JsonNode.text),
        taxon={rank: taxon.get(rank).text() for rank, name in names.items() if name is not None},
        common_names=read_names(told.get("common_names", {})),
        range=told.optional("range", read_range),
    )


def _defined(node: JsonNode, minor: int, since: int) -> JsonNode:
    """Return a node if the kit's schema 1.``minor`` is at least 1.``since``, else an empty one."""
    return node if minor >= since else JsonNode(node.where, {})


def _variant(node: JsonNode, minor: int) -> Variant:
    # Schemas before 1.2 have no thresholds.
    thresholds = node.get("thresholds", {})
    for rank in (found := thresholds.mapping(lambda value: value.within(0, 1))):
        JsonNode(f"key in {thresholds.where}", rank).choice((*RANKS, "common_name"))
    told = _defined(node, minor, 5)
    return Variant(
        **_offer(node, minor),
        warning=node.optional("warning", JsonNode.text),
        thresholds=found,
        sets=told.optional("sets", read_sets),
        unknown=told.optional("unknown", read_unknown),
    )


def _offer(node: JsonNode, minor: int) -> dict[str, Any]:
    """Read the fields that the variants of a classifier and of a filter have in common."""
    temperature = node.get("temperature")
    if not 0 < temperature.number() <= MAX_SCALING:
        temperature.fail(f"above 0 and at most {MAX_SCALING:g}")
    return {
        "name": node.get("name").text(),
        "engine": node.get("engine").choice(tuple(ENGINES)),
        "member": node.get("member").text(),
        "temperature": temperature.number(),
        "measured": node.get("measured").mapping(JsonNode.scalar),
        "verdict": _defined(node, minor, 5).optional("verdict", read_verdict),
    }


def _filter(node: JsonNode, minor: int) -> FilterSpec:
    thresholds = node.get("thresholds")
    low = thresholds.get(NOT_ORGANISM).within(0, 1)
    return FilterSpec(
        classes=tuple(
            FilterClass(item.get("name").text(), item.get("organism").truth())
            for item in node.get("classes").items(2, MAX_FILTER_CLASSES)
        ),
        preprocessing=_preprocessing(node.get("preprocessing")),
        variants=tuple(
            FilterVariant(
                **_offer(item, minor), bias=item.get("bias").within(-MAX_SCALING, MAX_SCALING)
            )
            for item in node.get("variants").items(1, MAX_VARIANTS)
        ),
        default_variants=node.get("default_variants").mapping(JsonNode.text),
        thresholds={NOT_ORGANISM: low, ORGANISM: thresholds.get(ORGANISM).within(low, 1)},
    )


def _member(node: JsonNode) -> Member:
    sha256 = node.get("sha256")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256.text()):
        sha256.fail("64 lower-case hexadecimal digits")
    return Member(sha256.text(), node.get("size").integer(0, 2**31 - 1))


def _preprocessing(node: JsonNode) -> Preprocessing:
    try:
        return Preprocessing.from_dict(node.value)
    # An integer may be too large for a float; the message may repeat a value of any length.
    except (ValueError, OverflowError, RecursionError) as error:
        problem = str(error)[:200]
        raise KitFormatError(f"{node.where}: {problem}; export the kit again") from error


def _check_references(manifest: Manifest) -> None:
    ids = [item.id for item in manifest.classes]
    _require(ids == list(range(len(ids))), "manifest: class ids must be 0, 1, 2, … in order")
    _check_part(manifest, manifest, "manifest")
    for offer in manifest.variants:
        _require(
            offer.sets is None or len(offer.sets.prevalence) == len(ids),
            f"manifest: sets of variant {offer.name!r} must have {len(ids)} prevalences",
        )
    if manifest.filter is None:
        return
    _check_part(manifest.filter, manifest, "manifest.filter")
    kinds = {item.organism for item in manifest.filter.classes}
    _require(len(kinds) == 2, "manifest.filter: there must be classes with organism true and false")
    taken = {variant.member for variant in manifest.variants}
    for variant in manifest.filter.variants:
        _require(
            variant.member not in taken,
            f"manifest.filter: member {variant.member!r} is a classifier's, must be a filter",
        )


def _check_part(part: Manifest | FilterSpec, manifest: Manifest, where: str) -> None:
    """Check the classes and variants of the classifier or of the filter."""
    classes = {item.name for item in part.classes}
    _require(len(classes) == len(part.classes), f"{where}: class names must be unique")
    variants = {item.name: item for item in part.variants}
    _require(len(variants) == len(part.variants), f"{where}: variant names must be unique")
    for name, variant in variants.items():
        suffix = ENGINES[variant.engine]
        _require(
            variant.member.startswith("models/") and variant.member.endswith(suffix),
            f"{where}: variant {name!r} must be a member models/*{suffix}, got {variant.member!r}",
        )
        listed = variant.member in manifest.members
        _require(listed, f"{where}: member {variant.member!r} is not listed")
    for engine, name in part.default_variants.items():
        _require(
            name in variants and variants[name].engine == engine,
            f"{where}: default_variants.{engine} must name a variant of that engine, got {name!r}",
        )


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise KitFormatError(f"{problem}; export the kit again")
