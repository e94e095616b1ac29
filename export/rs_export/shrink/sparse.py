"""Pruning in one shot: weights that are left make up for those that go, layer by layer.

The magnitude of a weight says little about what its layer loses with it.  The optimal brain surgeon
(Hassibi and Stork 1993) knows: for a layer with weights w (one row an output) and inputs x, the
error of its outputs E = ||w x - w' x||^2 has the Hessian H = x x^T, the same for all rows.  Setting
the weight j of a row to zero costs w_j^2 / [H^-1]_jj if all others may move, by
-w_j [H^-1]_j: / [H^-1]_jj.

Doing that one weight at a time is too slow.  As in SparseGPT (Frantar and Alistarh 2023,
algorithm 1), columns are taken from left to right, only columns to the right move, and the
inverses of the shrinking Hessians are the rows of one Cholesky factor of H^-1.  Inputs come from a
class-balanced calibration set, so that what rare classes need weighs as much as the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rs_export.measure.batches import batches
from rs_export.quantize.copies import copy_of, depthwise_half
from rs_export.shrink.lighter import worth_shrinking

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

__all__ = ["prune_matrix", "pruned_in_one_shot"]

# Added to the Hessian's diagonal, as a share of its mean.
_DAMPING = 0.01
# Columns whose weights compete for being kept.
_BLOCK = 128
# Positions of a photo that are used, drawn at random: neighbours are alike.
_POSITIONS = 100


def pruned_in_one_shot(
    model: keras.Model, inputs: NDArray[np.float32], method: str, seed: int = 0
) -> keras.Model:
    """Return a copy with zeros in the pointwise kernels of its larger layers.

    Parameters
    ----------
    inputs : calibration photos as model inputs, float32 (n, S, S, 3)
    method : ``spNN``: NN % of each kernel's weights are zero; ``sp24``: 2 of every 4 weights along
        the input channels (of kernels whose input channels come in fours)
    seed : of the positions of a photo that are looked at
    """
    import keras

    copy = copy_of(model)
    sizes = {layer.name: int(np.prod(_kernel(layer).shape)) for layer in _pointwise(copy)}
    large = worth_shrinking(sizes)
    layers = [layer for layer in _pointwise(copy) if layer.name in large]
    if not layers:
        return copy
    probe = keras.Model(copy.input, [layer.input for layer in layers])
    hessians: list[Any] = [0.0] * len(layers)
    generator = np.random.default_rng(seed)
    for part in batches(inputs):
        # A model of one output gives no list.
        found = keras.tree.flatten(probe.predict_on_batch(part))
        for number, (layer, values) in enumerate(zip(layers, found, strict=True)):
            seen = _seen(layer, values, generator)
            hessians[number] = hessians[number] + seen.T @ seen
    for layer, hessian in zip(layers, hessians, strict=True):
        kernel = _kernel(layer)
        weights = np.asarray(kernel)[0, 0].T
        if method != "sp24" or weights.shape[1] % 4 == 0:
            kernel.assign(prune_matrix(weights, hessian, method).T[None, None])
    return copy


def prune_matrix(weights: NDArray[Any], hessian: NDArray[Any], method: str) -> NDArray[np.float32]:
    """Return the weights of one layer with zeros, the others moved to keep its answers.

    Parameters
    ----------
    weights : shape (outputs, inputs)
    hessian : x x^T of inputs x (inputs, positions); symmetric, (inputs, inputs)
    method : as for :func:`pruned_in_one_shot`
    """
    left, hessian, count = weights.astype(np.float64), hessian.astype(np.float64), len(hessian)
    # Without any input all is 0.
    damping = _DAMPING * float(np.mean(np.diag(hessian))) or 1.0
    # The upper triangular U with U^T U = H^-1.
    factor = np.linalg.cholesky(np.linalg.inv(hessian + damping * np.eye(count))).T
    pivots = np.diag(factor)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        block = left[:, start:stop]
        gone = _least(block**2 / pivots[start:stop] ** 2, method)
        errors = np.zeros_like(block)
        for column in range(stop - start):
            kept = np.where(gone[:, column], 0.0, block[:, column])
            errors[:, column] = (block[:, column] - kept) / pivots[start + column]
            row = factor[start + column, start + column + 1 : stop]
            block[:, column] = kept
            block[:, column + 1 :] -= np.outer(errors[:, column], row)
        left[:, stop:] -= errors @ factor[start:stop, stop:]
    return left.astype(np.float32)


def _least(costs: Matrix, method: str) -> NDArray[np.bool_]:
    """Return which weights of a block go: those that cost least."""
    if method == "sp24":
        groups = costs.reshape(len(costs), -1, 4)
        return np.asarray((groups.argsort(axis=2).argsort(axis=2) < 2).reshape(costs.shape))
    number = round(int(method.removeprefix("sp")) / 100 * costs.size)
    gone = np.zeros(costs.size, np.bool_)
    gone[np.argsort(costs, axis=None, kind="stable")[:number]] = True
    return gone.reshape(costs.shape)


def _pointwise(model: keras.Model) -> list[Any]:
    """Return the layers that mix channels position by position."""
    import keras

    separable, plain = keras.layers.SeparableConv2D, keras.layers.Conv2D
    return [
        layer
        for layer in model.layers
        if isinstance(layer, separable)
        or (type(layer) is plain and tuple(layer.kernel_size) == (1, 1) and layer.groups == 1)
    ]


def _kernel(layer: Any) -> Any:
    """Return the pointwise kernel, shape (1, 1, inputs, outputs)."""
    return layer.pointwise_kernel if hasattr(layer, "pointwise_kernel") else layer.kernel


def _seen(layer: Any, values: Any, generator: np.random.Generator) -> NDArray[np.float32]:
    """Return what the kernel is multiplied with, (positions of all photos, inputs)."""
    if hasattr(layer, "depthwise_kernel"):
        values = depthwise_half(layer, values)
    else:
        values = values[:, :: layer.strides[0], :: layer.strides[1]]
    seen = np.asarray(values).reshape(len(values), -1, values.shape[-1])
    if seen.shape[1] > _POSITIONS:
        seen = seen[:, generator.choice(seen.shape[1], _POSITIONS, replace=False)]
    return np.ascontiguousarray(seen.reshape(-1, seen.shape[2]))
