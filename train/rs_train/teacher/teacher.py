"""The teacher: a CLIP model, which embeds photos and texts in one space (Radford et al. 2021)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.errors import WeightsError
from rs_train.teacher.architecture import Architecture, architecture, build_clip
from rs_train.teacher.torch_setup import ready_torch
from rs_train.teacher.weights import OPTION, download_weights, fit_weights, read_weights

__all__ = ["Teacher", "load_teacher"]

_PHOTOS, _TEXTS = 32, 128  # batch sizes


@dataclass(frozen=True)
class Teacher:
    """A CLIP model with frozen weights.

    Attributes
    ----------
    fingerprint
        16 hexadecimal digits of a hash of the architecture and all weights.
    size, dim
        Side of the square input in pixels, and dimensions of an embedding.
    logit_scale
        Factor above 0 that makes a logit of the cosine similarity of a photo and a text.
    preprocessing
        How a photo becomes the pixels of :meth:`embed_images`.  It resizes with Pillow's bilinear
        filter, although most CLIP models were trained with a bicubic one.
    device
        ``cuda`` where there is a GPU, else ``cpu``.
    """

    name: str
    fingerprint: str
    size: int
    dim: int
    logit_scale: float
    preprocessing: Preprocessing
    device: str
    _model: Any = field(repr=False)
    _tokenizer: Any = field(repr=False)
    _architecture: Architecture = field(repr=False)

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embeddings of photos, float32 (n, dim), rows of length 1.

        ``pixels`` are uint8 RGB, (n, size, size, 3).  A CPU computes in float32; a GPU uses torch's
        autocast to half precision, which changes an embedding by about 0.001.

        Raises
        ------
        ValueError
            The pixels have another shape or type.
        WeightsError
            The embeddings are not finite, because the weights are broken.
        """
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (self.size, self.size, 3):
            raise ValueError(
                f"pixels must be uint8 (n, {self.size}, {self.size}, 3), "
                f"got {pixels.dtype} {pixels.shape}"
            )
        import torch

        mean, std = (
            torch.tensor(values, device=self.device).view(1, 3, 1, 1)
            for values in (self._architecture.mean, self._architecture.std)
        )

        def encoded(batch: Any) -> Any:
            images = torch.tensor(batch, device=self.device).permute(0, 3, 1, 2)
            return self._model.encode_image((images / 255.0 - mean) / std)

        return self._embed(pixels, encoded, _PHOTOS)

    def embed_texts(self, texts: list[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts: float32, shape (n, dim), rows of length 1.

        A text is cut off after the model's context length, usually 77 tokens.  WeightsError: the
        embeddings are not finite, because the weights are broken.
        """

        def encoded(batch: list[str]) -> Any:
            return self._model.encode_text(self._tokenizer(batch).to(self.device))

        return self._embed(texts, encoded, _TEXTS)

    def logits(
        self, embeddings: NDArray[np.float32], texts: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return logits (n, K) of photos (n, dim) and texts (K, dim), whose rows have length 1."""
        return np.asarray(self.logit_scale * (embeddings @ texts.T), np.float32)

    def _embed(self, items: Any, encode: Callable[[Any], Any], count: int) -> NDArray[np.float32]:
        """Return the embeddings that ``encode`` gives of ``count`` items at a time, normalized."""
        import torch

        found = np.empty((len(items), self.dim), np.float32)
        half = torch.autocast("cuda", torch.float16, enabled=self.device == "cuda")
        with torch.inference_mode(), half:
            for start in range(0, len(items), count):
                rows = encode(items[start : start + count]).float()
                rows = torch.nn.functional.normalize(rows, dim=-1)
                found[start : start + count] = rows.cpu().numpy()
        if not np.isfinite(found).all():
            raise WeightsError(f"teacher {self.name}: embeddings are not finite; check {OPTION}")
        return found


def load_teacher(name: str, checkpoint: str | Path | None = None) -> Teacher:
    """Load a CLIP model of open_clip.

    ``name`` is as for :func:`rs_train.teacher.architecture.architecture`.  ``checkpoint`` is a
    weights file for :func:`rs_train.teacher.weights.read_weights`; None: the public weights.

    Raises
    ------
    ConfigError
        The name or the configuration file is wrong, or the tokenizer is not CLIP's own.
    WeightsError
        The weights cannot be downloaded, are damaged, or belong to another model.
    MissingPackageError
        torch or open_clip is not installed.
    """
    torch = ready_torch()
    from open_clip.tokenizer import SimpleTokenizer

    plan = architecture(name)
    if checkpoint is not None:
        path = Path(checkpoint)
    elif plan.repository is not None:
        path = download_weights(plan.repository)
    else:
        advice = f"choose {plan.choices}give a file: {OPTION}"
        raise WeightsError(f"teacher {name}: the name does not say which weights; {advice}")
    weights = read_weights(path)
    model = build_clip(plan)
    fit_weights(model, weights, path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    logit_scale = model.logit_scale.exp().item()
    if not np.isfinite(logit_scale):
        raise WeightsError(f"{path}: logit_scale is too large to be finite; check {OPTION}")
    return Teacher(
        name=name,
        fingerprint=_fingerprint(model, plan),
        size=plan.size,
        dim=int(plan.config["embed_dim"]),
        logit_scale=logit_scale,
        preprocessing=Preprocessing(plan.size, plan.resize),
        device=device,
        _model=model.eval().requires_grad_(False).to(device),
        _tokenizer=SimpleTokenizer(context_length=plan.context, clean=plan.clean),
        _architecture=plan,
    )


def _fingerprint(model: Any, plan: Architecture) -> str:
    settings = json.dumps([plan.config, plan.mean, plan.std, plan.resize], sort_keys=True)
    digest = hashlib.sha256(settings.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.hexdigest()[:16]
