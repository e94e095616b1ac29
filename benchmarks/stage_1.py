"""Compare the solver and grid of stage 1 with those it had before, on the same frozen features.

    python benchmarks/stage_1.py [--sets birds cub]

The features are those that ``rs-toolkit train`` computes by default (Xception, 224 px, each photo
and its mirror image), and so are splits and weights; the classes are families.  ``old_heads`` is
the earlier solver.  Seconds of the processor are given beside those of the clock, because other
programs may slow one of the two.  Writes ``results/stage-1.json`` and ``results/stage-1.md``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import SHARED, SIDES, grid, on, options, publish
from numpy.typing import NDArray

from rs_toolkit.files import read_json, write_json
from rs_toolkit.metrics.classification import accuracy, macro_f1, softmax
from rs_train.classifier import linear_probe
from rs_train.classifier.linear_probe import STRENGTHS, Head, fit_head, rows_of_views

OLD_STRENGTHS = (0.001, 0.01, 0.1)
RUNS = ("old", "old, one thread", "new")
Arrays = dict[str, NDArray[Any]]


def features_of(data: Path, weights: Path, work: Path) -> Arrays:
    """Return features (n, 2, channels), labels and weights of each side; they stay in ``work``."""
    file = work / f"{data.name}.npz"
    if not file.is_file():
        np.savez(file, **_features(data, weights, work))
    with np.load(file) as found:
        return dict(found)


def _features(data: Path, weights: Path, work: Path) -> Arrays:
    from rs_toolkit.environment import quiet_tensorflow

    quiet_tensorflow()
    from rs_toolkit.batches.oversampling import Shares, photo_weights
    from rs_toolkit.config.training import TrainConfig
    from rs_toolkit.data.photos import PhotoCache
    from rs_toolkit.progress import ConsoleProgress
    from rs_train.classifier.backbones import load_backbone_weights
    from rs_train.classifier.embed import frozen_features
    from rs_train.classifier.model import build_classifier, feature_extractor
    from rs_train.classifier.prepare import prepare

    config, progress = TrainConfig(weights=str(weights)), ConsoleProgress()
    cache = PhotoCache.default(config.imgsz, config.resize, config.strict_photos)
    found = prepare(data, config, work / data.name, cache, progress)
    extractor = feature_extractor(build_classifier(config.backbone, config.imgsz, 2))
    load_backbone_weights(extractor, config.backbone, str(weights))
    number = {row["name"]: row["id"] for row in found.classes}
    arrays: Arrays = {"classes": np.array(len(number))}
    for side in SIDES:
        photos = found.side(side)
        labels = np.array([number[str(photo.label(config.rank))] for photo in photos])
        arrays[side] = frozen_features(extractor, photos, found.root, cache, progress)
        arrays[f"{side}_labels"] = labels
        arrays[f"{side}_weights"] = photo_weights(labels, config.balance, Shares.of(photos))
    return arrays


def old_heads(
    features: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any], classes: int
) -> Iterator[Head]:
    """Yield the head of each of ``OLD_STRENGTHS``, as stage 1 computed it before."""
    from sklearn.linear_model import LogisticRegression

    mean = features.mean(0)
    scale = features.std(0) + 1e-6
    standard = (features - mean) / scale
    present = np.unique(labels)
    for strength in OLD_STRENGTHS:
        solver = LogisticRegression(C=strength, max_iter=300)
        solver.fit(standard, labels, sample_weight=weights / weights.mean())
        coefficients, intercept = solver.coef_, solver.intercept_
        kernel = np.zeros((features.shape[1], classes))
        bias = np.full(classes, -20.0)
        kernel[:, present] = (coefficients / scale).T
        bias[present] = intercept - (coefficients / scale) @ mean
        yield Head(kernel.astype(np.float32), bias.astype(np.float32), strength, 0.0, at_edge=False)


def measure(arrays: Arrays) -> dict[str, Any]:
    """Return the results of one set: both solvers, and every strength of the new grid."""
    classes = int(arrays["classes"])
    train = rows_of_views(*(arrays[key] for key in ("train", "train_labels", "train_weights")))
    val = (arrays["val"][:, 0], arrays["val_labels"])
    fits: dict[str, Callable[[], list[Head]]] = {
        "new": lambda: [fit_head(*train, *val, classes, views=2)],
        "old": lambda: list(old_heads(*train, classes)),
        "old, one thread": lambda: one_thread(fits["old"]),
    }
    heads, seconds = compared(fits)
    found: dict[str, Any] = {}
    for name in RUNS:
        best = max((scores(head, arrays) for head in heads[name]), key=lambda row: row["val"])
        found[name] = seconds[name] | best
    for key in ("s", "cpu_s"):
        for name in RUNS[:-1]:
            found[f"{name}: ratio_{key}"] = found[name][key] / found["new"][key]
    path = one_thread(lambda: list(linear_probe._heads(*train, classes, STRENGTHS, 2)))
    found["path"] = [scores(head, arrays) for head in path]
    new = {head.strength: head for head in path}
    found["objectives"] = [
        {"strength": old.strength}
        | {
            name: objective(head, *train)
            for name, head in (("old", old), ("new", new[old.strength]))
        }
        for old in heads["old"]
    ]
    raised = linear_probe._scales(train[0]) > train[0].std(0, dtype=np.float64) * (1 + 1e-6)
    return {
        **{side: len(arrays[side]) for side in SIDES},
        "classes": classes,
        "rows": len(train[0]),
        "floored": int(raised.sum()),
        **found,
    }


def compared(
    fits: dict[str, Callable[[], list[Head]]],
) -> tuple[dict[str, list[Head]], dict[str, dict[str, float]]]:
    """Return the heads and the median seconds of each of ``fits``."""
    # Imports are not timed.
    import sklearn.linear_model  # noqa: F401

    heads: dict[str, list[Head]] = {}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in fits}
    for name in ("new", "old, one thread", "new", "old", "new"):
        wall, cpu = time.perf_counter(), time.process_time()
        heads[name] = fits[name]()
        times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        print(name, times[name][-1], flush=True)
    middle = {name: np.median(rows, 0).tolist() for name, rows in times.items()}
    return heads, {name: {"s": wall, "cpu_s": cpu} for name, (wall, cpu) in middle.items()}


def one_thread(fit: Callable[[], list[Head]]) -> list[Head]:
    """Return what ``fit`` does while products have one thread, as those of the new solver have."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return fit()


