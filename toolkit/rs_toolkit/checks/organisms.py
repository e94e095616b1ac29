"""A filter's probability that a photo shows an organism, and findings about those without one.

A filter errs most on what it has seen least, such as rare classes.  So the caps of
:mod:`rs_toolkit.clean.policy`, which protect each class, hold for its findings too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rs_runtime.filter import NOT_ORGANISM, Filter, organism_log_odds, organism_probability, verdict
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.checks.findings import Finding
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.data.remembered import remembered_arrays
from rs_toolkit.files import sha256_bytes, sha256_file
from rs_toolkit.progress import Progress

__all__ = ["OrganismFilter", "judge_organisms", "organism_findings", "read_filter"]

_BATCH = 32


@dataclass(frozen=True)
class OrganismFilter:
    """A filter that is ready to use.

    Attributes
    ----------
    thresholds
        As :func:`rs_runtime.filter.verdict` takes them.
    fingerprint
        Text that changes with the model, its classes and its calibration.
    judge
        Takes uint8 pixels (n, S, S, 3), made by ``preprocessing``; returns the probabilities (n,)
        that the photos show an organism.
    path
        The folder or kit that the filter was read from, if any.
    """

    preprocessing: Preprocessing
    thresholds: Mapping[str, float]
    fingerprint: str
    judge: Callable[[NDArray[np.uint8]], NDArray[np.float64]]
    path: Path | None = None


def read_filter(path: Path) -> OrganismFilter:
    """Load the filter of a kit, or of a folder that ``rs-toolkit distill`` made.

    Raises
    ------
    RunError
        The folder is missing or damaged.
    RuntimeKitError
        The kit is missing, damaged or without a filter, or no engine can run it.
    """
    return replace(_of_kit(path) if path.is_file() else _of_folder(path), path=path.resolve())


def _of_kit(path: Path) -> OrganismFilter:
    from rs_runtime.kit.kit import open_kit

    with open_kit(path) as kit:
        loaded = Filter(kit)
    # The model's bytes were verified against this hash when it was loaded.
    model, how = kit.manifest.members[loaded.variant.member].sha256, loaded.variant
    mark = f"{model} {how.temperature} {how.bias} {loaded.spec.classes}"
    return OrganismFilter(loaded.preprocessing, loaded.thresholds, mark, loaded.judge)


def _of_folder(path: Path) -> OrganismFilter:
    from rs_toolkit.folders.filter import FilterFolder

    folder = FilterFolder.open(path)
    # Loaded only when it is called: all answers may be cached already.
    student = cache(folder.load_model)
    kinds, how = folder.organism, folder.calibration

    def judge(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        inputs = folder.preprocessing.model_input(pixels)
        odds = organism_log_odds(np.asarray(student().predict_on_batch(inputs)), kinds)
        return organism_probability(odds, how["temperature"], how["bias"])

    mark = f"{sha256_file(path / 'student.keras')} {how} {kinds.tolist()}"
    return OrganismFilter(folder.preprocessing, folder.thresholds, mark, judge)


def judge_organisms(
    photos: Sequence[Photo], root: Path, cache_dir: Path, loaded: OrganismFilter, progress: Progress
) -> tuple[Photo, ...]:
    """Return the photos with the filter's probability in ``organism``, None for unreadable photos.

    Paths are relative to ``root``.  Pixels and answers are cached in ``cache_dir``, so that each
    photo is judged only once.
    """
    decoded, size = PhotoCache(cache_dir, loaded.preprocessing), loaded.preprocessing.size

    def judge(batch: list[Photo]) -> NDArray[np.float64]:
        # Always a full batch: rounding errors can depend on the batch size.
        pixels = np.zeros((_BATCH, size, size, 3), np.uint8)
        pixels[: len(batch)] = decoded.stacked(batch, lambda _: root)
        return loaded.judge(pixels)[: len(batch)]

    mark = f"{loaded.preprocessing.fingerprint()} {loaded.fingerprint}"
    folder = cache_dir / "organisms" / sha256_bytes(mark.encode())[:32]
    readable = [photo for photo in photos if photo.error is None]
    title = "look for organisms"
    found = remembered_arrays(readable, folder, (), judge, progress, title, _BATCH, np.float64)
    answers = iter(found.tolist())
    return tuple(
        replace(photo, organism=next(answers) if photo.error is None else None) for photo in photos
    )


def organism_findings(photos: Sequence[Photo], thresholds: Mapping[str, float]) -> list[Finding]:
    """Return a finding for each photo in which the filter finds no organism, in their order.

    ``score`` is the probability that the photo shows none, ``suggested_weight`` that it shows one.
    """
    return [
        Finding(
            photo.path,
            "not_organism",
            1 - photo.organism,
            suggested_weight=photo.organism,
            detail=f"an organism with probability {photo.organism:.2g}",
        )
        for photo in photos
        if photo.organism is not None and verdict(photo.organism, thresholds) == NOT_ORGANISM
    ]
