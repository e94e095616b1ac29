"""Non-inferiority: has a model lost no more than a margin against a reference?

Both models answer the same photos.  Not "is it shown to be worse?", but "is it shown to be no
worse than the margin?" is asked, so there are three verdicts:

``kept``
    The upper limit of the loss is within the margin.
``lost``
    The lower limit of a loss is beyond its margin, or a class that the reference names well is
    named no more.
``undecided``
    Neither: the photos cannot tell.

Photos of one group (a burst, near-duplicates) are no independent evidence, so groups are drawn,
and both models are scored on the same draw.  The difference can be measured on more than one look
at a photo (itself, its mirror image, and so on): looks of a photo are in its group, and share its
weight.  docs/decisions/0016 says why these and no other statistics.

References
----------
Walker, Nowacki (2011), Understanding equivalence and noninferiority testing; Efron, Tibshirani
(1993), An Introduction to the Bootstrap, chapter 13 (percentile limits); Field, Welsh (2007),
Bootstrapping clustered data (drawing whole groups).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rs_runtime.kit.verdict import KEPT, LOST, UNDECIDED

__all__ = [
    "FINAL",
    "FIRST",
    "KEPT",
    "LEFT",
    "LOST",
    "ONLY",
    "UNDECIDED",
    "ClassLoss",
    "Loss",
    "Resamples",
    "Verdict",
    "dealt_flips",
]

Floats = NDArray[np.float64]

ONLY, FIRST, FINAL = 0.05, 0.01, 0.04
"""How often one limit may be wrong: of a single look; of a first look, and of the one after it.

