"""A run's model files, each of which says what it needs and gives."""

from __future__ import annotations

from rs_export.metadata import ModelInfo
from rs_export.onnx.metadata import onnx_with_metadata
from rs_export.recipes import Recipe
from rs_export.tflite.metadata import tflite_with_metadata
from rs_runtime.kit.manifest import ClassInfo
from rs_toolkit.environment import versions
from rs_toolkit.folders.run import Run

__all__ = ["class_infos", "created_by", "described"]


def described(model: bytes, recipe: Recipe, run: Run, temperature: float) -> bytes:
    """Return a model file that says what it needs and gives, for use without its kit."""
    scale, offset = run.preprocessing.scale, run.preprocessing.offset
    info = ModelInfo(
        name=run.name,
        description=f"Names the {run.rank} of the organism in a photo; outputs are logits",
        rank=run.rank,
        labels=tuple(item["name"] for item in run.classes),
        common_names=tuple(item.get("common_name") for item in run.classes),
        size=run.preprocessing.size,
        scale=scale,
        offset=offset,
        temperature=temperature,
        data_fingerprint=run.data_fingerprint,
        created_by=created_by(),
        resize=run.preprocessing.resize,
    )
    add = tflite_with_metadata if recipe.engine == "litert" else onnx_with_metadata
    return add(model, info)


def class_infos(run: Run) -> tuple[ClassInfo, ...]:
    """Return a run's classes as a kit names them."""
    return tuple(
        ClassInfo(
            id=item["id"],
            name=item["name"],
            common_name=item.get("common_name"),
            taxon={rank: name for rank, name in item["taxon"].items() if name},
        )
        for item in run.classes
    )


def created_by() -> str:
    """Return the program's name and version."""
    return f"rs-toolkit {versions().get('rs-toolkit', 'unknown')}"
