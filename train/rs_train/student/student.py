"""Students: small backbones that learn a teacher's embedding, and the verdict that comes of it.

A photo's features f are the backbone's, pooled over the photo.  Under a teacher, a projection
gives the embedding e = P f / |P f|, and the logits are s T e with the teacher's scale s and the
text embeddings T of the K prompt classes, both frozen: the verdict is one small matrix product.
Without a teacher a linear layer gives two logits, of an organism and of none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rs_train.classifier.backbones import build_backbone, load_backbone_weights
from rs_train.classifier.model import feature_extractor

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["build_student", "freeze", "outputs_of"]

_OPTION = "--student-weights"
_EMBEDDING = "embedding"


def build_student(
    name: str,
    weights: str,
    imgsz: int,
    seed: int,
    text: NDArray[np.float32] | None = None,
    scale: float = 1.0,
) -> keras.Model:
    """Build a student.

    Parameters
    ----------
    name, weights
        As :func:`rs_train.classifier.backbones.load_backbone_weights` takes them.
    imgsz
        Side of the photos, in pixels.
    seed
        Of random weights.
    text, scale
        The teacher's text embeddings (K, dim), rows of length 1, and the scale of its logits;
        None: no teacher, two logits.

    Returns
    -------
    keras.Model
        From (n, imgsz, imgsz, 3) in [-1, 1] to logits (n, K); see :func:`outputs_of`.

    Raises
    ------
    ConfigError, WeightsError, MissingPackageError
        There is no such backbone; the weights cannot be had or do not fit.
    """
    import keras

    keras.utils.set_random_seed(seed)
    backbone = build_backbone(name, imgsz)
    load_backbone_weights(backbone, name, weights, _OPTION)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(backbone.output)
    if text is None:
        return keras.Model(backbone.input, keras.layers.Dense(2, name="verdict")(x), name="student")
    x = keras.layers.Dense(text.shape[1], name="projection")(x)
    x = keras.layers.UnitNormalization(name=_EMBEDDING)(x)
    verdict = keras.layers.Dense(len(text), use_bias=False, trainable=False, name="verdict")
    student = keras.Model(backbone.input, verdict(x), name="student")
    verdict.set_weights([scale * text.T])
    return student


def outputs_of(student: keras.Model) -> list[Any]:
    """Return the tensors that a student learns by: the embedding, if it has one, and the logits."""
    taught = [layer.output for layer in student.layers if layer.name == _EMBEDDING]
    return [*taught, student.output]


def freeze(student: keras.Model, *, body: bool, batch_norm: bool) -> None:
    """Keep the backbone as it is, or its batch normalization alone."""
    import keras

    for layer in feature_extractor(student).layers:
        normalizes = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = not (body or (batch_norm and normalizes))
