"""Rates of blocks, weight decay and averages of AdamW, against their formulas."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rs_toolkit.batches.pipeline import PixelSource
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.errors import ConfigError
from rs_toolkit.progress import Progress
from rs_train.classifier import fit_loop
from rs_train.classifier.model import block_numbers, build_classifier, freeze_below
from rs_train.classifier.optimizer import adamw, averaged, check_average, rate_factors

CONFIG = TrainConfig(backbone="tiny", imgsz=32, batch_size=10, epochs=3, learning_rate=0.01)


def trained(config: TrainConfig, steps: int = 1, scale: float = 1.0) -> tuple[Any, list]:
    """Return a model after steps of random gradients, and its weights before each and at the end.

    An epoch has 4 steps.
    """
    import keras

    keras.utils.set_random_seed(0)
    model = build_classifier("tiny", 32, 3)
    model.compile(adamw(config, 40, factors=rate_factors(model, config)))
    model.optimizer.build(model.trainable_variables)
    generator = np.random.default_rng(0)
    weights = []
    for _ in range(steps):
        weights.append(values(model))
        shapes = [variable.shape for variable in model.trainable_variables]
        slopes = [scale * generator.normal(size=shape).astype(np.float32) for shape in shapes]
        model.optimizer.apply(slopes, model.trainable_variables)
    return model, [*weights, values(model)]


def values(model: Any) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.trainable_variables]


def test_a_step_is_as_large_as_the_factor_of_its_block() -> None:
    config = replace(CONFIG, layer_decay=0.5, head_rate=3.0, weight_decay=0.0)
    model, (before, after) = trained(config)
    _, (_, plain) = trained(replace(CONFIG, weight_decay=0.0))
    wanted = {"block1": 0.5, "block2": 1.0, "predic": 3.0}
    for variable, start, one, other in zip(
        model.trainable_variables, before, after, plain, strict=True
    ):
        factor = wanted[variable.path[:6]]
        assert one - start == pytest.approx(factor * (other - start), rel=1e-3, abs=1e-6)
        assert np.abs(one - start).max() > 0


def test_weight_decay_shrinks_kernels_by_rate_and_spares_the_rest() -> None:
    config = replace(CONFIG, weight_decay=5.0, layer_decay=0.5, head_rate=3.0)
    model, weights = trained(config, steps=12, scale=0.0)
    rates = [float(model.optimizer._learning_rate(step)) for step in range(12)]
    kept = {"block1": 0.5, "block2": 1.0, "predic": 3.0}
    for variable, start, end in zip(
        model.trainable_variables, weights[0], weights[-1], strict=True
    ):
        factor = kept[variable.path[:6]] if variable.name.endswith("kernel") else 0.0
        shrunk = np.prod([1 - 5.0 * factor * rate for rate in rates])
        assert end == pytest.approx(start * shrunk, rel=1e-4), variable.path
    assert {v.name for v in model.trainable_variables} >= {"kernel", "bias", "gamma", "beta"}


def test_the_default_weight_decay_does_next_to_nothing() -> None:
    """So that nobody takes it for a setting against overfitting: 0.001 % in 20 epochs."""
    config = TrainConfig()
    rate = adamw(config, 60 * config.batch_size)._learning_rate
    rates = [float(rate(step)) for step in range(0, 60 * config.epochs, 10)]
    assert 10 * sum(rates) * config.weight_decay < 1e-5


def test_the_rate_ends_with_the_last_epoch() -> None:
    for epochs in (3, 30):
        rate = adamw(CONFIG, 40, epochs=epochs)._learning_rate
        assert float(rate(4 * epochs)) == pytest.approx(CONFIG.learning_rate / 100)
        assert float(rate(4 * epochs - 4)) > CONFIG.learning_rate / 99


@pytest.mark.parametrize("average", ["ema", "swa"])
def test_averages_are_those_of_the_formula_and_leave_the_last_weights(average) -> None:
    model, weights = trained(replace(CONFIG, average=average, fine_tune_from="block1"), steps=12)
    wanted = weights[1]
    for step, found in enumerate(weights[1:]):
        kept = min(step / (step + 10), 3 / 4) if average == "ema" else max(step - 9, 0)
        kept = kept if average == "ema" else kept / (kept + 1)
        wanted = [kept * old + (1 - kept) * new for old, new in zip(wanted, found, strict=True)]
    with averaged(model):
        for one, other in zip(values(model), wanted, strict=True):
            assert one == pytest.approx(other, abs=1e-6)
    if average == "swa":
        last = [np.mean(arrays, axis=0) for arrays in zip(*weights[-3:], strict=True)]
        assert wanted[0] == pytest.approx(last[0], abs=1e-6)
    # Keras puts the averages in place after each fit.
    model.optimizer.finalize_variable_values(model.trainable_variables)
    assert all(np.array_equal(*pair) for pair in zip(values(model), weights[-1], strict=True))


def test_blocks_are_found_with_their_shortcuts() -> None:
    model = build_classifier("xception", 71, 2)
    numbers = block_numbers(model, "xception")
    shortcuts = [numbers[name] for name in numbers if name.startswith("conv2d")]
    assert shortcuts == [2, 3, 4, 13]
    assert [numbers[name] for name in ("block1_conv1", "block14_sepconv2_act")] == [1, 14]
    assert numbers["avg_pool"] == numbers["predictions"] == 15
    freeze_below(model, "xception", "block9")
    factors = rate_factors(model, TrainConfig(layer_decay=0.8, head_rate=2.0))
    assert factors[0] == pytest.approx(0.8**5) and factors[-1] == 2.0


def test_averages_of_trained_batch_normalization_are_refused() -> None:
    model = build_classifier("tiny", 32, 3)
    freeze_below(model, "tiny", "all")
    check_average(model, "none")
    with pytest.raises(ConfigError, match="batch normalization"):
        check_average(model, "ema")
    freeze_below(model, "tiny", "block1")
    check_average(model, "ema")


@pytest.mark.parametrize(("given", "seconds"), [("30m", 1800), ("1.5h", 5400), ("90s", 90)])
def test_a_time_is_read(given, seconds) -> None:
    assert TrainConfig(time=given).seconds == seconds


@pytest.mark.parametrize("given", ["30", "m", "0m", "-3m", "3 days", "nan"])
def test_a_wrong_time_is_refused(given) -> None:
    with pytest.raises(ConfigError, match="30m"):
        TrainConfig(time=given)


@pytest.mark.parametrize(
    ("average", "refit", "epochs"), [("none", "none", 50), ("ema", "none", 45), ("none", "val", 22)]
)
def test_epochs_fit_into_the_time(monkeypatch, average, refit, epochs) -> None:
    """Of 1000 s, 5 % are kept back and 195 s are over; an epoch takes 10 steps of 1.35 s or more.

    The first two steps, which compile, take longer and do not count.  A refit takes 0.8 / 0.6 of
    the steps once more.
    """
    import tensorflow as tf

    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(fit_loop, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def fit(batches: Any, callbacks: list, **_: Any) -> None:
        for number, _ in enumerate(batches):
            clock.now += 50 if number < 2 else 1.35
            callbacks[0].on_train_batch_end(number, logs=None)

    def judge() -> None:
        clock.now += 1.5

    course: Any = SimpleNamespace(
        batches=lambda epoch: tf.data.Dataset.range(10),
        learner=SimpleNamespace(fit=fit),
        pixels=PixelSource(lambda rows: rows),
        judge=judge,
    )
    config = TrainConfig(time="1000s", average=average, refit=refit, val=0.2, test=0.2)
    taken = 2 * 50 + 6 * 1.35 + 1.5
    found = fit_loop._epochs(course, config, Progress(), started=taken - 195)
    looks, passes = 1 + (average == "ema"), 1 + (refit == "val") * 0.8 / 0.6
    assert found == epochs == int((950 - 195) / (13.5 * passes + 1.5 * looks))
