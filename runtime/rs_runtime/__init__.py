"""Read kits and classify photos offline: the runtime of rs-toolkit.

Takes a kit and photos.  Gives a class, a coarser rank or no answer for each photo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rs_runtime.classify import Classifier, Prediction, Score
    from rs_runtime.engines.engine import Engine, load_engine
    from rs_runtime.errors import (
        EngineError,
        EngineMissingError,
        FilterError,
        KitError,
        PhotoError,
        RuntimeKitError,
    )
    from rs_runtime.filter import Filter, FilterVerdict
    from rs_runtime.kit.filter_spec import FilterClass, FilterSpec, FilterVariant
    from rs_runtime.kit.kit import Kit, find_kit, open_kit, write_kit
    from rs_runtime.kit.manifest import ClassInfo, Manifest, Member, Variant
    from rs_runtime.kit.preprocessing_spec import PreprocessingSpec
    from rs_runtime.photos.photo import PhotoInfo
    from rs_runtime.photos.preprocess import Preprocessing
    from rs_runtime.ranks import Answer

__all__ = [
    "Answer",
    "ClassInfo",
    "Classifier",
    "Engine",
    "EngineError",
    "EngineMissingError",
    "Filter",
    "FilterClass",
    "FilterError",
    "FilterSpec",
    "FilterVariant",
    "FilterVerdict",
    "Kit",
    "KitError",
    "Manifest",
    "Member",
    "PhotoError",
    "PhotoInfo",
    "Prediction",
    "Preprocessing",
    "PreprocessingSpec",
    "RuntimeKitError",
    "Score",
    "Variant",
    "find_kit",
    "load_engine",
    "open_kit",
    "write_kit",
]

# One module per first use: `rs-classify --help` should not pay for NumPy and Pillow.
_MODULES = {
    "classify": ("Classifier", "Prediction", "Score"),
    "engines.engine": ("Engine", "load_engine"),
    "errors": (
        *("EngineError", "EngineMissingError", "FilterError"),
        *("KitError", "PhotoError", "RuntimeKitError"),
    ),
    "filter": ("Filter", "FilterVerdict"),
    "kit.filter_spec": ("FilterClass", "FilterSpec", "FilterVariant"),
    "kit.kit": ("Kit", "find_kit", "open_kit", "write_kit"),
    "kit.manifest": ("ClassInfo", "Manifest", "Member", "Variant"),
    "kit.preprocessing_spec": ("PreprocessingSpec",),
    "photos.photo": ("PhotoInfo",),
    "photos.preprocess": ("Preprocessing",),
    "ranks": ("Answer",),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"rs_runtime.{module}"), name)
    raise AttributeError(f"module 'rs_runtime' has no attribute {name!r}")
