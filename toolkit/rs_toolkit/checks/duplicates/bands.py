"""Search of near hashes by bands of bits: multi-index hashing.

Hashes of 64 bits are cut into three bands.  If two hashes differ in at most ``r`` bits, and the
bands' own radii are ``r1, r2, r3`` with ``(r1 + 1) + (r2 + 1) + (r3 + 1) = r + 1``, then at least
one band differs in at most its own radius.  So a query looks only into those cells of each band's
table that its own bits lead to after at most that many flips, and whole hashes are compared there.
None is missed, unless a query is in a crowd.

Thousands of frames of one fixed camera have hashes that are all near each other, and listing all
pairs of such a crowd takes its square in time and memory.  So cells are looked into in the order of
flipped bits, and a query that has found enough near hashes in a band looks no further there and
keeps the nearest of them.  Of a cell of very many hashes, those next to the query in the order of
the bits are compared.

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
_PENDING = 2**22  # near hashes that are kept before those of crowds are thinned out
_MOST_OF_CELL = 1024
# A near hash of one query as a number: position of the query, distance, position of the hash.
_ROW, _DISTANCE = 40, 33


class Near(NamedTuple):
    """Pairs of a query and a hash: their rows, and the bits in which they differ; each (m,)."""

    rows: Numbers
    columns: Numbers
    distances: NDArray[Any]


class _Band:
    """A table of hashes by the bits of one band.

    Cell c holds the hashes ``starts[c]`` to ``starts[c + 1] - 1`` of the sorted ones, which are
    turned so that the bits of the band come first.  ``head`` is the first hash of each cell, 0
    where there is none.
    """

    def __init__(self, hashes: Words, shift: int, width: int, radius: int) -> None:
        self.shift, self.width, self.radius = shift, width, radius
        turned = self.turned(hashes)
        self.order = np.argsort(turned, kind="stable")
        self.hashes = turned[self.order]
        counts = np.bincount(self.keys(hashes), minlength=2**width)
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self.filled, self.several = counts > 0, counts > 1
        self.head = np.zeros(2**width, np.uint64)
        self.head[self.filled] = self.hashes[self.starts[:-1][self.filled]]

    def turned(self, hashes: Words) -> Words:
        """Return hashes (n,) rotated so that the bits of this band are the highest."""
        up = 64 - self.shift - self.width
        return (hashes << np.uint64(up)) | (hashes >> np.uint64(64 - up))

    def keys(self, hashes: Words) -> Numbers:
        """Return the bits of this band, (n,)."""
        return _bits(hashes, self.shift, self.width).astype(np.int64)

    def range(self, cells: Numbers, queries: Words) -> tuple[Numbers, Numbers]:
        """Return where the hashes of m cells begin and end, without the first of each.

        Of a large cell, those next to the (turned) query in order.
        """
        first, end = self.starts[cells] + 1, self.starts[cells + 1]
        large = np.flatnonzero(end - first > _MOST_OF_CELL)
        if len(large):
            rest = np.uint64(64 - self.width)
            own = queries[large] & (np.uint64(2) ** rest - np.uint64(1))
            place = np.searchsorted(self.hashes, (cells[large].astype(np.uint64) << rest) | own)
            first[large] = np.clip(
                place - _MOST_OF_CELL // 2, first[large], end[large] - _MOST_OF_CELL
            )
            end[large] = first[large] + _MOST_OF_CELL
        return first, end

    def flips(self) -> Numbers:
        """Return all numbers of ``width`` bits, ``radius`` of them set or fewer; fewest first."""
        counts, width = range(self.radius + 1), range(self.width)
        chosen = (bits for count in counts for bits in combinations(width, count))
        return np.fromiter((sum(1 << bit for bit in bits) for bits in chosen), np.int64)


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


def banded(queries: Words, hashes: Words, radius: int, enough: int, threads: int = 1) -> Near:
    """Return pairs of a query and a hash that differ in at most ``radius`` bits, 0 to 64.

    Of a query that has at most ``enough`` near hashes, all; else at least half as many, nearly the
    nearest.  Each pair comes once; pairs are sorted by query, then by hash.
    """
    found, earlier = [_none()], list[tuple[_Band, NDArray[np.bool_]]]()
    for band in _bands(hashes, radius):
        flips, keys = band.flips(), band.keys(queries)
        # Queries with similar bits look into the same part of the table.
        order = np.argsort(keys, kind="stable")
        parts = [order[start : start + _QUERIES] for start in range(0, len(order), _QUERIES)]
        look_up = partial(_look_up, band, flips, queries, radius, enough)
        crowded = np.zeros(len(queries), np.bool_)
        with ThreadPoolExecutor(threads) as pool:
            for part, (near, most) in zip(parts, pool.map(look_up, parts), strict=True):
                fresh = np.ones(len(near.rows), np.bool_)
                differing = queries[near.rows] ^ hashes[near.columns]
                for other, gave_up in earlier:  # it has found the pairs within its radius
                    missed = np.bitwise_count(other.keys(differing)) > other.radius
                    fresh &= missed | gave_up[near.rows]
                found.append(Near(near.rows[fresh], near.columns[fresh], near.distances[fresh]))
                crowded[part] = most
        earlier.append((band, crowded))
    rows, columns, distances = _joined(found)
    # Several bands find the same near hash of a query in a crowd.
    places = np.unique(rows * len(hashes) + columns, return_index=True)[1]
    return Near(rows[places], columns[places], distances[places])


def _look_up(
    band: _Band, flips: Numbers, queries: Words, radius: int, enough: int, part: Numbers
) -> tuple[Near, NDArray[np.bool_]]:
    """Return the pairs that one band finds for the queries ``part``, positions in ``queries``.

    And which of these queries have found enough, and looked no further.
    """
    queries, keys = band.turned(queries[part]), band.keys(queries[part])
    near = _NearOfPart(len(part), enough)
    cells, flags = np.empty_like(keys), np.empty(len(keys), np.bool_)
    words, counts = np.empty_like(queries), np.empty(len(keys), np.uint8)

    def keep(rows: Numbers, places: Numbers, distances: NDArray[np.uint8]) -> None:
        good = np.flatnonzero(distances <= radius)
        if len(good):
            near.add(rows[good], distances[good], band.order[places[good]])

    for flip in flips:
        # The first hash of each query's cell: most cells have no more, so nothing is selected here.
        np.bitwise_xor(keys, flip, out=cells)
        np.take(band.head, cells, out=words, mode="clip")
        np.bitwise_count(np.bitwise_xor(words, queries, out=words), out=counts)
        rows = near.looking(np.less_equal(counts, radius, out=flags))
        rows = rows[band.filled[cells[rows]]]
        keep(rows, band.starts[cells[rows]], counts[rows])
        # The further hashes of cells that have several.
        rows = near.looking(np.take(band.several, cells, out=flags, mode="clip"))
        first, end = band.range(cells[rows], queries[rows])
        for some, places in _ranges(first, end):
            whose = rows[some]
            keep(whose, places, np.bitwise_count(queries[whose] ^ band.hashes[places]))
    codes = near.thinned()
    rows, distances = part[codes >> _ROW], (codes >> _DISTANCE) & 127
    columns = codes & (2**_DISTANCE - 1)
    return Near(rows, columns, distances.astype(np.uint8)), near.counts >= enough


class _NearOfPart:
    """The near hashes of some queries, of which those with ``enough`` look no further."""

    def __init__(self, queries: int, enough: int) -> None:
        self.counts, self._enough = np.zeros(queries, np.int64), enough
        self._codes, self._pending, self._crowd = [np.empty(0, np.int64)], 0, False

    def add(self, rows: Numbers, distances: NDArray[np.uint8], columns: Numbers) -> None:
        """Add near hashes: the query of each, its distance and its position."""
        self._codes.append((rows << _ROW) | (distances.astype(np.int64) << _DISTANCE) | columns)
        np.add.at(self.counts, rows, 1)
        self._crowd = self._crowd or bool(self.counts[rows].max() >= self._enough)
        self._pending += len(rows)
        if self._pending > _PENDING:
            self._codes, self._pending = [self.thinned()], 0

    def looking(self, flags: NDArray[np.bool_]) -> Numbers:
        """Return the queries whose flag is set, without those that have found enough."""
        rows = np.flatnonzero(flags)
        return rows[self.counts[rows] < self._enough] if self._crowd else rows

    def thinned(self) -> Numbers:
        """Return all near hashes in order; of a query with too many, the nearest."""
        codes = np.sort(np.concatenate(self._codes))
        if not self._crowd:
            return codes
        rows = codes >> _ROW
        rank = np.arange(len(rows)) - np.searchsorted(rows, np.arange(len(self.counts)))[rows]
        return codes[(self.counts[rows] <= self._enough) | (rank < self._enough // 2)]


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
