"""The steps of an export: convert, calibrate, score, accept or refuse, mend, choose.

They are the same for classifiers and filters, which differ in their :class:`rs_export.task.Task`.
:class:`rs_export.bench.Bench` does the steps up to the scores.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rs_export.bench import Bench
from rs_export.mending import Step, steps
from rs_export.recipes import Recipe
from rs_export.result import Mended, Result, Variant
from rs_export.task import Task
from rs_runtime.errors import EngineError
from rs_toolkit.config.export import ExportSettings
from rs_toolkit.errors import ExportError
from rs_toolkit.files import atomic_write
from rs_toolkit.progress import Progress

__all__ = ["Pipeline", "best_within"]

_SAME_SIZE = 1.1


class Pipeline(contextlib.AbstractContextManager["Pipeline"]):
    """Makes the variants of one task, and accepts or refuses them; a context manager.

    Models are written into ``folder/models``.  ``variants``, ``failed`` and ``mending`` are as in
    :class:`rs_export.result.Result`, and grow with every recipe.
    """

    def __init__(
        self, task: Task, settings: ExportSettings, folder: Path, progress: Progress
    ) -> None:
        self.bench = Bench(task, settings, progress)
        self.settings, self.progress = settings, progress
        self._folder = folder
        self.variants: dict[str, Variant] = {}
        self.failed: dict[str, str] = {}
        self.mending: dict[str, list[dict[str, Any]]] = {}

    def __exit__(self, *error: object) -> None:
        self.bench.converter.__exit__(*error)

    def add(self, recipe: Recipe) -> None:
        """Convert, measure and save a recipe's variant, unless it was made before.

        If the variant is refused, try to mend it.
        """
        name = self.bench.name(recipe)
        if name in {*self.variants, *self.failed}:
            return
        self.progress.note(f"convert {name}")
        try:
            how = self.bench.rounding(recipe)
            variant = self.bench.judge(self.bench.draft(recipe, how))
        except (EngineError, ExportError) as error:
            # One failure must not stop the other variants.
            self.failed[name] = str(error)
        else:
            self._keep(variant)
            if variant.refusal and self.settings.mend:
                self._mend(variant)
        if reason := self.failed.get(name) or self.variants[name].refusal:
            self.progress.note(f"{name} refused: {reason}")

    def best(self, recipes: Sequence[Recipe]) -> dict[str, Variant | None]:
        """Make every recipe's variant, and return the one to ship for each engine."""
        # Recipes with the same preparation follow each other, so that its model is loaded once.
        order = [recipe.preparation for recipe in recipes]
        for recipe in sorted(recipes, key=lambda recipe: order.index(recipe.preparation)):
            self.add(recipe)
        return {engine: self.choose(engine) for engine in dict.fromkeys(r.engine for r in recipes)}

    def choose(self, engine: str) -> Variant | None:
        """Return the variant to ship for an engine, or None if even float32 was refused.

        It is the smallest that passed.  Among sizes up to a tenth above the smallest, calibrated
        integers are preferred, then variants without fine-tuning.  Where none passed, float32 is
        tried; with ``settings.force``, the refused variants are considered instead.
        """
        if not self._may_ship(engine):
            self.add(Recipe(engine))
        if not (passing := self._may_ship(engine)):
            return None
        limit = _SAME_SIZE * min(variant.size for variant in passing)
        return min(
            (variant for variant in passing if variant.size <= limit),
            key=lambda variant: (not variant.recipe.calibrated, bool(variant.recipe.preparation)),
        )

    def result(self, shipped: Mapping[str, Variant | None]) -> Result:
        """Return the results; ``shipped`` are the variants of the kit by engine."""
        return Result(
            about=self.bench.task.about,
            reference=self.bench.reference,
            variants=dict(self.variants),
            failed=dict(self.failed),
            mending={name: tuple(entries) for name, entries in self.mending.items()},
            sensitivity=self.bench.sensitivity,
            shipped={engine: item.name for engine, item in shipped.items() if item},
        )

    def _may_ship(self, engine: str) -> list[Variant]:
        """Return an engine's variants that passed; if none did, with force, those refused."""
        made = [variant for variant in self.variants.values() if variant.engine == engine]
        passed = [variant for variant in made if not variant.refusal]
        return passed or (made if self.settings.force else [])

    def _keep(self, variant: Variant) -> None:
        """Write a variant's file, and remember the variant."""
        with atomic_write(self._folder / variant.member) as temporary:
            temporary.write_bytes(variant.data)
        self.variants[variant.name] = variant

    def _mend(self, broken: Variant) -> None:
        """Try the steps of :mod:`rs_export.mending` until one passes, and record each."""
        record = self.mending.setdefault(broken.name, [])
        tries = steps(
            broken.recipe,
            self.settings.calibration_photos,
            self.bench.sensitive,
            trains=self.bench.task.fine_tune is not None,
            last=self.bench.task.last_steps.get(broken.engine, ()),
        )
        for step in tries:
            self.progress.note(f"mend {broken.name}: {step.title}")
            entry = {
                "step": step.title,
                "variant": self.bench.name(step.recipe),
                "float_layers": step.how.float_layers,
            }
            record.append(entry)
            try:
                variant = self._attempt(step, broken, entry)
            except (EngineError, ExportError) as error:
                entry["result"] = str(error)
                continue
            entry["result"] = variant.refusal or "passed"
            if not variant.refusal:
                self._keep(variant)
                return

    def _attempt(self, step: Step, broken: Variant, entry: dict[str, Any]) -> Variant:
        """Return the variant that a step makes, and write its scores into ``entry``.

        ExportError, EngineError: the conversion failed, or the validation photos refuse the result.
        """
        known = self.variants.get(self.bench.name(step.recipe))
        if known and known.name != broken.name:
            return known
        draft = self.bench.draft(step.recipe, step.how)
        if draft.validation:
            entry["validation"] = draft.validation.evidence
        if draft.refusal:
            raise ExportError(f"validation photos: {draft.refusal}")
        variant = self.bench.judge(draft, Mended(broken.name, str(broken.refusal), step.title))
        entry["test"] = variant.test.evidence
        return variant


