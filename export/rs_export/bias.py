"""Bias correction: take back what quantization adds to every photo alike.

Rounding errors of weights do not average out over a channel's few weights, so a quantized model's
outputs are shifted.  The part of the shift that photos share is known from the calibration photos
and is taken out of the last bias (Nagel et al. 2019, "Data-Free Quantization Through Weight
Equalization and Bias Correction", section 4.2; the empirical form, appendix D, at the logits).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rs_runtime.engine import load_engine

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["copy_of", "correct_bias"]

_BATCH = 16


def correct_bias(
    model: keras.Model, engine: str, quantized: bytes, inputs: NDArray[np.float32]
) -> keras.Model | None:
    """Return a copy of a float model whose quantized form has the float model's mean logits.

    Parameters
    ----------
    model
        The model that was quantized; unchanged.
    engine, quantized
        What runs the quantized model, and its bytes.
    inputs
        Calibration photos, float32 (n, S, S, 3), scaled as the model wants them.

    Returns
    -------
    keras.Model or None
        None where the model does not end in a dense layer with a bias.

    Raises
    ------
    EngineError
        The engine refused the quantized model.
    """
    import keras

    last = next((layer for layer in model.layers if layer.output is model.outputs[0]), None)
    if not isinstance(last, keras.layers.Dense) or not last.use_bias:
        return None
    runner = load_engine(engine, quantized)
    shifts = [
        np.asarray(model.predict_on_batch(part)) - runner.logits(part)
        for part in (inputs[start : start + _BATCH] for start in range(0, len(inputs), _BATCH))
    ]
    copy = copy_of(model)
    kernel, bias = last.get_weights()
    copy.get_layer(last.name).set_weights([kernel, bias + np.concatenate(shifts).mean(axis=0)])
    return copy


def copy_of(model: keras.Model) -> keras.Model:
    """Return a model of the same layers and weights."""
    import keras

    copy = keras.models.clone_model(model)
    # Layer by layer: a model orders its weights by what is trainable.
    for one, other in zip(model.layers, copy.layers, strict=True):
        other.set_weights(one.get_weights())
    return copy
