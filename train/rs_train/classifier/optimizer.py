"""AdamW with a rate for each block, and with an average of the weights beside the last ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rs_toolkit.errors import ConfigError
from rs_train.classifier.model import block_numbers

if TYPE_CHECKING:
    import keras

    from rs_toolkit.config.distillation import DistillConfig
    from rs_toolkit.config.training import TrainConfig

__all__ = ["adamw", "averaged", "check_average", "rate_factors", "take_averages"]

_TAIL = 0.25  # share of the steps that swa averages, as in its paper
_WARM_UP = 10  # as tf.train.ExponentialMovingAverage counts steps

Momentum = Callable[[Any], Any]


def adamw(
    config: TrainConfig | DistillConfig,
    photos: int,
    *,
    epochs: int | None = None,
    factors: Sequence[float] = (),
) -> keras.optimizers.AdamW:
    """Return AdamW whose learning rate rises during one epoch, then decays to a hundredth.

    The decay is a cosine that ends with the last epoch.  Weight decay is decoupled (Loshchilov,
    Hutter 2019), and spares biases, gamma and beta: a step of rate r shrinks all other weights by
    r * ``config.weight_decay``.

    Parameters
    ----------
    photos
        How many photos an epoch shows.
    epochs
        Length of the training; None: ``config.epochs``.
    factors
        Of the rate, one for each trainable variable of the model; empty: 1 for all.
    """
    import keras

    steps = -(-photos // config.batch_size)
    epochs = config.epochs if epochs is None else epochs
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate / 20,
        warmup_target=config.learning_rate,
        warmup_steps=steps,
        decay_steps=max(1, steps * max(1, epochs - 1)),
        alpha=0.01,
    )
    momentum = _momentum(getattr(config, "average", "none"), steps, steps * epochs)
    kind = _kind(factors, momentum)
    optimizer = kind(
        rate, weight_decay=config.weight_decay, clipnorm=1.0, use_ema=momentum is not None
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _momentum(average: str, epoch: int, steps: int) -> Momentum | None:
    """Return what share of the average a step keeps, of the number of steps before it.

    ``epoch`` is the number of steps in an epoch, ``steps`` in all.
    """
    from keras import ops

    if average == "ema":
        return lambda step: ops.minimum(step / (step + _WARM_UP), 1 - 1 / epoch)
    if average == "swa":
        first = steps - max(1, round(_TAIL * steps))
        return lambda step: (counted := ops.maximum(step - first, 0)) / (counted + 1)
    return None


def _kind(factors: Sequence[float], momentum: Momentum | None) -> type[keras.optimizers.AdamW]:
    import keras

    class BlockAdamW(keras.optimizers.AdamW):  # type: ignore[misc]
        """AdamW with a factor for each variable's rate; ``momentum`` is of the average."""

        def _factor(self, variable: Any) -> float:
            return factors[self._get_variable_index(variable)] if factors else 1.0

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate * self._factor(variable))

        def _apply_weight_decay(self, variables: Any) -> None:
            for variable in filter(self._use_weight_decay, variables):
                share = self.weight_decay * self.learning_rate * self._factor(variable)
                self.assign_sub(variable, variable * share)

        def _update_model_variables_moving_average(self, variables: Any) -> None:
            kept = momentum(keras.ops.cast(self.iterations, "float32")) if momentum else 0.0
            for variable, mean in zip(variables, self._model_variables_moving_average, strict=True):
                mean.assign(mean * kept + variable * (1 - kept))

        def finalize_variable_values(self, var_list: Any) -> None:
            """Leave the last weights; Keras would put the averages in their place."""

        def take_averages(self) -> None:
            """Put the averages in the place of the last weights."""
            super().finalize_variable_values(self._trainable_variables)

    return BlockAdamW


def rate_factors(model: keras.Model, config: TrainConfig) -> list[float]:
    """Return the factor of the learning rate for each trainable variable of a classifier.

    The last block of the backbone has the factor 1, and each block before it ``layer_decay`` times
    that of the next; the layers after the backbone have ``head_rate``.

    References
    ----------
    Howard, Ruder (2018), Universal language model fine-tuning for text classification, section 3.2.
    """
    numbers = block_numbers(model, config.backbone)
    head = max(numbers.values())
    factors = {
        variable.path: (
            config.head_rate
            if numbers[layer.name] == head
            else config.layer_decay ** (head - 1 - numbers[layer.name])
        )
        for layer in model.layers
        for variable in layer.trainable_variables
    }
    return [factors[variable.path] for variable in model.trainable_variables]


def check_average(model: keras.Model, average: str) -> None:
    """Raise ConfigError where a model's batch normalization is trained, and its weights averaged.

    The statistics, of the last weights, would not be those of the average.
    """
    import keras

    normal = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    if average != "none" and any(layer.trainable for layer in normal):
        raise ConfigError(
            f"average: got {average} where batch normalization is trained, so that it would not "
            "fit the average; set average to none, or name a block in fine_tune_from"
        )


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Put the averages of a model's weights in their place, inside the ``with`` block."""
    last = [variable.numpy() for variable in model.trainable_variables]
    take_averages(model)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, last, strict=True):
            variable.assign(value)


def take_averages(model: keras.Model) -> None:
    """Put the averages of a model's weights, after a step or more of :func:`adamw`, in place."""
    # With mixed_float16, Keras wraps the optimizer.
    getattr(model.optimizer, "inner_optimizer", model.optimizer).take_averages()
