"""The gate in words: why a variant is refused or undecided, and what its losses are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rs_toolkit.metrics.noninferiority import LOST, UNDECIDED, Loss, Verdict

__all__ = ["TITLES", "drops", "fallen_rows", "interval", "miss", "refusal", "verdict_words"]

TITLES = {
    "macro_f1": "macro-F1",
    "rare_macro_f1": "macro-F1 of the rarest third",
    "worst_decile_f1": "worst-decile F1",
    "recall": "recall of a class",
    "auroc": "AUROC",
    "right_answers": "share of right answers",
}
_NAMED = 3


def refusal(verdict: Verdict, names: Sequence[str], strict: bool) -> str | None:
    """Return why a variant must not ship, or None if it may.

    ``names`` are those of the classes.  With ``strict``, undecided variants must not ship either.
    """
    if verdict.verdict != LOST and not (strict and verdict.verdict == UNDECIDED):
        return None
    return _told(verdict, names, verdict.losses[0] if verdict.gone else verdict.decisive)


def miss(verdict: Verdict, names: Sequence[str]) -> str | None:
    """Return why a variant is to be mended, by what it lost on the photos as they are; or None.

    Unlike a refusal this takes the losses at their face value, whatever chance may have done.
    """
    beyond = (item for item in verdict.losses if item.needed and item.loss > item.margin + 1e-9)
    found = next(beyond, None)
    if found or verdict.gone:
        return f"validation photos: {_told(verdict, names, found or verdict.losses[0])}"
    return None


def verdict_words(verdict: Verdict) -> str:
    """Return the verdict and the interval that it rests on, as a table shows it."""
    return f"{verdict.verdict} ({interval(verdict.decisive)})"


def interval(loss: Loss) -> str:
    """Return the limits of a loss in points (hundredths), such as ``-0.3 to 1.2``."""
    return f"{100 * loss.low:.1f} to {100 * loss.high:.1f}"


def drops(verdict: Verdict) -> dict[str, dict[str, Any]]:
    """Return every loss as JSON values: ``drop``, its limits, ``margin`` and ``verdict``."""
    return {
        item.metric: {
            "drop": item.loss,
            "low": item.low,
            "high": item.high,
            "margin": item.margin,
            "verdict": item.verdict,
        }
        for item in verdict.losses
    }


def fallen_rows(verdict: Verdict, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the classes whose recall fell as JSON values, those named no more first."""
    return [
        {
            "name": names[item.number],
            "photos": item.photos,
            "recall_before": item.before,
            "recall_after": item.after,
            "low": item.low,
            "high": item.high,
            "gone": item.gone,
        }
        for item in verdict.fallen
    ]


def _told(verdict: Verdict, names: Sequence[str], loss: Loss) -> str:
    text = (
        f"{TITLES[loss.metric]} fell by {100 * loss.loss:.2f} points ({interval(loss)}), "
        f"allowed {100 * loss.margin:g}"
    )
    for title, gone in (("named no more", True), ("fell most", False)):
        rows = [item for item in verdict.fallen if item.gone == gone][:_NAMED]
        listed = (f"{names[i.number]} (recall {i.before:.2f} to {i.after:.2f})" for i in rows)
        text += f"; {title}: {', '.join(listed)}" if rows else ""
    return text
