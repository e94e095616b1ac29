"""Budgets: what the variants of a reference run may weigh and must still achieve.

A budget file is committed; a change that makes a variant larger or worse than its line breaks
the regression tests, until somebody renews the budget on purpose and the difference is reviewed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["exceeded", "propose"]

# Room for another processor's rounding, which sends training along another path.
_SIZE_ROOM = 1.03
_SCORE_ROOM = 0.08
_DROP_ROOM = 0.02
_CLASS_ROOM = 0.15
_LEAST_PHOTOS = 8

_FLOORS = ("accuracy", "macro_f1")


def propose(report: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return a budget for every variant of an export report, with room for other machines.

    Parameters
    ----------
    report
        Content of an export's ``report.json``.

    Returns
    -------
    dict
        By variant: ``max_mb`` (10**6 bytes); ``min_accuracy`` and ``min_macro_f1`` (0 to 1);
        ``max_drop`` and, over classes of at least 8 test photos, ``max_class_drop``: how much
        less macro-F1 and class F1 than the float model's is allowed (0 to 1).
    """
    budgets = {}
    for name, row in report["table"].items():
        floors = {f"min_{key}": max(0.0, row[key] - _SCORE_ROOM) for key in _FLOORS}
        drops = _drops(report, name)
        budget = {
            "max_mb": row["mb"] * _SIZE_ROOM,
            **floors,
            "max_drop": max(0.0, drops["drop"]) + _DROP_ROOM,
            "max_class_drop": max(0.0, drops["class_drop"]) + _CLASS_ROOM,
        }
        budgets[name] = {key: round(value, 3) for key, value in budget.items()}
    return budgets


def exceeded(report: Mapping[str, Any], budgets: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return one line for every limit that a report breaks; none if all hold.

    A variant without a budget, and a budget whose variant is absent or was refused, break it.
    """
    problems = []
    for name in sorted({*budgets, *report["table"]}):
        if name not in budgets:
            problems.append(f"{name}: has no budget; renew the budgets")
        elif name not in report["table"] or name in report["refused"]:
            reason = report["refused"].get(name, {}).get("reason", "it was not made")
            problems.append(f"{name}: refused or missing ({reason})")
        else:
            problems += _broken(name, report, budgets[name])
    return problems


def _broken(name: str, report: Mapping[str, Any], budget: Mapping[str, float]) -> list[str]:
    row = report["table"][name]
    got = {**{key: row[key] for key in ("mb", *_FLOORS)}, **_drops(report, name)}
    problems = []
    for limit, bound in budget.items():
        side, key = limit.split("_", 1)
        if got[key] > bound if side == "max" else got[key] < bound:
            word = "at most" if side == "max" else "at least"
            problems.append(f"{name}: {key} is {got[key]:.3f}, budgeted {word} {bound}")
    return problems


def _drops(report: Mapping[str, Any], name: str) -> dict[str, float]:
    rows = [row for row in report["per_class"][name] if row["support"] >= _LEAST_PHOTOS]
    return {
        "drop": report["table"]["float"]["macro_f1"] - report["table"][name]["macro_f1"],
        "class_drop": max((-row["change"] for row in rows), default=0.0),
    }
