"""Models prepared by tensorflow-model-optimization for pruning, clustering or rounding.

Layers with few weights are neither pruned nor clustered, because they would save little and lose
much accuracy.  All layers before the first larger one are frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_export.measure.batches import batches
from rs_export.quantize.ranges import activation_ranges
from rs_export.shrink.legacy import Weights
from rs_toolkit.errors import ExportError

__all__ = ["to_train", "worth_shrinking"]

# The smallest layers that together have at most this share of all weights count as small.
_LIGHT_SHARE = 0.05

# The library does not know these: only their outputs are rounded.
_OUTPUT_ONLY = ("LayerNormalization", "Multiply", "Rescaling")

_PRUNING_SHARE = 0.6
_PRUNING_STEPS = 20


def to_train(
    method: str, model: Any, inputs: NDArray[np.float32], steps: int
) -> tuple[Any, Callable[[Any], Weights], list[Any]]:
    """Return a model to train, a function that reads its weights by layer, and Keras callbacks.

    Parameters
    ----------
    method : ``spNN``, ``sp24``, ``cNN`` or ``qat``; zeros of a pruned model stay zero
    model : a :func:`rs_export.shrink.legacy.legacy_clone`, some layers of which are frozen here;
        for pruning, the clone of a :func:`rs_export.shrink.sparse.pruned_in_one_shot` model
    inputs : calibration photos as model inputs, float32 (n, S, S, 3)
    steps : number of batches that the model will be trained on
    """
    import tensorflow_model_optimization as tfmot

    heavy = _heavy(model)
    # The first layers have the largest feature maps, so training them would cost most time.
    for layer in takewhile(lambda layer: layer.name not in heavy, model.layers):
        layer.trainable = False
    if method == "qat":
        return _rounded(model, inputs), _rounded_weights, []
    if method.startswith("sp"):
        library, student = tfmot.sparsity.keras, _pruned(method, model, steps)
        strip, callbacks = library.strip_pruning, [library.UpdatePruningStep()]
    else:
        # Each kernel gets this many different values (Han et al. 2016).
        count, library = int(method.removeprefix("c")), tfmot.clustering.keras
        student = _changed(model, lambda layer: library.cluster_weights(layer, count))
        strip, callbacks = library.strip_clustering, []

    def plain(trained: Any) -> Weights:
        return {layer.name: layer.get_weights() for layer in strip(trained).layers}

    return student, plain, callbacks


def _pruned(method: str, model: Any, steps: int) -> Any:
    """Return a model whose smallest weights are kept at zero while the others are trained."""
    import tensorflow_model_optimization as tfmot

    sparsity = tfmot.sparsity.keras
    end = max(1, int(steps * _PRUNING_SHARE))
    frequency = max(1, end // _PRUNING_STEPS)
    # Along the input channels (Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks").
    in_fours = method == "sp24"
    share = 0.5 if in_fours else int(method.removeprefix("sp")) / 100
    schedule = sparsity.ConstantSparsity(share, 0, end, frequency)
    more = {"sparsity_m_by_n": (2, 4)} if in_fours else {}

    def prune(layer: Any) -> Any:
        if in_fours and layer.kernel.shape[-2] % 4:
            # Input channels that are no multiple of four, such as a photo's three, have no groups.
            return layer
        return sparsity.prune_low_magnitude(layer, schedule, **more)

    return _changed(model, prune)


def _rounded(model: Any, inputs: NDArray[np.float32]) -> Any:
    """Return a model that trains with weights and activations rounded to 8 bits.

    The method is from Jacob et al. 2018 ("Quantization and Training of Neural Networks").  Two
    defaults of the library are replaced.  Activation ranges start as measured on ``inputs`` instead
    of at -6 to 6, because the moving average of weight 0.001 would be too slow.  Depthwise kernels
    have one scale per channel, as in TFLite and ONNX.
    """
    import tensorflow_model_optimization as tfmot
    import tf_keras
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registry,
    )

    quantization = tfmot.quantization.keras
    config = _depthwise_config()
    output_only = registry.Default8BitQuantizeConfig([], [], True)

    def annotate(layer: Any) -> Any:
        own = {"quantize_config": config()} if _is_depthwise(layer) else {}
        if type(layer).__name__ in _OUTPUT_ONLY or _normalizes_depthwise(layer):
            own = {"quantize_config": output_only}
        return quantization.quantize_annotate_layer(layer, **own)

    annotated = tf_keras.models.clone_model(model, clone_function=annotate)
    scheme = tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme()
    with quantization.quantize_scope({config.__name__: config}):
        student = _require(quantization.quantize_apply(annotated, scheme))
    _set_ranges(student, model, inputs)
    return student


def _rounded_weights(model: Any) -> Weights:
    """Return the float32 weights of a :func:`_rounded` model, by layer of the original model."""
    found = {}
    for wrapper in model.layers:
        layer = getattr(wrapper, "layer", None)
        if layer is not None:
            own = [w for w in wrapper.weights if w.name.startswith(f"{layer.name}/")]
            found[layer.name] = [weight.numpy() for weight in own]
    return found


def _set_ranges(student: Any, model: Any, inputs: NDArray[np.float32]) -> None:
    """Set every activation's range to its extremes in the float model."""
    import tf_keras

    probe = tf_keras.Model(model.inputs, [layer.output for layer in model.layers])
    names = [layer.name for layer in model.layers]
    found = (map(np.asarray, probe(part, training=False)) for part in batches(inputs))
    ranges = activation_ranges(names, map(list, found), "extremes")
    for wrapper in student.layers:
        layer = getattr(wrapper, "layer", None)
        # The library adds a layer after the input, which wraps no layer of the model.
        low, high = ranges[names[0] if layer is None else layer.name]
        for weight in wrapper.weights:
            kind = weight.name.split("/")[-1].split(":")[0]
            if kind in ("quantize_layer_min", "output_min", "post_activation_min"):
                weight.assign(min(low, 0.0))
            if kind in ("quantize_layer_max", "output_max", "post_activation_max"):
                weight.assign(max(high, 1e-6))


