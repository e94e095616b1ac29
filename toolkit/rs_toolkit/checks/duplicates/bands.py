"""Exact search of near hashes by bands of bits: multi-index hashing.

Hashes of 64 bits are cut into three bands.  If two hashes differ in at most ``r`` bits, and the
bands' own radii are ``r1, r2, r3`` with ``(r1 + 1) + (r2 + 1) + (r3 + 1) = r + 1``, then at least
one band differs in at most its own radius.  So a query looks only into those cells of each band's
table that its own bits lead to after at most that many flips, and whole hashes are compared there.
None is missed.

References
----------
Norouzi, Punjani, Fleet (2012), Fast search in Hamming space with multi-index hashing, CVPR.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations
from math import comb
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Near", "banded", "banded_seconds"]

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]

_WIDTHS = (22, 21, 21)  # bits of the bands: tables of at most 4 million cells
# Seconds that one core takes to look into a cell, and to compare a further hash found there.
_LOOK, _COMPARE = 6e-9, 10e-9
_MOST_LOOKS = 50_000  # per query; with more, all hashes are compared sooner
_SAMPLE = 32  # queries from which the work is estimated
_QUERIES = 65_536  # queries that are looked up at once, whose arrays fit in the processor's cache
_COMPARED = 2**21  # further hashes compared at once
_MOST_PAIRS = 50_000_000


class Near(NamedTuple):
    """Pairs of a query and a hash: their rows, and the bits in which they differ; each (m,)."""

    rows: Numbers
    columns: Numbers
    distances: NDArray[Any]


class _Band:
    """A table of hashes by the bits of one band.

    Cell c holds the hashes ``starts[c]`` to ``starts[c + 1] - 1`` of the sorted ones.  ``head`` is
    the first hash of each cell, 0 where there is none.
    """

    def __init__(self, hashes: Words, shift: int, width: int, radius: int) -> None:
        self.shift, self.width, self.radius = shift, width, radius
        keys = self.keys(hashes)
        self.order = np.argsort(keys, kind="stable")
        self.hashes = hashes[self.order]
        counts = np.bincount(keys, minlength=2**width)
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self.filled, self.several = counts > 0, counts > 1
        self.head = np.zeros(2**width, np.uint64)
        self.head[self.filled] = self.hashes[self.starts[:-1][self.filled]]

    def keys(self, hashes: Words) -> Numbers:
        """Return the bits of this band, (n,)."""
        return _bits(hashes, self.shift, self.width).astype(np.int64)

    def flips(self) -> Numbers:
        """Return all numbers of ``width`` bits of which at most ``radius`` are set."""
        counts = range(self.radius + 1)
        chosen = (bits for count in counts for bits in combinations(range(self.width), count))
        return np.sort(np.fromiter((sum(1 << bit for bit in bits) for bits in chosen), np.int64))


def _bits(hashes: Words, shift: int, width: int) -> Words:
    return (hashes >> np.uint64(shift)) & np.uint64(2**width - 1)


def _radii(radius: int) -> list[int]:
    """Return each band's radius; -1 for a band that is not needed."""
    each, rest = divmod(radius + 1, len(_WIDTHS))
    return [each - 1 + (number < rest) for number in range(len(_WIDTHS))]


def _bands(hashes: Words, radius: int) -> list[_Band]:
    shifts = np.cumsum((0, *_WIDTHS[:-1])).tolist()
    rows = zip(shifts, _WIDTHS, _radii(radius), strict=True)
    return [_Band(hashes, shift, width, own) for shift, width, own in rows if own >= 0]


