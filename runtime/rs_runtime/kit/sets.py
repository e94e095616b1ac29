"""What a variant's kit says of classes that a photo may show, and of photos that show none."""

from __future__ import annotations

from dataclasses import dataclass

from rs_runtime.kit.json_node import JsonNode

__all__ = ["UNKNOWN_SCORES", "SetSpec", "UnknownSpec", "read_sets", "read_unknown"]

UNKNOWN_SCORES = ("energy", "max_logit", "max_probability")
_MOST = 100_000
_LARGEST = 1e12
# Coverages are decimal fractions, which floats only approximate.
_SAME = 1e-9


@dataclass(frozen=True)
class SetSpec:
    """Which classes belong to a photo's set; see :func:`rs_runtime.sets.in_set`.

    ``prevalence``, above 0, is each class's mean probability on the validation photos.  ``ratios``
    holds, for each of the rising ``coverages``, how many times its prevalence a class's probability
    must be at least; they do not rise.
    """

    prevalence: tuple[float, ...]
    coverages: tuple[float, ...]
    ratios: tuple[float, ...]

    def ratio(self, coverage: float) -> float:
        """Return the ratio of the least coverage here that is not below the one asked for.

        It is 0, which every class reaches, where all are below: there were too few photos.
        """
        pairs = zip(self.coverages, self.ratios, strict=True)
        return next((ratio for has, ratio in pairs if has >= coverage - _SAME), 0.0)


@dataclass(frozen=True)
class UnknownSpec:
    """How strange a photo is; see :func:`rs_runtime.sets.strangeness`.

    ``score`` is one of UNKNOWN_SCORES.  ``quantiles`` are those of the validation photos' scores,
    from the least to the largest in equal steps; they do not fall.
    """

    score: str
    quantiles: tuple[float, ...]


def read_sets(node: JsonNode) -> SetSpec:
    """Read a variant's ``sets``; KitFormatError: they are none."""
    coverages, ratios = node.get("coverages"), node.get("ratios")
    found = SetSpec(
        prevalence=_numbers(node.get("prevalence"), 1, 1e-12, 1),
        coverages=_numbers(coverages, 1, 0, 1),
        ratios=_numbers(ratios, 1, 0, _LARGEST),
    )
    if list(found.coverages) != sorted(set(found.coverages)):
        coverages.fail("rising numbers")
    if len(found.ratios) != len(found.coverages):
        ratios.fail(f"a list of {len(found.coverages)} items")
    if list(found.ratios) != sorted(found.ratios, reverse=True):
        ratios.fail("numbers that do not rise")
    return found


def read_unknown(node: JsonNode) -> UnknownSpec:
    """Read a variant's ``unknown``; KitFormatError: it is none."""
    quantiles = node.get("quantiles")
    found = UnknownSpec(
        score=node.get("score").choice(UNKNOWN_SCORES),
        quantiles=_numbers(quantiles, 2, -_LARGEST, _LARGEST),
    )
    if list(found.quantiles) != sorted(found.quantiles):
        quantiles.fail("numbers that do not fall")
    return found


def _numbers(node: JsonNode, least: int, low: float, high: float) -> tuple[float, ...]:
    return tuple(item.within(low, high) for item in node.items(least, _MOST))
