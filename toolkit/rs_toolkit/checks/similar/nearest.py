"""The most similar photos by features: exact for some thousand photos, measured for more.

Among more than :data:`EXACT_ROWS` photos, faiss searches an inverted file of at most 256 principal
components (Jégou, Douze, Schmid 2011, Product quantization for nearest neighbor search): k-means
divides the photos into lists, and only the lists nearest a query are searched, by codes of 4 bits
for each two components (product quantization, in the layout of André, Kermarrec, Le Scouarnec 2015,
Cache locality is not enough).  The nearest by codes are compared in full.  How many lists suffice
is measured for each data set on a sample of its photos, against an exact search.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.progress import Progress

__all__ = ["EXACT_ROWS", "RECALL", "Search"]

EXACT_ROWS = 20_000
"""Up to this number of photos, all are compared; for more, the search is approximate."""

RECALL = 0.98
"""Least share of the nearest photos that an approximate search finds, measured on a sample."""

Features = NDArray[np.float32]
Numbers = NDArray[np.int64]

_COMPONENTS = 256
_FIRST_LISTS = 16
_PER_LIST = 40  # photos from which each list's centre is learnt; faiss wants 39 or more
_SAMPLE = 500
_BATCH = 2048
# Photos that are compared in full for each that is returned, as codes lose a little.
_SPARE = 10


class Search:
    """A search among photos for those of the greatest cosine similarity.

    Parameters
    ----------
    unit
        Features of n >= 1 photos, float32 (n, d), each of length 1 (or 0).
    k
        How many neighbours :meth:`find` returns, 1 or more; at most n.
    least
        The recall is that of neighbours which are at least this similar, -1 to 1.
    progress
        Where an approximate search notes its recall.

    Attributes
    ----------
    recall
        Share of the sample's true neighbours that are found, 0 to 1; 1.0 if the search is exact;
        None if the sample has no neighbour so similar, so that nothing could be measured.
    """

    def __init__(
        self, unit: Features, k: int, least: float = -1.0, progress: Progress | None = None
    ) -> None:
        import faiss

        self._unit, self._k = unit, min(k, len(unit))
        self.recall: float | None = 1.0
        self._index: faiss.Index | None = None
        if len(unit) > EXACT_ROWS:
            self._build(least, progress or Progress())

    def find(self, queries: Features) -> tuple[Features, Numbers]:
        """Return cosines and rows of each query's nearest photos, both (q, k), the nearest first.

        ``queries`` are float32 (q, d) of length 1.  Where fewer are found, the row is -1 and the
        cosine -inf.
        """
        import faiss

        if self._index is None:
            return faiss.knn(queries, self._unit, self._k, metric=faiss.METRIC_INNER_PRODUCT)
        parts = [self._some(queries[n : n + _BATCH]) for n in range(0, len(queries), _BATCH)]
        cosines, rows = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cosines, rows

    def _some(self, queries: Features) -> tuple[Features, Numbers]:
        assert self._index is not None
        rows = self._index.search(queries, min(_SPARE * self._k, len(self._unit)))[1]
        cosines = np.empty(rows.shape, np.float32)
        for number, query in enumerate(queries):
            cosines[number] = self._unit[rows[number]] @ query
        cosines[rows < 0] = -np.inf
        order = np.argsort(-cosines, axis=1, kind="stable")[:, : self._k]
        return np.take_along_axis(cosines, order, 1), np.take_along_axis(rows, order, 1)

    def _build(self, least: float, progress: Progress) -> None:
        """Make the inverted file; search as many lists as the recall needs, at worst all photos."""
        import faiss

        count, width = self._unit.shape
        lists = max(1, min(int(4 * np.sqrt(count)), count // _PER_LIST))
        generator = np.random.default_rng(0)
        reduced = f"PCA{_COMPONENTS},L2norm," if width > _COMPONENTS else ""
        kept = min(width, _COMPONENTS)
        kind = f"{reduced}IVF{lists},{'Flat' if kept % 2 else f'PQ{kept // 2}x4fs'}"
        index = faiss.index_factory(width, kind, faiss.METRIC_INNER_PRODUCT)
        index.train(self._unit[generator.choice(count, min(_PER_LIST * lists, count), False)])
        index.add(self._unit)
        sample = np.sort(generator.choice(count, min(_SAMPLE, count), False))
        # One more, because the nearest photo is the query itself.
        cosines, rows = faiss.knn(
            self._unit[sample], self._unit, self._k, metric=faiss.METRIC_INNER_PRODUCT
        )
        true = (cosines >= least) & (rows != sample[:, None])
        self._index = index
        searched = _FIRST_LISTS
        while True:
            faiss.extract_index_ivf(index).nprobe = min(searched, lists)
            found = self.find(self._unit[sample])[1]
            hits = (rows[:, :, None] == found[:, None]).any(axis=2)
            self.recall = float(hits[true].mean()) if true.any() else None
            if self.recall is None or self.recall >= RECALL:
                break
            if searched >= lists:
                self._index, self.recall = None, 1.0
                progress.note(
                    f"similar photos: all {count} are compared, no shorter search finds enough"
                )
                return
            searched *= 2
        got = "not measurable, the sample has none" if self.recall is None else f"{self.recall:.3f}"
        progress.note(
            f"similar photos: approximate search of {count}, {min(searched, lists)} of {lists} "
            f"lists; recall {got} (of {int(true.sum())} neighbours of {len(sample)} photos)"
        )
