"""Pruning in one shot, without training: the other weights of a layer compensate for the zeros.

The magnitude of a weight says little about the error that its removal causes.  The optimal brain
surgeon (Hassibi and Stork 1993) computes this error.  For a layer with weights w (one row per
output) and inputs x, the error of the outputs E = ||w x - w' x||^2 has the Hessian H = x x^T (up to
a factor), the same for all rows.  Setting the weight w_j of a row to zero costs w_j^2 / [H^-1]_jj
if all other weights of the row are changed by -w_j [H^-1]_j: / [H^-1]_jj.

Doing this for one weight after the other is too slow.  As in SparseGPT (Frantar and Alistarh 2023,
algorithm 1), columns are processed from left to right, and only columns to the right are changed.
Then the inverses of the shrinking Hessians are the rows of one Cholesky factor of H^-1.  The inputs
are from a class-balanced calibration set, so that rare classes count as much as common ones.
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
# Number of columns that are pruned together: the weights of least cost among them go.
_BLOCK = 128
# Number of random positions used of each photo's feature map; neighbours are similar.
_POSITIONS = 100


def pruned_in_one_shot(
    model: keras.Model, inputs: NDArray[np.float32], method: str, seed: int = 0
) -> keras.Model:
    """Return a copy of a model, pruned in the pointwise kernels of its larger layers.

    Parameters
    ----------
    inputs : calibration photos as model inputs, float32 (n, S, S, 3)
    method : ``spNN``: NN % of each kernel's weights become zero; ``sp24``: 2 of every 4 weights
        along the input channels do, in kernels whose input channels are a multiple of 4
    seed : seed of the random positions
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
        # flatten: a model with one output returns an array instead of a list.
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
    """Return the pruned weights of one layer, whose other weights compensate for the zeros.

    Parameters
    ----------
    weights : shape (outputs, inputs)
    hessian : x x^T of the layer's inputs x (inputs, positions); shape (inputs, inputs)
    method : as for :func:`pruned_in_one_shot`
    """
    left, hessian, count = weights.astype(np.float64), hessian.astype(np.float64), len(hessian)
    # 1 where all inputs are 0, because a Hessian of 0 has no inverse.
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
    """Return which weights of a block become zero: those of least cost."""
    if method == "sp24":
        groups = costs.reshape(len(costs), -1, 4)
        return np.asarray((groups.argsort(axis=2).argsort(axis=2) < 2).reshape(costs.shape))
    number = round(int(method.removeprefix("sp")) / 100 * costs.size)
    gone = np.zeros(costs.size, np.bool_)
    gone[np.argsort(costs, axis=None, kind="stable")[:number]] = True
    return gone.reshape(costs.shape)


def _pointwise(model: keras.Model) -> list[Any]:
    """Return the layers with a pointwise kernel: separable and 1 x 1 convolutions."""
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
    """Return the inputs of the pointwise kernel, shape (positions of all photos, inputs)."""
    if hasattr(layer, "depthwise_kernel"):
        values = depthwise_half(layer, values)
    else:
        values = values[:, :: layer.strides[0], :: layer.strides[1]]
    seen = np.asarray(values).reshape(len(values), -1, values.shape[-1])
    if seen.shape[1] > _POSITIONS:
        seen = seen[:, generator.choice(seen.shape[1], _POSITIONS, replace=False)]
    return np.ascontiguousarray(seen.reshape(-1, seen.shape[2]))
