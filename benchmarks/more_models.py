"""A kit with models of its export folder that it leaves out, for benchmarks that compare models."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from rs_runtime.kit.kit import open_kit, write_kit
from rs_runtime.kit.variants import ENGINES

__all__ = ["with_models"]


def with_models(kit: Path, path: Path, names: Collection[str]) -> list[str]:
    """Write ``kit`` to ``path``, with those of ``names`` in ``models/`` beside it.

    Returns the names of all models.  One that is added gets the temperature and thresholds of the
    kit's first one, and no verdict.
    """
    engines = {suffix: engine for engine, suffix in ENGINES.items()}
    with open_kit(kit) as opened:
        members = {name: opened.read(name) for name in opened.members}
        variants = list(opened.manifest.variants)
        for file in sorted((kit.parent / "models").iterdir()):
            member = f"models/{file.name}"
            if file.stem in names and member not in members:
                members[member] = file.read_bytes()
                changes = {"name": file.stem, "engine": engines[file.suffix], "member": member}
                added = replace(variants[0], **changes, measured={}, verdict=None, sets=None)
                variants.append(replace(added, unknown=None, warning=None))
        write_kit(path, replace(opened.manifest, variants=tuple(variants)), members)
    return [variant.name for variant in variants]
