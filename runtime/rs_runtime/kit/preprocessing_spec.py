"""How a photo becomes model input, as data: what a kit's manifest says of it, without NumPy."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import Any, Self

__all__ = ["PIXELS_VERSION", "PreprocessingSpec"]

PIXELS_VERSION = 1
"""Raised whenever :meth:`rs_runtime.photos.preprocess.Preprocessing.load` gives other pixels."""

_RESIZES = ("squash", "crop", "pad")
_MAX_SIZE = 2048


@dataclass(frozen=True)
class PreprocessingSpec:
    """How a photo becomes model input; :class:`rs_runtime.photos.preprocess.Preprocessing` does it.

    Attributes
    ----------
    size
        Side of the square input, in pixels, 1 to 2048.
    resize
        ``squash`` (ignore the aspect ratio), ``crop`` (largest centred square) or ``pad``
        (fit inside, grey borders).
    scale, offset
        ``input = pixel * scale + offset`` with pixels 0 to 255.  The default maps to [-1, 1].

    Raises
    ------
    ValueError
        A value is outside these ranges.
    """

    size: int = 299
    resize: str = "squash"
    scale: float = 1 / 127.5
    offset: float = -1.0

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= _MAX_SIZE:
            raise ValueError(f"size must be an integer from 1 to {_MAX_SIZE}, got {self.size!r}")
        if self.resize not in _RESIZES:
            raise ValueError(f"resize must be one of {', '.join(_RESIZES)}, got {self.resize!r}")
        for name in ("scale", "offset"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Build from :meth:`to_dict`'s result; unknown keys are ignored.

        Raises
        ------
        ValueError
            ``values`` is no mapping, lacks a field or holds one out of range.
        """
        if not isinstance(values, dict):
            raise ValueError(f"preprocessing must be an object, got {type(values).__name__}")
        names = ("size", "resize", "scale", "offset")
        missing = [name for name in names if name not in values]
        if missing:
            raise ValueError(f"preprocessing lacks {', '.join(missing)}")
        return cls(**{name: values[name] for name in names})

    def fingerprint(self) -> str:
        """Return 12 hexadecimal digits that change whenever the pixels could.

        ``scale`` and ``offset`` act after the pixels and do not count.
        """
        text = f"{PIXELS_VERSION}:{self.size}:{self.resize}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]
