"""What is known of a photo once it was looked at: an answer, or why there is none."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rs_runtime.filter import FilterVerdict
    from rs_runtime.kit.verdict import LossVerdict
    from rs_runtime.photos.exif import Exif
    from rs_runtime.ranks import Answer

__all__ = [
    "UNLISTED",
    "BoxAnswer",
    "CameraVerdict",
    "ClassSet",
    "Failure",
    "Original",
    "PhotoFacts",
    "Prediction",
    "Result",
    "Score",
    "SequenceAnswer",
    "Unknown",
]

UNLISTED = 0.05
"""Below this share of the classes that a list or a place lets expect, a photo probably shows none
of them."""


@dataclass(frozen=True)
class Score:
    """One class and its calibrated probability, 0 to 1."""

    class_id: int
    name: str
    common_name: str | None
    probability: float


@dataclass(frozen=True)
class ClassSet:
    """The classes that a photo may show, best first; see :func:`rs_runtime.sets.in_set`."""

    coverage: float
    classes: tuple[Score, ...]


@dataclass(frozen=True)
class Unknown:
    """How strange a photo is to the model, 0 to 1; see :func:`rs_runtime.sets.strangeness`."""

    score: str
    strangeness: float


@dataclass(frozen=True)
class CameraVerdict:
    """A frame of a fixed camera against the camera's background; see :mod:`rs_runtime.cameras`.

    ``verdict`` is ``empty``, ``something``, or ``unknown`` where too few other frames have the
    same light.  ``score``, 0 to 6, says how much the frame differs, in units of the camera's noise;
    it is None if the verdict is ``unknown``.  ``frames`` is the number of other frames that made
    the background, ``light`` their light: ``grey`` (such as infrared), ``dark`` or ``day``.
    """

    verdict: str
    score: float | None
    frames: int
    light: str


@dataclass(frozen=True)
class PhotoFacts:
    """Width and height of a photo in pixels, turned upright, and what its EXIF data say."""

    width: int
    height: int
    exif: Exif


@dataclass(frozen=True)
class Original:
    """What the model says of a photo without the list of species and the place that were given.

    ``answer``, ``top`` and ``set`` are as in :class:`Prediction`.  ``listed`` is the share, 0 to 1,
    of the probability that the classes have which are on the list and expected at the place: where
    it is low, the photo probably shows something else.
    """

    answer: Answer | None
    top: tuple[Score, ...]
    set: ClassSet | None
    listed: float


@dataclass(frozen=True)
class SequenceAnswer:
    """What the photos of a sequence show together; see :mod:`rs_runtime.sequences`.

    ``photos`` is their number; ``counted`` of them have a part in the answer: those that were
    classified and that the filter does not take for empty.  If there are none, ``answer`` is None
    and ``top`` empty.  Otherwise these and ``original`` are as in :class:`Prediction`.
    """

    id: str
    photos: int
    counted: int
    answer: Answer | None
    top: tuple[Score, ...]
    original: Original | None = None


@dataclass(frozen=True)
class BoxAnswer:
    """What a detector and the model say of one box in a photo.

    ``box`` is left, top, width, height, fractions of the upright photo's sides, 0 to 1;
    ``category`` and ``confidence``, 0 to 1, are the detector's.  The other fields are those of a
    :class:`Prediction`; boxes of other categories than ``animal`` are not classified.
    """

    box: tuple[float, float, float, float]
    category: str
    confidence: float
    answer: Answer | None = None
    top: tuple[Score, ...] = ()
    filter: FilterVerdict | None = None
    set: ClassSet | None = None
    unknown: Unknown | None = None
    original: Original | None = None


@dataclass(frozen=True)
class Prediction:
    """What the model and the filter say of one photo.

    ``top`` holds the most probable classes, best first.  ``answer`` names the finest taxon that is
    certain enough, if any; it is None for an old kit without thresholds.  ``filter`` is the
    filter's verdict, None without a filter.  If the photo was not classified because the filter
    found no organism, ``answer`` is None and ``top`` is empty.  ``note`` says what is missing of
    the photo.  ``verdict`` says whether shrinking cost the model too much; None where the kit does
    not say.  ``set`` is None unless a coverage was asked for, ``unknown`` if the kit has none.
    ``photo`` says what the photo is and when, where and with which camera it was taken.

    ``boxes`` is None unless boxes of a detector were given.  Then the answer is summed up from
    those of its boxes; a photo without a box of an animal has none, and an empty frame no boxes at
    all.  ``frames`` is the number of frames of a video that the answer is made from, None for
    photos.  See :mod:`rs_runtime.summed`.

    ``original`` is the answer without the list of species and the place, None if there are none.
    ``sequence`` is the answer to the sequence that the photo belongs to, if these are asked for.
    ``kept`` holds the logarithms of all classes' probabilities, without a list, as little-endian
    float32 in base64; only where ``Classifier.keep_all`` asks for it.
    ``camera`` compares it with other frames of a fixed camera, None unless that was asked for;
    ``thumbnail`` (:func:`rs_runtime.background.thumbnail`) is what it compares, until it is done.
    """

    path: str | None
    variant: str
    answer: Answer | None
    top: tuple[Score, ...]
    filter: FilterVerdict | None = None
    note: str | None = None
    verdict: LossVerdict | None = None
    set: ClassSet | None = None
    unknown: Unknown | None = None
    photo: PhotoFacts | None = None
    boxes: tuple[BoxAnswer, ...] | None = None
    frames: int | None = None
    original: Original | None = None
    sequence: SequenceAnswer | None = None
    kept: str | None = None
    camera: CameraVerdict | None = None
    thumbnail: str | None = None

    @property
    def without_animal(self) -> bool:
        """Whether a detector was used and found no animal; then the photo is not classified."""
        return self.boxes is not None and all(box.category != "animal" for box in self.boxes)

    @property
    def differs(self) -> bool:
        """Whether a list or a place changed the answer, or without thresholds the best class."""
        found = self.original
        if found is None:
            return False
        if self.answer is None or found.answer is None:
            return [item.name for item in self.top[:1]] != [item.name for item in found.top[:1]]
        own = self.answer.rank, self.answer.name
        return own != (found.answer.rank, found.answer.name)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, without ``kept`` and ``thumbnail``."""
        found = asdict(self)
        del found["kept"], found["thumbnail"]
        if self.boxes is not None:
            found["boxes"] = [{**box, "box": [*box["box"]]} for box in found["boxes"]]
        parts = [found, *(found["boxes"] or ()), *([found["sequence"]] if self.sequence else [])]
        for part in [*parts, *(part["original"] for part in parts if part["original"])]:
            part["top"] = [*part["top"]]
            if part.get("set"):
                part["set"]["classes"] = [item["name"] for item in part["set"]["classes"]]
        return found


@dataclass(frozen=True)
class Failure:
    """Why a photo has no answer.

    ``problem`` is one line.  ``kind`` says what is at fault: ``photo``, the ``folder`` at ``path``,
    or the ``engine``, which may still answer other photos.
    """

    path: str | None
    problem: str
    kind: str = "photo"

    def to_dict(self) -> dict[str, Any]:
        """Return what ``rs-classify --json`` prints of it."""
        return {"path": self.path, "error": self.problem}


Result = Prediction | Failure
"""What each photo ends as."""
