"""One flat row for each photo: the columns of CSV and Parquet."""

from __future__ import annotations

from rs_runtime.outputs.context import Context
from rs_runtime.results import Failure, Prediction, Result

__all__ = ["Cell", "columns", "row"]

Cell = str | float | int | None


def columns(context: Context) -> dict[str, type]:
    """Return the names of the columns and their types.

    What ``--cameras`` adds is at the end, and only there if it is asked for.
    """
    top = context.options.top
    found: dict[str, type] = {"path": str, "rank": str, "name": str, "common_name": str}
    found["probability"] = float
    for place in range(1, top + 1):
        found[f"class_{place}"] = found[f"common_name_{place}"] = str
        found[f"probability_{place}"] = float
    found |= {"set": str, "strangeness": float, "filter": str, "filter_probability": float}
    found |= {"note": str, "error": str, "taken": str, "latitude": float, "longitude": float}
    found |= {"width": int, "height": int}
    if context.classifier.keep_thumbnails:
        found |= {"frame": str, "frame_score": float, "frame_light": str, "frames": int}
    return found


def row(found: Result, context: Context) -> dict[str, Cell]:
    """Return the values of a result by column; columns without a value are left out."""
    cells: dict[str, Cell] = {"path": context.relative(found.path)}
    if isinstance(found, Failure):
        return {**cells, "error": found.problem}
    return {**cells, **_answer(found, context), **_judged(found), **_facts(found)}


def _answer(found: Prediction, context: Context) -> dict[str, Cell]:
    cells: dict[str, Cell] = {"name": "no animal"} if found.without_animal else {}
    if found.answer is not None:
        rank, name = found.answer.rank, found.answer.name
        cells = {"rank": rank, "name": name or "uncertain", "probability": found.answer.probability}
        if rank and name:
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
