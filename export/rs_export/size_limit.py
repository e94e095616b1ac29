"""A kit of limited size: from little to much that is taken away, until one fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from rs_export.pipeline import Pipeline
from rs_export.recipes import Recipe
from rs_export.result import Variant

__all__ = ["fitting"]


def fitting(
    line: Pipeline, recipes: Sequence[Recipe], packed_mb: Callable[[Variant], float]
) -> tuple[Variant | None, str]:
    """Make variants in order until one passes and its packed kit fits.

    With ``line.settings.force``, and none such, it is the first refused one that fits.

    Parameters
    ----------
    line, recipes
        What makes them, and which.
    packed_mb
        Returns the size of the finished kit that holds this variant alone, packed, in 10**6 bytes.

    Returns
    -------
    tuple
        That variant, and an empty text; or None, and a text that says what is reachable and what
        keeps the others out.
    """
    limit, sizes = line.settings.max_mb, dict[str, float]()
    for recipe in recipes:
        line.add(recipe)
        # The variant that was asked for, and the one that mended it.
        for variant in [item for name, item in line.variants.items() if name not in sizes]:
            size = sizes[variant.name] = packed_mb(variant)
            line.progress.note(f"{variant.name}: {size:.2f} MB packed, {limit:g} allowed")
            if not variant.refusal and size <= limit:
                return variant, ""
    refused = (line.variants[name] for name, size in sizes.items() if size <= limit)
    forced = next(refused, None) if line.settings.force else None
    return forced, "" if forced else _reachable(line, sizes)


def _reachable(line: Pipeline, sizes: Mapping[str, float]) -> str:
    """Return why nothing fits, and which settings would change that."""
    told, reachable = [], []
    for name, size in sizes.items():
        variant = line.variants[name]
        lost = 100 * variant.test.drops["macro_f1"].drop
        refused = ", refused" if variant.refusal else ""
        told.append(f"{name} {size:.2f} MB, {lost:.2f} points lost{refused}")
        if line.settings.force or not variant.refusal:
            reachable.append(size)
    # Rounded up, so that the advice is enough.
    advice = f"--max-mb {math.ceil(100 * min(reachable)) / 100:.2f}, " if reachable else ""
    return (
        f"no variant fits in {line.settings.max_mb:g} MB and keeps its classes "
        f"({'; '.join(told) or 'none could be made'}); "
        f"try {advice}more --passes, a higher --max-drop, --force, or a narrower --backbone"
    )
