"""The review page: a person judges flagged photos; every decision is kept, and applied later.

``serve`` shows the page of a folder that ``rs-toolkit clean`` made and appends to its
``decisions.jsonl``.  ``read_decisions`` reads that file back; ``apply_decisions``, ``apart`` and
``settled`` say what the decisions mean for the photos, their groups and their weights.

Takes a clean folder and what a person clicks.  Gives decisions, one a line, and their consequences.
"""

from __future__ import annotations

from rs_toolkit.review.journal import JOURNAL, Decision, read_decisions
from rs_toolkit.review.server import serve
from rs_toolkit.review.verdicts import apart, apply_decisions, settled

__all__ = [
    "JOURNAL",
    "Decision",
    "apart",
    "apply_decisions",
    "read_decisions",
    "serve",
    "settled",
]
