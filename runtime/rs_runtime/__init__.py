"""Read kits and classify photos offline: the runtime of rs-toolkit.

Takes a kit and photos.  Gives a class, a coarser rank or no answer for each photo.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# ONNX Runtime sends statistics to Microsoft from version 1.29 on, and keeps them below ~/.cache,
# unless this is set before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:
    from rs_runtime.cameras import judge_cameras
    from rs_runtime.classify import Classifier
    from rs_runtime.engines.engine import Engine, load_engine
    from rs_runtime.errors import (
        EngineError,
        EngineMissingError,
        FilterError,
        JournalError,
        KitError,
        PhotoError,
        PlaceError,
        RuntimeKitError,
        SequenceError,
        SpeciesListError,
    )
    from rs_runtime.filter import Filter, FilterVerdict
    from rs_runtime.kit.kit import Kit, find_kit, open_kit, write_kit
    from rs_runtime.kit.manifest import (
        ClassInfo,
        FilterClass,
        FilterSpec,
        FilterVariant,
        Manifest,
        Member,
        Variant,
    )
    from rs_runtime.kit.ranges import Range
    from rs_runtime.kit.sets import SetSpec, UnknownSpec
    from rs_runtime.photos.boxes import BoxedPhoto, DetectedBox
    from rs_runtime.photos.exif import Exif
    from rs_runtime.photos.photo import PhotoInfo
    from rs_runtime.photos.preprocess import Preprocessing
    from rs_runtime.photos.zipped import ZipPhoto, zip_photos
    from rs_runtime.places import Place
    from rs_runtime.ranks import Answer
    from rs_runtime.results import (
        BoxAnswer,
        CameraVerdict,
        ClassSet,
        Failure,
        Original,
        PhotoFacts,
        Prediction,
        Result,
        Score,
        SequenceAnswer,
        Unknown,
    )
    from rs_runtime.sequences import ByTable, ByTime, classify_sequences, read_sequences

__all__ = [
    "Answer",
    "BoxAnswer",
    "BoxedPhoto",
    "ByTable",
    "ByTime",
    "CameraVerdict",
    "ClassInfo",
    "ClassSet",
    "Classifier",
    "DetectedBox",
    "Engine",
    "EngineError",
    "EngineMissingError",
    "Exif",
    "Failure",
    "Filter",
    "FilterClass",
    "FilterError",
    "FilterSpec",
    "FilterVariant",
    "FilterVerdict",
    "JournalError",
    "Kit",
    "KitError",
    "Manifest",
    "Member",
    "Original",
    "PhotoError",
    "PhotoFacts",
    "PhotoInfo",
    "Place",
    "PlaceError",
    "Prediction",
    "Preprocessing",
    "Range",
    "Result",
    "RuntimeKitError",
    "Score",
    "SequenceAnswer",
    "SequenceError",
    "SetSpec",
    "SpeciesListError",
    "Unknown",
    "UnknownSpec",
    "Variant",
    "ZipPhoto",
    "classify_sequences",
    "find_kit",
    "judge_cameras",
    "load_engine",
    "open_kit",
    "read_sequences",
    "write_kit",
    "zip_photos",
]

# Names are imported on first use, so that `rs-classify --help` starts without NumPy and Pillow.
# Modules are searched in this order: those that need neither come first.
_MODULES = (
    *("errors", "kit.kit", "kit.manifest", "kit.ranges", "kit.sets"),
    *("results", "ranks", "photos.exif", "photos.photo", "engines.engine", "classify", "filter"),
    *("photos.boxes", "photos.zipped", "cameras", "sequences", "places"),
)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module in _MODULES if name in __all__ else ():
        if found := getattr(import_module(f"rs_runtime.{module}"), name, None):
            return found
    raise AttributeError(f"module 'rs_runtime' has no attribute {name!r}")
