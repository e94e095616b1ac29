"""What an export found out about a model: did shrinking it cost more than was allowed?"""

from __future__ import annotations

from dataclasses import dataclass

from rs_runtime.kit.json_node import JsonNode

__all__ = ["KEPT", "LOST", "UNDECIDED", "LossVerdict", "read_verdict"]

KEPT, LOST, UNDECIDED = "kept", "lost", "undecided"


@dataclass(frozen=True)
class LossVerdict:
    """The verdict on a model's loss against the model that it was made of.

    ``verdict`` is ``kept`` (the loss is within the margin), ``lost`` (it is beyond) or
    ``undecided`` (the test photos cannot tell).  ``metric`` names the score that decided; it fell
    by ``loss_low`` to ``loss_high``, and was allowed to by ``margin``; in shares, -1 to 1.
    """

    verdict: str
    metric: str
    loss_low: float
    loss_high: float
    margin: float


def read_verdict(node: JsonNode) -> LossVerdict:
    """Read a variant's ``verdict``; KitFormatError: it is none."""
    low = node.get("loss_low").within(-1, 1)
    return LossVerdict(
        verdict=node.get("verdict").choice((KEPT, LOST, UNDECIDED)),
        metric=node.get("metric").text(),
        loss_low=low,
        loss_high=node.get("loss_high").within(low, 1),
        margin=node.get("margin").within(0, 1),
    )
