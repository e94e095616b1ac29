"""Pictures of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_toolkit.files import atomic_write

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["plot_confusion"]

_MOST_NAMES = 60


def plot_confusion(path: Path, table: NDArray[np.int64], names: list[str]) -> None:
    """Draw a confusion matrix, each row divided by its photo count, as a PNG.

    ``table`` has the counts, (classes, classes), a row for each true class and a column for each
    predicted one.  Where there are too many ``names`` to read, they are left off.
    """
    from matplotlib.figure import Figure

    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    side = float(np.clip(0.25 * len(names), 5, 16))
    figure = Figure((side + 1, side), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(picture, ax=axes, label="share of the true class's test photos")
    axes.set(xlabel="predicted", ylabel="true")
    if len(names) <= _MOST_NAMES:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100)
