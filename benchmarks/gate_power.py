"""How often the gate is right: on simulated models, and on losses planted in those of trained ones.

    python benchmarks/gate_power.py [--set NAME ...] [--draws 200] [--record RUN NAME ...]

Draws sets of test photos again and again, and counts the verdicts on variants that lost nothing,
on variants that lost 2 or 3 points of macro-F1 in different ways, and on variants that name one
class no more.  The old gate's verdicts stand beside them.  ``--record`` first exports a run's
int8 model and keeps the logits of several looks at its test photos in ``benchmarks/work/gate``,
from where they become a set of this name.  Results of other sets are kept.  Writes
``results/gate-power.json`` and ``results/gate-power.md``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import BIRDS_RUN, RESULTS, grid, on, options, publish
from gate_worlds import HARMS, Sample, World, planted, recorded, simulated, true_loss
from old_gate import old_gate_passed

from rs_export.measure.looks import LOOKS, look
from rs_toolkit.files import read_json
from rs_toolkit.metrics.noninferiority import (
    FINAL,
    FIRST,
    KEPT,
    LOST,
    ONLY,
    UNDECIDED,
    Resamples,
    Verdict,
)
from rs_toolkit.metrics.paired import compare_classifiers, rarest_third

WORK = BIRDS_RUN.with_name("gate")
MARGINS = {"macro_f1": 0.02, "rare_macro_f1": 0.05, "worst_decile_f1": 0.05}
LOSSES = (0.02, 0.03)
HARDEST = "rare classes"
STUDIED = "simulated, 37 classes"
STUDIED_LOOKS = (1, 2, 4, LOOKS)


def worlds() -> dict[str, World]:
    """Return all sets: simulated ones, and those that were recorded."""

    def sizes(largest: float, least: float, classes: int) -> Any:
        return np.maximum(np.geomspace(largest, least, classes).round(), 1).astype(int)

    long, many, even = sizes(90, 3, 37), sizes(12, 0.6, 148), np.full(30, 30)
    few = {"noise": 0.18, "looks": LOOKS}
    found = [
        simulated(STUDIED, long, 0.75, **few),
        simulated("simulated, 148 classes", many, 0.62, **few, units=60),
        simulated("simulated, 30 x 30", even, 0.8, **few),
        simulated("simulated, 40 bursts", np.full(5, 8), 0.8, **few, frames=10),
    ]
    found += [recorded(path.stem, path) for path in sorted(WORK.glob("*.npz"))]
    return {world.name: world for world in found}


def judged(sample: Sample, rare: Any) -> tuple[Verdict, bool]:
    """Return the gate's verdict as an export reaches it, and whether it took a second look."""

    def compare(looks: int, error: float) -> Verdict:
        logits = (sample.reference[:, :looks], sample.variant[:, :looks])
        return compare_classifiers(sample.labels, sample.groups, *logits, rare, MARGINS, error)

    found = compare(1, FIRST)
    again = found.verdict == UNDECIDED or found.gone is not None
    return (compare(LOOKS, FINAL) if again else found), again


def well_named(sample: Sample) -> Any:
    """Return the classes with 3 photos or more and a recall of 1/2 or more."""
    right = sample.reference[:, 0].argmax(1) == sample.labels
    support = np.bincount(sample.labels)
    return np.flatnonzero((support >= 3) & (np.bincount(sample.labels, right) >= support / 2))


def samples(world: World, draws: int) -> Iterator[tuple[dict[str, Any], Iterator[Sample]]]:
    """Yield every kind of loss, and samples of it."""

    def drawn(harm: Any = None, size: float = 0.0) -> Iterator[Sample]:
        return (world.draw(np.random.default_rng(seed), harm, size) for seed in range(draws))

    def destroyed() -> Iterator[Sample]:
        for seed, sample in enumerate(drawn()):
            known = well_named(sample)
            sample.variant[:, :, known[seed % len(known)]] -= 100
            yield sample

    yield {"true_loss": 0.0, "how": "rounding"}, drawn()
    for loss in LOSSES:
        for kind in HARMS:
            harm = planted(world, kind, loss, seed=1)
            about = {"true_loss": loss, "first_look": true_loss(world, *harm, looks=1)}
            yield {**about, "how": kind}, drawn(*harm)
    # The hardest case: the same few photos show the loss, their other looks do not.
    harm = planted(world, HARDEST, LOSSES[-1], seed=1, looks=1)
    about = {"true_loss": true_loss(world, *harm), "first_look": true_loss(world, *harm, looks=1)}
    yield {**about, "how": f"{HARDEST}, by the first look"}, drawn(*harm)
    yield {"true_loss": None, "how": "one class destroyed"}, destroyed()


