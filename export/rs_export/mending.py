"""What is tried when rounding cost a variant its classes: other ways to round the same model.

Equalization and bias correction cost nothing and are part of every calibrated recipe (see
docs/decisions/0005-equalize-and-correct-bias.md).  What is left, in this order:

1. a calibration set four times as large;
2. activation ranges that leave out the outermost 0.01 % of the values;
3. the most sensitive layers, up to a tenth of the weights, in float32;
4. training with rounding in the loop (QAT).

Steps are judged on validation photos; what passes there meets the test photos once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from rs_export.convert import Quantization
from rs_export.recipes import Recipe
from rs_toolkit.errors import ExportError

__all__ = ["Step", "steps"]

_MORE_PHOTOS = 4
_FLOAT_SHARE = 0.1


@dataclass(frozen=True)
class Step:
    """One way to round a model again.

    Attributes
    ----------
    title
        For people.
    recipe, how
        What to convert instead.
    """

    title: str
    recipe: Recipe
    how: Quantization


def steps(
    recipe: Recipe, photos: int, sensitive: Callable[[float], tuple[str, ...]]
) -> Iterator[Step]:
    """Yield what to try for a calibrated recipe, in order.

    Parameters
    ----------
    recipe
        What was refused.
    photos
        Size of the calibration set that it was made with.
    sensitive
        From a share of the weights to the most sensitive layers; called only when it is needed,
        because it takes a minute.
    """
    if not recipe.calibrated:
        return
    plain = Quantization(photos)
    yield Step("larger calibration set", recipe, replace(plain, photos=_MORE_PHOTOS * photos))
    yield Step("percentile ranges", recipe, replace(plain, ranges="percentile"))
    if recipe.activations != "int16":
        layers = sensitive(_FLOAT_SHARE)
        yield Step("sensitive layers in float32", recipe, replace(plain, float_layers=layers))
    if not recipe.qat:
        try:
            trained = replace(recipe, qat=True)
        except ExportError:
            # Clustered weights cannot be trained with rounding.
            return
        yield Step("training with rounding", trained, plain)
