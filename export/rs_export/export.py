"""Convert a run, measure every variant, and ship what kept its classes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rs_export.filter_export import export_filter
from rs_export.filter_record import FilterExport
from rs_export.kit import packed_mb, ship
from rs_export.recipes import Recipe
from rs_export.report import Report, write_reports
from rs_export.session import Session
from rs_export.settings import ExportSettings
from rs_export.size_limit import fitting
from rs_toolkit.errors import ExportError
from rs_toolkit.folders.filter import FilterFolder
from rs_toolkit.folders.kit import pack
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import Progress

__all__ = ["ExportResult", "export_run"]

_SAME_SIZE = 1.1


@dataclass(frozen=True)
class ExportResult:
    """What an export left behind.

    Attributes
    ----------
    kit
        The ``.rskit`` file; with a limit on its size, the ``.rskit.xz``.
    table
        Measurements by variant, ``float`` (the Keras model) first.
    reports
        report.json, report.md and accuracy_vs_size.png.
    shipped
        Variant in the kit, by engine.
    refused
        Why variants were refused, by variant.
    filter
        Variant of the filter in the kit, by engine; empty without a filter.
    """

    kit: Path
    table: dict[str, dict[str, float]]
    reports: tuple[Path, ...]
    shipped: dict[str, str]
    refused: dict[str, str]
    filter: dict[str, str] = field(default_factory=dict)


def export_run(
    run_dir: Path,
    settings: ExportSettings | None = None,
    *,
    out: Path | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Convert a finished run into verified variants, reports and a kit.

    Each variant is measured through the runtime on the run's test photos.  For each engine the
    kit takes the smallest variant that is not refused (see :func:`rs_export.verify.refusal`);
    sizes within a tenth count as equal, and then integer arithmetic goes first, and what was made
    first before what was fine-tuned later.  Where none passes, the engine's float32 variant is
    made and tried.  With a limit on the size of the packed kit the kit has one engine: the first
    variant that is not refused and whose finished kit fits.

    A filter (``settings.filter``) is made first, for the engines of the recipes; see
    :func:`rs_export.filter_export.export_filter`.  The kit takes a variant of it for each engine
    that it has a classifier for.

    Parameters
    ----------
    run_dir : finished run folder
    settings : what to make and what to refuse; default ``ExportSettings()``
    out : folder to write; default ``run_dir/export``
    progress : where to show progress; silent by default

    Raises
    ------
    RunError
        The run folder is missing, unfinished or damaged.
    ExportError
        Nothing may ship for an engine, or nothing fits; then there is no new kit.
    EngineError
        There is a filter to export, and ONNX Runtime is missing or refused it.
    """
    settings = settings or ExportSettings()
    # Before any long work: a wrong recipe should fail at once.
    chosen = settings.chosen
    start = time.monotonic()
    run = Run.open(Path(run_dir))
    folder = Path(out) if out else run.path / "export"
    progress = progress or Progress()
    found = _filter(settings, folder, progress)
    session = Session(run, folder, settings, progress)
    problem = ""
    with session.converter:
        if settings.max_mb:
            shipped, problem = fitting(
                session,
                chosen,
                lambda recipe: packed_mb(_report(session, {recipe.engine: recipe}, found), folder),
            )
        else:
            for recipe in _grouped(chosen):
                session.add(recipe)
            engines = dict.fromkeys(recipe.engine for recipe in chosen)
            shipped = {engine: _choose(session, engine) for engine in engines}
    report = _report(session, shipped, found, time.monotonic() - start)
    names, found = report.shipped, report.filter
    paths = write_reports(report, folder)
    if problem:
        raise ExportError(f"{problem}; see {paths[1]}")
    _require(session, shipped, paths[1])
    kit = ship(report, folder)
    if settings.max_mb:
        kit = pack(kit)
    size = kit.stat().st_size / 1e6
    filters = dict(found.shipped) if found else {}
    held = ", ".join([*names.values(), *filters.values()])
    session.progress.note(f"kit {kit} ({size:.1f} MB): {held}")
    table = {name: item.row for name, item in session.measured.items()}
    return ExportResult(kit, table, paths, names, session.refused, filters)


def _filter(settings: ExportSettings, folder: Path, progress: Progress) -> FilterExport | None:
    """Convert the filter, if there is to be one."""
    if settings.filter is None:
        return None
    engines = list(dict.fromkeys(recipe.engine for recipe in settings.chosen))
    source = FilterFolder.open(Path(settings.filter))
    return export_filter(source, engines, settings, folder, progress)


def _report(
    session: Session,
    shipped: Mapping[str, Recipe | None],
    found: FilterExport | None,
    seconds: float = 0.0,
) -> Report:
    """Return the report of a kit with these variants, and the filter for their engines."""
    names = {engine: recipe.name for engine, recipe in shipped.items() if recipe}
    return Report(session, names, seconds, found.only(names) if found else None)


def _grouped(recipes: tuple[Recipe, ...]) -> list[Recipe]:
    """Return recipes with those of one preparation together: it is loaded once."""
    order = list(dict.fromkeys(recipe.preparation for recipe in recipes))
    return sorted(recipes, key=lambda recipe: order.index(recipe.preparation))


def _choose(session: Session, engine: str) -> Recipe | None:
    """Return the variant to ship for an engine, or None if even float32 was refused."""
    fallback = Recipe(engine)
    if not session.passing(engine) and not session.tried(fallback):
        session.add(fallback)
    passing = session.passing(engine)
    if not passing:
        return None
    sizes = {recipe.name: session.measured[recipe.name].row["mb"] for recipe in passing}
    limit = _SAME_SIZE * min(sizes.values())
    small = [recipe for recipe in passing if sizes[recipe.name] <= limit]
    return min(small, key=lambda recipe: (not recipe.calibrated, bool(recipe.preparation)))


def _require(session: Session, shipped: dict[str, Recipe | None], report: Path) -> None:
    for engine, recipe in shipped.items():
        if recipe is None:
            reason = session.refused[Recipe(engine).name]
            raise ExportError(f"{engine}: even float32 was refused ({reason}); see {report}")
