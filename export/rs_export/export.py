"""The export of a run: convert it, measure every variant, and write a kit of the best."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rs_export.class_tables import with_tables
from rs_export.classify import classifier_task
from rs_export.filter import filter_recipes, filter_task
from rs_export.kit import packed_mb, ship
from rs_export.pipeline import Pipeline, best_within
from rs_export.recipes import Recipe, chosen_recipes
from rs_export.report import write_reports
from rs_export.result import Export, Variant
from rs_toolkit.config.export import ExportSettings
from rs_toolkit.errors import ExportError
from rs_toolkit.folders.claim import claimed
from rs_toolkit.folders.filter import FilterFolder
from rs_toolkit.folders.kit import pack
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import Progress

__all__ = ["ExportResult", "export_run"]


@dataclass(frozen=True)
class ExportResult:
    """What an export made.

    Attributes
    ----------
    kit : path of the ``.rskit`` file; with a limit on its size, of the ``.rskit.xz``
    table : measurements by variant; ``float`` (the Keras model) is the first
    shipped : name of the classifier's variant in the kit, by engine
    refused : why a variant was refused, by its name
    verdicts : ``kept``, ``lost`` or ``undecided``, by the name of each variant of the classifier
    filter : name of the filter's variant in the kit, by engine
    """

    kit: Path
    table: dict[str, dict[str, float]]
    shipped: dict[str, str]
    refused: dict[str, str]
    verdicts: dict[str, str] = field(default_factory=dict)
    filter: dict[str, str] = field(default_factory=dict)


def export_run(
    run_dir: Path,
    settings: ExportSettings | None = None,
    *,
    out: Path | None = None,
    data: Path | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Convert a finished run into measured variants, reports and a kit.

    The runtime measures each variant on the run's test photos, and whether it was kept, lost or is
    undecided (:mod:`rs_toolkit.metrics.noninferiority`).  The kit gets one variant for each engine
    (:meth:`rs_export.pipeline.Pipeline.choose`).  With a limit on the packed size it gets
    only the first variant that is not refused and fits.  A filter (``settings.filter``) is
    converted first, in the same way; the kit gets one for each engine that it has a classifier for.

    Reports and kit are written into ``out``, by default ``run_dir/export``.  ``data`` is where the
    run's photos are now; by default, where they were when it was trained.

    Raises
    ------
    RunError
        The run folder is missing, unfinished or damaged, or another command writes into ``out``.
    ExportError
        For some engine every variant was refused, or none fits; then no kit is written.
    """
    settings, progress = settings or ExportSettings(), progress or Progress()
    # Fail on a wrong recipe now, before the long work.
    recipes = chosen_recipes(settings)
    run = Run.open(Path(run_dir))
    if run.learned_all:
        recipes = _without_training(recipes, progress)
    if data is not None:
        run = run.moved(Path(data))
    with claimed(Path(out) if out else run.path / "export") as folder:
        found, problem = _made(run, recipes, settings, folder, progress)
        report = write_reports(found, folder, progress.note)
        if problem:
            raise ExportError(f"{problem}; see {report}")
        kit = ship(found, folder)
        if settings.max_mb:
            kit = pack(kit)
    names = dict(found.classifier.shipped)
    filters = dict(found.filter.shipped) if found.filter else {}
    held = ", ".join([*names.values(), *filters.values()])
    progress.note(f"kit {kit} ({kit.stat().st_size / 1e6:.1f} MB): {held}")
    table = {item.name: item.row for item in found.classifier.measured}
    verdicts = {name: item.verdict.verdict for name, item in found.classifier.variants.items()}
    return ExportResult(kit, table, names, found.classifier.refused, verdicts, filters)


def _without_training(recipes: Sequence[Recipe], progress: Progress) -> tuple[Recipe, ...]:
    """Leave out recipes that train a model again: the models of folds are not trained again."""
    kept = tuple(recipe for recipe in recipes if not recipe.preparation)
    others = ", ".join(recipe.name for recipe in recipes if recipe.preparation)
    said = "cannot be judged for a run with refit all, as the models of its folds are not trained"
    if not kept:
        raise ExportError(f"{others}: {said}; choose other recipes, or train with --refit val")
    if others:
        progress.note(f"left out: {others}: {said}")
    return kept


def _made(
    run: Run, recipes: Sequence[Recipe], settings: ExportSettings, folder: Path, progress: Progress
) -> tuple[Export, str]:
    """Make all variants; return the results, and why there can be no kit, or an empty text."""
    start = time.monotonic()
    task, beside = with_tables(classifier_task(run, settings), settings, progress.note), None
    if settings.filter is not None:
        source = filter_task(FilterFolder.open(Path(settings.filter)))
        with Pipeline(source, settings, folder, progress) as line:
            beside = line.result(line.best(filter_recipes(recipes)))
    with Pipeline(task, settings, folder, progress) as line:

        def export(shipped: Mapping[str, Variant | None]) -> Export:
            found = line.result(shipped)
            filters = beside.only(found.shipped) if beside else None
            return Export(found, filters, settings, time.monotonic() - start)

        shipped, problem = (
            best_within(line, recipes, lambda item: packed_mb(export({item.engine: item})))
            if settings.max_mb
            else (line.best(recipes), "")
        )
        found = export(shipped)
        return found, problem or _missing(found, shipped)


def _missing(found: Export, engines: Iterable[str]) -> str:
    """Return which engine has no model to ship and why, or an empty text."""
    for engine in engines:
        for what, result in (("", found.classifier), ("filter for ", found.filter)):
            if result and engine not in result.shipped:
                told = "; ".join(f"{name}: {why}" for name, why in result.refused.items())
                return f"{what}{engine}: even float32 was refused ({told})"
    return ""
