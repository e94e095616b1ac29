"""Photo file to model input, defined once for training, export and rs-classify."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_runtime.errors import UnreadablePhotoError
from rs_runtime.photos import PIXELS_VERSION

# NumPy and Pillow are loaded with the first photo: reading a kit's manifest needs neither.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image
    from typing_extensions import Self

    from rs_runtime.photos.photo import PhotoInfo

    PhotoSource = Path | bytes | Image.Image | NDArray[Any]

__all__ = ["Box", "Preprocessing", "load_each", "load_parts", "load_together"]

Box = tuple[float, float, float, float]
"""Part of an upright photo: left, top, width, height, fractions of its sides, 0 to 1."""

_RESIZES = ("squash", "crop", "pad")
_MAX_SIZE = 2048
_PAD_COLOUR = (127, 127, 127)
_REDUCING_GAP = 2.0


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes model input; a kit holds these settings too.

    Attributes
    ----------
    size
        Side of the square input, in pixels, 1 to 2048.
    resize
        ``squash`` (ignore the aspect ratio), ``crop`` (largest centred square) or ``pad``
        (fit inside, grey borders).
    scale, offset
        ``input = pixel * scale + offset`` with pixels 0 to 255.  The default maps to [-1, 1].
    pixels_version
        How photos with more than 8 bits become pixels: :data:`rs_runtime.photos.PIXELS_VERSION` or
        an earlier one, with which older models were trained.

    Raises
    ------
    ValueError
        A value is outside these ranges.
    """

    size: int = 299
    resize: str = "squash"
    scale: float = 1 / 127.5
    offset: float = -1.0
    pixels_version: int = PIXELS_VERSION

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= _MAX_SIZE:
            raise ValueError(f"size must be an integer from 1 to {_MAX_SIZE}, got {self.size!r}")
        if self.resize not in _RESIZES:
            raise ValueError(f"resize must be one of {', '.join(_RESIZES)}, got {self.resize!r}")
        for name in ("scale", "offset"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value!r}")
        version = self.pixels_version
        if type(version) is not int or not 1 <= version <= PIXELS_VERSION:
            wanted = f"1 to {PIXELS_VERSION} (later ones need a newer rs-toolkit)"
            raise ValueError(f"pixels_version must be from {wanted}, got {version!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Build from :meth:`to_dict`'s result; unknown keys are ignored.

        Without ``pixels_version``, which earlier releases did not write, it is 1.

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
        version = values.get("pixels_version", 1)
        return cls(**{name: values[name] for name in names}, pixels_version=version)

    def fingerprint(self) -> str:
        """Return 12 hexadecimal digits; settings with equal ones give equal pixels.

        ``scale`` and ``offset`` are ignored: they are applied to pixels later.
        """
        text = f"{self.pixels_version}:{self.size}:{self.resize}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def load(self, source: Path | bytes, box: Box | None = None) -> NDArray[np.uint8]:
        """Return only the pixels of :meth:`load_with_info`."""
        return self.load_with_info(source, box)[0]

    def load_with_info(
        self, source: Path | bytes, box: Box | None = None
    ) -> tuple[NDArray[np.uint8], PhotoInfo]:
        """Decode one photo, upright, in RGB, at the model's size.

        Parameters
        ----------
        source
            A file, or a file's bytes, in JPEG, PNG, TIFF, BMP, WebP or GIF (first frame).
        box
            The photo is cropped to it, at the nearest pixels; None means the whole photo.

        Returns
        -------
        pixels
            uint8, shape (size, size, 3), RGB.  Alpha is composited on white.  Integers with more
            than 8 bits are divided by a power of 2: their highest 8 bits are kept, of 8, 10, 12,
            14 … bits that the largest value needs.  Floats have the range 0 to 1, or up to the
            largest such integer; if they cover less than a quarter of it, or are below 0, the
            range from the smallest to the largest.  Resized by Pillow's antialiased bilinear
            filter.
        info
            Size and colour mode of the whole photo, even if a box is given, and what is missing of
            a photo that lacks its last bytes.

        Raises
        ------
        UnreadablePhotoError
            Missing, empty, not in these formats, damaged, or the box has less than a pixel.
        PhotoTooLargeError
            Above 200 MB or 200 megapixels.
        ValueError
            The box is not within the photo.
        """
        (pixels,), info = load_together(source, [self], box)
        return pixels, info

    def model_input(self, pixels: Any) -> Any:
        """Return ``pixels * scale + offset`` in float32.

        ``pixels`` are a NumPy array of any number type or a float32 TensorFlow tensor, 0 to 255.
        """
        import numpy as np

        if isinstance(pixels, np.ndarray):
            return pixels.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)
        return pixels * self.scale + self.offset

    def _pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        import numpy as np
        from PIL import Image

        width, height = image.size
        box = (0.0, 0.0, float(width), float(height))
        target = (self.size, self.size)
        if self.resize == "crop":
            side = min(width, height)
            left, top = (width - side) / 2, (height - side) / 2
            box = (left, top, left + side, top + side)
        elif self.resize == "pad":
            shrink = self.size / max(width, height)
            target = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        resized = image.resize(target, Image.Resampling.BILINEAR, box, _REDUCING_GAP)
        if self.resize == "pad":
            canvas = Image.new("RGB", (self.size, self.size), _PAD_COLOUR)
            canvas.paste(resized, ((self.size - target[0]) // 2, (self.size - target[1]) // 2))
            resized = canvas
        return np.array(resized, dtype=np.uint8)


def load_together(
    source: Path | bytes, preprocessings: Sequence[Preprocessing], box: Box | None = None
) -> tuple[list[NDArray[np.uint8]], PhotoInfo]:
    """Return the pixels of :meth:`Preprocessing.load` for each of several (at least one).

    The photo is decoded once, or again for a size that takes another resolution of a JPEG.  Other
    parameters, results and errors are those of :meth:`Preprocessing.load_with_info`.
    """
    (pixels,), info = load_parts(source, preprocessings, [box])
    return pixels, info


def load_parts(
    source: Path | bytes, preprocessings: Sequence[Preprocessing], boxes: Sequence[Box | None]
) -> tuple[list[list[NDArray[np.uint8]]], PhotoInfo]:
    """Return the results of :func:`load_together` for each of several boxes (at least one).

    They are exactly those of each box alone, but the photo is decoded at each resolution once.
    """
    from rs_runtime.photos.photo import decode

    # The box, not only the photo, must keep this many pixels on both sides.
    wanted = {
        (part, place): math.ceil(item.size * _REDUCING_GAP / least)
        for part, box in enumerate(boxes)
        for least in [1.0 if box is None else min(_checked(box)[2:])]
        for place, item in enumerate(preprocessings)
    }
    decoded: list[tuple[int, int, Image.Image, PhotoInfo]] = []
    pixels: dict[tuple[int, int], NDArray[np.uint8]] = {}
    # The smallest first: it shows whether the photo is of a format that is decoded at a fraction.
    for part, place in sorted(wanted, key=wanted.__getitem__):
        item, side, box = preprocessings[place], wanted[part, place], boxes[part]
        version = item.pixels_version
        shared = [
            (image, info)
            for known, other, image, info in decoded
            if known == version and _same_decode(image, info, other, side)
        ]
        if not shared:
            shared = [decode(source, side, version)]
            decoded.append((version, side, *shared[0]))
        image, info = shared[0]
        pixels[part, place] = item._pixels(image if box is None else _cut(image, info, box))
    places = range(len(preprocessings))
    return [[pixels[part, place] for place in places] for part in range(len(boxes))], info


def _same_decode(image: Image.Image, info: PhotoInfo, known: int, side: int) -> bool:
    """Return whether what was decoded for the side ``known`` is what ``side`` would give."""
    reduction = _reduction(info, known)
    whole = image.size == (info.width, info.height)
    return reduction == _reduction(info, side) or (whole and reduction > 1)


def _reduction(info: PhotoInfo, side: int) -> int:
    """Return by how much Pillow reduces a JPEG that is to keep ``side`` pixels on both sides."""
    most = min(info.width, info.height) // side
    return max((scale for scale in (2, 4, 8) if scale <= most), default=1)


def load_each(
    source: PhotoSource, preprocessings: Sequence[Preprocessing]
) -> tuple[list[NDArray[np.uint8]], PhotoInfo]:
    """Decode a photo once for several models; errors as for :meth:`Preprocessing.load_with_info`.

    ``source`` may also be what :func:`rs_runtime.photos.memory.decode_in_memory` takes.

    Returns uint8 pixels, shape (size, size, 3), for each of ``preprocessings`` (at least one), and
    what the photo is.  For the largest size the pixels are those of :meth:`Preprocessing.load`.
    For a smaller size they may differ slightly, because a JPEG is decoded at the resolution that
    the largest size needs.
    """
    from rs_runtime.photos.photo import decode
    from rs_runtime.photos.room import enough_memory, shared_room
    from rs_runtime.photos.stored import photo_name

    side = math.ceil(max(item.size for item in preprocessings) * _REDUCING_GAP)
    versions = {item.pixels_version for item in preprocessings}
    with shared_room():
        if isinstance(source, Path | bytes):
            found = {version: decode(source, side, version) for version in versions}
        else:
            from rs_runtime.photos.memory import decode_in_memory

            found = {version: decode_in_memory(source, version) for version in versions}
        with enough_memory(photo_name(source)):
            pixels = [item._pixels(found[item.pixels_version][0]) for item in preprocessings]
        info = next(iter(found.values()))[1]
        # Freed here: the next large photo is decoded as soon as the block ends.
        found.clear()
    return pixels, info


def _checked(box: Box) -> Box:
    left, top, width, height = box
    edges = (left, top, left + width, top + height)
    # Written so that NaN is refused; left + width may exceed 1 by a rounding error.
    if not (all(0 <= edge <= 1 + 1e-9 for edge in edges) and width > 0 and height > 0):
        raise ValueError(f"box must be left, top, width, height within 0 to 1, got {box!r}")
    return box


def _cut(image: Image.Image, info: PhotoInfo, box: Box) -> Image.Image:
    from rs_runtime.photos.photo import cut

    left, top, width, height = box
    if not (round(width * info.width) and round(height * info.height)):
        raise UnreadablePhotoError(
            f"box {', '.join(f'{part:g}' for part in box)} has less than one pixel of "
            f"{info.width} x {info.height}; give a larger one, or none"
        )
    x0, x1 = _span(left, left + width, image.width)
    y0, y1 = _span(top, top + height, image.height)
    return cut(image, (x0, y0, x1, y1))


def _span(start: float, end: float, pixels: int) -> tuple[int, int]:
    """Return the first pixel and the one after the last, at least one pixel apart."""
    first = min(round(start * pixels), pixels - 1)
    return first, max(first + 1, min(round(end * pixels), pixels))
