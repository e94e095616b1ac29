"""Models to validate: a kit's by its engine, a run's by Keras, both through the runtime's code."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rs_runtime.classify import Classifier
from rs_runtime.engines.engine import Engine
from rs_runtime.errors import PhotoError
from rs_runtime.filter import Filter
from rs_runtime.kit.kit import Kit, open_kit
from rs_runtime.kit.manifest import SCHEMA, ClassInfo, Manifest, Member, Variant
from rs_runtime.kit.signature import find_public_key
from rs_runtime.ranks import Level, levels
from rs_runtime.species import read_species
from rs_toolkit.data.groups import group_photos
from rs_toolkit.errors import ConfigError, DataError, RunError
from rs_toolkit.evaluation.logits import KerasEngine, run_logits
from rs_toolkit.files import sha256_file
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Calibrate = Callable[
        [NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], tuple[Level, ...]],
        Mapping[str, Any],
    ]

__all__ = ["Opened", "RunClassifier", "class_infos", "open_model", "run_classifier"]

_MODEL = "model.keras"


class Opened(NamedTuple):
    """A model that is ready, and the run that it comes from, if that is known.

    ``kind`` is ``run`` or ``kit``.
    """

    classifier: Classifier
    kind: str
    run: Run | None


class RunClassifier(Classifier):
    """A run's Keras model, with the answers that a kit's model gives."""

    def __init__(
        self,
        engine: Engine,
        path: Path,
        manifest: Manifest,
        min_probability: float | None,
        coverage: float | None,
    ) -> None:
        self._loaded, self._path = engine, path
        kit = Kit(path, manifest, b"", {}, io.BytesIO())
        name = manifest.variants[0].name
        super().__init__(kit, variant=name, min_probability=min_probability, coverage=coverage)

        self._asked = (min_probability, coverage)

    def _load(self, kit: Kit) -> Engine:
        return self._loaded

    def opening(self, species: Path | None) -> Callable[[], Classifier]:
        """Return what opens the same model in another process, which has the same run folder.

        ``species`` is a list for :meth:`narrow`, which only this process reads.
        """
        names = None if species is None else tuple(read_species(species))
        return partial(_reopened, self._path, self.manifest, names, *self._asked)


def _reopened(
    path: Path,
    manifest: Manifest,
    species: tuple[str, ...] | None,
    min_probability: float | None,
    coverage: float | None,
) -> Classifier:
    run = Run.open(path)
    if _member(run) != manifest.members[_MODEL]:
        raise RunError(f"{path / _MODEL}: is another model than on the machine that asks")
    found = RunClassifier(KerasEngine(run), path, manifest, min_probability, coverage)
    found.narrow(species)
    return found


def _member(run: Run) -> Member:
    file = run.path / _MODEL
    return Member(sha256_file(file), file.stat().st_size)


def open_model(
    path: Path,
    calibrate: Calibrate,
    *,
    engine: str | None,
    variant: str | None,
    threads: int | None,
    min_probability: float | None,
    trained_by: Path | None,
    progress: Progress,
) -> Opened:
    """Load the model of a run folder, or of a kit with its filter.

    Parameters
    ----------
    calibrate
        As for :func:`run_classifier`.
    engine, variant, threads
        As for :class:`rs_runtime.classify.Classifier`; only for kits.
    min_probability
        0 to 1, for every rank instead of the model's own thresholds.
    trained_by
        The run folder that a kit was exported from; None: the run whose folder holds the kit.

    Raises
    ------
    ConfigError
        An option for kits was given for a run.
    RunError
        There is neither a run nor a kit, or the run is not finished or damaged.
    RuntimeKitError
        The kit cannot be used.
    """
    if path.is_dir():
        for_kits = {"engine": engine, "variant": variant, "threads": threads, "run": trained_by}
        for name, value in for_kits.items():
            if value is not None:
                raise ConfigError(
                    f"--{name}: got {str(value)!r} for a run, which has one model only; leave it "
                    "out, or give a kit"
                )
        run = Run.open(path)
        return Opened(run_classifier(run, calibrate, min_probability, progress), "run", run)
    if not path.exists():
        raise RunError(f"{path}: no such run folder or kit; check the path")
    with open_kit(path, find_public_key(None)) as kit:
        classifier = Classifier(kit, engine or "auto", variant, threads, min_probability)
        spec = kit.manifest.filter
        if spec is not None:
            used = classifier.variant.engine
            has = used in {item.engine for item in spec.variants}
            classifier.filter = Filter(kit, used if has else "auto")
    if warning := classifier.variant.warning:
        progress.note(f"warning: {warning}")
    return Opened(classifier, "kit", _run_of(path, classifier.manifest, trained_by))


def _run_of(kit: Path, manifest: Manifest, trained_by: Path | None) -> Run | None:
    """Return the run that a kit was exported from; None if it is not known."""
    if trained_by is not None:
        run = Run.open(trained_by)
        if run.data_fingerprint != manifest.data_fingerprint:
            raise RunError(
                f"{trained_by}: kit {manifest.name!r} was not exported from this run, whose photos "
                "are others; give the run that it was exported from, or leave out --run"
            )
        return run
    folder = kit.resolve().parent.parent
    try:
        run = Run.open(folder)
    except (RunError, DataError):
        return None
    return run if run.data_fingerprint == manifest.data_fingerprint else None


def run_classifier(
    run: Run,
    calibrate: Calibrate,
    min_probability: float | None,
    progress: Progress,
    coverage: float | None = None,
) -> RunClassifier:
    """Load a run's model, calibrated on the run's validation photos as an export does it.

    A refitted run has the calibration of the models before it.  Where the photos are gone, the
    model has the temperature of the run and no thresholds.

    Parameters
    ----------
    calibrate
        Takes the logits (n, classes), class numbers (n,) and groups (n,) of the validation photos,
        and the ranks; returns fields of :class:`rs_runtime.kit.manifest.Variant`.
    min_probability
        0 to 1, for every rank instead of thresholds.
    coverage
        0 to 1: each prediction has a set of classes; None: none has.
    """
    classes = class_infos(run)
    engine = KerasEngine(run)
    fitted = _calibration(run, engine, levels(classes, run.rank), calibrate, progress)
    variant = Variant("float", "keras", _MODEL, **fitted)
    manifest = Manifest(
        name=run.name,
        created_by="",
        rank=run.rank,
        classes=classes,
        preprocessing=run.preprocessing,
        variants=(variant,),
        default_variants={},
        calibration={"temperature": variant.temperature},
        data_fingerprint=run.data_fingerprint,
        # A journal's answers are those of this very model.
        members={_MODEL: _member(run)},
        # Of an old kit, no thresholds mean that none could be fitted.
        schema=SCHEMA if "thresholds" in fitted else "1.4",
    )
    return RunClassifier(engine, run.path.resolve(), manifest, min_probability, coverage)


def class_infos(run: Run) -> tuple[ClassInfo, ...]:
    """Return the classes of a run as a kit has them."""
    return tuple(
        ClassInfo(
            item["id"],
            item["name"],
            item["common_name"],
            {rank: name for rank, name in item["taxon"].items() if name},
        )
        for item in run.classes
    )


def _calibration(
    run: Run, engine: Engine, ranks: tuple[Level, ...], calibrate: Calibrate, progress: Progress
) -> Mapping[str, Any]:
    photos, labels = run.held_out("val")
    if (first := run.val_logits()) is not None:
        return calibrate(first, labels, group_photos(photos).numbers, ranks)
    try:
        found = run_logits(run, "val", lambda: engine, "calibrate on validation photos", progress)
    except (PhotoError, RunError, DataError) as error:
        progress.note(f"without thresholds: the run's validation photos cannot be read: {error}")
        return {"temperature": run.temperature}
    return calibrate(found, labels, group_photos(photos).numbers, ranks)
