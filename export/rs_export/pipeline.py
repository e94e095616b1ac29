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

from rs_export.bench import Bench, Draft
from rs_export.gate import drops, miss
from rs_export.mending import Step, steps
from rs_export.recipes import Recipe
from rs_export.result import Mended, Result, Variant
from rs_export.task import Task
from rs_runtime.errors import EngineError
from rs_toolkit.config.export import ExportSettings
from rs_toolkit.errors import ExportError
from rs_toolkit.files import atomic_write
from rs_toolkit.metrics.noninferiority import KEPT
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
        self.bench.close()

    def add(self, recipe: Recipe) -> None:
        """Convert, measure and save a recipe's variant, unless it was made before.

        If it lost too much on the validation photos, another way to round it may take its place
        before the test photos are asked.
        """
        name = self.bench.name(recipe)
        if name in {*self.variants, *self.failed}:
            return
        self.progress.note(f"convert {name}")
        try:
            draft = self.bench.draft(recipe, self.bench.rounding(recipe))
            mended = self._mend(draft) if draft.miss and self.settings.mend else False
            if not mended:
                self._keep(self.bench.judge(draft))
        except (EngineError, ExportError) as error:
            # One failure must not stop the other variants.
            self.failed[name] = str(error)
        known = self.variants.get(name)
        if reason := self.failed.get(name) or (known and known.refusal):
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

        It is the smallest that was kept, or, where none was, the smallest that is undecided.  Among
        sizes up to a tenth above the smallest, calibrated integers are preferred, then variants
        without fine-tuning.  Where none may ship, float32 is tried; with ``settings.force``, the
        refused variants are considered instead.
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
        """Return an engine's variants that were kept; else those undecided; with force, all."""
        made = [variant for variant in self.variants.values() if variant.engine == engine]
        passed = [variant for variant in made if not variant.refusal]
        kept = [variant for variant in passed if variant.verdict.verdict == KEPT]
        return kept or passed or (made if self.settings.force else [])

    def _keep(self, variant: Variant) -> None:
        """Write a variant's file, and remember the variant."""
        with atomic_write(self._folder / variant.member) as temporary:
            temporary.write_bytes(variant.data)
        self.variants[variant.name] = variant

    def _mend(self, broken: Draft) -> bool:
        """Try the steps of :mod:`rs_export.mending` until one does well, and keep its variant.

        Steps are chosen on the validation photos; the test photos are asked once, of the chosen
        one.  Each step is recorded.  Returns False if none did well.
        """
        name = self.bench.name(broken.recipe)
        record = self.mending.setdefault(name, [])
        tries = steps(
            broken.recipe,
            self.settings.calibration_photos,
            self.bench.sensitive,
            trains=self.bench.task.fine_tune is not None,
            last=self.bench.task.last_steps.get(broken.recipe.engine, ()),
        )
        for step in tries:
            self.progress.note(f"mend {name}: {step.title}")
            true_name = self.bench.name(step.recipe)
            entry: dict[str, Any] = {
                "step": step.title,
                "variant": true_name,
                "float_layers": step.how.float_layers,
            }
            record.append(entry)
            try:
                variant = self._attempt(step, name, str(broken.miss), entry)
            except (EngineError, ExportError) as error:
                entry["result"] = str(error)
                continue
            entry |= {"test": drops(variant.verdict), "result": "passed"}
            self._keep(variant)
            if true_name != name:
                self.failed[name] = str(broken.miss)
            return True
        return False

    def _attempt(self, step: Step, name: str, reason: str, entry: dict[str, Any]) -> Variant:
        """Return the variant that a step makes, and write what it lost into ``entry``.

        ExportError, EngineError: the conversion failed, or the result did no better.
        """
        if known := self.variants.get(self.bench.name(step.recipe)):
            if known.validation and (missed := miss(known.validation, self.bench.names)):
                raise ExportError(missed)
            return known
        draft = self.bench.draft(step.recipe, step.how)
        if draft.validation:
            entry["validation"] = drops(draft.validation)
        if draft.miss:
            raise ExportError(draft.miss)
        return self.bench.judge(draft, Mended(name, reason, step.title))


def best_within(
    line: Pipeline, recipes: Sequence[Recipe], packed_mb: Callable[[Variant], float]
) -> tuple[dict[str, Variant | None], str]:
    """Make variants in the order of ``recipes`` until one is kept and its packed kit fits.

    ``packed_mb`` returns the size in 10**6 bytes of the packed kit that holds only this variant.
    Returns the variant by its engine, and an empty text.  If none is kept and fits, it is the first
    undecided one that fits, or, with ``line.settings.force``, the first refused one.  Else returns
    no variant, and a text that says why and which settings would help.
    """
    limit, sizes = line.settings.max_mb, dict[str, float]()
    for recipe in recipes:
        line.add(recipe)
        # The recipe's variant, and the one that mended it, if any.
        for variant in [item for name, item in line.variants.items() if name not in sizes]:
            size = sizes[variant.name] = packed_mb(variant)
            line.progress.note(f"{variant.name}: {size:.2f} MB packed, {limit:g} allowed")
            if variant.verdict.verdict == KEPT and size <= limit:
                return {variant.engine: variant}, ""
    fitting = [line.variants[name] for name, size in sizes.items() if size <= limit]
    undecided = [variant for variant in fitting if not variant.refusal]
    if chosen := undecided or (fitting if line.settings.force else []):
        return {chosen[0].engine: chosen[0]}, ""
    return {}, _reachable(line, sizes)


def _reachable(line: Pipeline, sizes: Mapping[str, float]) -> str:
    """Return why no variant can be shipped, and which settings would change that."""
    told, reachable = [], []
    for name, size in sizes.items():
        variant = line.variants[name]
        lost = f"{100 * variant.verdict.losses[0].loss:.2f} points lost"
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
