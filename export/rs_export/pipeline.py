"""The one way through an export: convert, calibrate, score, gate, mend, choose.

A classifier and a filter go the same way; what differs is their :class:`rs_export.task.Task`.
Steps up to the scores are taken by :class:`rs_export.bench.Bench`.
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
    """Makes the variants of one task, and judges them; a context manager.

    Models are written into ``folder/models``.  ``variants``, ``failed`` and ``mending`` are those
    of :class:`rs_export.result.Result`, so far.
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
        """Convert, save and measure one variant, once; mend or refuse it if it lost too much."""
        name = self.bench.name(recipe)
        if name in {*self.variants, *self.failed}:
            return
        self.progress.note(f"convert {name}")
        try:
            how = self.bench.rounding(recipe)
            variant = self.bench.judge(self.bench.draft(recipe, how))
        except (EngineError, ExportError) as error:
            # The other variants are still worth having.
            self.failed[name] = str(error)
        else:
            self._keep(variant)
            if variant.refusal and self.settings.mend:
                self._mend(variant)
        if reason := self.failed.get(name) or self.variants[name].refusal:
            self.progress.note(f"{name} refused: {reason}")

    def best(self, recipes: Sequence[Recipe]) -> dict[str, Variant | None]:
        """Make every variant, and return the one to ship for each of their engines."""
        # Those of one preparation together: it is loaded once.
        order = [recipe.preparation for recipe in recipes]
        for recipe in sorted(recipes, key=lambda recipe: order.index(recipe.preparation)):
            self.add(recipe)
        return {engine: self.choose(engine) for engine in dict.fromkeys(r.engine for r in recipes)}

    def choose(self, engine: str) -> Variant | None:
        """Return the variant to ship for an engine, or None if even float32 was refused.

        The smallest of those that passed: sizes within a tenth count as equal, and then integer
        arithmetic goes first, and what needed no fine-tuning.  Where none passed, float32 is tried;
        with ``settings.force``, the choice is among those that were refused.
        """
        if not self._may_ship(engine):
            self.add(Recipe(engine))
        passing = self._may_ship(engine)
        if not passing:
            return None
        limit = _SAME_SIZE * min(variant.size for variant in passing)
        return min(
            (variant for variant in passing if variant.size <= limit),
            key=lambda variant: (not variant.recipe.calibrated, bool(variant.recipe.preparation)),
        )

    def result(self, shipped: Mapping[str, Variant | None]) -> Result:
        """Return what was found out; ``shipped`` are the variants of the kit by engine."""
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
        """Return what passed for an engine; with force, where nothing did, what was refused."""
        made = [variant for variant in self.variants.values() if variant.engine == engine]
        passed = [variant for variant in made if not variant.refusal]
        return passed or (made if self.settings.force else [])

    def _keep(self, variant: Variant) -> None:
        """Save a variant with its results."""
        with atomic_write(self._folder / variant.member) as temporary:
            temporary.write_bytes(variant.data)
        self.variants[variant.name] = variant

    def _mend(self, broken: Variant) -> None:
        """Try other ways to round until one passes, and record each."""
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
        """Return what a step makes, its scores written into the record; raise what it cannot."""
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
    """Make variants, which lose more and more, until one passes and its packed kit fits.

    ``packed_mb`` gives the size in 10**6 bytes of the packed kit that holds a variant alone.
    Returns that variant by its engine, and an empty text; where there is none, no variant, and a
    text that says what is reachable and what keeps the others out.  With ``line.settings.force``
    the first refused variant that fits will do.
    """
    limit, sizes = line.settings.max_mb, dict[str, float]()
    for recipe in recipes:
        line.add(recipe)
        # The variant that was asked for, and the one that mended it.
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
    """Return why nothing fits, and which settings would change that."""
    told, reachable = [], []
    for name, size in sizes.items():
        variant = line.variants[name]
        lost = f"{100 * variant.test.drops['macro_f1'].drop:.2f} points lost"
        told.append(f"{name} {size:.2f} MB, {lost}{', refused' if variant.refusal else ''}")
        if line.settings.force or not variant.refusal:
            reachable.append(size)
    # Rounded up, so that the advice is enough.
    advice = f"--max-mb {math.ceil(100 * min(reachable)) / 100:.2f}, " if reachable else ""
    return (
        f"no variant fits in {line.settings.max_mb:g} MB and keeps its classes "
        f"({'; '.join(told) or 'none could be made'}); "
        f"try {advice}more --passes, a higher --max-drop, --force, or a narrower --backbone"
    )
