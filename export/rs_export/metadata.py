"""What a model file says about itself, whatever its format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rs_toolkit.errors import ExportError

__all__ = ["ModelInfo"]


@dataclass(frozen=True)
class ModelInfo:
    """What to know about a classifier to use its file alone.

    Attributes
    ----------
    name, description
        Printable text.
    rank
        Taxonomic rank of the classes, or ``common_name``.
    labels
        Names of the classes, in the order of the logits: printable text, at least one.
    common_names
        Their English names, None where there is none.
    size
        Side of the square input, in pixels.
    scale, offset
        ``input = pixel * scale + offset``, pixel 0 to 255; scale is not 0.
    temperature
        Above 0: probabilities are ``softmax(logits / temperature)``.
    data_fingerprint
        SHA-256 of the training data's index.
    created_by
        Program and version, ``rs-toolkit X``.
    resize
        How a photo becomes square: ``squash``, ``crop`` or ``pad``.

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
    size: int
    scale: float
    offset: float
    temperature: float
    data_fingerprint: str
    created_by: str
    resize: str = "squash"

    def __post_init__(self) -> None:
        for key in ("name", "description", "rank", "data_fingerprint", "created_by", "resize"):
            _require_text(key, getattr(self, key))
        for place, label in enumerate(self.labels):
            _require_text(f"label {place}", label)
        for place, common_name in enumerate(self.common_names):
            if common_name is not None:
                _require_text(f"common name {place}", common_name)
        if not self.labels or len(self.common_names) != len(self.labels):
            raise ExportError(
                "model metadata: wanted at least one label and as many common names (or None), "
                f"got {len(self.labels)} and {len(self.common_names)}"
            )
        finite = all(map(math.isfinite, (self.scale, self.offset, self.temperature)))
        if not finite or self.scale == 0 or self.temperature <= 0 or self.size < 1:
            raise ExportError(
                "model metadata: wanted size >= 1, scale not 0, temperature > 0, all finite; got "
                f"size {self.size}, scale {self.scale}, offset {self.offset}, "
                f"temperature {self.temperature}"
            )

    def require_shapes(self, source: Sequence[int], target: Sequence[int]) -> None:
        """Check the shapes of a model's input and output; only the batch may be any number.

        Raises
        ------
        ExportError
            They are not (n, size, size, 3) and (n, labels).
        """
        sides, classes = [self.size, self.size, 3], len(self.labels)
        if len(source) != 4 or len(target) != 2 or [*source[1:], target[1]] != [*sides, classes]:
            raise ExportError(
                f"model metadata: wanted a model from (n, {self.size}, {self.size}, 3) to "
                f"(n, {classes}), as many as labels; got {list(source)} to {list(target)}"
            )


def _require_text(key: str, text: str) -> None:
    # Label files have one label a line, so that a line break would shift all that follow.
    if not text or not text.isprintable():
        raise ExportError(
            f"model metadata: {key} must be printable text on one line, got {text!a:.80}"
        )
