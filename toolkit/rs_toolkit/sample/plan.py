"""The plan of a sample: how many photos each species gets, and which photos are faulty."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from rs_toolkit.sample.overlays import OVERLAYS
from rs_toolkit.sample.shapes import Rng
from rs_toolkit.sample.species import FAMILIES, SPECIES, Species

__all__ = ["DAMAGES", "FORMATS", "NEAR_WAYS", "NON_ORGANISMS", "Slot", "plan", "slot_rng"]

# Shares of all photos.  FORMATS are harmless if decoded correctly; DAMAGES lose or mislead.
FORMATS = {
    "grayscale": 0.02,
    "palette_png": 0.008,
    "palette_gif": 0.005,
    "rgba": 0.008,
    "cmyk": 0.006,
    "sixteen_bit": 0.006,
    "exif_rotated": 0.012,
}
DAMAGES = {
    "truncated": 0.006,
    "zero_byte": 0.003,
    "wrong_labels": 0.03,
    "non_organism": 0.025,
    "exact_duplicates": 0.02,
    "near_duplicates": 0.03,
}
NON_ORGANISMS = ("document", "chart", "screenshot", "landscape")
_CHANGED = ("resized", "recompressed", "cropped", "brightness")
NEAR_WAYS = (*_CHANGED, *OVERLAYS)
_DETAILS = {"non_organism": NON_ORGANISMS, "near_duplicates": NEAR_WAYS}
_AT_LEAST = {
    "non_organism": len(NON_ORGANISMS),
    # The smallest samples have no overlays, so that their other faults are the same as without.
    "near_duplicates": len(_CHANGED),
    "wrong_labels": 3,
    "truncated": 2,
    "exact_duplicates": 2,
    "grayscale": 2,
}
_SUFFIXES = {"palette_png": "png", "palette_gif": "gif", "rgba": "png", "sixteen_bit": "png"}
# Each family has about this share of the photos of the next more common one; species likewise.
_FAMILY_DECAY, _SPECIES_DECAY = 0.8, 0.55


@dataclass(frozen=True)
class Slot:
    """One photo to be made: its number, its label, its fault, and what the fault needs."""

    index: int
    path: str
    species: Species
    fault: str = ""
    detail: str = ""  # how a near-duplicate is made, or the kind of a non-organism picture
    shown: Species | None = None  # what a wrongly labelled photo really shows
    original: int = -1  # index of the slot that a duplicate copies; -1: not a duplicate


def _shares(total: int, count: int, decay: float, least: int) -> list[int]:
    """Split ``total`` into ``count`` decreasing parts: ``least`` each, the rest geometric."""
    weights = decay ** np.arange(count)
    exact = (total - least * count) * weights / weights.sum()
    parts = np.floor(exact).astype(int)
    short = total - least * count - int(parts.sum())
    # Rounding up the largest parts first keeps the parts in decreasing order.
    parts[:short] += 1
    return [least + int(part) for part in parts]


def _labels(photos: int) -> list[Species]:
    """Return the label of every photo: long-tailed over families, then over their species."""
    least = min(6, photos // (2 * len(FAMILIES)) + 1)
    labels: list[Species] = []
    sizes = _shares(photos, len(FAMILIES), _FAMILY_DECAY, least)
    for family, size in zip(FAMILIES, sizes, strict=True):
        parts = _shares(size, len(family.species), _SPECIES_DECAY, 1)
        for kind, part in zip(family.species, parts, strict=True):
            labels += [kind] * part
    return labels


def _faults(rng: Rng, labels: list[Species]) -> dict[int, tuple[str, str]]:
    """Return (fault, detail) by photo number; every photo has at most one fault.

    Rare families get no damages, because splits and tests need their few photos.  The first photo
    of each species has no fault, so that no species is lost and every duplicate has an original.
    """
    first = {label.slug: i for i, label in reversed(list(enumerate(labels)))}
    sizes = Counter(label.family for label in labels)
    common = {family for family, n in sizes.items() if n >= 2 * min(sizes.values())}
    faults: dict[int, tuple[str, str]] = {}
    for group in (DAMAGES, FORMATS):
        allowed = sizes if group is FORMATS else common
        taken = {*faults, *first.values()}
        free = [i for i, kind in enumerate(labels) if i not in taken and kind.family in allowed]
        order = iter(rng.permutation(free).tolist())
        for fault, share in group.items():
            several = _DETAILS.get(fault, ("",))
            for k in range(max(_AT_LEAST.get(fault, 1), round(share * len(labels)))):
                faults[next(order)] = (fault, several[k % len(several)])
    return faults


def _completed(rng: Rng, slot: Slot, slots: list[Slot]) -> Slot:
    """Choose the original of a duplicate, or the species that a wrongly labelled photo shows."""
    if slot.fault == "wrong_labels":
        others = [s for s in SPECIES if s.family != slot.species.family]
        return replace(slot, shown=others[int(rng.integers(len(others)))])
    if slot.fault in ("exact_duplicates", "near_duplicates"):
        healthy = [s for s in slots if not s.fault and s.species == slot.species]
        return replace(slot, original=healthy[int(rng.integers(len(healthy)))].index)
    return slot


def slot_rng(seed: int, photos: int, index: int) -> Rng:
    """Return the random generator of one photo, independent of the others' and the plan's."""
    # Seeds that differ only by trailing zeros are the same: photo 0 would have the plan's.
    return np.random.default_rng([seed, photos, index + 1])


def plan(seed: int, photos: int) -> list[Slot]:
    """Return one slot per photo; equal arguments give equal plans."""
    rng = np.random.default_rng([seed, photos])
    labels = _labels(photos)
    faults = _faults(rng, labels)
    numbers: Counter[str] = Counter()
    slots = []
    for index, label in enumerate(labels):
        fault, detail = faults.get(index, ("", ""))
        numbers[label.slug] += 1
        name = f"{label.slug}_{numbers[label.slug]:03d}.{_SUFFIXES.get(fault, 'jpg')}"
        slots.append(Slot(index, f"photos/{label.family.lower()}/{name}", label, fault, detail))
    return [_completed(rng, slot, slots) for slot in slots]
