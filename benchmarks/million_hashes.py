"""Search 1,000,000 perceptual hashes for near pairs: time, memory and recall.

    python benchmarks/million_hashes.py [--count 1000000] [--radius 12]

The hashes are random; 1,000 pairs are planted at each even distance up to the radius.  One search
is measured; cleaning does about four times this work (whole, mirrored, and cropped in both
directions).  If other jobs run, CPU seconds say more.  Writes ``results/million-hashes.json``.
"""

from __future__ import annotations

import os
import resource
import time

import numpy as np
from common import options, publish
from numpy.typing import NDArray

from rs_toolkit.checks.duplicates.neighbours import near_hashes

PLANTED = 1_000


def hashes(count: int, radius: int) -> tuple[NDArray[np.uint8], dict[int, NDArray[np.int64]]]:
    """Return random hashes (count, 8), and the planted pairs (m, 2) by distance in bits."""
    rng = np.random.default_rng(0)
    found = rng.integers(0, 256, (count, 8), dtype=np.uint8)
    numbers = rng.permutation(count)
    pairs = {}
    for k, distance in enumerate(range(2, radius + 1, 2)):
        pairs[distance] = numbers[2 * PLANTED * k :][: 2 * PLANTED].reshape(-1, 2)
        flips = np.argsort(rng.random((PLANTED, 64)), axis=1) < distance
        found[pairs[distance][:, 1]] = found[pairs[distance][:, 0]] ^ np.packbits(flips, axis=1)
    return found, pairs


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--radius", type=int, default=12)
    chosen = parser.parse_args()
    found, planted = hashes(chosen.count, chosen.radius)
    begun, worked = time.perf_counter(), time.process_time()
    pairs = near_hashes(found, found, chosen.radius)
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6

    def numbered(ends: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(np.sort(ends, axis=1) @ [chosen.count, 1])

    codes = numbered(pairs)
    result = {
        "hashes": chosen.count,
        "radius": chosen.radius,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "peak_gb": round(peak, 2),
        "load_average": round(os.getloadavg()[1], 1),
        "pairs": len(codes),
        "recall": {
            str(distance): float(np.isin(numbered(ends), codes).mean())
            for distance, ends in planted.items()
        },
    }
    publish("million-hashes", result)


if __name__ == "__main__":
    main()
