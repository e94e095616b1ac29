"""From findings to training weights, under caps that keep rare classes alive.

Nothing is deleted: a photo that is not to be trained on gets weight 0.  Validation and test
photos are never touched, whatever was found out about them.  ``docs/data.md`` shows a policy file.

What a class may lose is counted in effective photos, the sum of ``1 - weight``.  The worst findings
come first; one that would take more than is left takes what is left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rs_toolkit.checks.findings import FLAGS, Finding
from rs_toolkit.checks.labels.label_noise import FILTERS
from rs_toolkit.config.base import Settings, choice, number
from rs_toolkit.data.photos import Photo
from rs_toolkit.errors import ConfigError

__all__ = ["Decided", "Policy", "Rule", "apply_policy"]


@dataclass(frozen=True)
class Rule(Settings):
    """What to do about one flag."""

    action: str = choice("report", ("drop", "weigh", "report"), "what a finding does")
    min_score: float = number(0.0, 0, 1, "lower scores are only reported")


# Duplicates are grouped, and a group counts once: there is nothing left to take from them.
_RULES = {
    "blank": Rule("drop"),
    "dark": Rule("weigh"),
    "blurred": Rule("weigh"),
    "not_organism": Rule("weigh"),
    "label_noise": Rule("weigh"),
}


@dataclass(frozen=True)
class Policy(Settings):
    """What cleaning may do; flags that ``rules`` does not name are reported.

    Raises
    ------
    ConfigError
        A value is out of its range, or a rule's flag is unknown.
    """

    max_loss: float = number(0.1, 0, 1, "share of a class's training photos that may be taken")
    min_photos: int = number(5, 1, 10**6, "effective training photos that a class keeps")
    label_filter: str = choice(FILTERS[0], FILTERS, "which rule of confident learning is used")
    rules: Mapping[str, Rule] = field(default_factory=lambda: dict(_RULES))

    def __post_init__(self) -> None:
        super().__post_init__()
        for flag in self.rules:
            if flag not in FLAGS:
                raise ConfigError(f"policy: got {flag!r}; wanted a flag: {', '.join(FLAGS)}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Policy:
        """Build from the content of a policy file; flags it does not name keep their rules.

        Raises
        ------
        ConfigError
            A key is unknown, or a value is of the wrong kind or out of its range.
        """
        names = ("max_loss", "min_photos", "label_filter")
        plain = {name: values[name] for name in names if name in values}
        rules = dict(_RULES)
        for flag, table in values.items():
            if flag in plain:
                continue
            if not isinstance(table, dict) or not set(table) <= {"action", "min_score"}:
                raise ConfigError(
                    f"policy: {flag}: got {table!r}; wanted {', '.join(names)}, or a flag's table "
                    "with action and min_score"
                )
            try:
                rules[flag] = replace(rules.get(flag, Rule()), **table)
            except ConfigError as error:
                raise ConfigError(f"policy: {flag}: {error}") from None
        return cls(**plain, rules=rules)


@dataclass(frozen=True)
class Decided:
    """A training photo: the weight that its findings ask for (``wanted``), and what it got."""

    path: str
    label: str
    wanted: float
    weight: float
    why: str


def apply_policy(
    photos: Sequence[Photo], findings: Sequence[Finding], policy: Policy, rank: str
) -> tuple[tuple[Photo, ...], tuple[Decided, ...]]:
    """Weigh training photos down by findings; the caps protect the classes at ``rank``.

    Returns
    -------
    tuple
        The photos with their weights (each at most what it was), and what was decided about
        every training photo that a finding asks to be weighed down, the worst first.
    """
    asked: dict[str, list[tuple[float, Finding]]] = defaultdict(list)
    for finding in findings:
        # What cannot be read is not trained on anyway, and its row can repeat a good one's path.
        if finding.flag != "unreadable" and (weight := _wanted(finding, policy)) < 1:
            asked[finding.path].append((weight, finding))
    classes: dict[str, list[Photo]] = defaultdict(list)
    for photo in photos:
        if photo.split == "train" and photo.error is None:
            classes[str(photo.label(rank))].append(photo)
    decided = {
        item.path: item
        for label, members in sorted(classes.items())
        for item in _decide(label, members, asked, policy)
    }
    weighed = tuple(
        replace(photo, weight=min(photo.weight, decided[photo.path].weight))
        if photo.split == "train" and photo.path in decided
        else photo
        for photo in photos
    )
    worst = sorted(decided.values(), key=lambda item: (item.wanted, item.label, item.path))
    return weighed, tuple(worst)


def _wanted(finding: Finding, policy: Policy) -> float:
    rule = policy.rules.get(finding.flag, Rule())
    if rule.action == "report" or finding.score < rule.min_score:
        return 1.0
    return 0.0 if rule.action == "drop" else finding.suggested_weight


def _decide(
    label: str,
    members: Sequence[Photo],
    asked: Mapping[str, list[tuple[float, Finding]]],
    policy: Policy,
) -> list[Decided]:
    """Share out what a class may lose, to the findings that ask for most and score worst."""
    # What a person gave or took in review is no loss by cleaning.
    effective = sum(photo.weight for photo in members)
    left = max(0.0, min(policy.max_loss * effective, effective - policy.min_photos))

    def badness(photo: Photo) -> tuple[float, float, str]:
        weights, reasons = zip(*asked[photo.path], strict=True)
        return min(weights), -max(finding.score for finding in reasons), photo.path

    found = []
    for photo in sorted((photo for photo in members if photo.path in asked), key=badness):
        wanted = min(weight for weight, _ in asked[photo.path])
        loss = min(max(0.0, photo.weight - wanted), left)
        left -= loss
        why = ", ".join(sorted({finding.flag for _, finding in asked[photo.path]}))
        found.append(Decided(photo.path, label, wanted, photo.weight - loss, why))
    return found
