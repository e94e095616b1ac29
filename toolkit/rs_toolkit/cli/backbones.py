"""``rs-toolkit backbones``: the networks to choose from, measured on this machine."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from rs_runtime.errors import reason
from rs_toolkit.errors import ConfigError
from rs_toolkit.progress import ConsoleProgress, Progress

__all__ = ["backbones"]

_CLASSES = 100
# Speed is the median of the runs within these seconds, at least three runs.
_SECONDS = 2.0


def backbones(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Only these; default: all.")
    ] = None,
    imgsz: Annotated[
        int, typer.Option(min=32, max=1024, help="Width and height of the input in pixels.")
    ] = 224,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the networks that train takes: parameters, size, speed here, pretrained weights.

    Parameters are in millions, without the classes. The size is that of the weights in 8 bits,
    computed from the parameters; what a file adds is not counted. Speed is the time for one photo
    in LiteRT and float32, with random weights. A network that cannot be measured has its error in
    the table. Ctrl-C prints what was measured so far.

    Exit codes: 0 measured, 2 wrong usage, or nothing could be measured, 130 interrupted.
    """
    from rs_runtime.engines.engine import default_threads
    from rs_toolkit.environment import machine, quiet_tensorflow

    quiet_tensorflow()
    from rs_train.classifier.backbones import BACKBONES

    for name in names or ():
        if name not in BACKBONES:
            raise ConfigError(f"backbones: got {name!r}, wanted some of {', '.join(BACKBONES)}")
    rows: list[dict[str, Any]] = []
    about = {"imgsz": imgsz, "threads": default_threads(), "machine": machine()}
    try:
        with ConsoleProgress() as progress:
            _measure_all(names or list(BACKBONES), imgsz, rows, progress)
    finally:
        # Also after Ctrl-C.
        print(json.dumps({**about, "backbones": rows}, indent=2) if as_json else _table(rows))
    if not any("ms" in row for row in rows):
        raise ConfigError(f"backbones: none could be measured at imgsz {imgsz}; see the table")


def _measure_all(
    names: Sequence[str], imgsz: int, rows: list[dict[str, Any]], progress: Progress
) -> None:
    """Append a row for each backbone; one that fails gets an ``error`` instead of numbers."""
    import keras

    from rs_train.classifier.backbones import BACKBONES

    for done, name in enumerate(names):
        progress.update("backbones", done, len(names), name)
        row: dict[str, Any] = {"name": name, "weights": BACKBONES[name].source}
        try:
            row |= _measured(name, imgsz)
        except Exception as error:
            row["error"] = reason(error)
        rows.append(row)
        keras.utils.clear_session()
    progress.update("backbones", len(names), len(names))


def _measured(name: str, imgsz: int) -> dict[str, float]:
    """Return millions of ``parameters``, ``int8_mb``, and ``ms`` for a photo."""
    from statistics import median

    import keras
    import numpy as np

    from rs_export.convert import Converter
    from rs_export.recipes import Recipe
    from rs_runtime.engines.engine import load_engine
    from rs_train.classifier.model import build_classifier, feature_extractor

    model = build_classifier(name, imgsz, _CLASSES)
    size = 0
    for layer in model.layers:
        # Batch normalization becomes the bias of the layer before it; biases have 32 bits.
        normalizes = isinstance(layer, keras.layers.BatchNormalization)
        weights = layer.weights[:1] if normalizes else layer.weights
        shapes = [weight.shape for weight in weights]
        size += sum(math.prod(shape) * (1 if len(shape) > 1 else 4) for shape in shapes)
    photo = np.random.default_rng(0).uniform(-1, 1, (1, imgsz, imgsz, 3)).astype(np.float32)
    with Converter(model, lambda count: photo) as converter:
        engine = load_engine("litert", converter.convert(Recipe("litert")))
    engine.logits(photo)
    times: list[float] = []
    while len(times) < 3 or sum(times) < _SECONDS:
        begun = time.perf_counter()
        engine.logits(photo)
        times.append(time.perf_counter() - begun)
    return {
        "parameters": round(feature_extractor(model).count_params() / 1e6, 3),
        "int8_mb": round(size / 1e6, 3),
        "ms": round(1000 * median(times), 1),
    }


def _table(rows: Sequence[dict[str, Any]]) -> str:
    width = max((len(row["name"]) for row in rows), default=0)
    lines = [f"{'backbone':{width}}  million parameters  MB in int8  ms a photo  --weights"]
    for row in rows:
        cells = f"failed: {row.get('error')}"
        if "ms" in row:
            cells = f"{row['parameters']:18.2f}  {row['int8_mb']:10.2f}  {row['ms']:10.1f}"
            cells += f"  {row['weights'] or 'none'}"
        lines.append(f"{row['name']:{width}}  {cells}")
    return "\n".join(lines)
