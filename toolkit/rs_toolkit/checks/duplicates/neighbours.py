"""Pairs of photos with similar hashes or features, searched by faiss in bounded memory.

They are only candidates: similar photos need not show the same picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["near_features", "near_hashes"]

# Results that one search may return, so that many equal frames do not fill the memory.
_MOST_RESULTS = 50_000_000
_TILE = 65_536
_BATCH = 256
_EXACT_FEATURES = 20_000
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

    The search is exhaustive and exact (flat binary index of faiss): 1,000,000 hashes are 5e11
    distances of half a nanosecond (``benchmarks/million_hashes.py``), for any distribution.

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
    import faiss

    used = np.flatnonzero(queries.any(axis=1) & hashes.any(axis=1))
    queries, hashes = (np.ascontiguousarray(rows[used]) for rows in (queries, hashes))
    count = len(used)
    batch = max(16, _MOST_RESULTS // max(count, 1))
    found = [np.empty((0, 2), np.int64)]
    for tile in range(0, count, _TILE):
        offset = tile if symmetric else 0
        index = faiss.IndexBinaryFlat(64)
        index.add(hashes[offset:])
        for start in range(tile, min(tile + _TILE, count), batch):
            stop = min(start + batch, tile + _TILE, count)
            # In faiss the radius is exclusive.
            ends, distances, columns = index.range_search(queries[start:stop], radius + 1)
            counts = (ends[1:] - ends[:-1]).astype(np.int64)
            rows = np.repeat(np.arange(start, stop), counts)
            columns = columns + offset
            other = columns > rows if symmetric else columns != rows
            near = _nearest(rows[other], columns[other], distances[other], limit)
            found.append(used[near])
    return np.concatenate(found)


def _nearest(
    rows: NDArray[np.int64], columns: NDArray[np.int64], distances: NDArray[np.int32], limit: int
) -> NDArray[np.int64]:
    """Return (row, column) pairs (m, 2): for each row the ``limit`` columns of least distance."""
    order = np.lexsort((columns, distances, rows))
    rows, columns = rows[order], columns[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return np.stack([rows, columns], axis=1)[rank < limit]


def near_features(features: NDArray[np.float32], cosine: float) -> NDArray[np.int64]:
    """Return pairs (m, 2) of rows with at least this cosine similarity, above 0 to 1.

    One row of a pair is among the 8 nearest of the other.  ``features`` are float32 of shape
    (n, d), finite; rows of zeros match nothing.  Up to 20,000 rows the search is exhaustive.  For
    more, faiss searches an inverted file of their 128 principal components (Jégou, Douze and Schmid
    2011), which may miss some.  Pairs come in any order, and the same two rows may come twice.
    """
    import faiss
    from sklearn.preprocessing import normalize

    rows = np.flatnonzero(features.any(axis=1))
    if len(rows) < 2:
        return np.empty((0, 2), np.int64)
    unit = normalize(features[rows])
    if len(rows) <= _EXACT_FEATURES:
        index: faiss.Index = faiss.IndexFlatIP(unit.shape[1])
    else:
        lists = int(4 * np.sqrt(len(rows)))
        kind = f"PCA{min(128, unit.shape[1])},L2norm,IVF{lists},Flat"
        index = faiss.index_factory(unit.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        sample = np.random.default_rng(0).choice(len(unit), min(40 * lists, len(unit)), False)
        index.train(unit[sample])
        faiss.extract_index_ivf(index).nprobe = 16
    index.add(unit)
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(rows), _BATCH):
        batch = unit[start : start + _BATCH]
        others = index.search(batch, min(_NEIGHBOURS + 1, len(rows)))[1]
        own = np.arange(start, start + len(batch))[:, None]
        near = np.einsum("nd,nkd->nk", batch, unit[others]) >= cosine
        keep = near & (others != own) & (others >= 0)
        found.append(rows[np.stack([np.broadcast_to(own, others.shape)[keep], others[keep]], 1)])
    return np.concatenate(found)
