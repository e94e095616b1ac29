"""A stand-in for a public CLIP checkpoint: a tiny one, really trained, on the sample's pictures.

No public checkpoint can be had where the tests run.  This model has open_clip's own layers, is
trained contrastively on pictures of :mod:`rs_toolkit.sample` and captions for them, and is loaded
from its files like any other.  It knows the sample and nothing of real photos.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.files import atomic_write, write_json
from rs_toolkit.sample.draw import draw_photo
from rs_toolkit.sample.faults import jpeg, non_organism
from rs_toolkit.sample.species import FAMILIES, Family, Species

__all__ = ["CONFIG", "captioned", "train_tiny_clip"]

Rng = np.random.Generator
_SIDE, _CONTEXT, _RATE = 64, 24, 2e-3
_SHIFT = 6
CONFIG = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": _SIDE, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
    "text_cfg": {
        "context_length": _CONTEXT,
        "vocab_size": 49408,
        "width": 64,
        "heads": 2,
        "layers": 2,
    },
}
_GROUPS = {
    "Aves": "bird",
    "Mammalia": "mammal",
    "Reptilia": "reptile",
    "Amphibia": "amphibian",
    "Actinopterygii": "fish",
    "Insecta": "insect",
    "Arachnida": "arachnid",
    "Asteroidea": "echinoderm",
    "Gastropoda": "mollusc",
    "Scyphozoa": "cnidarian",
}
_NOTHING = {
    "landscape": ("an empty landscape", "scenery without animals", "an empty habitat"),
    "document": ("a document", "a page of text", "lines of writing"),
    "chart": ("a chart", "a bar chart", "a graph with axes"),
    "screenshot": ("a screenshot", "a window of a program", "a web page"),
}
# Landscapes are the hard ones: every organism stands before one.
_NOTHING_SHARES = (0.52, 0.16, 0.16, 0.16)
_TEMPLATES = ("a photo of {}.", "a picture of {}.", "{}.")


def captioned(count: int, seed: int) -> tuple[Any, list[str], Any]:
    """Draw pictures, half of them of organisms, with a caption each.

    Returns
    -------
    pixels
        uint8, shape (count, 64, 64, 3).
    captions
        ``count`` texts.
    organism
        bool, shape (count,).
    """
    rng = np.random.default_rng([seed, count])
    prepare = Preprocessing(_SIDE, "crop")
    organism = rng.permutation(np.arange(count) % 2 == 0)
    pixels, captions = [], []
    for shown in organism:
        image, name = _organism(rng) if shown else _nothing(rng)
        pixels.append(prepare.load(jpeg(image)))
        captions.append(str(rng.choice(_TEMPLATES)).format(name))
    return np.stack(pixels), captions, organism


def _organism(rng: Rng) -> tuple[Image.Image, str]:
    family = FAMILIES[int(rng.integers(len(FAMILIES)))]
    species = family.species[int(rng.integers(len(family.species)))]
    return draw_photo(rng, family, species), str(rng.choice(_names(family, species)))


def _names(family: Family, species: Species) -> list[str]:
    """Return what the picture of a species may be called, from fine to coarse."""
    plan = family.plan.replace("_", " ")
    return [
        f"a {species.common_name}",
        f"a {species.look.main} {plan}",
        f"a {plan}",
        f"a {plan}",
        f"a {_GROUPS[species.ranks[2]]}",
        f"an animal of the family {family.name}",
    ]


def _nothing(rng: Rng) -> tuple[Image.Image, str]:
    kind = str(rng.choice(list(_NOTHING), p=_NOTHING_SHARES))
    return non_organism(rng, kind), str(rng.choice(_NOTHING[kind]))


def train_tiny_clip(
    folder: Path, steps: int = 150, seed: int = 0, count: int = 1200, batch_size: int = 64
) -> tuple[Path, Path]:
    """Draw ``count`` pictures, train on them, and write the model as open_clip's would come.

    Pictures with the same caption are positives of each other (Yang et al. 2022, "Unified
    contrastive learning in image-text-label space"), because the captions are few.

    Returns
    -------
    config, checkpoint
        ``tiny.json`` and ``tiny.safetensors`` in ``folder``.
    """
    from rs_train.teacher.torch_setup import ready_torch

    torch = ready_torch()
    torch.manual_seed(seed)
    from safetensors.torch import save_file

    # Two threads that wait for each other on a busy machine take many times as long as one.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        weights = _trained(torch, steps, seed, count, batch_size)
    finally:
        torch.set_num_threads(threads)
    config, checkpoint = folder / "tiny.json", folder / "tiny.safetensors"
    write_json(config, CONFIG)
    with atomic_write(checkpoint) as temporary:
        save_file(weights, temporary)
    return config, checkpoint


def _trained(torch: Any, steps: int, seed: int, count: int, batch_size: int) -> dict[str, Any]:
    """Return the weights after ``steps`` batches."""
    import open_clip

    pixels, captions, _ = captioned(count, seed)
    texts, which = np.unique(captions, return_inverse=True)
    tokens = open_clip.SimpleTokenizer(context_length=_CONTEXT)(texts.tolist())
    model = open_clip.CLIP(**CONFIG).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        rows = rng.choice(count, batch_size, replace=False)
        used, owner = np.unique(which[rows], return_inverse=True)
        images = model.encode_image(_augmented(rng, pixels[rows]), normalize=True)
        words = model.encode_text(tokens[used], normalize=True)
        logits = model.logit_scale.exp() * images @ words[owner].T
        same = torch.tensor(owner[:, None] == owner[None, :]).float()
        target = same / same.sum(1, keepdim=True)
        cross_entropy = torch.nn.functional.cross_entropy
        loss = (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, np.log(100))
    return {name: value.contiguous() for name, value in model.state_dict().items()}


def _augmented(rng: Rng, pixels: Any) -> Any:
    """Return normalized images (n, 3, side, side): mirrored, shifted, relit, some grey."""
    import torch
    from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    images = []
    for item in pixels:
        turned = item[:, ::-1] if rng.random() < 0.5 else item
        padded = np.pad(turned, ((_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)), mode="reflect")
        top, left = (int(value) for value in rng.integers(0, 2 * _SHIFT + 1, 2))
        part = padded[top : top + _SIDE, left : left + _SIDE].astype(np.float32) / 255
        if rng.random() < 0.1:
            part = np.repeat(part.mean(-1, keepdims=True), 3, axis=-1)
        images.append(np.clip(part * rng.uniform(0.8, 1.2) + rng.uniform(-0.08, 0.08), 0, 1))
    batch = torch.tensor(np.stack(images), dtype=torch.float32).permute(0, 3, 1, 2)
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
    )
    return (batch - mean) / std