def cases(world: World, draws: int) -> list[dict[str, Any]]:
    """Return the shares of each verdict for every kind of loss."""
    classes = len(world.counts)
    rare = rarest_third(np.repeat(np.arange(classes), world.counts), classes)
    rows = []
    for about, drawn in samples(world, draws):
        verdicts, rarest, again, passed, agreed = [], [], [], [], []
        for sample in drawn:
            found, second = judged(sample, rare)
            one, two = (part[:, 0].argmax(1) for part in (sample.reference, sample.variant))
            limits = (MARGINS["macro_f1"], MARGINS["worst_decile_f1"])
            passed.append(old_gate_passed(sample.labels, one, two, classes, limits))
            verdicts.append(found.verdict)
            rarest.append(found.losses[1].verdict == KEPT)
            again.append(second)
            agreed.append(float((one == two).mean()))
        row = {"set": world.name, "photos": len(one), "classes": classes, "draws": draws, **about}
        row |= {name: verdicts.count(name) / draws for name in (KEPT, LOST, UNDECIDED)}
        means = {
            "old_passed": passed, "second_look": again, "agreement": agreed, "rare_kept": rarest
        }  # fmt: skip
        row |= {name: round(float(np.mean(values)), 3) for name, values in means.items()}
        print(row, flush=True)
        rows.append(row)
    return rows


def statistics(world: World, draws: int) -> list[dict[str, Any]]:
    """Compare statistics: flips, or expected answers at a low temperature, of 1 to all looks."""
    kinds = [("rounding", 0.0), *((kind, 0.02) for kind in HARMS)]
    rows = []
    for kind, loss in kinds:
        harm, size = planted(world, kind, loss, seed=1) if loss else (None, 0.0)
        found: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for seed in range(draws):
            sample = world.draw(np.random.default_rng(seed), harm, size)
            for key, value in uppers(sample).items():
                found.setdefault(key, []).append(value)
        for (name, looks), values in found.items():
            losses, highs = np.array(values).T
            rows.append(
                {
                    "statistic": name, "looks": looks, "how": kind, "true_loss": loss,
                    "mean": float(losses.mean()), "sd": float(losses.std()),
                    "kept": float((highs <= MARGINS["macro_f1"]).mean()),
                    "covered": float((highs >= loss).mean()),
                }
            )  # fmt: skip
    return rows


def answers(logits: Any, name: str) -> Any:
    """Return how much each photo counts for each class, (n, classes), over its looks."""
    if name == "flips":
        return np.eye(logits.shape[2], dtype=np.float32)[logits.argmax(2)].mean(1)
    powers = np.exp((logits - logits.max(2, keepdims=True)) / 0.3)
    return (powers / powers.sum(2, keepdims=True)).mean(1)


def uppers(sample: Sample) -> dict[tuple[str, int], tuple[float, float]]:
    """Return the loss of macro-F1, and its upper limit, by every statistic and number of looks.

    Each photo is a group of its own.
    """
    photos, _, classes = sample.reference.shape
    nothing = np.ones((photos, 1))
    drawn = Resamples(sample.groups, nothing, nothing)
    weights = np.concatenate(list(drawn)).astype(np.float32)
    truth, found = np.eye(classes, dtype=np.float32)[sample.labels], {}
    support = weights @ truth
    for name in ("flips", "expected answers"):
        for looks in STUDIED_LOOKS:
            scores = []
            for logits in (sample.reference[:, :looks], sample.variant[:, :looks]):
                given = answers(logits, name)
                f1 = 2 * (weights @ (truth * given)) / np.maximum(support + weights @ given, 1e-9)
                scores.append(np.nanmean(np.where(support > 0, f1, np.nan), axis=1))
            loss, _, high = drawn.limits(scores[0] - scores[1], ONLY, photos, classes)
            found[name, looks] = loss, high
    return found


