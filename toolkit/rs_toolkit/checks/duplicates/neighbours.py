"""Pairs of photos with similar hashes or features, searched in bounded memory.

They are only candidates: similar photos need not show the same picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_runtime.engines.limits import cores
from rs_toolkit.checks.duplicates.bands import Near, banded, banded_seconds
from rs_toolkit.checks.duplicates.equal import equal_rows, spread
from rs_toolkit.checks.similar.nearest import Search
from rs_toolkit.progress import Progress

__all__ = ["BANDED_HASHES", "near_features", "near_hashes"]

BANDED_HASHES = 2_000
"""Different hashes from which a search by bands is considered."""

# Seconds in which one core compares two hashes, and lists a pair that is near.
_COMPARE, _LIST = 7e-10, 2e-7
_SAMPLE = 128
# So many near hashes of one are always found, whatever the way of searching.
_ENOUGH = 128
# Results that one search may return, so that many equal frames do not fill the memory.
_MOST_RESULTS = 50_000_000
_TILE = 65_536
_BATCH = 256
_NEIGHBOURS = 8


def near_hashes(
    queries: NDArray[np.uint8],
    hashes: NDArray[np.uint8],
    radius: int,
    limit: int = 32,
    *,
    symmetric: bool = True,
) -> NDArray[np.int64]:
    """Return pairs (m, 2) of photos whose hashes differ in at most ``radius`` bits, 0 to 64.

    By bands of bits (:mod:`rs_toolkit.checks.duplicates.bands`) where this is faster, else by
    comparing all hashes (flat binary index of faiss).  Both find the same pairs, but of a photo
    that is near 128 different hashes or more, bands find only nearly the nearest.

    A pair holds the positions of a query and of another photo's hash.  Pairs come in any order
    and, unless ``symmetric``, the same two photos may come twice.

    Parameters
    ----------
    queries, hashes
        uint8 of shape (n, 8), for the same n photos; may be the same array.
    limit
        How many nearest photos each query keeps at most; n * limit bounds the memory.
    symmetric
        Whether query i is as far from hash j as query j from hash i; then half is searched.
    """
    used = np.flatnonzero(queries.any(axis=1) & hashes.any(axis=1))
    queries, hashes = (np.ascontiguousarray(rows[used]) for rows in (queries, hashes))
    one, other = (equal_rows(rows.view(np.uint64)[:, 0]) for rows in (queries, hashes))
    near = _banded(queries[one.first], hashes[other.first], radius, limit, symmetric)
    if near is None and max(one.most, other.most) <= limit:
        found = _flat(queries, hashes, radius, symmetric)
    else:
        # Equal hashes are searched once, so that many of them are not compared with each other.
        blocks = [near] if near else _flat(queries[one.first], hashes[other.first], radius, False)
        found = chain.from_iterable(spread(b, one, other, limit, symmetric) for b in blocks)
    pairs = [np.empty((0, 2), np.int64)]
    for rows, columns, distances in found:
        kept = columns > rows if symmetric else columns != rows
        pairs.append(_nearest(rows[kept], columns[kept], distances[kept], limit))
    return used[np.concatenate(pairs)]


def _banded(
    queries: NDArray[np.uint8], hashes: NDArray[np.uint8], radius: int, limit: int, symmetric: bool
) -> Near | None:
    """Return the near pairs of different hashes by bands; None if comparing all is faster."""
    if len(queries) < BANDED_HASHES:
        return None
    one, other = (rows.view(np.uint64)[:, 0] for rows in (queries, hashes))
    some = one[:: max(1, len(one) // _SAMPLE)]
    near = np.mean([np.sum(np.bitwise_count(other ^ query) <= radius) for query in some])
    each = len(other) * _COMPARE + float(near) * _LIST
    if banded_seconds(one, other, radius) > len(one) * each / (2 if symmetric else 1):
        return None
    return banded(one, other, radius, max(_ENOUGH, 4 * limit), cores())


def _flat(
    queries: NDArray[np.uint8], hashes: NDArray[np.uint8], radius: int, symmetric: bool
) -> Iterator[Near]:
    """Yield the near pairs of all rows, block by block; if ``symmetric``, about half of them."""
    import faiss

    batch = max(16, _MOST_RESULTS // max(len(hashes), 1))
    for tile in range(0, len(queries), _TILE):
        offset = tile if symmetric else 0
        index = faiss.IndexBinaryFlat(64)
        index.add(hashes[offset:])
        last = min(tile + _TILE, len(queries))
        for start in range(tile, last, batch):
            stop = min(start + batch, last)
            # In faiss the radius is exclusive.
            ends, distances, columns = index.range_search(queries[start:stop], radius + 1)
            counts = (ends[1:] - ends[:-1]).astype(np.int64)
            yield Near(np.repeat(np.arange(start, stop), counts), columns + offset, distances)


def _nearest(
    rows: NDArray[np.int64], columns: NDArray[np.int64], distances: NDArray[Any], limit: int
) -> NDArray[np.int64]:
    """Return (row, column) pairs (m, 2): for each row the ``limit`` columns of least distance."""
    order = np.lexsort((columns, distances, rows))
    rows, columns = rows[order], columns[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return np.stack([rows, columns], axis=1)[rank < limit]


def near_features(
    features: NDArray[np.float32], cosine: float, progress: Progress | None = None
) -> NDArray[np.int64]:
    """Return pairs (m, 2) of rows with at least this cosine similarity, above 0 to 1.

    One row of a pair is among the 8 nearest of the other.  ``features`` are float32 of shape
    (n, d), finite; rows of zeros match nothing.  Of many rows, :class:`Search` may miss some; how
    many is measured and noted.  Pairs come in any order, and the same two rows may come twice.
    """
    from sklearn.preprocessing import normalize

    rows = np.flatnonzero(features.any(axis=1))
    if len(rows) < 2:
        return np.empty((0, 2), np.int64)
    unit = normalize(features[rows])
    search = Search(unit, _NEIGHBOURS + 1, cosine, progress)
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(rows), _BATCH):
        batch = unit[start : start + _BATCH]
        others = search.find(batch)[1]
        own = np.arange(start, start + len(batch))[:, None]
        near = np.einsum("nd,nkd->nk", batch, unit[others]) >= cosine
        keep = near & (others != own) & (others >= 0)
        found.append(rows[np.stack([np.broadcast_to(own, others.shape)[keep], others[keep]], 1)])
    return np.concatenate(found)
