"""Convert a run, measure every variant, and ship what kept its classes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_export.calibration_set import class_balanced
from rs_export.convert import Converter
from rs_export.kit_writer import ship
from rs_export.recipes import RECIPES, Recipe, default_recipes, find_recipes
from rs_export.report import Report, write_reports
from rs_export.verify import Measured, Model, measure, median_ms, predict, refusal
from rs_runtime.engine import load_engine
from rs_runtime.errors import EngineError
from rs_toolkit.calibration import fit_temperature
from rs_toolkit.errors import ExportError
from rs_toolkit.files import atomic_write
from rs_toolkit.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_toolkit.photos import Photo

__all__ = ["ExportResult", "export_run"]

_SAME_SIZE = 1.1
_CHUNK = 256


@dataclass(frozen=True)
class ExportResult:
    """What an export left behind.

    Attributes
    ----------
    kit
        The ``.rskit`` file.
    table
        Measurements by variant, ``float`` (the Keras model) first.
    reports
        report.json, report.md and accuracy_vs_size.png.
    shipped
        Variant in the kit, by engine.
    refused
        Why variants were refused, by variant.
    """

    kit: Path
    table: dict[str, dict[str, float]]
    reports: tuple[Path, ...]
    shipped: dict[str, str]
    refused: dict[str, str]


def export_run(
    run_dir: Path,
    *,
    int8: bool = False,
    recipes: Sequence[str] | None = None,
    out: Path | None = None,
    threads: int = 2,
    max_drop: float = 1.0,
    max_decile_drop: float = 5.0,
    calibration_photos: int = 200,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> ExportResult:
    """Convert a finished run into verified variants, reports and a kit.

    Each variant is measured through the runtime on the run's test photos.  For each engine the
    kit takes the smallest variant that is not refused (see :func:`rs_export.verify.refusal`);
    sizes within a tenth count as equal, and then integer arithmetic goes first.  Where none
    passes, the engine's float32 variant is made and tried.

    Parameters
    ----------
    run_dir : finished run folder
    int8 : also make the variants with 8-bit numbers
    recipes : names of the variants to make instead of the defaults
    out : folder to write; default ``run_dir/export``
    threads : CPU threads of the measurements, at least 1
    max_drop : points (hundredths) of test macro-F1 that a variant may lose, at least 0
    max_decile_drop : the same for the F1 of the worst tenth of the classes
    calibration_photos : training photos that measure activation ranges, at least 1
    seed : of their choice
    progress : gets one line per step

    Raises
    ------
    RunError
        The run folder is missing, unfinished or damaged.
    ExportError
        A setting is out of range, or an engine's float32 variant could not be made or was
        refused; then there is no new kit.
    """
    if threads < 1 or calibration_photos < 1 or not (max_drop >= 0 and max_decile_drop >= 0):
        raise ExportError(
            f"export: got threads={threads}, calibration_photos={calibration_photos}, "
            f"max_drop={max_drop}, max_decile_drop={max_decile_drop}; "
            "wanted at least 1, 1, 0 and 0"
        )
    limits = {"macro_f1": max_drop, "worst_decile_f1": max_decile_drop}
    chosen = default_recipes(int8) if recipes is None else find_recipes(recipes)
    start = time.monotonic()
    run = Run.open(Path(run_dir))
    folder = Path(out) if out else run.path / "export"
    session = _Export(run, folder, threads, limits, progress or (lambda line: None))
    with Converter(session.model, lambda: _representative(run, calibration_photos, seed)) as made:
        for recipe in chosen:
            session.add(recipe, made)
        shipped = {
            engine: session.choose(engine, made)
            for engine in dict.fromkeys(recipe.engine for recipe in chosen)
        }
    temperatures = session.temperatures([name for name in shipped.values() if name])
    report = Report(
        run=run,
        measured=session.measured,
        refused=session.refused,
        shipped={engine: name for engine, name in shipped.items() if name},
        temperatures=temperatures,
        settings={
            "max_drop": max_drop,
            "max_decile_drop": max_decile_drop,
            "threads": threads,
            "calibration_photos": calibration_photos,
            "seed": seed,
        },
        seconds=time.monotonic() - start,
    )
    paths = write_reports(report, folder)
    for engine, name in shipped.items():
        if name is None:
            raise ExportError(
                f"{engine}: even float32 was refused ({session.refused[_fallback(engine)]}); "
                f"see {paths[1]}"
            )
    kit = ship(report, folder)
    session.say(f"kit {kit} ({kit.stat().st_size / 1e6:.1f} MB): {', '.join(temperatures)}")
    table = {name: item.row for name, item in session.measured.items()}
    return ExportResult(kit, table, paths, report.shipped, session.refused)


class _Export:
    """The float model's test results, and those of the variants so far."""

    def __init__(
        self,
        run: Run,
        folder: Path,
        threads: int,
        limits: Mapping[str, float],
        say: Callable[[str], None],
    ) -> None:
        self._photos, self._labels = run.split("test")
        if not self._photos:
            raise ExportError(f"{run.path}: no test photos to verify with; train with test > 0")
        self._run, self._folder, self._threads = run, folder, threads
        self._limits, self.say = limits, say
        self._one = run.preprocessing.model_input(run.pixels(self._photos[:1])[0])
        self._names = [item["name"] for item in run.classes]
        self.model = run.load_model()
        say(f"measure the float model on {len(self._photos)} test photos")
        self._float = self._predict(self.model.predict_on_batch, self._photos)
        ms = median_ms(self.model.predict_on_batch, self._one)
        size = (run.path / "model.keras").stat().st_size
        self.measured: dict[str, Measured] = {"float": self._measure(self._float, size, ms)}
        self.refused: dict[str, str] = {}

    def add(self, recipe: Recipe, converter: Converter) -> None:
        """Convert, save and measure one variant; refuse it if it is broken or lost too much."""
        self.say(f"convert {recipe.name}")
        try:
            data = converter.convert(recipe)
            with atomic_write(self._folder / recipe.member) as temporary:
                temporary.write_bytes(data)
            engine = load_engine(recipe.engine, data, self._threads)
            logits = self._predict(engine.logits, self._photos)
            ms = median_ms(engine.logits, self._one)
        except (EngineError, ExportError) as error:
            # The other variants are still worth having.
            self._refuse(recipe.name, str(error))
            return
        result = self.measured[recipe.name] = self._measure(logits, len(data), ms)
        reason = refusal(result, self._limits)
        row = result.row
        self.say(
            f"{recipe.name}: {row['mb']:.2f} MB, {ms:.1f} ms, macro-F1 {row['macro_f1']:.4f}, "
            f"agrees with float on {row['agreement']:.1%}"
        )
        if reason:
            self._refuse(recipe.name, reason)

    def choose(self, engine: str, converter: Converter) -> str | None:
        """Return the variant to ship for an engine, or None if even float32 was refused."""
        fallback = _fallback(engine)
        if not self._passing(engine) and fallback not in {*self.measured, *self.refused}:
            self.add(RECIPES[fallback], converter)
        passing = self._passing(engine)
        if not passing:
            return None
        sizes = {name: self.measured[name].row["mb"] for name in passing}
        limit = _SAME_SIZE * min(sizes.values())
        small = [name for name in passing if sizes[name] <= limit]
        return min(small, key=lambda name: (not RECIPES[name].calibrated, sizes[name]))

    def temperatures(self, names: Sequence[str]) -> dict[str, float]:
        """Fit each variant's temperature on the validation photos; the run's where none are."""
        photos, labels = self._run.split("val")
        if not photos:
            return dict.fromkeys(names, self._run.temperature)
        found = {}
        for name in names:
            recipe = RECIPES[name]
            engine = load_engine(recipe.engine, self._folder / recipe.member, self._threads)
            found[name] = fit_temperature(self._predict(engine.logits, photos), labels)
        return found

    def _refuse(self, name: str, reason: str) -> None:
        self.refused[name] = reason
        self.say(f"{name} refused: {reason}")

    def _predict(self, model: Model, photos: Sequence[Photo]) -> NDArray[np.float32]:
        """Return logits; pixels are read by parts, because test sets can exceed memory."""
        parts = (photos[start : start + _CHUNK] for start in range(0, len(photos), _CHUNK))
        ready = self._run.preprocessing
        return np.concatenate([predict(model, self._run.pixels(part), ready) for part in parts])

    def _measure(self, logits: NDArray[np.float32], size: int, ms: float) -> Measured:
        return measure(logits, self._float, self._labels, self._names, size, ms)

    def _passing(self, engine: str) -> list[str]:
        return [
            name
            for name in self.measured
            if name in RECIPES and RECIPES[name].engine == engine and name not in self.refused
        ]


def _fallback(engine: str) -> str:
    return next(r.name for r in RECIPES.values() if r.engine == engine and r.is_float)


def _representative(run: Run, count: int, seed: int) -> NDArray[np.float32]:
    photos, labels = run.split("train")
    if not photos:
        raise ExportError(f"{run.path}: no training photos to calibrate int8 with; train again")
    chosen = [photos[i] for i in class_balanced(labels, count, seed)]
    return np.asarray(run.preprocessing.model_input(run.pixels(chosen)), np.float32)
