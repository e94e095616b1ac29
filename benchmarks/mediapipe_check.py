"""Load .tflite files alone in MediaPipe's image classifier and compare its answers with ours.

    python -m venv mp && mp/bin/pip install mediapipe scipy .
    mp/bin/python benchmarks/mediapipe_check.py MODEL.tflite... [--kit KIT] [--photos FOLDER]

MediaPipe gets a model's bytes and nothing else; ``rs-classify``'s engine runs the same bytes.  Each
photo goes to MediaPipe twice: as a file, which it decodes and shrinks in its own way, and as the
runtime's pixels, so that only the model's metadata can make a difference.  All models must be of
one export, whose kit gives the classes.  Writes ``results/mediapipe.json``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from common import BIRDS_RUN, SHARED, options, publish
from numpy.typing import NDArray

from rs_runtime.engines.engine import load_engine
from rs_runtime.kit.kit import open_kit
from rs_runtime.kit.manifest import Manifest
from rs_toolkit.metrics.classification import softmax

TOP = 5

Floats = NDArray[np.float32]


def our_probabilities(model: bytes, manifest: Manifest, pixels: NDArray[np.uint8]) -> Floats:
    """Return the probabilities (n, classes) that ``rs-classify``'s engine gives."""
    inputs = manifest.preprocessing.model_input(pixels)
    logits = load_engine("litert", model).logits(inputs)
    return softmax(logits / manifest.calibration["temperature"])


def mediapipe_probabilities(model: bytes, manifest: Manifest, images: Iterable[Any]) -> Floats:
    """Return the probabilities (n, classes) that MediaPipe gives for ``mediapipe.Image`` objects.

    MediaPipe's scores are logits, so softmax and temperature are applied here.  The script ends if
    MediaPipe shows another name than that of the class.
    """
    from mediapipe.tasks.python import BaseOptions, vision

    base = BaseOptions(model_asset_buffer=model)
    settings = vision.ImageClassifierOptions(base_options=base)
    rows = []
    with vision.ImageClassifier.create_from_options(settings) as classifier:
        for image in images:
            logits = np.zeros(len(manifest.classes), np.float32)
            for item in classifier.classify(image).classifications[0].categories:
                known = manifest.classes[item.index]
                shown = (item.category_name, item.display_name)
                if shown != (known.name, known.common_name or known.name):
                    raise SystemExit(f"class {item.index}: MediaPipe shows {shown}, not {known}")
                logits[item.index] = item.score
            rows.append(logits)
    return softmax(np.stack(rows) / manifest.calibration["temperature"])


def compare(found: Floats, wanted: Floats) -> dict[str, float]:
    """Compare probabilities (n, classes); ties are ranked by class, as in ``rs-classify``."""
    ranks, ours = (np.argsort(-rows, axis=1, kind="stable")[:, :TOP] for rows in (found, wanted))
    return {
        "same_first": float((ranks[:, 0] == ours[:, 0]).mean()),
        "same_top5": float((ranks == ours).all(axis=1).mean()),
        "largest_difference": float(np.abs(found - wanted).max()),
    }


def check(path: Path, manifest: Manifest, photos: Sequence[Path]) -> dict[str, Any]:
    """Compare one model's answers."""
    from mediapipe import Image, ImageFormat

    model = path.read_bytes()
    pixels = np.stack([manifest.preprocessing.load(photo) for photo in photos])
    wanted = our_probabilities(model, manifest, pixels)
    images = {
        "photo_files": (Image.create_from_file(str(photo)) for photo in photos),
        "runtime_pixels": (Image(ImageFormat.SRGB, photo) for photo in pixels),
    }
    return {
        name: compare(mediapipe_probabilities(model, manifest, source), wanted)
        for name, source in images.items()
    }


def main() -> None:
    """Run the check."""
    parser = options(__doc__)
    kit = BIRDS_RUN / "export" / "birds-family.rskit"
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--kit", type=Path, default=kit)
    parser.add_argument("--photos", type=Path, default=SHARED / "data" / "birds" / "photos")
    parser.add_argument("--count", type=int, default=200, help="number of photos, spread evenly")
    chosen = parser.parse_args()
    found = sorted(item for item in chosen.photos.rglob("*.*") if item.is_file())
    places = np.linspace(0, len(found) - 1, min(chosen.count, len(found))).round().astype(int)
    photos = [found[place] for place in places]
    with open_kit(chosen.kit) as opened:
        manifest = opened.manifest
    result = {
        "photos": len(photos),
        "classes": len(manifest.classes),
        "models": {path.stem: check(path, manifest, photos) for path in chosen.models},
        "mediapipe": metadata.version("mediapipe"),
    }
    publish("mediapipe", result)


if __name__ == "__main__":
    main()
