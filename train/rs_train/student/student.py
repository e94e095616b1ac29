"""Students: small models that learn a teacher's embeddings, and whether a photo shows an organism.

A photo's features f are the backbone's output, averaged over the photo.  With a teacher, a dense
layer P gives the embedding e = P f / |P f|.  The logits are s T e, where the teacher's scale s and
the text embeddings T of the K prompt classes are frozen.  Without a teacher, a dense layer gives
two logits: organism and not organism.

Of the simple losses compared in CLIP-KD (Yang et al. 2024, "CLIP-KD: an empirical study of CLIP
model distillation"), imitating the teacher's embeddings works best.  The logits have a loss too,
because the filter uses only them:

    L = a (1 - cos(e, e*)) + b smoothL1(sqrt(d) e, sqrt(d) e*) + c BCE(z / t + h, target)

Here e* is the teacher's embedding; e and e* have d dimensions and length 1.  z are the log odds of
an organism, and t and h the teacher's temperature and bias.  Without a teacher, L is the last term
with t = 1 and h = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.progress import Progress
from rs_train.classifier.backbones import build_backbone, load_backbone_weights
from rs_train.classifier.model import feature_extractor

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from rs_toolkit.config.distillation import DistillConfig
    from rs_train.student.lesson import Lesson

__all__ = ["Loss", "build_student", "freeze", "losses", "outputs_of"]

Loss = Callable[[Any, Any], Any]
"""Takes targets and outputs, n rows each, and returns the mean of n losses."""


def build_student(
    config: DistillConfig,
    weights: str,
    text: NDArray[np.float32] | None = None,
    scale: float = 1.0,
    progress: Progress | None = None,
) -> keras.Model:
    """Build a student: from (n, imgsz, imgsz, 3) in [-1, 1] to logits (n, K).

    Parameters
    ----------
    weights
        Of the backbone; :func:`rs_train.classifier.backbones.load_backbone_weights` documents them
        and the errors raised.
    text, scale
        The teacher's text embeddings (K, dim), rows of length 1, and the scale of its logits.
        Without ``text`` there are two logits.
    progress
        Says which weights are downloaded.
    """
    import keras

    keras.utils.set_random_seed(config.seed)
    backbone = build_backbone(config.student, config.imgsz)
    load_backbone_weights(backbone, config.student, weights, "--student-weights", progress)
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
    """Return the outputs that have a loss: ``embedding``, if any, and the logits ``verdict``."""
    found = {layer.name: layer.output for layer in student.layers}
    return {name: found[name] for name in ("embedding", "verdict") if name in found}


def freeze(student: keras.Model, *, body: bool, batch_norm: bool) -> None:
    """Freeze the backbone (``body``), or only its batch normalization (``batch_norm``)."""
    import keras

    for layer in feature_extractor(student).layers:
        normalizes = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = not (body or (batch_norm and normalizes))


def losses(lesson: Lesson, config: DistillConfig) -> dict[str, Loss]:
    """Return a loss for each output of :func:`outputs_of`; their sum is the module's L.

    ``lesson`` has the classes and the teacher's calibration, ``config`` the weights a, b and c.
    """
    from keras import losses, ops

    shown, others = (np.flatnonzero(lesson.organism == kind) for kind in (True, False))

    def embedding_loss(taught: Any, embedding: Any) -> Any:
        """Compare the student's embeddings (n, d) with the teacher's."""
        scale = embedding.shape[1] ** 0.5
        cosine = ops.sum(embedding * taught, axis=1)
        distance = losses.huber(scale * taught, scale * embedding, delta=1.0)
        return ops.mean(config.cosine_weight * (1 - cosine) + config.l1_weight * distance)

    def verdict_loss(target: Any, logits: Any) -> Any:
        """Compare logits (n, K) with target probabilities of an organism (n,)."""
        # The same as rs_runtime.filter.organism_log_odds, but with gradients.
        odds = ops.logsumexp(ops.take(logits, shown, axis=1), axis=1)
        odds = odds - ops.logsumexp(ops.take(logits, others, axis=1), axis=1)
        scaled = odds / lesson.temperature + lesson.bias
        wanted = ops.cast(ops.reshape(target, (-1,)), "float32")
        return config.verdict_weight * ops.mean(
            ops.binary_crossentropy(wanted, scaled, from_logits=True)
        )

    verdict: dict[str, Loss] = {"verdict": verdict_loss}
    return verdict if lesson.embeddings is None else {"embedding": embedding_loss, **verdict}
