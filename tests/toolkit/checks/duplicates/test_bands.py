"""Near hashes by bands, and of equal hashes: what the definition gives, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from rs_toolkit.checks.duplicates import bands, equal, neighbours
from rs_toolkit.checks.duplicates.neighbours import near_hashes


def hashes(seed: int, count: int = 300) -> np.ndarray:
    """Return hashes around few centres, a quarter of them copies of six hashes, one of them 0."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(9).integers(0, 256, (12, 8), dtype=np.uint8)
    flips = np.packbits(generator.random((count, 64)) < 0.07, axis=1)
    found = centres[generator.integers(0, 12, count)] ^ flips
    found[: count // 4] = found[generator.integers(0, 6, count // 4)]
    found[3] = 0
    return found


def by_definition(one, other, radius: int, limit: int, symmetric: bool) -> list[tuple[int, int]]:
    bits = np.bitwise_count(one[:, None] ^ other[None]).sum(axis=2, dtype=int)
    used, pairs = one.any(axis=1) & other.any(axis=1), []
    for row in np.flatnonzero(used).tolist():
        near = np.flatnonzero(used & (bits[row] <= radius))
        near = near[near > row] if symmetric else near[near != row]
        nearest = near[np.lexsort((near, bits[row][near]))][:limit]
        pairs += [(row, column) for column in nearest.tolist()]
    return sorted(pairs)


@pytest.fixture(params=["all compared", "by bands"])
def way(request, monkeypatch) -> str:
    """Both ways of searching, in small blocks."""
    monkeypatch.setattr(bands, "_QUERIES", 100)
    monkeypatch.setattr(bands, "_COMPARED", 37)
    monkeypatch.setattr(equal, "_COMBINATIONS", 50)
    if request.param == "by bands":
        monkeypatch.setattr(neighbours, "BANDED_HASHES", 0)
        monkeypatch.setattr(neighbours, "banded_seconds", lambda *_: 0.0)
    return request.param


@pytest.mark.parametrize("radius", [0, 1, 3, 8])
@pytest.mark.parametrize("limit", [2, 32, 400])
def test_the_pairs_are_those_of_the_definition(way, radius, limit) -> None:
    one, other = hashes(0), hashes(1)
    for symmetric, first, second in ((True, one, one), (False, one, other), (False, one, one)):
        found = near_hashes(first, second, radius, limit, symmetric=symmetric)
        wanted = by_definition(first, second, radius, limit, symmetric)
        assert sorted(map(tuple, found.tolist())) == wanted
        assert wanted


@pytest.mark.parametrize("shared", [0, 2**22 - 1, 2**64 - 2**43], ids=["none", "low", "high"])
@pytest.mark.parametrize("pending", [10, 2**22])
def test_of_a_crowd_enough_is_found_and_all_of_others(monkeypatch, shared, pending) -> None:
    """``shared`` are bits that all hashes have set: all are in one cell of a band."""
    monkeypatch.setattr(bands, "_QUERIES", 100)
    monkeypatch.setattr(bands, "_PENDING", pending)
    words = hashes(4).view(np.uint64)[:, 0]
    words[:100] = words[0] ^ (words[:100] & np.uint64(0x0101010101010101))
    words = np.unique(words | np.uint64(shared))
    enough, bits = 12, np.bitwise_count(words[:, None] ^ words)
    near = bands.banded(words, words, 8, enough)
    found = np.full(bits.shape, -1)
    found[near.rows, near.columns] = near.distances
    assert (found == bits)[found >= 0].all() and len(near.rows) == (found >= 0).sum()
    counts, wanted = (found >= 0).sum(axis=1), (bits <= 8).sum(axis=1)
    few = wanted < enough
    assert few.any() and (~few).any()
    assert (counts[few] == wanted[few]).all() and (counts[~few] >= enough // 2).all()
    # The nearest of nearly all is found, although a band that gave up may have missed it.
    np.fill_diagonal(bits, 64)
    least = np.where((found >= 0) & (bits < 64), bits, 64).min(axis=1)
    assert np.mean((least == bits.min(axis=1))[~few]) > 0.995
    np.fill_diagonal(bits, 0)
    # Not all are listed, and yet all hang together.
    assert counts[~few].sum() < wanted[~few].sum()
    groups = [connected_components(pairs, directed=False)[1] for pairs in (found >= 0, bits <= 8)]
    assert (groups[0] == groups[1]).all()


def test_of_a_large_cell_those_next_to_the_query_are_compared(monkeypatch) -> None:
    # Only the highest band tells them apart, and radius 1 does without it.
    words = np.arange(0, 6000, 2, dtype=np.uint64) << np.uint64(43)
    words = np.concatenate([words, words ^ np.uint64(2**43)])
    for size, least in ((10**6, 1.0), (64, 0.98)):
        monkeypatch.setattr(bands, "_MOST_OF_CELL", size)
        near = bands.banded(words, words, 1, 100)
        found = set(zip(near.rows.tolist(), near.columns.tolist(), strict=True))
        assert np.mean([(n, n + 3000) in found for n in range(3000)]) >= least


def test_work_is_told_before_it_is_done() -> None:
    spread = np.random.default_rng(0).integers(0, 2**64, 5000, dtype=np.uint64)
    crowded = spread | np.uint64(2**22 - 1)
    assert bands.banded_seconds(crowded, crowded, 12) > bands.banded_seconds(spread, spread, 12)
    assert bands.banded_seconds(spread, spread, 40) == float("inf")


def test_nothing_is_near_nothing() -> None:
    assert near_hashes(np.zeros((3, 8), np.uint8), np.zeros((3, 8), np.uint8), 4).shape == (0, 2)
