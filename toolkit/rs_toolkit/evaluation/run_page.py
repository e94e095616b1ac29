"""The page of a run: its epochs, and how it does on its test photos, class by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.errors import PhotoError, reason
from rs_runtime.ranks import Level, levels
from rs_toolkit.audit.charts import lines, matrix, scatter
from rs_toolkit.audit.html import thumbnail
from rs_toolkit.audit.plots import page, table, text
from rs_toolkit.data.groups import group_photos
from rs_toolkit.data.photos import Photo, PhotoCache, default_cache_dir
from rs_toolkit.errors import DataError, RunError
from rs_toolkit.evaluation.grad_cam import grad_cam, lit
from rs_toolkit.evaluation.logits import tested_logits
from rs_toolkit.evaluation.model import class_infos
from rs_toolkit.evaluation.page import mistake_parts, score_parts
from rs_toolkit.evaluation.scores import Judged, judge
from rs_toolkit.evaluation.truth import true_taxa
from rs_toolkit.files import atomic_write
from rs_toolkit.folders.run import Run, read_history
from rs_toolkit.metrics.classification import softmax
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["attempt_run_page", "write_run_page"]

_SIZES = (1, 5, 10, 20, 50, 100, 1000)
_LARGEST_MATRIX, _PAIRS = 40, 20
_WORST, _EACH = 6, 3  # classes that are shown, and photos of each
_MAP_TEXT = (
    "The classes with the lowest F1, and their test photos that were named wrongly, the surest "
    "first. Beside each: the parts of the photo that speak for the wrong name stay bright "
    "(Grad-CAM, Selvaraju et al. 2017)."
)

_REFIT_TEXT = (
    "These are the epochs of the first model. All below is about the second, which was trained for "
    "as many epochs on training and validation photos."
)
_ALL_TEXT = (
    "These are the epochs of the first model. The model that ships was trained for as many epochs "
    "on every photo. All below is about others: each photo was named by a model that was trained, "
    "in the same way, without its part of the photos. Only Grad-CAM is about the model that ships."
)


@dataclass(frozen=True)
class _Tested:
    run: Run
    photos: list[Photo]
    judged: Judged


def write_run_page(path: Path, progress: Progress) -> Path:
    """Write ``run.html`` into a finished run's folder; return its path.

    Photos that are gone, or a model without Grad-CAM, leave their pictures out.

    Raises
    ------
    RunError
        The run is missing, not finished or damaged, or has no test photos.
    PhotoError, DataError
        A run of an earlier release kept no logits, and its test photos cannot be read.
    """
    run = Run.open(path)
    photos, _ = run.held_out("test")
    if not photos:
        raise RunError(f"{path}: has no test photos, which the page is about; train with some")
    classes = class_infos(run)
    ranks = levels(classes, run.rank)
    probabilities = softmax(tested_logits(run, progress) / run.temperature)
    truth = true_taxa(photos, classes, ranks)
    tested = _Tested(
        run,
        photos,
        judge(ranks, probabilities, truth, group_photos(photos).numbers, thresholds=None),
    )
    title = f"{run.name}: training"
    parts = [
        f"<h1>{text(title)}</h1>\n",
        *_epochs(run),
        "<h2>On the test photos</h2>\n",
        *score_parts(_scores(tested.judged)),
        *_classes(tested),
        *_confusions(tested.judged),
        *_worst(tested),
        *mistake_parts(tested.judged, photos, [None] * len(photos), _pixels(run)),
    ]
    with atomic_write(path / "run.html") as temporary:
        temporary.write_text(page(title, parts), "utf-8", newline="\n")
    return path / "run.html"


def attempt_run_page(path: Path, progress: Progress) -> None:
    """Write the page of a run that has just been trained; a failure is only a note."""
    try:
        write_run_page(path, progress)
    except Exception as error:
        what = f"{path / 'run.html'}: not written ({reason(error)})"
        progress.note(f"{what}; write it with rs-toolkit report {path}")


def _pixels(run: Run) -> Any:
    """Return a function from a photo of a run to its pixels, for :func:`thumbnail`."""
    cache = PhotoCache(default_cache_dir(), run.preprocessing)
    return lambda photo: cache.pixels(photo, run.data_root)


def _scores(judged: Judged) -> dict[str, Any]:
    return {
        "photos": len(judged.truth),
        "groups": len(set(judged.groups.tolist())),
        "ranks": judged.ranks(),
        "reliability": judged.reliability(),
        "selective": judged.selective(),
    }


def _epochs(run: Run) -> Iterator[str]:
    history = read_history(run.path)
    counts = Counter(photo.split for photo in run.photos if photo.split)
    said = ", ".join(f"{counts[side]:,} {side}" for side in ("train", "val", "test"))
    setting = f"{run.config.get('backbone')}, {len(run.classes):,} classes ({run.rank}); {said}"
    kept = f"the best epoch is {history.best_epoch}"
    if history.probe_kept:
        kept = "a linear classifier on the frozen backbone, better than each epoch, is kept"
    yield f"<p>{text(setting)} photos; {kept}.</p>\n"
    if run.refitted:
        yield f"<p>{_ALL_TEXT if run.learned_all else _REFIT_TEXT}</p>\n"
    plots = []
    for title, names in (
        ("Macro-F1", ("train_macro_f1", "val_macro_f1")),
        ("Accuracy", ("train_accuracy", "val_accuracy")),
        ("Loss of augmented training photos", ("loss",)),
    ):
        series = []
        for name in names:
            rows = [(row["epoch"], row[name]) for row in history.epochs]
            points = [(x, y) for x, y in rows if x is not None and y is not None]
            label = {"train": "training", "val": "validation"}.get(name.partition("_")[0], name)
            series += [(label, points)] if points else []
        if series:
            axes = ("epoch", title.partition(" ")[0].lower())
            plots.append(lines(title, series, axes, dashed=(len(series) > 1, False)))
    yield f'<div class="plots">{"".join(plots)}</div>\n'


def _classes(tested: _Tested) -> Iterator[str]:
    labels = np.concatenate([tested.run.split(side)[1] for side in tested.run.learned])
    sizes = np.bincount(labels, minlength=len(tested.run.classes)).tolist()
    rows = zip(tested.judged.classes(), sizes, strict=True)
    found = [(row["name"], size, row["f1"]) for row, size in rows if row["support"]]
    yield "<h2>F1 against class size</h2>\n"
    axes = ("training photos", "F1")
    yield f'<div class="plots">{scatter("Each class", found, axes)}</div>\n'
    binned = []
    for low, high in zip(_SIZES, (*_SIZES[1:], None), strict=True):
        inside = [f1 for _, size, f1 in found if low <= size and (high is None or size < high)]
        if inside:
            span = f"{low:,} or more" if high is None else f"{low:,} to {high - 1:,}"
            binned.append((span, len(inside), f"{np.mean(inside):.3f}"))
    yield table(("training photos", "classes", "mean F1"), binned, numbers=True)


def _confusions(judged: Judged) -> Iterator[str]:
    yield "<h2>Confusions at each rank</h2>\n"
    for number, level in enumerate(judged.levels):
        counts, names = _counts(judged, number, level)
        yield f"<h3>{text(level.rank.replace('_', ' '))}</h3>\n"
        if len(names) <= _LARGEST_MATRIX:
            drawn = matrix("Rows: true; columns: named", names, counts)
            yield f'<div class="plots">{drawn}</div>\n'
        pairs = [
            (names[true], names[given], int(counts[true, given]))
            for true, given in zip(*np.nonzero(counts), strict=True)
            if true != given
        ]
        pairs.sort(key=lambda pair: (-pair[2], pair))
        yield table(("true", "named", "photos"), pairs[:_PAIRS]) if pairs else "<p>None.</p>\n"


def _counts(judged: Judged, number: int, level: Level) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return how often each taxon of a rank was named for each, (taxa, taxa), and the names."""
    kept = judged.truth[:, number] >= 0
    given = level.probabilities(judged.probabilities[kept]).argmax(axis=1)
    counts = np.zeros((len(level.names), len(level.names)), np.int64)
    np.add.at(counts, (judged.truth[kept, number], given), 1)
    return counts, level.names


