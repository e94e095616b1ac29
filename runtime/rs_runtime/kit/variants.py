"""Which of a kit's models to run: the same rule for its classifier and for its filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Protocol, TypeVar

from rs_runtime.errors import EngineError, EngineMissingError, KitFormatError

__all__ = ["ENGINES", "Offer", "choose", "named"]

ENGINES = {"litert": ".tflite", "onnxruntime": ".onnx"}
"""The suffix of an engine's models, by engine, in order of preference."""

_MODULES = {"litert": "ai_edge_litert.interpreter", "onnxruntime": "onnxruntime"}


class Offer(Protocol):
    """A model that a kit offers."""

    @property
    def name(self) -> str:
        """Unique among the models for one purpose."""

    @property
    def engine(self) -> str:
        """A key of ENGINES."""


AnyOffer = TypeVar("AnyOffer", bound=Offer)


def named(offers: Sequence[AnyOffer], name: str, owner: str) -> AnyOffer:
    """Return the model called ``name``.

    Raises
    ------
    KitFormatError
        There is none; the message calls what offers them ``owner`` and lists those there are.
    """
    for offer in offers:
        if offer.name == name:
            return offer
    known = ", ".join(offer.name for offer in offers)
    raise KitFormatError(f"{owner} has no variant {name!r}; choose one of: {known}")


def choose(
    offers: Sequence[AnyOffer],
    defaults: Mapping[str, str],
    owner: str,
    engine: str = "auto",
    name: str | None = None,
) -> AnyOffer:
    """Return the model to run.

    Parameters
    ----------
    offers
        What there is, at least one.
    defaults
        Name of the preferred model by engine; without one, an engine's first is preferred.
    owner
        What offers them, for messages, such as ``kit 'birds'``.
    engine
        A key of ENGINES, or ``auto``: the first that has a model and whose package can be
        imported.
    name
        The model's name, which overrides ``defaults``; None: none is asked for.

    Raises
    ------
    KitFormatError
        There is no model of this name.
    EngineMissingError
        No installed engine fits.
    EngineError
        Model and engine contradict each other.
    """
    if name is not None:
        offer = named(offers, name, owner)
        if engine not in ("auto", offer.engine):
            raise EngineError(f"variant {name!r} runs on {offer.engine}, not on {engine}")
        return offer
    unusable = []
    for candidate in ENGINES if engine == "auto" else (engine,):
        preferred = _preferred(offers, defaults, candidate, owner)
        if preferred is None:
            continue
        problem = _import_problem(candidate) if engine == "auto" else None
        if problem is None:
            return preferred
        unusable.append(f"{candidate} cannot be loaded here ({problem})")
    offered = ", ".join(sorted({offer.engine for offer in offers}))
    raise EngineMissingError(
        f"{owner} has models for {offered}; {'; '.join(unusable) or f'usable here: {engine}'}; "
        "pip install 'rs-toolkit[onnx]', or change the engine"
    )


def _preferred(
    offers: Sequence[AnyOffer], defaults: Mapping[str, str], engine: str, owner: str
) -> AnyOffer | None:
    if engine in defaults:
        return named(offers, defaults[engine], owner)
    return next((offer for offer in offers if offer.engine == engine), None)


def _import_problem(engine: str) -> str | None:
    """Return why an engine's package cannot be imported; None: it can."""
    # An installed package may still lack a library of the system, and fail in any way.
    try:
        import_module(_MODULES[engine])
    except Exception as error:
        return " ".join(str(error).split())[:200] or type(error).__name__
    return None