def scores(head: Head, arrays: Arrays) -> dict[str, float]:
    """Return strength, validation macro-F1 (``val``) and the scores of the test photos."""
    predicted = {side: head.logits(arrays[side][:, 0]).argmax(1) for side in ("val", "test")}
    truth, classes = arrays["test_labels"], len(head.bias)
    return {
        "strength": head.strength,
        "val": macro_f1(arrays["val_labels"], predicted["val"], classes),
        "accuracy": accuracy(truth, predicted["test"]),
        "macro_f1": macro_f1(truth, predicted["test"], classes),
    }


def objective(
    head: Head, features: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any]
) -> float:
    """Return what both solvers minimize, divided by C and the number of rows."""
    true = softmax(head.logits(features))[np.arange(len(labels)), labels]
    kernel = head.kernel.astype(np.float64) * linear_probe._scales(features)[:, None]
    loss = -(weights / weights.mean()) @ np.log(true)
    return float(loss + (kernel**2).sum() / head.strength / 2) / len(labels)


def table(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    sets = result["sets"].items()
    old, new = (", ".join(f"{value:g}" for value in part) for part in (OLD_STRENGTHS, STRENGTHS))
    measured = ("strength", "val", "accuracy", "macro_f1")
    runs = _table(
        ("solver", *measured, "s", "cpu_s"),
        [(name, {"solver": run, **row[run]}) for name, row in sets for run in RUNS],
    )
    ratios = [f"{name}: ratio_{key}" for key in ("s", "cpu_s") for name in RUNS[:-1]]
    counts = ("rows", "train", "val", "test", "classes", *ratios)
    path = _table(measured, [(name, step) for name, row in sets for step in row["path"]])
    objectives = [(name, step) for name, row in sets for step in row["objectives"]]
    floored = ", ".join(f"{row['floored']} of {name}" for name, row in sets)
    return f"""# Stage 1: the solver before and now

On {on(result["machine"])}.  Other programs ran at the same time, so seconds of the clock (`s`)
vary more than those of the processor (`cpu_s`, both cores added).  `strength` is scikit-learn's C,
`val` macro-F1 on the validation photos; `accuracy` and `macro_f1` are of the test photos.
Strengths tried before: {old}; now: {new}, ending after two that are no better.

{runs}

Seconds of the old solver divided by those of the new one (`ratio_s`, `ratio_cpu_s`), in one run;
each of the two views of a training photo is a row.  `old` has as many threads as there are cores,
as it had.  `new` has one thread for sets of this size; its seconds are the median of three runs,
before, between and after the others.

{_table(counts, list(sets))}

## Every strength that is tried now

{path}

## The objective that both minimize, divided by C and the number of rows (lower is better)

{_table(("strength", "old", "new"), objectives, digits=6)}

Features whose scale was raised to the floor: {floored}.
"""


def _table(keys: Sequence[str], rows: Sequence[tuple[str, Any]], digits: int = 3) -> str:
    def cell(key: str, value: Any) -> Any:
        if key == "strength":
            return f"{value:g}"
        return f"{value:.{digits}f}" if isinstance(value, float) else value

    return grid(
        ["set", *(f"`{key}`" for key in keys)],
        [[name, *(cell(key, row[key]) for key in keys)] for name, row in rows],
    )


def main() -> None:
    parser = options(__doc__, "weights", work="stage-1")
    parser.add_argument("--sets", nargs="*", default=["birds", "cub"])
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    rows = {}
    for name in ("birds", "cub"):
        file = chosen.work / f"{name}-result.json"
        if name in chosen.sets:
            arrays = features_of(SHARED / "data" / name, chosen.weights, chosen.work)
            write_json(file, measure(arrays))
        if file.is_file():
            rows[name] = read_json(file)
    publish("stage-1", {"sets": rows}, table)


if __name__ == "__main__":
    main()