def record(run: Path, recipe: str) -> None:
    """Keep the logits of a run's float model and of its variant, for several looks."""
    from rs_export.convert import Converter, Quantization
    from rs_export.measure.batches import logits_of
    from rs_export.quantize.ranges import class_balanced
    from rs_export.recipes import Recipe
    from rs_runtime.engines.engine import load_engine
    from rs_toolkit.folders.run import Run

    opened, made = Run.open(run), Recipe.parse(recipe)
    model, (photos, labels) = opened.load_model(), opened.split("test")

    def inputs(pixels: Any) -> Any:
        return np.asarray(opened.preprocessing.model_input(pixels), np.float32)

    def representative(count: int) -> Any:
        known, numbers = opened.split("train")
        return inputs(opened.pixels([known[i] for i in class_balanced(numbers, count, 0)]))

    with Converter(model, representative) as converter:
        engine = load_engine(made.engine, converter.convert(made, Quantization()), 2)
    pixels = opened.pixels(photos)
    seconds, found = {}, {}
    for name, model_of in (("reference", model.predict_on_batch), ("variant", engine.logits)):
        begun = time.perf_counter()
        parts = [
            logits_of(lambda part, of=model_of: of(inputs(part)), look(pixels, number))
            for number in range(LOOKS)
        ]
        seconds[name] = round(time.perf_counter() - begun, 1)
        found[name] = np.stack(parts, axis=1)
    print(f"{run.name}: {LOOKS} looks at {len(photos)} photos took {seconds} s")
    WORK.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(WORK / f"{opened.name}.npz", labels=labels, **found)


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    rows = [
        [
            row["set"],
            row["photos"],
            row["draws"],
            "" if row["true_loss"] is None else f"{100 * row['true_loss']:.2g}",
            f"{100 * row['first_look']:.1f}" if "first_look" in row else "",
            row["how"],
            f"{row['agreement']:.1%}",
            *(f"{row[key]:.1%}" for key in (KEPT, LOST, UNDECIDED, "old_passed", "second_look")),
        ]
        for row in result["cases"]
    ]
    head = ["set", "photos", "draws", "points lost", "by the first look", "how", "agreement"]
    studied = [
        [row["statistic"], row["looks"], f"{100 * row['true_loss']:g}", row["how"],
         f"{100 * row['mean']:.2f}", f"{100 * row['sd']:.2f}", f"{row['kept']:.1%}",
         f"{row['covered']:.1%}"]
        for row in result["statistics"]
    ]  # fmt: skip
    of = ["statistic", "looks", "points lost", "how", "mean", "sd", KEPT, "limit above the truth"]
    return f"""# How often the gate is right

Verdicts at a margin of 2 points of macro-F1 (5 of the rarest third and of the worst tenth), on \
sets of test photos drawn from each world; {on(result["machine"])}. Points lost: by all looks at \
all photos of the world, with many draws of rounding errors; none where a class is named no more. \
By the first look: the same loss on the photos as they are. Agreement: share of photos with the \
same answer as the float model.

{grid([*head, KEPT, LOST, UNDECIDED, "old gate passed", "looked again"], rows)}

## Which statistic tells best

Upper limit (95 %) of the loss of macro-F1 on "{STUDIED}", by a single look or several. Flips: \
answers as they are. Expected answers: softmax of the logits at a temperature of 0.3, which counts \
every change of a margin.

{grid(of, studied)}
"""


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__)
    parser.add_argument("--set", action="append", help="only this set; may be repeated")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--record", type=Path, help="a run folder to make a set of first")
    parser.add_argument("--recipe", default="tflite_int8", help="the int8 variant to record")
    chosen = parser.parse_args()
    if chosen.record:
        from rs_toolkit.environment import quiet_tensorflow

        quiet_tensorflow()
        record(chosen.record, chosen.recipe)
    known = RESULTS / "gate-power.json"
    before = read_json(known) if known.exists() else {"cases": [], "statistics": []}
    found, names = worlds(), chosen.set
    begun = time.perf_counter()
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in before["cases"]:
        rows.setdefault(row["set"], []).append(row)
    for name in names or found:
        rows[name] = cases(found[name], chosen.draws)
    studied = before["statistics"]
    if not names or STUDIED in names:
        studied = statistics(found[STUDIED], chosen.draws)
    result = {
        "cases": [row for part in rows.values() for row in part],
        "statistics": studied,
        "margins": MARGINS,
        "looks": LOOKS,
        "seconds": round(time.perf_counter() - begun, 1),
    }
    publish("gate-power", result, table)


if __name__ == "__main__":
    main()
