"""The teacher's judgement without training: photos against prompts.

Odds and probability are made of the logits by :mod:`rs_runtime.filter`, calibrated by
:func:`rs_toolkit.metrics.platt.fit_platt`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_toolkit.files import atomic_write, sha256_bytes
from rs_train.teacher.prompts import Prompts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_train.teacher.teacher import Teacher

__all__ = ["class_logits", "text_weights"]


def text_weights(
    teacher: Teacher, prompts: Prompts, cache_dir: Path | None = None
) -> NDArray[np.float32]:
    """Return one direction a prompt class, the mean of its prompts' embeddings.

    Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
    section 3.1.4: the ensemble is built in the embedding space and costs no more than one prompt.

    Parameters
    ----------
    teacher, prompts
        The model and the texts.
    cache_dir
        Where each class is kept, below ``prompts``, so that a changed one is embedded alone;
        None: nowhere.

    Returns
    -------
    float32, shape (K, dim), rows of length 1.

    Raises
    ------
    WeightsError
        The teacher is broken.
    """
    folder = None if cache_dir is None else cache_dir / "prompts" / teacher.fingerprint
    return np.stack([_direction(teacher, item.prompts, folder) for item in prompts.classes])


def _direction(
    teacher: Teacher, texts: tuple[str, ...], folder: Path | None
) -> NDArray[np.float32]:
    file = None if folder is None else folder / f"{sha256_bytes(json.dumps(texts).encode())}.npy"
    known = None if file is None else _read(file, teacher.dim)
    if known is not None:
        return known
    mean = teacher.embed_texts(list(texts)).mean(axis=0)
    direction = np.asarray(mean / np.linalg.norm(mean), np.float32)
    if file is not None:
        with atomic_write(file) as temporary, temporary.open("wb") as opened:
            np.save(opened, direction, allow_pickle=False)
    return direction


def _read(file: Path, dim: int) -> NDArray[np.float32] | None:
    try:
        saved = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    sound = isinstance(saved, np.ndarray) and saved.dtype == np.float32 and saved.shape == (dim,)
    return saved if sound and np.isfinite(saved).all() else None


def class_logits(
    embeddings: NDArray[np.float32], weights: NDArray[np.float32], scale: float
) -> NDArray[np.float32]:
    """Return the logits (n, K) of photos: ``scale`` times the cosine to each class.

    Parameters
    ----------
    embeddings
        float32, shape (n, dim), rows of length 1.
    weights
        float32, shape (K, dim), rows of length 1.
    scale
        The teacher's ``logit_scale``.
    """
    return np.asarray(scale * (embeddings @ weights.T), np.float32)
