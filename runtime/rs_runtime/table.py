"""Answers as ``rs-classify`` prints them for people: a few lines for each photo."""

from __future__ import annotations

from collections.abc import Iterator

from rs_runtime.console import printable
from rs_runtime.ranks import Answer
from rs_runtime.results import BoxAnswer, Prediction
from rs_runtime.sets import STRANGE

__all__ = ["table_lines"]

_DOUBTS = {"not_organism": "not an organism", "uncertain": "maybe no organism"}


def table_lines(prediction: Prediction) -> str:
    """Return the lines of one photo, without control characters."""
    rows = [(score.common_name or score.name, score) for score in prediction.top]
    width = max((len(title) for title, _ in rows), default=0)
    told = f"{_answer(prediction)}{_strange(prediction)}{_doubt(prediction)}"
    if prediction.without_animal:
        told = "  no animal, not classified"
    lines = [printable(f"{prediction.path}{told}{_frame(prediction)}")]
    lines += [printable(f"  {told}") for told in _beside(prediction)]
    for title, score in rows:
        name = "" if title == score.name else score.name
        line = f"  {score.probability:7.1%}  {title:<{width}}  {name}"
        lines.append(printable(line.rstrip()))
    if prediction.set:
        names = [score.common_name or score.name for score in prediction.set.classes]
        listed = "; ".join(names) or "no class is probable enough"
        lines.append(printable(f"  set of {100 * prediction.set.coverage:.4g}%: {listed}"))
    lines += [printable(_box(box)) for box in prediction.boxes or ()]
    return "\n".join(lines)


def _box(box: BoxAnswer) -> str:
    """Return the line of one box: what the detector and the model say, and where it is."""
    place = " ".join(f"{side:.3g}" for side in box.box)
    told = f"  box {place}: {box.category} ({box.confidence:.0%}){_answer(box)}{_strange(box)}"
    best = f"  {box.top[0].probability:.1%} {box.top[0].name}" if box.top else ""
    return f"{told}{_doubt(box)}{best}"


def _answer(prediction: Prediction | BoxAnswer) -> str:
    return "" if prediction.answer is None else f"  {_named(prediction.answer)}"


def _named(answer: Answer | None) -> str:
    if answer is None or answer.name is None:
        return "uncertain"
    rank = (answer.rank or "").replace("_", " ")
    return f"{rank} {answer.name} ({answer.probability:.1%})"


def _beside(prediction: Prediction) -> Iterator[str]:
    """Yield what else is to be said of the answer: without the list, and of the sequence."""
    found = prediction.original
    if found is not None and prediction.differs:
        without = _named(found.answer)
        if found.answer is None:
            without = f"{found.top[0].name} ({found.top[0].probability:.1%})"
        yield f"among all classes: {without}; the expected classes have {found.listed:.1%}"
    sequence = prediction.sequence
    if sequence is not None and sequence.photos > 1:
        said = _named(sequence.answer)
        if sequence.answer is None:
            best = sequence.top[0] if sequence.top else None
            said = f"{best.name} ({best.probability:.1%})" if best else "no photo counts"
        yield f"sequence of {sequence.photos} photos: {said}"


def _strange(prediction: Prediction | BoxAnswer) -> str:
    found = prediction.unknown
    if found is None or found.strangeness < STRANGE:
        return ""
    return f"  perhaps none of the classes (stranger than {found.strangeness:.0%} of known photos)"


def _doubt(prediction: Prediction | BoxAnswer) -> str:
    found = prediction.filter
    if found is None or found.verdict not in _DOUBTS:
        return ""
    left_out = "" if prediction.top else ", not classified"
    return f"  {_DOUBTS[found.verdict]} ({found.probability:.0%}){left_out}"


def _frame(prediction: Prediction) -> str:
    found = prediction.camera
    if found is None or found.verdict == "something":
        return ""
    others = f"{found.frames} other frame{'' if found.frames == 1 else 's'} of this camera"
    if found.verdict == "empty":
        return f"  empty frame? (like {others})"
    return f"  empty or not: unknown (only {others} in the same light)"