Looking twice gives two chances to be wrong, which must not add up to more than one look's
(Bonferroni; Pocock 1977, Group sequential methods, section 2).
"""

LEFT = 0.1
"""A class is named no more if at most this share of its recall is left."""

_ROUNDS = 2000
_CELLS = 2**24  # most weights in memory at a time
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Loss:
    """How much a score fell against the reference: in shares (-1 to 1), negative for a gain.

    ``metric`` names the score.  The true loss is below ``low``, or above ``high``, with a
    probability of at most 5 % each.  ``needed``: the verdict is ``kept`` only if this loss is; the
    other losses can only refuse.
    """

    metric: str
    loss: float
    low: float
    high: float
    margin: float
    needed: bool = True

    @property
    def verdict(self) -> str:
        """``kept``, ``lost`` or ``undecided``."""
        if self.low > self.margin + _TOLERANCE:
            return LOST
        return KEPT if self.high <= self.margin + _TOLERANCE else UNDECIDED


@dataclass(frozen=True)
class ClassLoss:
    """A class whose recall fell: over all looks from ``before`` to ``after``, 0 to 1.

    ``photos`` is the number of its photos that differ.  ``low`` and ``high`` are limits of the loss
    of recall as in :class:`Loss`, for this class alone: of a hundred, some are beyond theirs.
    ``gone``: the reference names it well, and the other model no more.
    """

    number: int
    photos: int
    before: float
    after: float
    low: float
    high: float
    gone: bool


@dataclass(frozen=True)
class Verdict:
    """The losses of a model, in order of importance, and the classes that fell, largest loss first.

    ``looks`` is the number of looks at each photo.
    """

    losses: tuple[Loss, ...]
    fallen: tuple[ClassLoss, ...] = ()
    looks: int = 1

    @property
    def gone(self) -> ClassLoss | None:
        """The first class that is named no more, if any."""
        return next((item for item in self.fallen if item.gone), None)

    @property
    def decisive(self) -> Loss:
        """The loss that decides: of the verdict's own kind, and of these the first."""
        if (item := self.gone) is not None:
            fall = item.before - item.after
            return Loss("recall", fall, item.low, item.high, (1 - LEFT) * item.before)
        needed = [item for item in self.losses if item.needed]
        lost = (item for item in self.losses if item.verdict == LOST)
        open_ = (item for item in needed if item.verdict == UNDECIDED)
        return next(lost, None) or next(open_, needed[0])

    @property
    def verdict(self) -> str:
        """``kept``, ``lost`` or ``undecided``."""
        return LOST if self.gone else self.decisive.verdict

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict, and the loss that decided, as JSON values (a kit's ``verdict``)."""
        found = self.decisive
        return {
            "verdict": self.verdict,
            "metric": found.metric,
            "loss_low": found.low,
            "loss_high": found.high,
            "margin": found.margin,
        }


class Resamples:
    """Draws of groups, with replacement; the first "draw" is every group once.

    Parameters
    ----------
    groups
        Group of each of n photos: integers, shape (n,).
    before, after
        Margins of the reference and of the other model, (n, looks): the score of the true class
        less that of the best other class.  An answer is right if its margin is above 0.

    Attributes
    ----------
    place
        Number of each photo's group, 0 to ``count`` - 1, shape (n,).
    count
        Number of groups.
    """

    def __init__(
        self,
        groups: ArrayLike,
        before: Floats,
        after: Floats,
        rounds: int = _ROUNDS,
        seed: int = 0,
    ) -> None:
        names, self.place = np.unique(np.asarray(groups), return_inverse=True)
        self.count = len(names)
        self._rounds, self._seed = rounds, seed
        fell = (before > 0).sum(axis=1) - (after > 0).sum(axis=1)
        change = np.bincount(self.place, fell) / np.bincount(self.place) / before.shape[1]
        changed = change[change != 0]
        size = float(np.sqrt(np.mean(changed**2))) if len(changed) else 1.0
        # What two more groups change, of which one loses and one gains.  Where none changed at all,
        # this gives the "rule of three": 3 of n groups may do so unseen.
        self._more = size * min(1.0, self.count * dealt_flips(before, after - before))
        self._unseen: Floats = np.zeros(0)

    def __iter__(self) -> Iterator[Floats]:
        """Yield weights of the groups, float64 (rounds, count), in parts that fit in memory."""
        generator, size = np.random.default_rng(self._seed), self.count + 2
        step = max(1, _CELLS // size)
        unseen: list[Floats] = [np.zeros(1)]
        yield np.ones((1, self.count))
        for start in range(0, self._rounds, step):
            rounds = min(step, self._rounds - start)
            places = generator.integers(0, size, (rounds, size)) + size * np.arange(rounds)[:, None]
            counts = np.bincount(places.ravel(), minlength=rounds * size).reshape(rounds, size)
            drawn = counts.astype(np.float64)
            unseen.append(drawn[:, -2] - drawn[:, -1])
            yield drawn[:, :-2]
        self._unseen = np.concatenate(unseen)

    def limits(
        self,
        losses: Floats,
        error: float,
        groups: int,
        parameters: int,
        first: float | None = None,
    ) -> tuple[float, float, float]:
        """Return the loss, and the limits that it passes with a probability of ``error`` each.

        Parameters
        ----------
        losses
            The loss on each draw of a finished iteration, (1 + rounds,); NaN where the draw has
            none of the photos that it is about.
        groups, parameters
            Number of groups that the loss is about, and of means (one for each class) that it is
            made of.  Draws of few groups for a mean vary too little, by the root of ``groups /
            (groups - parameters)`` (degrees of freedom); at most the variance is doubled.
        first
            The loss on the photos as they are, if ``losses`` are by more looks.  It is never
            outside of the limits: where other looks say that less was lost than these very photos
            show, the photos cannot tell.
        """
        drawn = losses[1:] + self._more * self._unseen[1:] / max(groups, 1)
        ends = np.quantile(drawn[np.isfinite(drawn)], (error, 1 - error))
        loss = float(losses[0])
        wider = np.sqrt(groups / max(groups - parameters, groups / 2))
        low, high = (float(end) for end in np.clip(loss + wider * (ends - loss), -1, 1))
        shown = [loss] if first is None or not np.isfinite(first) else [loss, first]
        return loss, min(low, *shown), max(high, *shown)


def dealt_flips(margins: ArrayLike, changes: ArrayLike) -> float:
    """Return the share of answers that would change sides, were the changes dealt out at random.

    The photos at hand may all be right before and after, and yet others not.  How many must be
    expected is told by the changes of the margins: dealt to other photos, do they turn any?

    Parameters
    ----------
    margins, changes
        The reference's margins, and by how much the other model's differ; of the same shape.
    """
    ordered, change = np.sort(np.ravel(margins)), np.ravel(changes)
    # Between 0 and -change lie the margins that a change turns.
    ends = np.searchsorted(ordered, [np.minimum(-change, 0), np.maximum(-change, 0)])
    return float((ends[1] - ends[0]).mean()) / max(len(ordered), 1)
