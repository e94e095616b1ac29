"""One flat row for each photo: the columns of CSV and Parquet."""

from __future__ import annotations

from rs_runtime.outputs.context import Context
from rs_runtime.ranks import Answer
from rs_runtime.results import Failure, Prediction, Result

__all__ = ["Cell", "columns", "row"]

Cell = str | float | int | None


def columns(context: Context) -> dict[str, type]:
    """Return the names of the columns and their types.

    What a list of species, sequences or ``--cameras`` add is at the end, and only there if they are
    asked for.
    """
    top, classifier = context.options.top, context.classifier
    found: dict[str, type] = {"path": str, "rank": str, "name": str, "common_name": str}
    found["probability"] = float
    for place in range(1, top + 1):
        found[f"class_{place}"] = found[f"common_name_{place}"] = str
        found[f"probability_{place}"] = float
    found |= {"set": str, "strangeness": float, "filter": str, "filter_probability": float}
    found |= {"note": str, "error": str, "taken": str, "latitude": float, "longitude": float}
    found |= {"width": int, "height": int}
    if classifier.favoured is not None:
        found |= {"original_rank": str, "original_name": str, "original_probability": float}
        found["listed"] = float
    if classifier.keep_all:
        found |= {"sequence": str, "sequence_rank": str, "sequence_name": str}
        found["sequence_probability"] = float
    if classifier.keep_thumbnails:
        found |= {"frame": str, "frame_score": float, "frame_light": str, "frames": int}
    return found


def row(found: Result, context: Context) -> dict[str, Cell]:
    """Return the values of a result by column; columns without a value are left out."""
    cells: dict[str, Cell] = {"path": context.relative(found.path)}
    if isinstance(found, Failure):
        return {**cells, "error": found.problem}
    beside = {**_judged(found), **_facts(found), **_original(found), **_sequence(found)}
    return {**cells, **_answer(found, context), **beside}


def _answer(found: Prediction, context: Context) -> dict[str, Cell]:
    cells: dict[str, Cell] = {"name": "no animal"} if found.without_animal else {}
    cells |= _named(found.answer, "")
    if found.answer is not None and found.answer.rank and found.answer.name:
        rank, name = found.answer.rank, found.answer.name
        cells["common_name"] = context.labels.lineage(rank, name, found.top)[1]
    for place, score in enumerate(found.top, 1):
        cells[f"class_{place}"] = score.name
        cells[f"common_name_{place}"] = score.common_name
        cells[f"probability_{place}"] = score.probability
    if found.set is not None:
        cells["set"] = "; ".join(score.name for score in found.set.classes)
    if found.unknown is not None:
        cells["strangeness"] = found.unknown.strangeness
    return cells


def _named(answer: Answer | None, start: str) -> dict[str, Cell]:
    """Return rank, name and probability of an answer, in columns that begin with ``start``."""
    if answer is None:
        return {}
    name = answer.name or "uncertain"
    told = {"rank": answer.rank, "name": name, "probability": answer.probability}
    return {f"{start}{column}": cell for column, cell in told.items()}


def _original(found: Prediction) -> dict[str, Cell]:
    if found.original is None:
        return {}
    return {**_named(found.original.answer, "original_"), "listed": found.original.listed}


def _sequence(found: Prediction) -> dict[str, Cell]:
    if found.sequence is None:
        return {}
    return {**_named(found.sequence.answer, "sequence_"), "sequence": found.sequence.id}


def _judged(found: Prediction) -> dict[str, Cell]:
    cells: dict[str, Cell] = {"note": found.note}
    if found.filter is not None:
        cells["filter"], cells["filter_probability"] = (
            found.filter.verdict,
            found.filter.probability,
        )
    if found.camera is not None:
        cells["frame"], cells["frame_score"] = found.camera.verdict, found.camera.score
        cells["frame_light"], cells["frames"] = found.camera.light, found.camera.frames
    return cells


def _facts(found: Prediction) -> dict[str, Cell]:
    if found.photo is None:
        return {}
    exif = found.photo.exif
    return {
        "taken": exif.taken,
        "latitude": exif.latitude,
        "longitude": exif.longitude,
        "width": found.photo.width,
        "height": found.photo.height,
    }
