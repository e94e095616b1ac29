"""Photos with logits of two models, drawn at random, for ``gate_power.py``.

A world has units (single photos, or bursts of frames), each with several looks.  The reference and
the variant are the world's logits with one half of a rounding error added and taken away, so that
by chance alone neither is better; what a planted loss takes away comes on top.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["HARMS", "Sample", "World", "planted", "recorded", "simulated", "true_loss"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Harm = Callable[[Floats, float, np.random.Generator], Floats]
HARMS = ("noise", "rare classes", "a few classes")
_PHOTOS = 15_000  # at least so many, with their draws of rounding errors, tell a world's true loss


@dataclass(frozen=True)
class Sample:
    """n test photos: labels and groups (n,), and two models' logits (n, looks, classes)."""

    labels: Ints
    groups: Ints
    reference: Floats
    variant: Floats


@dataclass(frozen=True)
class World:
    """Units of photos to draw test photos from.

    Attributes
    ----------
    name : as the results name it
    labels : class of each unit, (units,)
    logits : of a float model, (units, frames, looks, classes)
    errors : rounding errors to deal out, of the same shape but for the first number
    counts : number of units of each class in a set of test photos, (classes,)
    """

    name: str
    labels: Ints
    logits: Floats
    errors: Floats
    counts: Ints

    def draw(self, generator: np.random.Generator, harm: Harm | None, size: float) -> Sample:
        """Draw a set of test photos; ``harm`` of this ``size`` is done to the variant."""
        places = [
            generator.choice(np.flatnonzero(self.labels == number), count)
            for number, count in enumerate(self.counts)
        ]
        return self.take(np.concatenate(places), generator, harm, size)

    def take(
        self, units: Ints, generator: np.random.Generator, harm: Harm | None, size: float
    ) -> Sample:
        """Return these units as a sample, with fresh rounding errors."""
        logits, (frames, looks, classes) = self.logits[units], self.logits.shape[1:]
        error = self.errors[generator.integers(0, len(self.errors), len(units))]
        error = error * generator.choice([-0.5, 0.5], len(units))[:, None, None, None]
        variant = (logits - error).astype(np.float32)
        if harm is not None:
            variant = harm(variant, size, generator)
        shape = (len(units) * frames, looks, classes)
        return Sample(
            labels=np.repeat(self.labels[units], frames),
            groups=np.repeat(np.arange(len(units)), frames),
            reference=(logits + error).astype(np.float32).reshape(shape),
            variant=variant.reshape(shape),
        )


def harm_of(world: World, kind: str, generator: np.random.Generator) -> Harm:
    """Return what does a loss of a kind: noise in all logits, or lower logits of some classes."""
    classes = len(world.counts)
    if kind == "noise":
        return lambda logits, size, values: (
            logits + size * values.normal(size=logits.shape).astype(np.float32)
        )
    chosen = (
        np.argsort(world.counts, kind="stable")[: classes // 3]
        if kind == "rare classes"
        else generator.choice(classes, max(3, classes // 12), replace=False)
    )
    lower = np.isin(np.arange(classes), chosen).astype(np.float32)
    return lambda logits, size, _: logits - size * lower


def planted(
    world: World, kind: str, loss: float, seed: int, looks: int | None = None
) -> tuple[Harm, float]:
    """Return a harm and its size, which costs the world ``loss`` of macro-F1, 0 to 1.

    The loss is that of all looks, or of the first ones, at all photos; see :func:`true_loss`.
    """
    harm = harm_of(world, kind, np.random.default_rng(seed))
    low, high = 0.0, 12.0
    for _ in range(11):
        middle = (low + high) / 2
        small = true_loss(world, harm, middle, looks) < loss
        low, high = (middle, high) if small else (low, middle)
    return harm, (low + high) / 2


def true_loss(world: World, harm: Harm, size: float, looks: int | None = None) -> float:
    """Return what a harm of this size costs the world in macro-F1, by all looks or the first ones.

    Each class counts by its share of the test photos.  A world of few photos is taken with many
    draws of rounding errors: with a single one, the loss of some hundred photos is a point off.
    """
    share = world.counts / world.counts.sum()
    weights = (share / np.bincount(world.labels, minlength=len(share)))[world.labels]
    units, frames, every, _ = world.logits.shape
    taken = looks or every
    weights, lost = np.repeat(weights, frames * taken), []
    for seed in range(1000, 1000 + -(-_PHOTOS // (units * frames))):
        sample = world.take(np.arange(units), np.random.default_rng(seed), harm, size)
        truth = np.repeat(sample.labels, taken)
        before, after = (
            weighted_macro_f1(truth, part[:, :taken].argmax(2).ravel(), weights)
            for part in (sample.reference, sample.variant)
        )
        lost.append(before - after)
    return float(np.mean(lost))


def weighted_macro_f1(truth: Ints, given: Ints, weights: NDArray[np.float64]) -> float:
    """Return macro-F1 where each photo counts by its weight."""
    classes = int(max(truth.max(), given.max())) + 1
    hits, support, named = (
        np.bincount(where, part, classes)
        for where, part in ((truth, weights * (truth == given)), (truth, weights), (given, weights))
    )
    tested = support > 0
    return float(np.mean(2 * hits[tested] / (support + named)[tested]))


def simulated(
    name: str,
    counts: Ints,
    macro_f1: float,
    *,
    noise: float,
    looks: int,
    frames: int = 1,
    units: int = 300,
    seed: int = 0,
) -> World:
    """Return a simulated world whose float model has about this macro-F1.

    Classes differ in how easy they are and whom they resemble, photos in how hard they are; looks
    and frames of a unit differ by an eighth of its variance.  A quarter of the rounding error,
    whose standard deviation is ``noise``, is common to the looks, as measured on real int8 models.
    """
    generator, classes = np.random.default_rng(seed), len(counts)
    labels = np.repeat(np.arange(classes), units)
    alike = generator.normal(size=(classes, 8))
    alike = np.where(np.eye(classes), 0, alike @ alike.T / np.sqrt(8))
    shape = (len(labels), frames, looks, classes)
    logits = np.sqrt(7 / 8) * generator.normal(size=(len(labels), 1, 1, classes))
    logits = logits + np.sqrt(1 / 8) * generator.normal(size=shape)
    logits = logits + (0.5 * alike + 0.35 * np.log(counts / counts.mean()))[labels][:, None, None]
    own = generator.normal(0, 0.5, classes)[labels] + generator.normal(size=len(labels))
    rows, truth = np.arange(len(labels)), labels
    weights = (counts / counts.sum() / units)[labels]
    low, high = -2.0, 12.0
    for _ in range(12):
        middle = (low + high) / 2
        first = logits[:, 0, 0].copy()
        first[rows, labels] += middle + own
        found = weighted_macro_f1(truth, first.argmax(1), weights)
        low, high = (middle, high) if found < macro_f1 else (low, middle)
    logits[rows, :, :, labels] += (low + own)[:, None, None]
    error = np.sqrt(1 / 4) * generator.normal(size=(len(labels), 1, 1, classes))
    error = noise * (error + np.sqrt(3 / 4) * generator.normal(size=shape))
    return World(name, labels, logits.astype(np.float32), error.astype(np.float32), counts)


def recorded(name: str, path: Path) -> World:
    """Return the world of a trained model's test photos; see ``gate_power.py --record``."""
    with np.load(path) as saved:
        labels, reference, variant = saved["labels"], saved["reference"], saved["variant"]
    counts = np.bincount(labels, minlength=reference.shape[2])
    return World(name, labels, reference[:, None], (variant - reference)[:, None], counts)
