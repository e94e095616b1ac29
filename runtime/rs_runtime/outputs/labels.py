"""What formats with one label for each photo say of it: a taxon with its ranks, or why none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rs_runtime.kit.manifest import NOT_ORGANISM, RANKS, UNCERTAIN, ClassInfo, Manifest
from rs_runtime.results import Failure, Original, Prediction, Result, Score

__all__ = ["BLANK", "FAILURE", "TAXON", "UNSURE", "Label", "Labels", "folder_name", "scientific"]

TAXON, BLANK, UNSURE, FAILURE = "taxon", "blank", "unsure", "failure"
_FOLDERS = {BLANK: "not an organism", UNSURE: "uncertain", FAILURE: "no answer"}


@dataclass(frozen=True)
class Label:
    """The one thing that is said of a photo.

    ``kind`` is TAXON, BLANK (the filter found no organism, or a detector nothing), UNSURE (no rank
    was certain enough, or a detector found something else than animals) or FAILURE.  ``name`` and
    ``lineage`` (rank to name, coarsest first) are those of the taxon; they are as the kit writes
    them.  ``probability`` is that of the taxon, of there being no organism, or of the best class.
    ``remark`` is one line for people; it never begins with a formula.
    """

    kind: str
    probability: float | None
    remark: str
    name: str | None = None
    rank: str | None = None
    lineage: Mapping[str, str] = field(default_factory=dict)
    common_name: str | None = None

    @property
    def finest(self) -> tuple[str | None, str | None]:
        """The finest rank of the lineage and the name there; None, None without a lineage."""
        return [*self.lineage.items()][-1] if self.lineage else (None, None)

    @property
    def vernacular(self) -> str | None:
        """The common name; kits of common names have it as the name itself."""
        return self.common_name or (self.name if self.rank == "common_name" else None)


def scientific(name: str) -> str:
    """Return a name with the capital that scientific names have; kits keep them in lower case."""
    return name[:1].upper() + name[1:]


def folder_name(label: Label) -> str:
    """Return what a group of photos of one label is called."""
    return label.name if label.kind == TAXON and label.name else _FOLDERS[label.kind]


def _said(found: Original) -> str:
    """Return the answer among all classes, where a list or a place changed it."""
    answer = found.answer
    if answer is None or answer.name is None or answer.rank is None:
        return f"uncertain, most probable {found.top[0].name} {found.top[0].probability:.4f}"
    return f"{answer.rank.replace('_', ' ')} {answer.name} {answer.probability:.4f}"


class Labels:
    """Finds labels by the classes of a kit."""

    def __init__(self, manifest: Manifest) -> None:
        self.rank = manifest.rank
        self._classes = {item.id: item for item in manifest.classes}
        self._members: dict[tuple[str, str], frozenset[int]] = {}

    def of(self, found: Result) -> Label:
        """Return the label of a result."""
        if isinstance(found, Failure):
            return Label(FAILURE, None, f"no answer: {found.problem}")
        if found.without_animal:
            seen = ", ".join(f"{x.category} ({x.confidence:.2f})" for x in found.boxes or ())
            said = f"no animal: the detector found {seen or 'nothing'}"
            return Label(UNSURE if seen else BLANK, None, said)
        judged = found.filter
        if judged is not None and judged.verdict == NOT_ORGANISM:
            shown = 1 - judged.probability
            return Label(BLANK, shown, self._remark("not an organism", shown, found))
        answer = found.answer
        if answer is None or answer.name is None or answer.rank is None:
            return self._unsure(found)
        lineage, common = self.lineage(answer.rank, answer.name, found.top)
        said = f"{answer.rank.replace('_', ' ')} {answer.name}"
        if answer.rank != self.rank:
            said = f"no {self.rank.replace('_', ' ')} is certain enough; {said}"
        remark = self._remark(said, answer.probability, found)
        return Label(TAXON, answer.probability, remark, answer.name, answer.rank, lineage, common)

    def _unsure(self, found: Prediction) -> Label:
        best = found.top[0] if found.top else None
        said = "uncertain: no rank is certain enough"
        if found.answer is None:
            said = "uncertain: the kit has no thresholds"
        if best is None:
            return Label(UNSURE, None, self._remark(said, None, found))
        said = f"{said}; most probable: {best.name}"
        return Label(UNSURE, best.probability, self._remark(said, best.probability, found))

    def _remark(self, said: str, probability: float | None, found: Prediction) -> str:
        parts = [said if probability is None else f"{said}, probability {probability:.4f}"]
        if found.filter is not None and found.filter.verdict == UNCERTAIN:
            parts.append(f"maybe no organism: probability of one {found.filter.probability:.4f}")
        if found.camera is not None and found.camera.verdict == "empty":
            parts.append(f"maybe an empty frame: like {found.camera.frames} others of its camera")
        if found.note:
            parts.append(f"the photo {found.note}")
        if found.original is not None and found.differs:
            parts.append(f"among all classes: {_said(found.original)}")
        return "; ".join(parts)

    def members(self, rank: str, name: str) -> frozenset[int]:
        """Return the ids of the classes that belong to the taxa of a name at a rank."""
        key = rank, name
        if key not in self._members:
            ids = (i for i, item in self._classes.items() if self._at(item, rank) == name)
            self._members[key] = frozenset(ids)
        return self._members[key]

    def _at(self, item: ClassInfo, rank: str) -> str | None:
        return item.name if rank == self.rank else item.taxon.get(rank)

    def lineage(
        self, rank: str, name: str, top: Iterable[Score] = ()
    ) -> tuple[dict[str, str], str | None]:
        """Return the names from kingdom down to a taxon, as far as known, and its common name.

        Two taxa may have one name; the one of the most probable class is meant.
        """
        ids = self.members(rank, name)
        best = next((score for score in top if score.class_id in ids), None)
        classes = [self._classes[i] for i in ([best.class_id] if best else sorted(ids))]
        upper = RANKS[: RANKS.index(rank)] if rank in RANKS else RANKS
        lineage = {}
        for each in upper:
            known = {item.taxon[each] for item in classes if each in item.taxon}
            if len(known) == 1:
                lineage[each] = known.pop()
        if rank in RANKS:
            lineage[rank] = name
        common = None
        if rank == self.rank and classes:
            common = best.common_name if best else classes[0].common_name
        return lineage, common
