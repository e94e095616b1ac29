"""A kit of limited size: from little to much that is taken away, until one fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rs_export.recipes import Recipe
from rs_export.session import Session
from rs_toolkit.folders.kit import packed

__all__ = ["fitting"]

# Manifest and model card, packed.
_REST = 0.05


def fitting(
    session: Session, recipes: Sequence[Recipe], beside: Mapping[str, float]
) -> tuple[dict[str, Recipe | None], str]:
    """Make variants in order until one may ship and its packed kit fits.

    Parameters
    ----------
    session, recipes
        What makes them, and which.
    beside
        Packed 10**6 bytes of what a kit for an engine holds besides; engines left out: nothing.

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
        size = len(packed((session.folder / recipe.member).read_bytes())) / 1e6 + _REST
        size += beside.get(recipe.engine, 0.0)
        ships = recipe in session.passing(recipe.engine)
        session.progress.note(f"{recipe.name}: {size:.2f} MB packed, {limit:g} allowed")
        if ships and size <= limit:
            return {recipe.engine: recipe}, ""
        lost = 100 * session.measured[recipe.name].drops["macro_f1"].drop
        found.append((size, ships, recipe.name, lost))
    told = "; ".join(
        f"{name} {size:.2f} MB, {lost:.2f} points lost{'' if ships else ', refused'}"
        for size, ships, name, lost in found
    )
    least = min((size for size, ships, *_ in found if ships), default=None)
    advice = f"--max-mb {least:.2f}, " if least else ""
    return {}, (
        f"no variant fits in {limit:g} MB and keeps its classes ({told or 'none could be made'}); "
        f"try {advice}more --passes, a higher --max-drop, --force, or a narrower --backbone"
    )
