"""What an export found out: frozen values, which hold the very bytes that were measured.

Reports, the model card and the kit are written from these alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from rs_export.convert import Quantization
from rs_export.quantize.sensitivity import Sensitivity
from rs_export.recipes import Recipe
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.config.export import ExportSettings
from rs_toolkit.metrics.bootstrap import Drop

__all__ = ["About", "Calibration", "Export", "Measured", "Mended", "Result", "Scores", "Variant"]


@dataclass(frozen=True)
class Calibration:
    """What turns a variant's logits into answers.

    Attributes
    ----------
    temperature : above 0: probabilities are ``softmax(logits / temperature)``; of a filter
        ``sigmoid(odds / temperature + bias)``
    thresholds : least probability at which a taxon is named, by rank; see :mod:`rs_runtime.ranks`
    bias : of a filter alone; see :func:`rs_runtime.filter.organism_probability`
    """

    temperature: float
    thresholds: Mapping[str, float] = field(default_factory=dict)
    bias: float = 0.0


@dataclass(frozen=True)
class About:
    """What is known of a model before it is exported.

    Attributes
    ----------
    name, folder : of the run; of a filter, the student's name and the filter folder
    rank : taxonomic rank that a classifier names, or ``common_name``; a filter: ``prompt class``
    classes : in the order of the logits: ClassInfo of a classifier, FilterClass of a filter
    calibration : what the folder says of the float model
    data_fingerprint : SHA-256 of the training data's index
    counts : photos by split, as the report shows them
    thresholds : a filter's ``not_organism`` and ``organism``
    teacher : what a filter learnt from; None: labels alone
    """

    name: str
    folder: str
    rank: str
    classes: tuple[Any, ...]
    preprocessing: Preprocessing
    calibration: Calibration
    data_fingerprint: str
    counts: Mapping[str, Any]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    teacher: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Scores:
    """What the photos of one split say of a model.

    Attributes
    ----------
    row : numbers for tables, by name; each task documents its own
    drops : for each score that has a limit: how much a classifier lost of the float model's
    per_class : for each class: name, support, f1, and change of f1 against the float model
    answered : see :func:`rs_export.classify.answered`
    """

    row: Mapping[str, float]
    drops: Mapping[str, Drop] = field(default_factory=dict)
    per_class: tuple[Mapping[str, Any], ...] = ()
    answered: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def evidence(self) -> dict[str, Any]:
        """What a refusal is decided on, as JSON values: the drops; of a filter, the row."""
        return {key: asdict(drop) for key, drop in self.drops.items()} or dict(self.row)

    @property
    def fallen(self) -> list[Mapping[str, Any]]:
        """The classes with test photos whose F1 is below the float model's, worst first."""
        found = [item for item in self.per_class if item["support"] and item["change"] < 0]
        return sorted(found, key=lambda item: (item["change"], item["name"]))


@dataclass(frozen=True)
class Measured:
    """The float model, or a variant, with its scores on validation and test photos.

    ``size`` counts the bytes of its file; ``ms`` is the median time of one photo in the model
    alone; ``validation`` is None where validation photos cannot tell models apart.
    """

    name: str
    size: int
    calibration: Calibration
    validation: Scores | None
    test: Scores
    ms: float

    @property
    def row(self) -> dict[str, float]:
        """mb (10**6 bytes), the scores on test photos, and ms."""
        return {"mb": self.size / 1e6, **self.test.row, "ms": self.ms}


@dataclass(frozen=True)
class Mended:
    """The variant that another was made to replace, why it was refused, and what was done.

    Both have one name where only calibration changed: that is no part of a recipe.
    """

    name: str
    reason: str
    step: str


@dataclass(frozen=True)
class Variant(Measured):
    """A converted model, whose name is its recipe's behind the task's prefix.

    ``how`` says how it was rounded, ``data`` is the file that was measured, to the byte, and
    ``refusal`` why it must not ship; None: it may.  ``mended`` is what it replaces; None: it was
    asked for as it is.
    """

    recipe: Recipe
    how: Quantization
    data: bytes = field(repr=False)
    refusal: str | None
    mended: Mended | None = None

    @property
    def engine(self) -> str:
        """What runs it."""
        return self.recipe.engine

    @property
    def member(self) -> str:
        """Path of the file in the export folder and in the kit."""
        return str(PurePosixPath(self.recipe.member).with_stem(self.name))


@dataclass(frozen=True)
class Result:
    """What came of one task.

    Attributes
    ----------
    reference : the float model
    variants : by name, in the order in which they were made
    failed : why variants could not be made, by name
    mending : for each variant that had been refused, what was tried and what came of it
    sensitivity : how much each layer loses by rounding; empty unless a variant needed to know
    shipped : the variant in the kit, by engine; engines for which there is none are left out
    """

    about: About
    reference: Measured
    variants: Mapping[str, Variant]
    failed: Mapping[str, str]
    mending: Mapping[str, tuple[Mapping[str, Any], ...]]
    sensitivity: tuple[Sensitivity, ...]
    shipped: Mapping[str, str]

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The float model, then the variants."""
        return (self.reference, *self.variants.values())

    @property
    def refused(self) -> dict[str, str]:
        """Why variants must not ship, by name."""
        refused = {name: item.refusal for name, item in self.variants.items() if item.refusal}
        return {**refused, **self.failed}

    @property
    def in_kit(self) -> tuple[Variant, ...]:
        """The variants that ship."""
        return tuple(self.variants[name] for name in self.shipped.values())

    def only(self, engines: Iterable[str]) -> Result:
        """Return the same result, with variants to ship for these engines alone."""
        kept = {engine: self.shipped[engine] for engine in engines if engine in self.shipped}
        return replace(self, shipped=kept)


@dataclass(frozen=True)
class Export:
    """Everything an export found out: the two tasks, what was asked for, and how long it took."""

    classifier: Result
    filter: Result | None
    settings: ExportSettings
    seconds: float
