"""Do thresholds, sets and the unknown score keep their promises on photos never fitted on?

    python benchmarks/thresholds.py [--runs FOLDER] [--data FOLDER] [--weights FILE] [--only-runs]

- ``simulation``: perfectly calibrated models, drawn from a hierarchy of 120 species, 40 genera and
  12 families, with 4,000 validation photos and 20,000 others.
- ``sample``: the committed reference model on a synthetic sample that it has never seen.
- Trained runs below ``--runs`` (``cub-family``, ``cub-species``, ``birds-family``), by their float
  model and, where the run was exported, by their 8-bit ONNX model.
- Linear probes on frozen features of ``cub`` and ``birds``, which are weaker than trained models.
- For the unknown score linear probes that were fitted without a fifth of the families; and the
  ``cub-family`` model on photos of ``birds``: families of the model against families that it has
  never seen; and what ``unknown_families.py`` found.

Validation and test photos are those of each run.  The coverage of sets is the mean over 40 random
divisions of both into two parts of their sizes, because one division of a few hundred photos is
off by 2 points by chance.  What was done before is measured beside it: every rank fitted on all
photos, without a bound.  With ``--only-runs`` only trained runs are measured, and what was
measured of all else is kept.  Writes ``results/thresholds.json`` and ``results/thresholds.md``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import RESULTS, ROOT, grid, on, options, publish
from numpy.typing import NDArray
from thresholds_probe import held_out_families, other_photos, probe_of

from rs_export.certainty import answered, calibrate
from rs_export.result import Calibration
from rs_runtime.kit.manifest import ClassInfo
from rs_runtime.ranks import Level, levels
from rs_runtime.sets import in_set
from rs_toolkit.data.groups import group_photos
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import read_json
from rs_toolkit.folders.run import Run
from rs_toolkit.metrics.calibration import fit_temperature
from rs_toolkit.metrics.classification import softmax
from rs_toolkit.metrics.sets import CHECKED, fit_sets

PRECISION = 0.9
KEYS = ("ranks", "coverage", "unknown")
RUNS = ("cub-family", "cub-species", "birds-family")
DIVISIONS = 40
SIMULATED = {"weak": 0.7, "middling": 1.0, "strong": 1.5}
FITS, VALIDATION, FRESH = 10, 4000, 20_000
NUMBERS = np.arange(120)
LEVELS = tuple(
    Level(rank, tuple(f"{rank} {i}" for i in range(120 // size)), NUMBERS // size)
    for rank, size in (("species", 1), ("genus", 3), ("family", 10))
)


Ranks = tuple[Level, ...]


class Side(NamedTuple):
    """Logits (n, classes), true classes (n,) and groups (n,) of photos."""

    logits: NDArray[Any]
    labels: NDArray[Any]
    groups: NDArray[Any]

    def rows(self, chosen: NDArray[Any]) -> Side:
        return Side(*(part[chosen] for part in self))


def simulated(quality: float, seed: int, photos: int) -> Side:
    """Return photos whose labels are drawn from the model's own probabilities."""
    generator = np.random.default_rng((seed, photos))
    base = generator.integers(0, 120, photos)
    logits = generator.normal(0, 1, (photos, 120))
    for level, gain in zip(LEVELS, (2.0, 3.0, 3.0), strict=True):
        same = level.places == level.places[base][:, None]
        logits += quality * gain * generator.gamma(2, 0.5, (photos, 1)) * same
    drawn = generator.random((photos, 1))
    labels = np.minimum((softmax(logits).cumsum(axis=1) < drawn).sum(axis=1), 119)
    return Side(logits.astype(np.float32), labels, np.arange(photos))


def before(side: Side, ranks: Ranks) -> Calibration:
    """Return thresholds as they were: the lowest at which 90 % of 20 photos or more are right."""
    temperature = fit_temperature(side.logits, side.labels)
    probabilities = softmax(side.logits / temperature)
    thresholds = {}
    for level in ranks:
        taxa = level.probabilities(probabilities)
        order = np.argsort(-taxa.max(axis=1), kind="stable")
        right = np.cumsum((taxa.argmax(axis=1) == level.places[side.labels])[order])
        counts = np.arange(1, len(order) + 1)
        good = np.flatnonzero((right >= PRECISION * counts) & (counts >= 20))
        if len(good):
            thresholds[level.rank] = float(taxa.max(axis=1)[order][good[-1]])
    return Calibration(temperature, thresholds)


def rank_rows(name: str, val: Side, test: Side, ranks: Ranks) -> list[dict[str, Any]]:
    """Fit on ``val``, and count the names and right names of each rank on ``test``."""
    new = answered(*test, ranks, calibrate(*val, ranks, PRECISION))
    old = answered(*test, ranks, before(val, ranks))
    rows = []
    for level in ranks:
        row = {"set": name, "rank": level.rank, "photos": len(test.labels), "named": 0, "right": 0}
        row |= new.get(level.rank, {})
        was = old.get(level.rank, {"named": 0, "right": 0})
        rows.append({**row, "named_before": was["named"], "right_before": was["right"]})
    return rows