def _depthwise_config() -> Any:
    """Return a class of the library's settings for depthwise layers, with one scale per channel."""
    import tensorflow as tf
    from tensorflow_model_optimization.python.core.quantization.keras import quantizers
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registry,
    )

    class PerChannel(quantizers.Quantizer):  # type: ignore[misc]
        """Symmetric, one scale per channel of a depthwise kernel (h, w, channels, 1)."""

        def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
            return {}

        def __call__(self, inputs: Any, training: bool, weights: Any, **kwargs: Any) -> Any:
            widest = tf.reduce_max(tf.abs(inputs), axis=(0, 1, 3), keepdims=True)
            scale = tf.maximum(widest, 1e-9) / 127.0
            # Gradients pass straight through the rounding (Bengio et al. 2013).
            return inputs + tf.stop_gradient(tf.round(inputs / scale) * scale - inputs)

        def get_config(self) -> dict[str, Any]:
            return {}

    class DepthwiseConfig(registry.Default8BitQuantizeConfig):  # type: ignore[misc]
        def __init__(self, **_: Any) -> None:
            super().__init__(["depthwise_kernel"], ["activation"], quantize_output=False)
            self.weight_quantizer = PerChannel()

    return DepthwiseConfig


def _changed(model: Any, change: Callable[[Any], Any]) -> Any:
    """Return a clone in which ``change`` wraps the layers worth shrinking."""
    import tf_keras

    names = _heavy(model)

    def wrap(layer: Any) -> Any:
        return change(layer) if layer.name in names else layer

    return _require(tf_keras.models.clone_model(model, clone_function=wrap))


def _heavy(model: Any) -> set[str]:
    """Return the names of the layers worth shrinking; depthwise layers never are."""
    kernels = [x for x in model.layers if hasattr(x, "kernel") and not _is_depthwise(x)]
    return worth_shrinking({x.name: int(np.prod(x.kernel.shape)) for x in kernels})


def worth_shrinking(sizes: Mapping[str, int]) -> set[str]:
    """Return all layers but the smallest ones, which together have at most 5 % of the weights.

    ``sizes`` are numbers of weights by layer name.
    """
    names = sorted(sizes, key=lambda name: sizes[name])
    together = np.cumsum([sizes[name] for name in names])
    light = np.searchsorted(together, _LIGHT_SHARE * sum(sizes.values()), "right")
    return set(names[int(light) :])


def _require(model: Any) -> Any:
    """Raise ExportError where the library returned None, as it does for unsupported models."""
    import tf_keras

    if not isinstance(model, tf_keras.Model):
        raise ExportError(
            f"tensorflow-model-optimization gave {type(model).__name__} instead of a model; "
            "it needs tf_keras 2.x: pip install 'rs-toolkit[toolkit]'"
        )
    return model


def _normalizes_depthwise(layer: Any) -> bool:
    """Return whether a layer is batch normalization of a depthwise layer.

    The library rounds it together with the layer before, but not where that has settings of its
    own.  One scale per channel makes no difference to it, so that only its output is rounded.
    """
    import tf_keras

    if not isinstance(layer, tf_keras.layers.BatchNormalization):
        return False
    return _is_depthwise(layer.inbound_nodes[0].parent_nodes[0].layer)


def _is_depthwise(layer: Any) -> bool:
    import tf_keras

    return isinstance(layer, tf_keras.layers.DepthwiseConv2D)
