"""How often do the 95 % intervals of ``rs-toolkit val`` hold the true score?

    python benchmarks/intervals.py [--rounds 200]

Draws test photos from simulated classifiers whose true scores are known: each class has a recall of
its own, and its mistakes go to few other classes, or to all alike.  Beside the intervals that
``val`` prints stand two others from the same draws of groups: percentiles, and the basic bootstrap
(twice the score less the percentiles).  Minutes on one core.  Writes ``results/intervals.*``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import grid, on, options, publish
from numpy.typing import NDArray

from rs_toolkit.metrics.intervals import (
    Estimate,
    macro_f1_draws,
    macro_f1_estimate,
    share_estimate,
)

# Classes, photos of each, and photos of a group.
CASES = ((30, 3, 1), (30, 10, 1), (30, 30, 1), (150, 6, 1), (30, 30, 5))
# Parameters of the beta distribution of recalls, and of the Dirichlet distribution of mistakes.
KINDS = {"good, few mistaken for": (6, 2, 0.1), "middling, all mistaken for": (3, 3, 1000.0)}
HEAD = ("accuracy", "macro_f1", "percentiles", "basic", "macro_f1_bias")


def classifier(classes: int, kind: str, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the shares of answers to photos of each class, (classes, classes)."""
    *beta, spread = KINDS[kind]
    recall = generator.beta(*beta, classes)
    mistakes = generator.dirichlet(np.full(classes, spread), classes)
    np.fill_diagonal(mistakes, 0)
    mistakes /= mistakes.sum(axis=1, keepdims=True)
    return np.diag(recall) + (1 - recall)[:, None] * mistakes


def true_scores(shares: NDArray[np.float64]) -> tuple[float, float]:
    """Return macro-F1 and accuracy on infinitely many photos, as many of each class."""
    right, named = np.diag(shares), shares.sum(axis=0)
    return float((2 * right / (1 + named)).mean()), float(right.mean())


def holds(found: Estimate, true: float) -> bool:
    """Return whether the interval of an estimate holds the true score."""
    assert found.low is not None and found.high is not None
    return found.low <= true <= found.high


def case(classes: int, photos: int, size: int, kind: str, rounds: int) -> dict[str, Any]:
    """Return how often the intervals held, and by how much macro-F1 was off on average."""
    generator = np.random.default_rng((classes, photos, size))
    held, off = [], []
    for _ in range(rounds):
        shares = classifier(classes, kind, generator)
        f1, accuracy = true_scores(shares)
        labels = np.repeat(np.arange(classes), photos // size)
        ends = shares.cumsum(axis=1)[labels]
        given = (ends < generator.random((len(labels), 1)) * ends[:, -1:]).sum(axis=1)
        groups = np.repeat(np.arange(len(labels)), size)
        labels, given = np.repeat(labels, size), np.repeat(given, size)
        one = macro_f1_estimate(labels, given, classes, groups)
        other = share_estimate(labels == given, groups)
        assert one is not None and other is not None
        value, draws = macro_f1_draws(labels, given, classes, groups)
        low, high = np.quantile(draws, (0.025, 0.975))
        beside = Estimate(value, low, high), Estimate(value, 2 * value - high, 2 * value - low)
        held.append((holds(other, accuracy), *(holds(found, f1) for found in (one, *beside))))
        off.append(one.value - f1)
    row = {"classes": classes, "photos": photos, "group": size, "kind": kind, "rounds": rounds}
    return {
        **row,
        **dict(zip(HEAD, [*np.mean(held, axis=0).tolist(), float(np.mean(off))], strict=True)),
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    head = ("kind", "classes", "photos", "group", *HEAD)
    return f"""# Intervals of rs-toolkit val: how often 95 % intervals held the true score

{on(result["machine"])}; {result["cases"][0]["rounds"]} simulated classifiers a row. photos: test \
photos of each class; group: photos of one group, with one answer. accuracy and macro_f1: as \
printed; percentiles and basic: other intervals of macro-F1; bias: mean of macro-F1 less the true \
one.

{grid(head, [[row[key] for key in head] for row in result["cases"]])}
"""


def main() -> None:
    """Run the simulations."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    publish(
        "intervals",
        {"cases": [case(*item, kind, rounds) for kind in KINDS for item in CASES]},
        table,
    )


if __name__ == "__main__":
    main()
