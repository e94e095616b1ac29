"""What is tried when rounding cost a variant its classes: other ways to round the same model.

Equalization and bias correction cost nothing and are part of every calibrated recipe (see
docs/decisions/0005-equalize-and-correct-bias.md).  What is left, in this order:

1. a calibration set four times as large;
2. activation ranges that leave out the outermost 0.01 % of the values;
3. the most sensitive layers, up to a tenth of the weights, in float32;
4. training with rounding in the loop (QAT), where the task's model can be trained.

The last two change what the variant is, and with it its name.  A task may have further steps of its
own.  Steps are judged on validation photos; what passes there meets the test photos once.
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
    """One way to round a model again: what to call it, and what to convert instead."""

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
    """Yield what to try for a calibrated recipe, in order.

    Parameters
    ----------
    recipe, photos : what was refused, and the size of the calibration set that it was made with
    sensitive : from a share of the weights, 0 to 1, to the most sensitive layers; called only when
        it is needed, because it takes a minute
    trains : whether the model can be trained with rounding
    last : what to try after that: titles and recipes
    """
    if not recipe.calibrated:
        return
    kept = sensitive(recipe.float_share / 100) if recipe.float_share else ()
    plain = Quantization(photos, float_layers=kept)
    yield Step("larger calibration set", recipe, replace(plain, photos=_MORE_PHOTOS * photos))
    if recipe.io == "float32":
        # In TFLite ai-edge-quantizer uses them, and it makes no input in uint8.
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
    """Return a recipe with other fields, or None where these exclude each other."""
    try:
        return replace(recipe, **fields)
    except ExportError:
        return None