def best_within(
    line: Pipeline, recipes: Sequence[Recipe], packed_mb: Callable[[Variant], float]
) -> tuple[dict[str, Variant | None], str]:
    """Make variants in the order of ``recipes`` until one passes and its packed kit fits.

    ``packed_mb`` returns the size in 10**6 bytes of the packed kit that holds only this variant.
    Returns the variant by its engine, and an empty text.  If there is none, returns no variant, and
    a text that says why and which settings would help.  With ``line.settings.force``, the first
    refused variant that fits is returned then.
    """
    limit, sizes = line.settings.max_mb, dict[str, float]()
    for recipe in recipes:
        line.add(recipe)
        # The recipe's variant, and the one that mended it, if any.
        for variant in [item for name, item in line.variants.items() if name not in sizes]:
            size = sizes[variant.name] = packed_mb(variant)
            line.progress.note(f"{variant.name}: {size:.2f} MB packed, {limit:g} allowed")
            if not variant.refusal and size <= limit:
                return {variant.engine: variant}, ""
    refused = (line.variants[name] for name, size in sizes.items() if size <= limit)
    if line.settings.force and (forced := next(refused, None)):
        return {forced.engine: forced}, ""
    return {}, _reachable(line, sizes)


def _reachable(line: Pipeline, sizes: Mapping[str, float]) -> str:
    """Return why no variant can be shipped, and which settings would change that."""
    told, reachable = [], []
    for name, size in sizes.items():
        variant = line.variants[name]
        lost = f"{100 * variant.test.drops['macro_f1'].drop:.2f} points lost"
        told.append(f"{name} {size:.2f} MB, {lost}{', refused' if variant.refusal else ''}")
        if line.settings.force or not variant.refusal:
            reachable.append(size)
    # Rounded up, so that the advised limit is large enough.
    advice = f"--max-mb {math.ceil(100 * min(reachable)) / 100:.2f}, " if reachable else ""
    return (
        f"no variant fits in {line.settings.max_mb:g} MB and keeps its classes "
        f"({'; '.join(told) or 'none could be made'}); "
        f"try {advice}more --passes, a higher --max-drop, --force, or a narrower --backbone"
    )
