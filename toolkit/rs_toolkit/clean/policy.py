"""From findings to training weights, within caps that protect rare classes.

Nothing is deleted: a photo that is not to be trained on gets weight 0.  Findings about validation
and test photos change no weight.  ``docs/data.md`` shows a policy file.

What a class loses is the weight that findings take from its training photos, in sum.  A group of
duplicates counts as one photo, as in training: its weight is the highest of its photos
(:mod:`rs_toolkit.batches.oversampling`), so a burst of 11 photos with a wrong label is one.  The
worst findings are applied first; one that asks for more than the class may still lose takes only
that.  A class that may lose nothing keeps every photo as it is.
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
    min_score: float = number(0.0, 0, 1, "findings with lower scores are only reported")


# Duplicates need no rule: they are grouped, and a group counts as one photo anyway.
_RULES = {
    "blank": Rule("drop"),
    "dark": Rule("weigh"),
    "blurred": Rule("weigh"),
    "not_organism": Rule("weigh"),
    "label_noise": Rule("weigh"),
}


@dataclass(frozen=True)
class Policy(Settings):
    """What cleaning may do; flags that ``rules`` does not name are only reported.

    Raises
    ------
    ConfigError
        A value is out of its range, or a rule's flag is unknown.
    """

    max_loss: float = number(0.1, 0, 1, "share of its photos, by weight, that a class may lose")
    min_photos: int = number(5, 1, 10**6, "training photos, by weight, that a class keeps")
    label_filter: str = choice(FILTERS[0], FILTERS, "which rule of confident learning is used")
    rules: Mapping[str, Rule] = field(default_factory=lambda: dict(_RULES))

    def __post_init__(self) -> None:
        super().__post_init__()
        for flag in self.rules:
            if flag not in FLAGS:
                raise ConfigError(f"policy: got {flag!r}; wanted a flag: {', '.join(FLAGS)}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Policy:
        """Build from the content of a policy file; flags it does not name keep the default rules.

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
                    f"policy: got {flag} = {table!r}, wanted one of {', '.join(names)}, or a table "
                    "[FLAG] with action and min_score; correct the policy file"
                )
            try:
                rules[flag] = replace(rules.get(flag, Rule()), **table)
            except ConfigError as error:
                raise ConfigError(f"policy: {flag}: {error}") from None
        return cls(**plain, rules=rules)


@dataclass(frozen=True)
class Decided:
    """A training photo with findings: the weight that they ask for, and the weight that it got.

    ``label`` is its class, ``why`` the flags of its findings, separated by commas.
    """

    path: str
    label: str
    wanted: float
    weight: float
    why: str


def apply_policy(
    photos: Sequence[Photo], findings: Sequence[Finding], policy: Policy, rank: str
) -> tuple[tuple[Photo, ...], tuple[Decided, ...]]:
    """Lower the weights of training photos by findings; the caps hold for each class at ``rank``.

    Returns
    -------
    tuple
        The photos with their new weights, none higher than before; and what was decided about
        each training photo for which a finding asks a weight below 1, the worst first.
    """
    asked: dict[str, list[tuple[float, Finding]]] = defaultdict(list)
    for finding in findings:
        # Unreadable photos are not trained on anyway, and may have the same path as a good one.
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
    """Lower the weights of one class, the worst findings first, until it may lose no more."""
    # The weights before are the person's decisions: what those took does not count as a loss.
    groups: dict[str, dict[str, float]] = defaultdict(dict)
    for photo in members:
        groups[_group(photo)][photo.path] = photo.weight
    effective = sum(max(weights.values()) for weights in groups.values())
    left = max(0.0, min(policy.max_loss * effective, effective - policy.min_photos))

    def badness(photo: Photo) -> tuple[float, float, str]:
        weights, reasons = zip(*asked[photo.path], strict=True)
        return min(weights), -max(finding.score for finding in reasons), photo.path

    found = []
    for photo in sorted((photo for photo in members if photo.path in asked), key=badness):
        wanted = min(weight for weight, _ in asked[photo.path])
        weights = groups[_group(photo)]
        before = max(weights.values())
        rest = max((w for path, w in weights.items() if path != photo.path), default=0.0)
        # The rest of its group may carry the photo; else it keeps what the class must not lose.
        least = 0.0 if left and rest >= before - left else before - left
        weights[photo.path] = min(photo.weight, max(wanted, least))
        left = max(0.0, left - (before - max(weights.values())))
        why = ", ".join(sorted({finding.flag for _, finding in asked[photo.path]}))
        found.append(Decided(photo.path, label, wanted, weights[photo.path], why))
    return found


def _group(photo: Photo) -> str:
    return photo.group or f"\0{photo.path}"
