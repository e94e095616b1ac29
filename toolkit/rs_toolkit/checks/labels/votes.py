"""Votes of labelled photos about others: each has the weight ``exp(cosine / 0.05)``.

This is kernel regression (Nadaraya 1964, Watson 1964).  Up to
:data:`rs_toolkit.checks.similar.nearest.EXACT_ROWS` voters, all vote.  Of more, the 32 nearest
vote, and a random sample of 8,192 stands for all others: each of its votes counts as often as there
are others for each in the sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.checks.similar import nearest
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["votes"]

Features = NDArray[np.float32]
Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]

# A photo whose cosine similarity is higher by this has e times the vote.
_TEMPERATURE = 0.05
# Similarities that are in memory at once: 128 MiB of float32.
_BLOCK = 2**25
_NEAREST, _SAMPLE = 32, 8192


def votes(
    features: Features,
    labels: Numbers,
    weights: Floats,
    held: Features,
    progress: Progress | None = None,
) -> Floats:
    """Return each class's share of the votes about the photos ``held``, (m, classes).

    ``features``, (n, d), ``labels``, (n,), and ``weights``, (n,), are those of the voters;
    ``held`` is (m, d).  ``progress`` notes the recall where not all vote.
    """
    from scipy.sparse import csr_array
    from sklearn.preprocessing import normalize

    members = csr_array((weights, (np.arange(len(labels)), labels)))
    voters, asked = normalize(features), normalize(held)
    few = len(labels) > nearest.EXACT_ROWS
    found = (_few if few else _all)(voters, members, asked, progress)
    return np.asarray(found / found.sum(axis=1, keepdims=True), np.float64)


def _all(
    voters: Features, members: csr_array, asked: Features, progress: Progress | None
) -> Floats:
    found = np.empty((len(asked), members.shape[1]))
    rows = max(1, _BLOCK // len(voters))
    for start in range(0, len(asked), rows):
        alike = asked[start : start + rows] @ voters.T
        weights = np.exp((alike - alike.max(axis=1, keepdims=True)) / _TEMPERATURE)
        found[start : start + rows] = weights @ members
    return found


def _few(
    voters: Features, members: csr_array, asked: Features, progress: Progress | None
) -> Floats:
    """Return the votes of the nearest, and of a sample for the others."""
    from scipy.sparse import csr_array

    count = len(voters)
    search = nearest.Search(voters, _NEAREST, progress=progress)
    sample = np.sort(np.random.default_rng(0).choice(count, min(_SAMPLE, count), False))
    place = np.full(count + 1, -1)  # in the sample; the last is of row -1, which is no voter
    place[sample] = np.arange(len(sample))
    found = np.empty((len(asked), members.shape[1]))
    step = max(1, _BLOCK // len(sample))
    for start in range(0, len(asked), step):
        part = asked[start : start + step]
        cosines, rows = search.find(part)
        top = cosines[:, :1]
        near = np.exp((cosines - top) / _TEMPERATURE)
        ends = np.arange(len(part) + 1) * rows.shape[1]
        shape = (len(part), count)
        own = csr_array((near.ravel(), np.maximum(rows, 0).ravel(), ends), shape=shape) @ members
        # A photo that is missed among the nearest may be in the sample: it has at most e votes.
        rest = np.exp(np.minimum((part @ voters[sample].T - top) / _TEMPERATURE, 1))
        one, _ = twice = np.nonzero(place[rows] >= 0)
        rest[one, place[rows][twice]] = 0
        left = len(sample) - np.bincount(one, minlength=len(part))
        scale = (count - rows.shape[1]) / np.maximum(left, 1)
        found[start : start + step] = own.toarray() + (rest @ members[sample]) * scale[:, None]
    return found
