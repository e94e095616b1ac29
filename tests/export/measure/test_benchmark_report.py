"""Medians, ratios and the Pareto front of a benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from rs_export.measure.benchmark_report import pareto_front, summarize
from rs_runtime.probe import MEASURES


def test_a_base_that_failed_gives_no_ratio() -> None:
    probe = {"threads": 1, **dict.fromkeys(MEASURES, 2.0)}
    good = {"variant": "onnx_u8s8", "against": False, "error": None, "probes": [probe]}
    bad = {"variant": "onnx_fp32", "against": False, "error": "gone", "probes": []}
    rows = summarize([{**good, "name": "good"}, {**bad, "name": "bad"}], [1])
    assert [(row["base"], row["ratios"]) for row in rows] == [("bad", {"1": {}})] * 2


@pytest.mark.parametrize("seed", range(20))
def test_pareto_front_has_all_that_nothing_beats(seed) -> None:
    generator = np.random.default_rng(seed)
    points = [tuple(map(float, pair)) for pair in generator.integers(0, 6, (12, 2))]

    def beaten(one: tuple[float, float]) -> bool:
        return any(x <= one[0] and y >= one[1] and (x, y) != one for x, y in points)

    front = pareto_front(points)
    assert front == sorted({point for point in points if not beaten(point)})


def test_nothing_to_draw_is_an_empty_front() -> None:
    assert pareto_front([]) == []
