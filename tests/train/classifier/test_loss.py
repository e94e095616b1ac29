"""Losses against what theory says that they lead to, on a problem whose probabilities are known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from rs_toolkit.batches.oversampling import Shares, class_sizes, class_targets, epoch_order
from rs_toolkit.config.base import load_settings
from rs_toolkit.config.training import LOSSES, TrainConfig
from rs_toolkit.errors import ConfigError
from rs_train.classifier.loss import class_loss

# Photos of class y that look like x: at each balance, oversampling shows each of them as often.
COUNTS = np.array([[48, 12, 4], [4, 8, 4], [1, 1, 2]])
LABELS, LOOKS = (np.repeat(places.ravel(), COUNTS.ravel()) for places in np.indices(COUNTS.shape))
# Each photo has a copy of its bytes, which must not count.
COPIES = Shares(np.tile(np.arange(len(LABELS)), 2), np.ones(2 * len(LABELS)))
LABELS, LOOKS = np.tile(LABELS, 2), np.tile(LOOKS, 2)
LIKELIHOOD = np.log(COUNTS / COUNTS.sum(1, keepdims=True)).T  # log p(x | y), (x, y)
PLAIN = TrainConfig(label_smoothing=0.0, balance=0.0)
BALANCED = replace(PLAIN, loss="balanced_softmax")


@cache
def learned(config: TrainConfig) -> np.ndarray:
    """Return the logits (x, y) that minimize a loss on the photos of one epoch, centred."""
    import tensorflow as tf

    function = class_loss(config, class_sizes(LABELS, COPIES)).function
    order = epoch_order(LABELS, config.balance, 0, 0, COPIES)
    table = tf.Variable(np.zeros(LIKELIHOOD.shape))

    @tf.function
    def slope() -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            found = tf.reduce_mean(function(LABELS[order], tf.gather(table, LOOKS[order])))
        return found, tf.convert_to_tensor(tape.gradient(found, table))

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        table.assign(values.reshape(table.shape))
        found, gradient = slope()
        return float(found), gradient.numpy().ravel()

    found = minimize(loss, np.zeros(LIKELIHOOD.size), jac=True, options={"gtol": 1e-6})
    return centred(found.x.reshape(LIKELIHOOD.shape))


def centred(logits: np.ndarray) -> np.ndarray:
    return logits - logits.mean(1, keepdims=True)


def shown(balance: float) -> np.ndarray:
    return class_targets(class_sizes(LABELS, COPIES), balance)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_balanced_softmax_learns_the_balanced_bayes_logits(balance) -> None:
    found = learned(replace(BALANCED, balance=balance))
    assert found == pytest.approx(centred(LIKELIHOOD), abs=0.01)


@pytest.mark.parametrize("balance", [0.0, 0.5])
def test_cross_entropy_learns_the_prior_that_oversampling_shows(balance) -> None:
    found = learned(replace(PLAIN, balance=balance))
    assert found == pytest.approx(centred(LIKELIHOOD + np.log(shown(balance))), abs=0.01)


def test_logit_adjustment_scales_the_prior_that_is_taken_out() -> None:
    found = learned(replace(BALANCED, balance=0.5, logit_adjustment=2.0))
    assert found == pytest.approx(centred(LIKELIHOOD - np.log(shown(0.5))), abs=0.01)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_class_balanced_weights_do_not_depend_on_oversampling(balance) -> None:
    """By Cui et al. a class counts as its size over its effective number, here nearly 1."""
    sizes = np.array([64, 16, 4])
    counts = sizes * (1 - 0.999) / (1 - 0.999**sizes)
    found = learned(replace(PLAIN, loss="class_balanced", balance=balance))
    assert found == pytest.approx(centred(LIKELIHOOD + np.log(counts)), abs=0.01)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("balance", [0.0, 0.5])
def test_what_cross_entropy_learned_is_moved_to_the_loss(kind, balance) -> None:
    config = replace(PLAIN, loss=kind, balance=balance)
    start = class_loss(config, class_sizes(LABELS, COPIES)).start
    if kind == "focal":
        assert not start.any()
    else:
        moved = learned(replace(PLAIN, balance=balance)) + start
        assert centred(moved) == pytest.approx(learned(config), abs=0.01)


def values(config: TrainConfig, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.asarray(class_loss(config, np.array([64.0, 16, 4])).function(labels, logits))


def test_focal_loss_weighs_what_is_known_less() -> None:
    logits = np.array([[4.0, 0, 0], [0, 0, 0]], np.float32)
    config = replace(PLAIN, loss="focal")
    sure = softmax(logits, 1)[:, 0]
    assert values(config, logits, [0, 0]) == pytest.approx((1 - sure) ** 2 * -np.log(sure), 1e-5)


@pytest.mark.parametrize("kind", LOSSES)
def test_each_loss_smooths_labels_and_is_float32(kind) -> None:
    """The smoothed loss is the mean of the losses of all classes, as the targets are."""
    logits = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float16)
    config = replace(PLAIN, loss=kind)
    smooth = values(replace(config, label_smoothing=0.3), logits, np.array([2, 0, 1]))
    assert smooth.dtype == np.float32 and smooth.shape == (3,)
    each = np.stack([values(config, logits, np.full(3, c)) for c in range(3)], 1)
    if kind == "class_balanced":
        # The weight is that of the photo's class, whatever its target.
        weight = each / -log_softmax(logits.astype(np.float32), axis=1)
        each = -log_softmax(logits.astype(np.float32), axis=1) * weight[0][[2, 0, 1]][:, None]
    wanted = 0.7 * each[range(3), [2, 0, 1]] + 0.3 * each.mean(1)
    assert smooth == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_class_without_photos_is_pushed_down(kind) -> None:
    import tensorflow as tf

    logits = tf.Variable(np.zeros((2, 3), np.float32))
    found = class_loss(replace(PLAIN, loss=kind), np.array([0.0, 64, 4]))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(found.function(np.array([1, 2]), logits))
    slope = np.asarray(tape.gradient(loss, logits))
    assert np.isfinite(slope).all() and np.isfinite(found.start).all()
    assert (slope[:, 0] > 0.01).all()


def test_an_adjustment_without_its_loss_is_refused() -> None:
    with pytest.raises(ConfigError, match="balanced_softmax"):
        load_settings(TrainConfig, {"logit_adjustment": 0.5})


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_mixed_photos_is_that_of_both_classes_by_their_shares(name) -> None:
    config = load_settings(TrainConfig, {"loss": name})
    function = class_loss(config, np.array([5.0, 3.0, 1.0])).function
    logits = np.array([[1.0, 0.2, -0.5], [0.1, 0.4, 2.0]], np.float32)
    targets = np.array([[0, 2, 0.3], [1, 1, 0.8]], np.float32)
    first, second = (np.asarray(function(targets[:, n].astype(int), logits)) for n in (0, 1))
    found = np.asarray(function(targets, logits))
    assert found == pytest.approx([0.3 * first[0] + 0.7 * second[0], first[1]], rel=1e-5)
