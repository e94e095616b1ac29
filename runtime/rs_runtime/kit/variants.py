"""Choose which of a kit's models to run, by the same rule for its classifier and its filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from rs_runtime.errors import EngineError, EngineMissingError, KitFormatError, reason

if TYPE_CHECKING:
    from rs_runtime.kit.manifest import Offer

__all__ = ["ENGINES", "choose"]

ENGINES = {"litert": ".tflite", "onnxruntime": ".onnx"}
"""Engines in order of preference, each with the suffix of its model files."""

_MODULES = {"litert": "ai_edge_litert.interpreter", "onnxruntime": "onnxruntime"}

AnyOffer = TypeVar("AnyOffer", bound="Offer")


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
        The models, at least one.
    defaults
        Maps an engine to the name of its preferred model; without one it is the engine's first.
    owner
        What the models belong to, for messages, such as ``kit 'birds'``.
    engine
        A key of ENGINES, or ``auto``: the first that has a model and whose package can be imported.
    name
        The model to run; None means the preferred one.

    Raises
    ------
    KitFormatError
        There is no model of this name.
    EngineMissingError
        There is no model for ``engine``, or for ``auto`` none whose engine can be imported.
    EngineError
        The named model does not run on ``engine``.
    """
    by_name = {offer.name: offer for offer in offers}
    if name is not None:
        if name not in by_name:
            known = ", ".join(by_name)
            raise KitFormatError(f"{owner} has no variant {name!r}; choose one of: {known}")
        offer = by_name[name]
        if engine not in ("auto", offer.engine):
            raise EngineError(f"variant {name!r} runs on {offer.engine}, not on {engine}")
        return offer
    unusable = []
    for candidate in ENGINES if engine == "auto" else (engine,):
        of_engine = [offer for offer in offers if offer.engine == candidate]
        if not of_engine:
            continue
        preferred = by_name[defaults.get(candidate, of_engine[0].name)]
        problem = _import_problem(candidate) if engine == "auto" else None
        if problem is None:
            return preferred
        unusable.append(f"{candidate} cannot be loaded here ({problem})")
    offered = ", ".join(sorted({offer.engine for offer in offers}))
    raise EngineMissingError(
        f"{owner} has models for {offered}; {'; '.join(unusable) or f'wanted one for {engine}'}; "
        "pip install 'rs-toolkit[onnx]', or change the engine"
    )


def _import_problem(engine: str) -> str | None:
    """Return why an engine's package cannot be imported; None if it can."""
    # An installed package may lack a system library; its import can then raise any exception.
    try:
        import_module(_MODULES[engine])
    except Exception as error:
        return reason(error)
    return None
