"""Mending: other ways to round a model, where rounding cost too much on validation photos.

Equalization and bias correction cost nothing, so every calibrated recipe has them (see
docs/decisions/0005-equalize-and-correct-bias.md).  The further steps are, in this order:

1. a calibration set four times as large;
2. activation ranges that leave out the outermost 0.01 % of the values at either end;
3. the most sensitive layers, up to a tenth of the weights, in float32;
4. training with rounding in the loop (QAT), where the task's model can be trained.

Steps 3 and 4 change the recipe, and so the variant's name.  A task may add steps of its own.  Each
step is judged on the validation photos; the first that does well there is measured on the test
photos in the variant's place, and if none does, the variant itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rs_export.convert import Quantization
from rs_export.recipes import Recipe
from rs_toolkit.errors import ExportError

__all__ = ["Step", "steps"]

_MORE_PHOTOS = 4
_FLOAT_SHARE = 10  # per cent


@dataclass(frozen=True)
class Step:
    """One way to round a model again: its title in reports, and what to convert."""

    title: str
    recipe: Recipe
    how: Quantization


def steps(
    recipe: Recipe,
    photos: int,
    sensitive: Callable[[float], tuple[str, ...]],
    *,
    trains: bool = True,
    last: Sequence[tuple[str, Recipe]] = (),
) -> Iterator[Step]:
    """Yield the steps to try for a refused recipe, in order; none if it is not calibrated.

    Parameters
    ----------
    recipe, photos : the recipe, and the number of calibration photos that it was made with
    sensitive : takes a share of the weights, 0 to 1, and returns the most sensitive layers with at
        most that share; called only when it is needed, because it takes a minute
    trains : whether the model can be trained with rounding
    last : titles and recipes of the task's own steps, which come last
    """
    if not recipe.calibrated:
        return
    kept = sensitive(recipe.float_share / 100) if recipe.float_share else ()
    plain = Quantization(photos, float_layers=kept)
    yield Step("larger calibration set", recipe, replace(plain, photos=_MORE_PHOTOS * photos))
    if recipe.io == "float32":
        # In TFLite only ai-edge-quantizer takes such ranges, and it cannot make uint8 inputs.
        yield Step("percentile ranges", recipe, replace(plain, ranges="percentile"))
    mixed = None if recipe.float_share else _changed(recipe, float_share=_FLOAT_SHARE)
    if mixed and (layers := sensitive(_FLOAT_SHARE / 100)):
        yield Step("sensitive layers in float32", mixed, replace(plain, float_layers=layers))
    trained = None if recipe.qat or not trains else _changed(recipe, qat=True)
    if trained:
        yield Step("training with rounding", trained, plain)
    for title, other in last:
        yield Step(title, other, Quantization(photos))


def _changed(recipe: Recipe, **fields: Any) -> Recipe | None:
    """Return a recipe with fields replaced, or None where the result is no valid recipe."""
    try:
        return replace(recipe, **fields)
    except ExportError:
        return None
