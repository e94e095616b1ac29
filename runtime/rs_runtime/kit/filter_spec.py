"""What a kit's manifest says of its filter, as data; rs_runtime.filter runs the filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rs_runtime.kit.json_node import Scalar
from rs_runtime.kit.preprocessing_spec import PreprocessingSpec

__all__ = [
    "NOT_ORGANISM",
    "ORGANISM",
    "UNCERTAIN",
    "FilterClass",
    "FilterSpec",
    "FilterVariant",
]

ORGANISM, NOT_ORGANISM, UNCERTAIN = "organism", "not_organism", "uncertain"
"""The three verdicts; the first two also name the thresholds."""


@dataclass(frozen=True)
class FilterClass:
    """A prompt class: what a photo may show, and whether that is an organism."""

    name: str
    organism: bool


@dataclass(frozen=True)
class FilterVariant:
    """One model in the kit: the same filter for one engine at one precision.

    ``temperature`` (above 0) and ``bias`` are its own Platt scaling, see
    :func:`rs_runtime.filter.organism_probability`; ``measured`` is what export measured of it.
    """

    name: str
    engine: str
    member: str
    temperature: float = 1.0
    bias: float = 0.0
    measured: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class FilterSpec:
    """The manifest's ``filter``; docs/kit-format.md specifies every field.

    Attributes
    ----------
    classes
        In the order of the logits, of both kinds.
    preprocessing
        How a photo becomes the model's input; the classifier may have another.
    variants, default_variants
        The models, and by engine the name of the preferred one.
    thresholds
        As :func:`rs_runtime.filter.verdict` takes them.
    """

    classes: tuple[FilterClass, ...]
    preprocessing: PreprocessingSpec
    variants: tuple[FilterVariant, ...]
    default_variants: Mapping[str, str]
    thresholds: Mapping[str, float]