def simulation() -> list[dict[str, Any]]:
    """Return a row for each model and rank: names summed over fits, and the worst fit."""
    rows = []
    for name, quality in SIMULATED.items():
        fresh = simulated(quality, 1000, FRESH)
        fits = [
            rank_rows(f"simulation, {name}", simulated(quality, seed, VALIDATION), fresh, LEVELS)
            for seed in range(FITS)
        ]
        for same in zip(*fits, strict=True):
            summed = ("photos", "named", "right", "named_before", "right_before")
            row = {key: same[0][key] for key in ("set", "rank")}
            row |= {key: sum(item[key] for item in same) for key in summed}
            row["worst"] = min(
                (i["right"] / i["named"] for i in same if i["named"] >= 30), default=None
            )
            rows.append(row)
    return rows


def coverages(name: str, val: Side, test: Side) -> list[dict[str, Any]]:
    """Return the coverage reached by sets, and by sets of plain probabilities, on other photos."""
    both = Side(*(np.concatenate(parts) for parts in zip(val, test, strict=True)))
    classes, generator = both.logits.shape[1], np.random.default_rng(0)
    found: dict[float, list[list[float]]] = {asked: [] for asked in CHECKED}
    names = np.unique(both.groups)
    for _ in range(DIVISIONS):
        drawn = generator.permutation(names)[
            : round(len(names) * len(val.labels) / len(both.labels))
        ]
        inner = np.isin(both.groups, drawn)
        one, other = both.rows(inner), both.rows(~inner)
        temperature = fit_temperature(*one)
        fitted, fresh = (softmax(side.logits / temperature) for side in (one, other))
        spec = fit_sets(fitted, one.labels, one.groups)
        plain = np.sort(fitted[np.arange(len(fitted)), one.labels])
        for asked in CHECKED:
            limit = plain[max(0, int((1 - asked) * (len(plain) + 1)) - 1)]
            scores = [
                score
                for inside in (in_set(fresh, spec, asked), fresh >= limit)
                for score in _held(inside, other.labels, classes)
            ]
            found[asked].append(scores)
    keys = ("reached", "by_class", "size", "plain_reached", "plain_by_class", "plain_size")
    return [
        {
            "set": name,
            "asked": asked,
            **dict(zip(keys, np.mean(rows, axis=0).tolist(), strict=True)),
        }
        for asked, rows in found.items()
    ]


def _held(inside: NDArray[np.bool_], labels: NDArray[Any], classes: int) -> tuple[float, ...]:
    held, photos = inside[np.arange(len(labels)), labels], np.bincount(labels, minlength=classes)
    shares = np.bincount(labels, held, classes)[photos > 0] / photos[photos > 0]
    return held.mean(), shares.mean(), inside.sum(axis=1).mean()


def sides(run: Run, model: Any) -> tuple[Side, Side]:
    """Return validation and test photos of a run, by ``model``, which takes a model's inputs."""
    found = []
    for side in ("val", "test"):
        photos, labels = run.split(side)
        parts = [
            np.asarray(model(run.preprocessing.model_input(run.pixels(photos[at : at + 32]))))
            for at in range(0, len(photos), 32)
        ]
        found.append(Side(np.concatenate(parts), labels, group_photos(photos).numbers))
    # Groups of both sides must not share numbers.
    val, test = found
    return val, test._replace(groups=test.groups + val.groups.max() + 1)


