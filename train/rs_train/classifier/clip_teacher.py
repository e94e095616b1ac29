"""A CLIP model as a teacher of a classifier: a linear layer on its embeddings gives the answers.

BioCLIP and other models of open_clip know many species from millions of photos, but not the classes
at hand.  So logistic regression is fitted on their embeddings of the training photos (a linear
probe, as in Radford et al. 2021, section 3.2), and the student learns its answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.batches.oversampling import Shares, photo_weights
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.progress import Progress
from rs_train.classifier.linear_probe import STRENGTHS, Head, fit_head, rows_of_views
from rs_train.classifier.teaching import Lesson, views_of
from rs_train.teacher.embeddings import teacher_embeddings
from rs_train.teacher.teacher import Teacher

__all__ = ["ClipTeacher"]

_HELD_OUT = 0.2  # share of the groups of photos on which the strength of the penalty is chosen


@dataclass(frozen=True)
class ClipTeacher:
    """A CLIP model; ``sha256`` is the hash of its weights file."""

    clip: Teacher
    sha256: str

    def check(self, photos: Sequence[Photo], classes: Sequence[dict[str, Any]]) -> None:
        """Accept all photos and classes: whether it has seen a photo before, nobody can tell."""

    def lesson(
        self,
        photos: list[Photo],
        root: Path,
        classes: Sequence[dict[str, Any]],
        pixels: PhotoCache,
        config: TrainConfig,
        progress: Progress,
    ) -> Lesson:
        """Return the answers to views of photos; as :meth:`rs_train.classifier.teaching.Teacher`.

        They learn from the labels of these photos alone.  Embeddings are kept in the cache.

        Raises
        ------
        WeightsError
            The embeddings are not finite.
        """
        known = PhotoCache(pixels.directory, self.clip.preprocessing, pixels.strict)
        embeddings = teacher_embeddings(
            self.clip,
            photos,
            lambda photo: known.pixels(photo, root),
            pixels.directory,
            progress,
            views=config.teacher_views if config.augment else 1,
            seed=config.seed,
        )
        number = {str(item["name"]): int(item["id"]) for item in classes}
        labels = np.asarray([number[str(photo.label(config.rank))] for photo in photos], np.int64)
        head = _probe(embeddings, labels, Shares.of(photos), len(classes), config)
        rows = embeddings.reshape(-1, embeddings.shape[-1])
        logits = head.logits(rows).reshape(*embeddings.shape[:2], len(classes))
        progress.note(
            f"teacher {self.clip.name}: macro-F1 {head.val_macro_f1:.3f} on a fifth of the photos, "
            "which a first fit left out"
        )
        return Lesson(views_of(photos, root, pixels, config.seed), logits)


def _probe(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    shares: Shares,
    classes: int,
    config: TrainConfig,
) -> Head:
    """Fit the linear layer on n photos, (n, views, dim), labels (n,).

    The strength of its penalty is that which was best on a fifth of the photos, groups kept
    together, by a fit on the others; a class with photos of one group is not judged by it.
    """
    weights = photo_weights(labels, config.balance, shares)
    groups = np.unique(shares.groups)
    chosen = np.random.default_rng(config.seed).permutation(groups)
    out = np.isin(shares.groups, chosen[: max(1, round(_HELD_OUT * len(groups)))])
    # The others must know each class that is asked for.
    out &= np.isin(labels, labels[~out])
    strengths: tuple[float, ...] = (1.0,)
    score = 0.0
    views = embeddings.shape[1]
    if out.any():
        rest = rows_of_views(embeddings[~out], labels[~out], weights[~out])
        first = fit_head(*rest, embeddings[out, 0], labels[out], classes, STRENGTHS, views)
        strengths, score = (first.strength,), first.val_macro_f1
    rows = rows_of_views(embeddings, labels, weights)
    head = fit_head(*rows, embeddings[:, 0], labels, classes, strengths, views)
    return Head(head.kernel, head.bias, head.strength, score, head.at_edge)
