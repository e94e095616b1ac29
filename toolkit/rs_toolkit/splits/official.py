"""The split that a data set brings along: which photos keep the side that it names."""

from __future__ import annotations

from collections.abc import Sequence

from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import Photo
from rs_toolkit.splits.assign import split

__all__ = ["official_sides"]


def official_sides(
    photos: Sequence[Photo],
    labels: Sequence[str],
    strata: Sequence[str],
    groups: Sequence[str],
    config: TrainConfig | DistillConfig,
) -> list[str | None] | None:
    """Return the sides that n photos keep by :attr:`Photo.split`; None where they name no split.

    Photos whose side is None are to be assigned.  If the data set has no validation photos, or no
    test photos, some of its training photos become these.  Its test photos stay test photos.  A
    data set that names sides but leaves no photo for training has no split.
    """
    given = [photo.split for photo in photos]
    named = {side for side in given if side}
    if not named or not {"train", None} & set(given):
        return None
    if absent := {"val", "test"} - named:
        rows = [row for row, side in enumerate(given) if side == "train"]
        parts = [[values[row] for row in rows] for values in (labels, strata, groups)]
        val, test = (
            fraction if side in absent else 0.0
            for side, fraction in (("val", config.val), ("test", config.test))
        )
        found = split(
            parts[0], strata=parts[1], groups=parts[2], val=val, test=test, seed=config.seed
        )
        for row, side in zip(rows, found, strict=True):
            given[row] = side
    return given
