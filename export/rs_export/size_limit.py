"""A kit of limited size: from little to much that is taken away, until one fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rs_export.recipes import Recipe
from rs_export.session import Session

__all__ = ["fitting"]


@dataclass(frozen=True)
class _Candidate:
    """A variant that was made: 10**6 bytes of its packed kit, whether it passed, what it lost."""

    recipe: Recipe
    mb: float
    passed: bool
    points: float


def fitting(
    session: Session, recipes: Sequence[Recipe], packed_mb: Callable[[Recipe], float]
) -> tuple[dict[str, Recipe | None], str]:
    """Make variants in order until one passes and its packed kit fits.

    With ``session.settings.force``, and none such, it is the first refused one that fits.

    Parameters
    ----------
    session, recipes
        What makes them, and which.
    packed_mb
        Returns the size of the finished kit that holds this variant alone, packed, in 10**6 bytes.

    Returns
    -------
    tuple
        That variant by engine, and an empty text; or nothing, and a text that says what is
        reachable and what keeps the others out.
    """
    limit, found = session.settings.max_mb, []
    for recipe in recipes:
        session.add(recipe)
        if recipe.name not in session.measured:
            continue
        lost = 100 * session.measured[recipe.name].drops["macro_f1"].drop
        passed = recipe.name not in session.refused
        made = _Candidate(recipe, packed_mb(recipe), passed, lost)
        session.progress.note(f"{recipe.name}: {made.mb:.2f} MB packed, {limit:g} allowed")
        if made.passed and made.mb <= limit:
            return {recipe.engine: recipe}, ""
        found.append(made)
    if session.settings.force:
        for made in found:
            if made.mb <= limit:
                return {made.recipe.engine: made.recipe}, ""
    return {}, _reachable(session, found)


def _reachable(session: Session, found: Sequence[_Candidate]) -> str:
    """Return why nothing fits, and which settings would change that."""
    told = "; ".join(
        f"{made.recipe.name} {made.mb:.2f} MB, {made.points:.2f} points lost"
        f"{'' if made.passed else ', refused'}"
        for made in found
    )
    sizes = [made.mb for made in found if made.passed or session.settings.force]
    # Rounded up, so that the advice is enough.
    advice = f"--max-mb {math.ceil(100 * min(sizes)) / 100:.2f}, " if sizes else ""
    return (
        f"no variant fits in {session.settings.max_mb:g} MB and keeps its classes "
        f"({told or 'none could be made'}); "
        f"try {advice}more --passes, a higher --max-drop, --force, or a narrower --backbone"
    )
