"""Students: small backbones that learn a teacher's embedding, and the verdict that comes of it.

A photo's features f are the backbone's, pooled over the photo.  Under a teacher, a projection
gives the embedding e = P f / |P f|, and the logits are s T e with the teacher's scale s and the
text embeddings T of the K prompt classes, both frozen: the verdict is one small matrix product.
Without a teacher a linear layer gives two logits, of an organism and of none.

Feature distillation is the strongest simple loss of CLIP-KD (Yang et al. 2024, "CLIP-KD: an
empirical study of CLIP model distillation"); the verdict has a loss of its own, since that is
what the student is for:

    L = a (1 - cos(e, e*)) + b smoothL1(sqrt(d) e, sqrt(d) e*) + c BCE(odds / t + h, target)

with the teacher's embedding e*, both of length 1 in d dimensions, the log odds of an organism and
the teacher's calibration t, h.  Without a teacher, L is the last term, t is 1 and h is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_train.classifier.backbones import build_backbone, load_backbone_weights
from rs_train.classifier.model import feature_extractor

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from rs_toolkit.config.distillation import DistillConfig
    from rs_train.student.lesson import Lesson

__all__ = ["Loss", "build_student", "freeze", "losses", "outputs_of"]

Loss = Callable[[Any, Any], Any]
"""From what is wanted and what a student gave, n rows each, to the mean of n losses."""


def build_student(
    config: DistillConfig, weights: str, text: NDArray[np.float32] | None = None, scale: float = 1.0
) -> keras.Model:
    """Return a student: from (n, imgsz, imgsz, 3) in [-1, 1] to logits (n, K).

    ``weights`` are as :func:`rs_train.classifier.backbones.load_backbone_weights` takes them, which
    says what is raised.  ``text`` are the teacher's text embeddings (K, dim), rows of length 1, and
    ``scale`` that of its logits; without them there are two logits.
    """
    import keras

    keras.utils.set_random_seed(config.seed)
    backbone = build_backbone(config.student, config.imgsz)
    load_backbone_weights(backbone, config.student, weights, "--student-weights")
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(backbone.output)
    if text is None:
        return keras.Model(backbone.input, keras.layers.Dense(2, name="verdict")(x), name="student")
    x = keras.layers.Dense(text.shape[1], name="projection")(x)
    x = keras.layers.UnitNormalization(name="embedding")(x)
    verdict = keras.layers.Dense(len(text), use_bias=False, trainable=False, name="verdict")
    student = keras.Model(backbone.input, verdict(x), name="student")
    verdict.set_weights([scale * text.T])
    return student


def outputs_of(student: keras.Model) -> dict[str, Any]:
    """Return what a student learns by: its ``embedding``, if any, and its logits, ``verdict``."""
    found = {layer.name: layer.output for layer in student.layers}
    return {name: found[name] for name in ("embedding", "verdict") if name in found}


def freeze(student: keras.Model, *, body: bool, batch_norm: bool) -> None:
    """Keep the backbone as it is, or its batch normalization alone."""
    import keras

    for layer in feature_extractor(student).layers:
        normalizes = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = not (body or (batch_norm and normalizes))


def losses(lesson: Lesson, config: DistillConfig) -> dict[str, Loss]:
    """Return a loss for each of :func:`outputs_of`; L is their sum.

    ``lesson`` gives the classes and the teacher's calibration, ``config`` the weights a, b and c.
    """
    from keras import losses, ops

    shown, others = (np.flatnonzero(lesson.organism == kind) for kind in (True, False))

    def embedding_loss(taught: Any, embedding: Any) -> Any:
        """Unit rows (n, d) against the teacher's."""
        scale = embedding.shape[1] ** 0.5
        cosine = ops.sum(embedding * taught, axis=1)
        distance = losses.huber(scale * taught, scale * embedding, delta=1.0)
        return ops.mean(config.cosine_weight * (1 - cosine) + config.l1_weight * distance)

    def verdict_loss(target: Any, logits: Any) -> Any:
        """Logits (n, K) against probabilities of an organism (n,)."""
        # As rs_runtime.filter.organism_log_odds, with gradients.
        odds = ops.logsumexp(ops.take(logits, shown, axis=1), axis=1)
        odds = odds - ops.logsumexp(ops.take(logits, others, axis=1), axis=1)
        scaled = odds / lesson.temperature + lesson.bias
        wanted = ops.cast(ops.reshape(target, (-1,)), "float32")
        return config.verdict_weight * ops.mean(
            ops.binary_crossentropy(wanted, scaled, from_logits=True)
        )

    verdict: dict[str, Loss] = {"verdict": verdict_loss}
    return verdict if lesson.embeddings is None else {"embedding": embedding_loss, **verdict}
