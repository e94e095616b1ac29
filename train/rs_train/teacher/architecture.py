"""CLIP models by name: their layers, their preprocessing, and where their weights are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rs_runtime.errors import reason
from rs_toolkit.config.training import read_config
from rs_toolkit.errors import ConfigError

__all__ = ["TEACHERS", "Architecture", "architecture", "build_clip"]

TEACHERS = {
    "ViT-B-32": "ViT-B-32:laion2b_s34b_b79k",
    "ViT-B-16": "ViT-B-16:laion2b_s34b_b88k",
    "BioCLIP": "ViT-B-16:imageomics/bioclip",
    "MobileCLIP-S1": "MobileCLIP-S1:datacompdr",
    "MobileCLIP-S2": "MobileCLIP-S2:datacompdr",
}
"""Short names for ``--teacher``, each with open_clip's architecture and its public weights."""

_MAX_PARAMETERS = 3_000_000_000
_VOCABULARY = 49408  # tokens of CLIP's byte-pair encoding
_CLEANERS = ("lower", "whitespace", "canonicalize")
_RESIZES = {"shortest": "crop", "squash": "squash", "longest": "pad"}


@dataclass(frozen=True)
class Architecture:
    """A CLIP model without its weights.

    Attributes
    ----------
    name, config
        The name that was asked for, and open_clip's ``model_cfg``.
    size, resize
        As :class:`rs_runtime.photos.preprocess.Preprocessing` takes them.
    mean, std
        For red, green and blue: the model's input is (pixel / 255 - mean) / std.
    context, clean
        Largest number of tokens of a text, and how open_clip's tokenizer cleans the text.
    repository
        Hugging Face repository of the public weights; None where the name does not choose any.
    choices
        The public weights there are, as part of an error message.
    """

    name: str
    config: dict[str, Any]
    size: int
    resize: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    context: int
    clean: str
    repository: str | None = None
    choices: str = ""


def architecture(name: str) -> Architecture:
    """Return the architecture that a teacher's name stands for.

    The name is one of these:

    - a short name from :data:`TEACHERS`;
    - ``ARCHITECTURE``, one of open_clip's, whose weights are given as a file;
    - ``ARCHITECTURE:TAG``, with the tag of one of open_clip's pretrained weights;
    - ``ARCHITECTURE:OWNER/REPOSITORY``, with a repository of Hugging Face;
    - a ``.json`` file: an ``open_clip_config.json``, or only its ``model_cfg``.

    Raises
    ------
    ConfigError
        The name is unknown or ambiguous, the file is wrong, or the model needs a tokenizer other
        than CLIP's own, which would have to be downloaded.
    """
    if name.endswith(".json"):
        values = read_config(Path(name))
        model = values.get("model_cfg", values)
        return _checked(name, model, values.get("preprocess_cfg", {}))
    import open_clip

    base, _, tag = TEACHERS.get(name, name).partition(":")
    config = open_clip.get_model_config(base) if base in open_clip.list_models() else None
    if config is None:
        raise ConfigError(
            f"teacher: got {name!r}, wanted {', '.join(TEACHERS)}, an architecture of open_clip "
            "(python -c 'import open_clip; print(open_clip.list_models())'), or a .json file"
        )
    if "/" in tag:
        return _checked(name, config, {}, tag)
    return _public(name, config, base, tag)


