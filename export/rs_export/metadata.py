"""The metadata that a model file carries, whatever its format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.errors import ExportError

__all__ = ["ModelInfo"]


@dataclass(frozen=True)
class ModelInfo:
    """What one needs to know to use a model file without its kit.

    Attributes
    ----------
    name, description : printable text
    rank : taxonomic rank of the classes, ``common_name``, or ``prompt class`` for a filter
    labels : names of the classes, in the order of the logits: printable text, at least one
    common_names : English names of the classes, None where a class has none
    preprocessing : how a photo becomes the model's input; its scale is not 0
    temperature : above 0; probabilities are ``softmax(logits / temperature)``
    data_fingerprint : SHA-256 of the training data's index
    created_by : program and version, ``rs-toolkit X``

    Raises
    ------
    ExportError
        A value is outside these ranges.
    """

    name: str
    description: str
    rank: str
    labels: tuple[str, ...]
    common_names: tuple[str | None, ...]
    preprocessing: Preprocessing
    temperature: float
    data_fingerprint: str
    created_by: str

    def __post_init__(self) -> None:
        texts = {
            **{key: value for key, value in vars(self).items() if isinstance(value, str)},
            **{f"label {place}": label for place, label in enumerate(self.labels)},
            **{f"common name {place}": name for place, name in enumerate(self.common_names)},
        }
        for key, text in texts.items():
            # Label files have one label per line: a line break would shift all later labels.
            if text is not None and not (text and text.isprintable()):
                raise ExportError(
                    f"model metadata: {key} must be printable text on one line, got {text!a:.80}"
                )
        if not self.labels or len(self.common_names) != len(self.labels):
            raise ExportError(
                "model metadata: wanted at least one label and as many common names (or None), "
                f"got {len(self.labels)} and {len(self.common_names)}"
            )
        scale, temperature = self.preprocessing.scale, self.temperature
        if scale == 0 or not 0 < temperature < math.inf:
            raise ExportError(
                "model metadata: wanted scale not 0, and a finite temperature > 0; got "
                f"scale {scale}, temperature {temperature}"
            )

    def require_shapes(self, source: Sequence[int], target: Sequence[int]) -> None:
        """Raise ExportError unless a model maps (n, size, size, 3) to (n, labels), for any n."""
        size, classes = self.preprocessing.size, len(self.labels)
        if [*source[1:]] != [size, size, 3] or len(target) != 2 or target[1] != classes:
            raise ExportError(
                f"model metadata: wanted a model from (n, {size}, {size}, 3) to (n, {classes}), "
                f"one logit per label; got {list(source)} to {list(target)}"
            )