def banded_seconds(queries: Words, hashes: Words, radius: int) -> float:
    """Return about how long :func:`banded` takes on one core; infinite if far too long.

    It is slow where many different hashes have equal bits in a band.
    """
    radii, shifts = _radii(radius), np.cumsum((0, *_WIDTHS[:-1])).tolist()
    looks = sum(comb(w, k) for w, r in zip(_WIDTHS, radii, strict=True) for k in range(r + 1))
    if looks > _MOST_LOOKS:
        return float("inf")
    some, compared = queries[:: max(1, len(queries) // _SAMPLE)], 0
    for query in some:
        differing = hashes ^ query
        for shift, width, own in zip(shifts, _WIDTHS, radii, strict=True):
            compared += int(np.sum(np.bitwise_count(_bits(differing, shift, width)) <= own))
    return len(queries) * (looks * _LOOK + compared / max(len(some), 1) * _COMPARE)


def banded(queries: Words, hashes: Words, radius: int, threads: int = 1) -> Near | None:
    """Return all pairs of a query and a hash that differ in at most ``radius`` bits, 0 to 64.

    Each pair comes once; pairs are sorted by query, then by hash.  None: there are more than 50
    million, too many for the memory.
    """
    found, count, earlier = [_none()], 0, list[_Band]()
    for band in _bands(hashes, radius):
        flips, keys = band.flips(), band.keys(queries)
        # Queries with similar bits look into the same part of the table.
        order = np.argsort(keys, kind="stable")
        parts = [order[start : start + _QUERIES] for start in range(0, len(order), _QUERIES)]
        look_up = partial(_look_up, band, flips, queries, keys, radius)
        with ThreadPoolExecutor(threads) as pool:
            for near in pool.map(look_up, parts):
                fresh = np.ones(len(near.rows), np.bool_)
                differing = queries[near.rows] ^ hashes[near.columns]
                for other in earlier:  # it has found the pairs within its radius
                    fresh &= np.bitwise_count(other.keys(differing)) > other.radius
                found.append(Near(near.rows[fresh], near.columns[fresh], near.distances[fresh]))
                count += len(found[-1].rows)
                if count > _MOST_PAIRS:
                    pool.shutdown(cancel_futures=True)
                    return None
        earlier.append(band)
    rows, columns, distances = _joined(found)
    order = np.lexsort((columns, rows))
    return Near(rows[order], columns[order], distances[order])


def _look_up(
    band: _Band, flips: Numbers, queries: Words, keys: Numbers, radius: int, part: Numbers
) -> Near:
    """Return the pairs that one band finds for the queries ``part``, positions in ``queries``."""
    queries, keys, found = queries[part], keys[part], [_none()]
    cells, flags = np.empty_like(keys), np.empty(len(keys), np.bool_)
    words, counts = np.empty_like(queries), np.empty(len(keys), np.uint8)

    def keep(rows: Numbers, places: Numbers, distances: NDArray[np.uint8]) -> None:
        near = np.flatnonzero(distances <= radius)
        if len(near):
            found.append(Near(part[rows[near]], band.order[places[near]], distances[near]))

    for flip in flips:
        # The first hash of each query's cell: most cells have no more, so nothing is selected here.
        np.bitwise_xor(keys, flip, out=cells)
        np.take(band.head, cells, out=words, mode="clip")
        np.bitwise_count(np.bitwise_xor(words, queries, out=words), out=counts)
        rows = np.flatnonzero(np.less_equal(counts, radius, out=flags))
        rows = rows[band.filled[cells[rows]]]
        keep(rows, band.starts[cells[rows]], counts[rows])
        # The further hashes of cells that have several.
        rows = np.flatnonzero(np.take(band.several, cells, out=flags, mode="clip"))
        first, end = band.starts[cells[rows]] + 1, band.starts[cells[rows] + 1]
        for some, places in _ranges(first, end):
            whose = rows[some]
            keep(whose, places, np.bitwise_count(queries[whose] ^ band.hashes[places]))
    return _joined(found)


def _ranges(first: Numbers, end: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield the numbers of n ranges, and the range of each, a few million at a time."""
    lengths = end - first
    total = np.cumsum(lengths)
    start = 0
    while start < len(first):
        done = total[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total, done + _COMPARED, "right")))
        own = np.repeat(np.arange(start, stop), lengths[start:stop])
        yield own, np.arange(len(own)) + (first - total + lengths)[own] + done
        start = stop


def _none() -> Near:
    return Near(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8))


def _joined(parts: list[Near]) -> Near:
    return Near(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
