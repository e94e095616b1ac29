"""Describe and compare kits, extract their members, and compress kits for transport."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rs_runtime.kit.kit import Kit, open_kit
from rs_runtime.kit.manifest import NOT_ORGANISM, ORGANISM, FilterSpec, FilterVariant, Variant
from rs_toolkit.files import atomic_write

__all__ = ["describe", "differences", "extract", "pack", "packed"]

_CHUNK = 2**20


def describe(kit: Kit) -> dict[str, Any]:
    """Return the content of a kit's manifest, and its members, as JSON values."""
    manifest = kit.manifest
    variants = _variants(manifest.variants, "thresholds", "warning")
    for variant in manifest.variants:
        variants[variant.name] |= _certainty(variant)
    return {
        "name": manifest.name,
        "schema": manifest.schema,
        "created_by": manifest.created_by,
        "rank": manifest.rank,
        "classes": len(manifest.classes),
        "ranges": sum(item.range is not None for item in manifest.classes),
        "languages": dict(Counter(tag for item in manifest.classes for tag in item.common_names)),
        "preprocessing": manifest.preprocessing.to_dict(),
        "default_variants": manifest.default_variants,
        "variants": variants,
        "filter": None if manifest.filter is None else _describe_filter(manifest.filter),
        "members": {
            name: {"size": member.size, "sha256": member.sha256}
            for name, member in sorted(manifest.members.items())
        },
        "data_fingerprint": manifest.data_fingerprint,
        "environment": manifest.environment,
    }


def _describe_filter(spec: FilterSpec) -> dict[str, Any]:
    kinds = {item.name: ORGANISM if item.organism else NOT_ORGANISM for item in spec.classes}
    return {
        "classes": kinds,
        "preprocessing": spec.preprocessing.to_dict(),
        "default_variants": spec.default_variants,
        "thresholds": spec.thresholds,
        "variants": _variants(spec.variants, "bias"),
    }


def _variants(variants: Sequence[Variant | FilterVariant], *own: str) -> dict[str, dict[str, Any]]:
    """Return measurements and fields of each variant; a field wins over a measurement's name."""
    names = ("engine", "member", "temperature", *own)
    told = {
        variant.name: {**variant.measured, **{name: getattr(variant, name) for name in names}}
        for variant in variants
    }
    for variant in variants:
        if variant.verdict is not None:
            told[variant.name]["verdict"] = asdict(variant.verdict)
    return told


def _certainty(variant: Variant) -> dict[str, Any]:
    """Return the coverages that a variant has sets for, and its unknown score; None: none."""
    sets, unknown = variant.sets, variant.unknown
    return {
        "sets": sets and f"{sets.coverages[0]:g} to {sets.coverages[-1]:g}",
        "unknown": unknown and unknown.score,
    }


def differences(one: Kit, other: Kit) -> list[str]:
    """Return a line for each difference between class names and :func:`describe` of two kits."""
    old, new = ({item.name for item in kit.manifest.classes} for kit in (one, other))
    lines = [f"- class {name}" for name in sorted(old - new)]
    lines += [f"+ class {name}" for name in sorted(new - old)]
    before, after = _flat(describe(one)), _flat(describe(other))
    for flat in (before, after):
        # Only a kit without a filter has this key after flattening, and its value is None.
        flat.pop("filter", None)
    for key in sorted({*before, *after}):
        if key not in after:
            lines.append(f"- {key}: {before[key]}")
        elif key not in before:
            lines.append(f"+ {key}: {after[key]}")
        elif before[key] != after[key]:
            lines.append(f"  {key}: {before[key]} -> {after[key]}")
    return lines


def extract(path: Path, folder: Path) -> list[Path]:
    """Write a kit's members below ``folder``, each atomically, and return their paths.

    The kit is verified first: its format allows no name that leads out of the folder.

    Raises
    ------
    KitError
        The kit cannot be opened; nothing is written.
    """
    written = []
    with open_kit(path) as kit:
        for name in kit.members:
            with atomic_write(folder / name) as temporary:
                temporary.write_bytes(kit.read(name))
            written.append(folder / name)
    return written


def packed(data: bytes) -> bytes:
    """Compress bytes with xz, the transport form of kits; equal bytes give equal results."""
    import lzma

    packer = lzma.LZMACompressor()
    # In parts, because Ctrl-C takes effect only when a call into lzma ends.
    parts = [packer.compress(data[at : at + _CHUNK]) for at in range(0, len(data), _CHUNK)]
    return b"".join([*parts, packer.flush()])


def pack(kit: Path) -> Path:
    """Write ``NAME.rskit.xz`` beside ``NAME.rskit``, atomically, and return its path."""
    path = kit.with_name(f"{kit.name}.xz")
    with atomic_write(path) as temporary:
        temporary.write_bytes(packed(kit.read_bytes()))
    return path


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
