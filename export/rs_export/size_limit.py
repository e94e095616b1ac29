"""A kit of limited size: from little to much that is taken away, until one fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rs_export.pipeline import Pipeline
from rs_export.recipes import Recipe
from rs_export.result import Variant

__all__ = ["fitting"]


@dataclass(frozen=True)
class _Candidate:
    """A variant, and 10**6 bytes of the packed kit that holds it."""

    variant: Variant
    mb: float

    def __str__(self) -> str:
        lost = 100 * self.variant.test.drops["macro_f1"].drop
        refused = ", refused" if self.variant.refusal else ""
        return f"{self.variant.name} {self.mb:.2f} MB, {lost:.2f} points lost{refused}"


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
    settings, found = line.settings, dict[str, _Candidate]()
    for recipe in recipes:
        line.add(recipe)
        # The variant that was asked for, and the one that mended it.
        for name, variant in line.variants.items():
            if name in found:
                continue
            found[name] = made = _Candidate(variant, packed_mb(variant))
            line.progress.note(f"{name}: {made.mb:.2f} MB packed, {settings.max_mb:g} allowed")
            if not variant.refusal and made.mb <= settings.max_mb:
                return variant, ""
    if settings.force:
        for made in found.values():
            if made.mb <= settings.max_mb:
                return made.variant, ""
    return None, _reachable(line, list(found.values()))


def _reachable(line: Pipeline, found: Sequence[_Candidate]) -> str:
    """Return why nothing fits, and which settings would change that."""
    force = line.settings.force
    sizes = [made.mb for made in found if force or not made.variant.refusal]
    # Rounded up, so that the advice is enough.
    advice = f"--max-mb {math.ceil(100 * min(sizes)) / 100:.2f}, " if sizes else ""
    return (
        f"no variant fits in {line.settings.max_mb:g} MB and keeps its classes "
        f"({'; '.join(map(str, found)) or 'none could be made'}); "
        f"try {advice}more --passes, a higher --max-drop, --force, or a narrower --backbone"
    )
