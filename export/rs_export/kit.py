"""The kit: the model files that were measured, their measurements, and the model card."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rs_export.card import model_card
from rs_export.result import Export, Result, Variant
from rs_export.task import created_by
from rs_runtime.kit import manifest
from rs_runtime.kit.kit import write_kit
from rs_runtime.kit.manifest import FilterSpec, FilterVariant
from rs_runtime.kit.verdict import LossVerdict
from rs_toolkit.environment import versions
from rs_toolkit.files import atomic_write
from rs_toolkit.folders.kit import packed

__all__ = ["packed_mb", "ship"]

_CARD = "MODEL_CARD.md"
_MAX_TEXT = 500


def ship(export: Export, folder: Path) -> Path:
    """Write the model card and, last, the kit; return the kit's path."""
    with atomic_write(folder / _CARD) as temporary:
        temporary.write_text(model_card(export), "utf-8")
    kit = folder / f"{export.classifier.about.name}.rskit"
    _write(export, kit)
    return kit


def packed_mb(export: Export) -> float:
    """Return the size in 10**6 bytes of the kit that :func:`ship` would write, once packed."""
    with TemporaryDirectory(prefix="rs-kit-") as name:
        kit = Path(name) / "measured.rskit"
        _write(export, kit)
        return len(packed(kit.read_bytes())) / 1e6


def _write(export: Export, kit: Path) -> None:
    results = [item for item in (export.classifier, export.filter) if item]
    models = {item.member: item.data for result in results for item in result.in_kit}
    write_kit(kit, _manifest(export), {**models, _CARD: model_card(export).encode()})


def _manifest(export: Export) -> manifest.Manifest:
    found, about = export.classifier, export.classifier.about
    return manifest.Manifest(
        name=about.name,
        created_by=created_by(),
        rank=about.rank,
        classes=about.classes,
        preprocessing=about.preprocessing,
        variants=tuple(
            manifest.Variant(
                **_common(item),
                thresholds=item.calibration.thresholds,
                warning=_warning(item),
                sets=item.calibration.sets,
                unknown=item.calibration.unknown,
            )
            for item in found.in_kit
        ),
        default_variants=found.shipped,
        calibration={"temperature": about.calibration.temperature},
        data_fingerprint=about.data_fingerprint,
        environment=versions(),
        filter=_filter(export.filter) if export.filter else None,
    )


def _filter(found: Result) -> FilterSpec:
    variants = []
    for item in found.in_kit:
        fields = _common(item)
        if item.refusal:
            # FilterVariant has no field for a warning.
            fields["measured"]["warning"] = _warning(item)
        variants.append(FilterVariant(**fields, bias=item.calibration.bias))
    return FilterSpec(
        classes=found.about.classes,
        preprocessing=found.about.preprocessing,
        variants=tuple(variants),
        default_variants=dict(found.shipped),
        thresholds=dict(found.about.thresholds),
    )


def _common(item: Variant) -> dict[str, Any]:
    """Return the manifest's fields that variants of classifiers and of filters share."""
    return {
        "name": item.name,
        "engine": item.engine,
        "member": item.member,
        "temperature": item.calibration.temperature,
        # Latency differs from run to run, and equal exports shall give equal bytes.
        "measured": {key: value for key, value in item.row.items() if key != "ms"},
        "verdict": LossVerdict(**item.verdict.to_dict()),
    }


def _warning(item: Variant) -> str | None:
    return f"shipped by force: {item.refusal}"[:_MAX_TEXT] if item.refusal else None