def _worst(tested: _Tested) -> Iterator[str]:
    true, given = tested.judged.truth[:, 0], tested.judged.probabilities.argmax(axis=1)
    sure = tested.judged.probabilities.max(axis=1)
    rows = [(row["f1"], number, row) for number, row in enumerate(tested.judged.classes())]
    missed = {number: np.flatnonzero((true == number) & (given != number)) for _, number, _ in rows}
    worst = sorted(row[:2] for row in rows if len(missed[row[1]]))[:_WORST]
    if not worst:
        return
    shown = {n: missed[n][np.argsort(-sure[missed[n]], kind="stable")][:_EACH] for _, n in worst}
    maps = _maps(tested, [row for chosen in shown.values() for row in chosen.tolist()], given)
    pixels, names = _pixels(tested.run), tested.judged.levels[0].names
    yield f"<h2>Worst classes</h2>\n<p>{_MAP_TEXT}</p>\n"
    for f1, number in worst:
        yield f'<h3>{text(names[number])}: F1 {f1:.2f}</h3>\n<div class="photos">'
        for row in shown[number].tolist():
            photo = tested.photos[row]
            said = f"{text(photo.path)}<br>named {text(names[given[row]])} ({sure[row]:.0%})"
            yield f"<figure>{thumbnail(photo, pixels)}<figcaption>{said}</figcaption></figure>\n"
            if row in maps:
                picture = thumbnail(photo, partial(_one, maps[row]))
                yield f"<figure>{picture}<figcaption>Grad-CAM</figcaption></figure>\n"
        yield "</div>\n"


def _one(pixels: NDArray[np.uint8], photo: Photo) -> NDArray[np.uint8]:
    return pixels


def _maps(
    tested: _Tested, rows: Sequence[int], given: NDArray[np.int64]
) -> dict[int, NDArray[np.uint8]]:
    """Return photos by their rows, dark where nothing speaks for the class that was given."""
    run, load = tested.run, _pixels(tested.run)
    pixels: dict[int, NDArray[np.uint8]] = {}
    for row in rows:
        try:
            pixels[row] = load(tested.photos[row])
        except (PhotoError, DataError, OSError):
            continue
    if not pixels:
        return {}
    inputs = run.preprocessing.model_input(np.stack(list(pixels.values())))
    maps = grad_cam(run.load_model(), inputs, given[list(pixels)])
    if maps is None:
        return {}
    return {row: lit(pixels[row], places) for row, places in zip(pixels, maps, strict=True)}