def _public(name: str, config: dict[str, Any], base: str, tag: str) -> Architecture:
    """Return an architecture with the preprocessing of its tag, or the one that all tags share."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(base)
    listed = ", ".join(f"{base}:{known}" for known in tags)
    if tag and tag not in tags:
        raise ConfigError(f"teacher: got {name!r}, wanted one of {listed or base}")
    public = [open_clip.get_pretrained_cfg(base, known) for known in ([tag] if tag else tags)]
    pixels = [{key: item.get(key) for key in ("mean", "std", "resize_mode")} for item in public]
    if any(other != pixels[0] for other in pixels):
        raise ConfigError(
            f"teacher {name}: its public weights differ in preprocessing; choose one of {listed}"
        )
    if not tag:
        choices = f"one of {listed}; or " if listed else ""
        return _checked(name, config, pixels[0] if pixels else {}, choices=choices)
    # Weights of the same architecture may have been trained with different activations.
    config["quick_gelu"] = bool(public[0].get("quick_gelu"))
    # hf_hub is OWNER/REPOSITORY/, or the path of a file in it.
    repository = "/".join(str(public[0].get("hf_hub") or "").split("/")[:2])
    return _checked(name, config, pixels[0], repository or None)


def _checked(
    name: str, config: Any, pixels: Any, repository: str | None = None, choices: str = ""
) -> Architecture:
    """Check the settings that matter for safety and preprocessing; return the architecture."""
    from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    try:
        vision, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
        text["tokenizer_kwargs"] = dict(text.get("tokenizer_kwargs") or {})
        size, dim = vision["image_size"], config["embed_dim"]
        context = text.get("context_length", 77)
        mean, std = (
            tuple(float(value) for value in pixels.get(key) or default)
            for key, default in (("mean", OPENAI_DATASET_MEAN), ("std", OPENAI_DATASET_STD))
        )
        resize = _RESIZES[pixels.get("resize_mode") or "shortest"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"teacher {name}: no open_clip configuration ({type(error).__name__}: "
            f"{str(error)[:80]!r}); wanted embed_dim, vision_cfg.image_size, text_cfg and "
            "preprocess_cfg as in an open_clip_config.json"
        ) from None
    numbers = {"image_size": (size, 2048), "embed_dim": (dim, 65536), "context": (context, 1024)}
    for what, (value, most) in numbers.items():
        if type(value) is not int or not 8 <= value <= most:
            raise ConfigError(f"teacher {name}: got {what} {value!r}, wanted 8 to {most}")
    sound = all(map(math.isfinite, (*mean, *std))) and min(std, default=0) > 0
    if len(mean) != 3 or len(std) != 3 or not sound:
        wanted = "wanted three finite numbers each, std above 0"
        raise ConfigError(f"teacher {name}: got mean {mean} and std {std}, {wanted}")
    clean = _cleaning(name, text)
    vision["timm_model_pretrained"] = False
    if ":" in str(vision.get("timm_model_name")) or "multimodal_cfg" in config:
        raise ConfigError(f"teacher {name}: is no plain CLIP model; choose one such as ViT-B-32")
    whole = {**config, "vision_cfg": vision, "text_cfg": text}
    return Architecture(name, whole, size, resize, mean, std, context, clean, repository, choices)


def _cleaning(name: str, text: dict[str, Any]) -> str:
    """Check that the tokenizer is CLIP's own, and return how it cleans a text."""
    settings = dict(text["tokenizer_kwargs"])
    clean = settings.pop("clean", "lower")
    foreign = text.get("hf_model_name") or text.get("hf_tokenizer_name") or settings
    if foreign or text.get("vocab_size", _VOCABULARY) != _VOCABULARY or clean not in _CLEANERS:
        raise ConfigError(
            f"teacher {name}: needs a tokenizer ({str(foreign or clean)[:80]}) that is not CLIP's "
            f"own; choose a model with CLIP's {_VOCABULARY} tokens, such as ViT-B-32"
        )
    return str(clean)


def build_clip(plan: Architecture) -> Any:
    """Build the open_clip model of an architecture, with random weights, in float32.

    ConfigError: open_clip cannot build it, or it has more than 3 billion weights.
    """
    import torch
    from open_clip import CLIP, CustomTextCLIP

    kind = CustomTextCLIP if plan.config.get("custom_text") else CLIP
    settings = {key: value for key, value in plan.config.items() if key != "custom_text"}
    try:
        # The meta device allocates no memory: this only counts the weights.
        with torch.device("meta"):
            count = sum(item.numel() for item in kind(**settings).parameters())
        if count > _MAX_PARAMETERS:
            raise ConfigError(f"teacher {plan.name}: got {count} weights, wanted at most 3 billion")
        return kind(**settings)
    except ConfigError:
        raise
    except Exception as error:
        problem = f"teacher {plan.name}: open_clip cannot build it: {reason(error)}"
        raise ConfigError(problem) from None
