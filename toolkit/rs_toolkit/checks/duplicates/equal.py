"""Equal hashes searched once: pairs of different hashes, spread to the photos that have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.checks.duplicates.bands import Near

__all__ = ["EqualRows", "equal_rows", "spread"]

Numbers = NDArray[np.int64]

# Photos times different hashes near each, that are spread at once.
_COMBINATIONS = 2**16


class EqualRows(NamedTuple):
    """The rows of each of m different hashes.

    ``first`` is a row of each, (m,).  Hash h has the rows ``order[starts[h] : starts[h + 1]]``, in
    ascending order; ``order`` is (n,), ``starts`` (m + 1,).
    """

    first: Numbers
    order: Numbers
    starts: Numbers

    @property
    def most(self) -> int:
        """The number of rows of the most frequent hash."""
        return int(np.diff(self.starts).max(initial=0))


def equal_rows(hashes: NDArray[np.uint64]) -> EqualRows:
    """Return the rows of each different one of ``hashes``, (n,)."""
    order = np.argsort(hashes, kind="stable")
    new = np.flatnonzero(np.diff(hashes[order])) + 1
    starts = np.concatenate([[0], new, [len(hashes)]]) if len(hashes) else np.zeros(1, np.int64)
    return EqualRows(order[starts[:-1]], order, starts)


def spread(
    near: Near, one: EqualRows, other: EqualRows, limit: int, symmetric: bool
) -> Iterator[Near]:
    """Yield the pairs of rows that have near hashes; those of one row come together.

    ``near`` holds pairs of different hashes, numbers in ``one`` and in ``other``, sorted by the
    first.  Of each hash near a row only as many rows are taken as the ``limit`` nearest may need:
    the first ones, and if ``symmetric`` the first ones after the row.
    """
    hashes, starts, counts = np.unique(near.rows, return_index=True, return_counts=True)
    owners = np.diff(one.starts)[hashes]
    place = np.repeat(np.arange(len(hashes)), owners)  # in ``hashes``, of each row
    within = np.arange(len(place)) - np.repeat(np.cumsum(owners) - owners, owners)
    rows = one.order[one.starts[hashes][place] + within]
    # Where a row stands among those of a hash is found in one sorted list of both numbers.
    count = len(other.order)
    codes = np.repeat(np.arange(len(other.first)), np.diff(other.starts)) * count + other.order
    total = np.cumsum(counts[place])
    start = 0
    while start < len(rows):
        done = total[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total, done + _COMBINATIONS, "right")))
        some = place[start:stop]
        pair, own = _runs(starts[some], counts[some])
        row, column = rows[start:stop][own], near.columns[pair]
        begin = other.starts[column]
        if symmetric:
            begin = np.searchsorted(codes, column * count + row, "right")
        # One more, which may be the row itself.
        taken = np.minimum(other.starts[column + 1] - begin, limit + (not symmetric))
        entry, source = _runs(begin, taken)
        yield Near(row[source], other.order[entry], near.distances[pair][source])
        start = stop


def _runs(starts: Numbers, lengths: Numbers) -> tuple[Numbers, Numbers]:
    """Return the numbers of all runs one after the other, and the run that each belongs to."""
    run = np.repeat(np.arange(len(starts)), lengths)
    return np.arange(len(run)) + (starts - np.cumsum(lengths) + lengths)[run], run
