"""The results of an export: frozen values, with the bytes of the files that were measured.

Reports, the model card and the kit are written from these alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from rs_export.convert import Quantization
from rs_export.quantize.sensitivity import Sensitivity
from rs_export.recipes import Recipe
from rs_runtime.kit.sets import SetSpec, UnknownSpec
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.config.export import ExportSettings
from rs_toolkit.metrics.noninferiority import Verdict

__all__ = ["About", "Calibration", "Export", "Measured", "Mended", "Result", "Scores", "Variant"]


@dataclass(frozen=True)
class Calibration:
    """What turns a variant's logits into answers.

    Attributes
    ----------
    temperature : above 0; a classifier's probabilities are ``softmax(logits / temperature)``
    thresholds : least probability at which a taxon is named, by rank; see :mod:`rs_runtime.ranks`
    sets, unknown : of a classifier: for sets of classes, and for how strange a photo is
    bias : only of a filter, whose probability is ``sigmoid(log_odds / temperature + bias)``; see
        :func:`rs_runtime.filter.organism_probability`
    """

    temperature: float
    thresholds: Mapping[str, float] = field(default_factory=dict)
    bias: float = 0.0
    sets: SetSpec | None = None
    unknown: UnknownSpec | None = None


@dataclass(frozen=True)
class About:
    """What is known of a model before it is exported.

    Attributes
    ----------
    name, folder : name and folder of the run; for a filter, the student's name and its folder
    rank : taxonomic rank that a classifier names, or ``common_name``; ``prompt class`` for a filter
    classes : in the order of the logits; ClassInfo for a classifier, FilterClass for a filter
    calibration : the float model's calibration, as recorded in the folder
    data_fingerprint : SHA-256 of the training data's index
    counts : numbers of photos by split, as the report shows them
    thresholds : a filter's thresholds ``not_organism`` and ``organism``
    teacher : a filter's teacher; None: the student learnt from labels alone
    question : which question a classifier's test photos answer, in one line; see
        :class:`rs_toolkit.splits.places.Places`
    refitted : whether the model was trained on the validation photos too; its calibration is then
        that of a model before it
    folds : by how many folds' models a model was measured that has learned from every photo
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
    question: str = ""
    refitted: bool = False
    folds: int = 0


@dataclass(frozen=True)
class Scores:
    """A model's scores on the photos of one split.

    Attributes
    ----------
    row : scores for tables, by name; documented in :mod:`rs_export.classify` and
        :mod:`rs_export.filter`
    per_class : for each class: name, support, f1, and change of f1 against the float model
    answered : see :func:`rs_export.certainty.answered`
    sets : see :func:`rs_export.certainty.set_scores`
    """

    row: Mapping[str, float]
    per_class: tuple[Mapping[str, Any], ...] = ()
    answered: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def fallen(self) -> list[Mapping[str, Any]]:
        """The classes with photos whose F1 is below the float model's, largest loss first."""
        found = [item for item in self.per_class if item["support"] and item["change"] < 0]
        return sorted(found, key=lambda item: (item["change"], item["name"]))


@dataclass(frozen=True)
class Measured:
    """The float model, or a variant, with its scores on test photos.

    ``size`` is the size of its file in bytes; ``ms`` is the model's median time for one photo.
    ``verdict`` is on its loss against the float model on test photos, ``validation`` the same on
    validation photos; None where these have too few different labels.
    """

    name: str
    size: int
    calibration: Calibration
    test: Scores
    ms: float
    verdict: Verdict
    validation: Verdict | None

    @property
    def row(self) -> dict[str, float]:
        """Size in MB (10**6 bytes) as ``mb``, the scores on test photos, and ``ms``."""
        return {"mb": self.size / 1e6, **self.test.row, "ms": self.ms}


@dataclass(frozen=True)
class Mended:
    """The variant that a mended one replaces, what it lost on validation photos, and the step.

    Both have the same name where only the calibration changed, which is not part of a recipe.
    """

    name: str
    reason: str
    step: str


@dataclass(frozen=True)
class Variant(Measured):
    """A converted model; its name is the task's prefix followed by the recipe's name.

    ``how`` says how it was rounded, and ``data`` are the bytes of the file that was measured.
    ``refusal`` is why it must not ship; None: it may.  ``mended`` is the variant that it replaces;
    None: it replaces none.
    """

    recipe: Recipe
    how: Quantization
    data: bytes = field(repr=False)
    refusal: str | None
    mended: Mended | None = None

    @property
    def engine(self) -> str:
        """The engine that runs the variant."""
        return self.recipe.engine

    @property
    def member(self) -> str:
        """Path of the file in the export folder and in the kit."""
        return str(PurePosixPath(self.recipe.member).with_stem(self.name))


@dataclass(frozen=True)
class Result:
    """The results of one task.

    Attributes
    ----------
    reference : the float model
    variants : variants by name, in the order in which they were made
    failed : why variants could not be made, by name
    mending : for each variant that was to be mended, the steps and their results
    sensitivity : each layer's sensitivity to rounding; empty if no variant needed it
    shipped : name of the variant in the kit, by engine; engines without one are left out
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
        """Why variants must not ship or could not be made, by name."""
        refused = {name: item.refusal for name, item in self.variants.items() if item.refusal}
        return {**refused, **self.failed}

    @property
    def in_kit(self) -> tuple[Variant, ...]:
        """The variants that ship."""
        return tuple(self.variants[name] for name in self.shipped.values())

    def only(self, engines: Iterable[str]) -> Result:
        """Return the same results, with ``shipped`` limited to these engines."""
        kept = {engine: self.shipped[engine] for engine in engines if engine in self.shipped}
        return replace(self, shipped=kept)


@dataclass(frozen=True)
class Export:
    """All results of an export: those of the two tasks, the settings, and the time it took."""

    classifier: Result
    filter: Result | None
    settings: ExportSettings
    seconds: float
