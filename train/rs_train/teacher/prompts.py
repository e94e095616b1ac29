"""Prompts: texts that describe what photos may show, by class, in a TOML file that users edit.

Each name is put into every template, and a class is the mean embedding of the resulting prompts
(prompt ensembling, Radford et al. 2021, section 3.1.4)::

    templates = ["a photo of {}.", "a blurry photo of {}."]
    [organism.birds]
    names = ["a bird", "a duck"]
    [not_organism.document]
    names = ["a page of text"]
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rs_toolkit.config.training import read_config
from rs_toolkit.errors import ConfigError

__all__ = ["DEFAULT_PROMPTS", "PromptClass", "Prompts", "read_prompts"]

DEFAULT_PROMPTS = Path(__file__).parent / "prompts" / "default.toml"
"""The prompts that are used where none are given."""

_KINDS = {"organism": True, "not_organism": False}
_MOST_TEXTS, _MOST_PROMPTS, _MOST_CLASSES, _LONGEST, _LONGEST_CLASS = 1000, 20_000, 256, 500, 64


@dataclass(frozen=True)
class PromptClass:
    """What a photo may show, such as ``birds``, and whether that is an organism.

    ``prompts`` are texts that describe such a photo: templates with the names filled in.
    """

    name: str
    organism: bool
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Prompts:
    """Prompt classes, organisms first; ``fingerprint`` is 16 hexadecimal digits of their hash."""

    classes: tuple[PromptClass, ...]
    fingerprint: str


def read_prompts(path: Path | None = None) -> Prompts:
    """Read a TOML file of prompts (see the module); None reads :data:`DEFAULT_PROMPTS`.

    Raises
    ------
    ConfigError
        The file is missing, larger than 1 MB, or not TOML; a key is unknown; there are no classes
        of organisms or none of others; a text is empty, too long or given twice; there are too
        many texts; or a template does not have exactly one ``{}``.
    """
    path = path or DEFAULT_PROMPTS
    settings = read_config(path)
    _known(path, "", settings, {"templates", *_KINDS})
    templates = _texts(path, "templates", settings.get("templates", ["{}"]), {})
    for template in templates:
        if template.count("{}") != 1 or template.count("{") + template.count("}") != 2:
            raise ConfigError(f"{path}: template {template!r}: wanted one {{}} for the name")
    names = _names(path, settings)
    texts = len(templates) + sum(map(len, names.values()))
    prompts = len(templates) * sum(map(len, names.values()))
    if texts > _MOST_TEXTS or prompts > _MOST_PROMPTS or len(names) > _MOST_CLASSES:
        raise ConfigError(
            f"{path}: got {len(names)} classes, {texts} texts, {prompts} prompts, wanted at most "
            f"{_MOST_CLASSES}, {_MOST_TEXTS} and {_MOST_PROMPTS}; take some out"
        )
    classes = tuple(
        PromptClass(name, kind, tuple(t.replace("{}", text) for text in found for t in templates))
        for (name, kind), found in names.items()
    )
    text = json.dumps([[item.name, item.organism, *item.prompts] for item in classes])
    return Prompts(classes, hashlib.sha256(text.encode()).hexdigest()[:16])


def _names(path: Path, settings: dict[str, Any]) -> dict[tuple[str, bool], tuple[str, ...]]:
    """Return the names in each class; keys are the class's name and whether it is an organism."""
    found: dict[tuple[str, bool], tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for kind, organism in _KINDS.items():
        classes = settings.get(kind)
        if not isinstance(classes, dict) or not classes:
            raise ConfigError(f"{path}: has no class [{kind}.NAME]; add at least one")
        for name, values in classes.items():
            where = f"{kind}.{name[:_LONGEST_CLASS]}"
            if not name.strip() or not name.isprintable() or len(name) > _LONGEST_CLASS:
                raise ConfigError(
                    f"{path}: class {where!r}: wanted a name of 1 to {_LONGEST_CLASS} printable "
                    "characters"
                )
            if not isinstance(values, dict):
                raise ConfigError(f"{path}: {where!r} is no table; write [{kind}.NAME]")
            _known(path, f"{where}.", values, {"names"})
            if organism is False and (name, True) in found:
                raise ConfigError(f"{path}: class {name!r} is of both kinds; rename one")
            found[name, organism] = _texts(path, f"{where}.names", values.get("names"), owner)
    return found


def _known(path: Path, where: str, values: dict[str, Any], wanted: set[str]) -> None:
    unknown = sorted(values.keys() - wanted)
    if unknown:
        raise ConfigError(
            f"{path}: unknown key {where + unknown[0][:80]!r}; "
            f"wanted one of: {', '.join(sorted(wanted))}"
        )


def _texts(path: Path, where: str, values: Any, owner: dict[str, str]) -> tuple[str, ...]:
    """Return texts with single spaces; ``owner`` maps texts to their place, to find repetitions."""
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{path}: {where!r}: wanted a list of texts, at least one")
    found = []
    for value in values:
        text = " ".join(value.split()) if isinstance(value, str) else ""
        if not text.isprintable() or not 0 < len(text) <= _LONGEST:
            raise ConfigError(
                f"{path}: {where!r}: got {str(value)[:60]!r}, "
                f"wanted a text of 1 to {_LONGEST} printable characters"
            )
        if first := owner.get(text.casefold()):
            raise ConfigError(
                f"{path}: {text[:60]!r} is given twice: it is in {first} and {where}; take one out"
            )
        owner[text.casefold()] = where
        found.append(text)
    return tuple(found)
