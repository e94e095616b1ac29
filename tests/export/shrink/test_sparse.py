"""Pruning in one shot: what is left makes up for what goes."""

from __future__ import annotations

import numpy as np
import pytest

from rs_export.shrink.sparse import _seen, prune_matrix


def layer(outputs: int, inputs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and inputs (inputs, positions) that depend on each other as activations do."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(inputs, inputs // 4))
    seen = mixing @ generator.normal(size=(inputs // 4, 2000))
    seen += 2 * generator.normal(size=seen.shape)
    return generator.normal(size=(outputs, inputs)), seen


def lost(weights: np.ndarray, pruned: np.ndarray, seen: np.ndarray) -> float:
    return float(np.sum(((weights - pruned) @ seen) ** 2) / np.sum((weights @ seen) ** 2))


@pytest.mark.parametrize(("method", "share"), [("sp50", 0.5), ("sp75", 0.75), ("sp10", 0.1)])
def test_as_many_weights_are_zero_as_asked_for(method, share) -> None:
    weights, seen = layer(40, 300)
    pruned = prune_matrix(weights, seen @ seen.T, method)
    assert pruned.dtype == np.float32
    assert np.mean(pruned == 0) == pytest.approx(share, abs=1e-3)


def test_two_of_four() -> None:
    weights, seen = layer(40, 300)
    pruned = prune_matrix(weights, seen @ seen.T, "sp24")
    assert np.all((pruned != 0).reshape(-1, 4).sum(axis=1) == 2)


@pytest.mark.parametrize("method", ["sp50", "sp25"])
def test_answers_are_kept_better_than_by_magnitude(method) -> None:
    weights, seen = layer(64, 256)
    least = np.quantile(abs(weights), int(method[2:]) / 100)
    by_magnitude = np.where(abs(weights) < least, 0, weights)
    pruned = prune_matrix(weights, seen @ seen.T, method)
    assert lost(weights, pruned, seen) < 0.5 * lost(weights, by_magnitude, seen)


def test_the_last_weight_takes_over_by_least_squares() -> None:
    seen = np.array([[1.0, 2.0, 3.0, 4.0], [1.1, 1.9, 3.2, 3.9]])
    # The first costs less, as it is smaller and the two say the same.
    pruned = prune_matrix(np.array([[0.1, 5.0]]), seen @ seen.T, "sp50")
    wanted = 5.0 + 0.1 * (seen[0] @ seen[1]) / (seen[1] @ seen[1])
    assert pruned[0, 0] == 0
    assert pruned[0, 1] == pytest.approx(wanted, rel=1e-3)


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    weights, seen = layer(16, 64)
    seen[:20] = 0
    pruned = prune_matrix(weights, seen @ seen.T, "sp50")
    assert np.isfinite(pruned).all()
    assert np.isfinite(prune_matrix(weights, np.zeros((64, 64)), "sp50")).all()


@pytest.mark.parametrize("settings", [{"dilation_rate": 2}, {"strides": 2, "padding": "same"}])
def test_a_pointwise_kernel_is_pruned_for_the_inputs_that_it_gets(settings) -> None:
    import keras

    generator = np.random.default_rng(0)
    photos = generator.normal(size=(2, 8, 8, 4)).astype(np.float32)
    separable = keras.layers.SeparableConv2D(5, 3, use_bias=False, **settings)
    wanted = np.asarray(separable(photos)).reshape(-1, 5)
    kernel = np.asarray(separable.pointwise_kernel)[0, 0]
    seen = _seen(separable, photos, generator)
    np.testing.assert_allclose(seen @ kernel, wanted, rtol=1e-4, atol=1e-5)
