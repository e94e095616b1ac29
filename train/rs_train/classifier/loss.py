"""Losses of stage 2, which differ in how much the rare classes count.

An epoch shows q(c) photos of class c: the training photos as duplicate groups count them, after
oversampling.  A model that minimizes the cross-entropy on them learns log p(x | c) + log q(c),
up to a constant of the photo x.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.batches.oversampling import class_targets
from rs_toolkit.config.training import TrainConfig

__all__ = ["ClassLoss", "class_loss", "taught_loss"]

_FOCUS = 2.0  # gamma of the focal loss, the best value in its paper
# beta of class-balanced weights.  With the classes of up to a few hundred photos that wildlife data
# sets have, 0.9999 would be the inverse of the size.
_OVERLAP = 0.999


class ClassLoss(NamedTuple):
    """A loss of class numbers and logits, and its Bayes logits against those of cross-entropy.

    ``function`` takes class numbers (n,) and logits (n, classes); it returns float32 (n,).  For
    mixed photos (:func:`rs_toolkit.batches.mixing.mixed_batch`) it takes targets (n, 3): two class
    numbers, and the share s of the first; the loss is s times that of the first class, plus 1 - s
    times that of the second, which for all losses here is that of the mixed targets.
    ``start``, float32 (classes,), is what logits have to be raised by after a fit by cross-entropy
    on the same photos (stage 1), to be where this loss leads.
    """

    function: Callable[[Any, Any], Any]
    start: NDArray[np.float32]


def class_loss(config: TrainConfig, sizes: NDArray[np.float64]) -> ClassLoss:
    """Return the loss that the settings ask for.

    All losses take label smoothing (Szegedy et al. 2016): a photo's target t is 1 - s for its class
    y plus s / classes for each.  With p = softmax(logits):

    ``cross_entropy``: sum of t(c) * -log p(c).

    ``balanced_softmax``: cross-entropy of logits + tau * log q, where tau is
    ``config.logit_adjustment``.  With tau = 1 the model learns log p(x | c), as if all classes were
    equally frequent, whatever the oversampling.

    ``focal``: sum of t(c) * (1 - p(c))**2 * -log p(c).

    ``class_balanced``: cross-entropy times w(y).  The size n of a class stands for an effective
    number of photos E = (1 - beta**n) / (1 - beta), and the class counts as n / E in an epoch,
    so w = n / (E * q), scaled so that the mean over an epoch is 1.

    A class without training photos is treated like the most frequent one, so that training pushes
    its logit down.

    Parameters
    ----------
    sizes
        Size of each class, (classes,), see :func:`rs_toolkit.batches.oversampling.class_sizes`.

    References
    ----------
    Ren et al. (2020), Balanced meta-softmax for long-tailed visual recognition, equation 4; Menon
    et al. (2021), Long-tail learning via logit adjustment, equation 10; Lin et al. (2017), Focal
    loss for dense object detection, equation 4, for soft targets as in Keras; Cui et al. (2019),
    Class-balanced loss based on effective number of samples, equations 3 and 4.
    """
    shown = class_targets(sizes, config.balance).astype(float)
    known = shown > 0
    offsets, weights = np.zeros(len(sizes)), np.ones(len(sizes))
    if config.loss == "balanced_softmax":
        offsets[known] = config.logit_adjustment * np.log(shown[known] / shown.max())
    if config.loss == "class_balanced":
        effective = (1 - _OVERLAP ** sizes[known]) / (1 - _OVERLAP)
        weights[known] = sizes[known] / effective / shown[known]
        weights[known] *= shown.sum() / (weights @ shown)
    start = (np.log(weights) - offsets).astype(np.float32)
    function = _loss(config.label_smoothing, config.loss == "focal", offsets, weights)
    return ClassLoss(function, start)


def taught_loss(own: ClassLoss, config: TrainConfig) -> ClassLoss:
    """Return a loss that also compares with a teacher's logits, by knowledge distillation.

    With the teacher's logits z* and the student's z, the temperature T and the weight a:

        (1 - a) * own + a * T**2 * KL(softmax(z* / T) || softmax(z / T))

    T**2 keeps the size of the gradients at any temperature.  Its function takes rows of a class
    number and the teacher's logits, (n, 1 + classes).

    References
    ----------
    Hinton et al. (2015), Distilling the knowledge in a neural network, section 2.
    """
    from keras import ops

    share, heat = config.teacher_weight, config.teacher_temperature

    def loss(targets: Any, logits: Any) -> Any:
        taught = ops.log_softmax(ops.cast(targets[:, 1:], "float32") / heat)
        answer = ops.log_softmax(ops.cast(logits, "float32") / heat)
        distance = ops.sum(ops.exp(taught) * (taught - answer), axis=-1)
        return (1 - share) * own.function(targets[:, 0], logits) + share * heat**2 * distance

    return ClassLoss(loss, own.start)


def _loss(
    smoothing: float, focal: bool, offsets: NDArray[np.float64], weights: NDArray[np.float64]
) -> Callable[[Any, Any], Any]:
    from keras import losses, ops

    added, scale = offsets.astype(np.float32), weights.astype(np.float32)

    def loss(labels: Any, logits: Any) -> Any:
        labels = ops.convert_to_tensor(labels)
        if len(labels.shape) == 2 and labels.shape[1] == 3:
            share = ops.cast(labels[:, 2], "float32")
            return share * loss(labels[:, 0], logits) + (1 - share) * loss(labels[:, 1], logits)
        truth = ops.cast(ops.reshape(labels, (-1,)), "int32")
        targets = ops.one_hot(truth, len(added)) * (1 - smoothing) + smoothing / len(added)
        scores = ops.cast(logits, "float32") + added
        if focal:
            likely = ops.log_softmax(scores)
            return -ops.sum(targets * (1 - ops.exp(likely)) ** _FOCUS * likely, axis=-1)
        found = losses.categorical_crossentropy(targets, scores, from_logits=True)
        return found * ops.take(scale, truth)

    return loss