def models(run: Run) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield names of the float model and, if it was exported, an 8-bit one, and what loads them."""
    from rs_runtime.engines.engine import load_engine

    yield "float", lambda: run.load_model().predict_on_batch
    path = run.path / "export" / "models" / "onnx_u8s8.onnx"
    if path.is_file():
        yield "onnx_u8s8", lambda: load_engine("onnxruntime", path.read_bytes()).logits


def reference_run(folder: Path) -> Run:
    """Return a run of the committed reference model with photos that it has never seen."""
    sys.path.insert(0, str(ROOT / "tests" / "regression"))
    from budget import BUDGETS, reference_run

    given = read_json(BUDGETS)["reference"]
    given = {**given, "sample": {**given["sample"], "photos": 2400, "seed": 300}}
    given["splits"] = {**given["splits"], "val": 0.35, "test": 0.5}
    return Run.open(reference_run(given, folder))


def trained(folder: Path, work: Path) -> Iterator[tuple[str, Side, Side, Ranks]]:
    """Yield name, validation photos, test photos and ranks of each model; ``work`` keeps logits."""
    with tempfile.TemporaryDirectory(prefix="rs-thresholds-") as temporary:
        runs = {"sample": reference_run(Path(temporary))}
        for name in RUNS:
            if (folder / name / "metrics.json").is_file():
                runs[name] = Run.open(folder / name)
        for name, run in runs.items():
            taxa = [{k: v for k, v in item["taxon"].items() if v} for item in run.classes]
            rows = zip(run.classes, taxa, strict=True)
            classes = tuple(ClassInfo(c["id"], c["name"], None, taxon) for c, taxon in rows)
            for variant, model in models(run):
                file = work / f"{name}-{variant}.npz"
                if not file.is_file():
                    val, test = sides(run, model())
                    np.savez(file, *val, *test)
                kept = list(np.load(file).values())
                ranks = levels(classes, run.rank)
                yield f"{name}, {variant}", Side(*kept[:3]), Side(*kept[3:]), ranks


def probed(shared: Path, chosen: Any) -> Iterator[tuple[str, Side, Side, Ranks]]:
    """Yield the same of linear probes."""
    for name, rank in (("cub", "family"), ("cub", "common_name"), ("birds", "family")):
        if (shared / name).is_dir():
            found = probe_of(shared / name, rank, chosen.weights, chosen.work)
            ranks = levels(found.classes, rank)
            yield f"{name} {rank}, probe", Side(*found.val), Side(*found.test), ranks


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    ranks = [
        [row["set"], row["rank"], row["photos"], row["named"], _share(row, ""), row.get("worst"),
         row["named_before"], _share(row, "_before")]
        for row in result["ranks"]
    ]  # fmt: skip
    head = ["set", "rank", "photos", "named", "right", "worst fit", "named before", "right before"]
    keys = ("set", "asked", "reached", "by_class", "size")
    plain = ("plain_reached", "plain_by_class", "plain_size")
    scores = list(result["unknown"][0]["scores"]) if result["unknown"] else []
    return f"""# Thresholds, sets and the unknown score

{on(result["machine"])}. Fitted on validation photos, measured on others.

## Names: 90 % of them are to be right at each rank

Simulations: {FITS} fits to {VALIDATION:,} photos each, names summed over them; worst: the fit \
with the lowest share right. Before: each rank fitted on all photos, without a bound.

{grid(head, ranks)}

## Sets of classes: mean over {DIVISIONS} divisions of the photos

By class: mean over the classes of the share of their photos whose set holds them. Plain: sets of \
the most probable classes, without adjustment to the prevalence.

{grid([*keys, *plain], [[row[key] for key in (*keys, *plain)] for row in result["coverage"]])}

## Photos of families that the model does not know: AUROC of scores

`auroc` is that of the score in kits, {result["score"]}.

{grid(["set", "known", "unknown", "accuracy", "auroc", *scores], [
    [*(row[key] for key in ("set", "known", "unknown", "accuracy", "auroc")),
     *(row["scores"].get(key) for key in scores)] for row in result["unknown"]])}
"""  # fmt: skip


def _share(row: dict[str, Any], when: str) -> float | None:
    return row[f"right{when}"] / row[f"named{when}"] if row[f"named{when}"] else None


def main() -> None:
    """Run the benchmark."""
    from rs_toolkit.metrics.unknown import SCORE

    parser = options(__doc__, "data", "weights", work="thresholds")
    parser.add_argument("--runs", type=Path, default=ROOT / "benchmarks" / "work")
    parser.add_argument("--only-runs", action="store_true")
    chosen = parser.parse_args()
    quiet_tensorflow()
    chosen.work.mkdir(parents=True, exist_ok=True)
    held_out = RESULTS / "unknown-families.json"
    families = read_json(held_out)["unknown"] if held_out.is_file() else []
    measured = [*trained(chosen.runs, chosen.work)]
    if chosen.only_runs:
        new = {*(name for name, *_ in measured), *(row["set"] for row in families)}
        before = read_json(RESULTS / "thresholds.json")
        result = {key: [row for row in before[key] if row["set"] not in new] for key in KEYS}
    else:
        measured += probed(chosen.data.parent, chosen)
        result = {"ranks": simulation(), "coverage": [], "unknown": unknown(chosen)}
    for name, val, test, ranks in measured:
        result["ranks"] += rank_rows(name, val, test, ranks)
        result["coverage"] += coverages(name, val, test)
    result["unknown"] += families
    publish("thresholds", {**result, "score": SCORE, "precision": PRECISION}, table)


def unknown(chosen: Any) -> list[dict[str, Any]]:
    """Return AUROCs of the unknown score by probes and by the ``cub-family`` model."""
    rows = []
    for name in ("cub", "birds"):
        rows += held_out_families(chosen.data.parent / name, chosen.weights, chosen.work)
    if (chosen.runs / "cub-family" / "metrics.json").is_file():
        run = Run.open(chosen.runs / "cub-family")
        rows += other_photos(run, chosen.data.parent / "birds", chosen.work)
    return rows


if __name__ == "__main__":
    main()
