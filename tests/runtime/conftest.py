"""Tiny kits and models for the runtime's tests: three colours, told apart by their mean."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from rs_runtime.kit.kit import write_kit
from rs_runtime.kit.manifest import (
    ClassInfo,
    FilterClass,
    FilterSpec,
    FilterVariant,
    Manifest,
    Variant,
)
from rs_runtime.photos import formats
from rs_runtime.photos.preprocess import Preprocessing

# For the modules that test_kit_attacks.py is made of, and for colour_models.
sys.path[:0] = [str(Path(__file__).parent / "kit"), str(Path(__file__).parent)]

import colour_models  # noqa: E402
from colour_models import SIDE  # noqa: E402

COLOURS = ("red", "green", "blue")
# A folder of models, for environments that cannot make them.
MODELS = os.environ.get("RS_TEST_MODELS")


_KILLED = """
import itertools, os, signal, sys
from rs_runtime.cli import main
from rs_runtime.journal_file import Journal

real, calls, last = Journal._write, itertools.count(), int(sys.argv.pop(1))

def write(self, data):
    if next(calls) == last:
        os.write(self._file.fileno(), data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, data)

Journal._write = write
raise SystemExit(main())
"""


@pytest.fixture
def killed_script() -> str:
    """A program: rs-classify that kills itself within its write number argv[1] to the journal."""
    return _KILLED


@pytest.fixture(autouse=True)
def preferred_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``auto`` take a kit's preferred model, whichever is faster on this machine."""
    monkeypatch.setattr("rs_runtime.fastest.fastest_variant", lambda *_: None)


@pytest.fixture
def manifest() -> Manifest:
    """A manifest of one LiteRT and one ONNX variant, without members."""
    return Manifest(
        name="colours",
        created_by="tests",
        rank="family",
        classes=tuple(
            ClassInfo(i, name, f"{name} things" if i else None, {"kingdom": "animalia"})
            for i, name in enumerate(COLOURS)
        ),
        preprocessing=Preprocessing(size=SIDE),
        variants=(
            Variant(
                *("tflite_fp32", "litert", "models/a.tflite", 1.5, {"mb": 0.1}),
                thresholds={"family": 0.5},
            ),
            Variant("onnx_fp32", "onnxruntime", "models/b.onnx", 1.0, {}),
        ),
        default_variants={"litert": "tflite_fp32", "onnxruntime": "onnx_fp32"},
        calibration={"temperature": 1.5},
        data_fingerprint="0" * 64,
        environment={"python": "3.11"},
    )


@pytest.fixture
def contents() -> dict[str, bytes]:
    """Members that fit ``manifest``; the models are no models."""
    return {
        "models/a.tflite": bytes(range(100)),
        "models/b.onnx": b"onnx" * 20,
        "MODEL_CARD.md": b"# Colours\n",
    }


@pytest.fixture
def filter_spec() -> FilterSpec:
    """A filter with the models of the colour kit: red and green are organisms, blue is none."""
    return FilterSpec(
        classes=tuple(FilterClass(name, name != "blue") for name in COLOURS),
        preprocessing=Preprocessing(size=SIDE),
        variants=(
            FilterVariant("filter_int8", "litert", "models/filter_a.tflite", 2.0, {"mb": 3}, 0.5),
            FilterVariant("filter_fp32", "onnxruntime", "models/filter_b.onnx"),
        ),
        default_variants={"litert": "filter_int8", "onnxruntime": "filter_fp32"},
        thresholds={"not_organism": 0.25, "organism": 0.75},
    )


@pytest.fixture
def filter_contents() -> dict[str, bytes]:
    """Members that fit ``filter_spec``; the models are no models."""
    return {"models/filter_a.tflite": bytes(range(50)), "models/filter_b.onnx": b"onnx" * 9}


@pytest.fixture
def kit_path(tmp_path: Path, manifest: Manifest, contents: dict[str, bytes]) -> Path:
    """A well-formed kit on disk."""
    path = tmp_path / "colours.rskit"
    write_kit(path, manifest, contents)
    return path


@pytest.fixture(scope="session")
def onnx_models() -> dict[str, bytes]:
    """The models of :func:`colour_models.onnx_models`."""
    pytest.importorskip("onnxruntime")
    if MODELS is None:
        pytest.importorskip("onnx")
        return colour_models.onnx_models()
    return colour_models.read(MODELS, ".onnx")


@pytest.fixture(scope="session")
def tflite_models() -> dict[str, bytes]:
    """The models of :func:`colour_models.tflite_models`."""
    pytest.importorskip("ai_edge_litert")
    if MODELS is None:
        pytest.importorskip("tensorflow")
        return colour_models.tflite_models()
    return colour_models.read(MODELS, ".tflite")


@pytest.fixture
def onnx_kit(tmp_path: Path, manifest: Manifest, onnx_models: dict[str, bytes]) -> Path:
    """A working kit for ONNX Runtime only."""
    path = tmp_path / "onnx.rskit"
    only = replace(
        manifest, variants=manifest.variants[1:], default_variants={"onnxruntime": "onnx_fp32"}
    )
    write_kit(path, only, {"models/b.onnx": onnx_models["float"]})
    return path


@pytest.fixture
def litert_kit(tmp_path: Path, manifest: Manifest, tflite_models: dict[str, bytes]) -> Path:
    """A working kit for LiteRT only."""
    path = tmp_path / "litert.rskit"
    only = replace(
        manifest, variants=manifest.variants[:1], default_variants={"litert": "tflite_fp32"}
    )
    write_kit(path, only, {"models/a.tflite": tflite_models["float"]})
    return path


@pytest.fixture
def filter_kit(
    tmp_path: Path,
    manifest: Manifest,
    filter_spec: FilterSpec,
    onnx_models: dict[str, bytes],
    tflite_models: dict[str, bytes],
) -> Path:
    """A working kit with a filter, for both engines; its int8 model is the filter's."""
    path = tmp_path / "filter.rskit"
    models = {
        "models/a.tflite": tflite_models["float"],
        "models/b.onnx": onnx_models["float"],
        "models/filter_a.tflite": tflite_models["int8"],
        "models/filter_b.onnx": onnx_models["float"],
    }
    write_kit(path, replace(manifest, filter=filter_spec), models)
    return path


@pytest.fixture
def without_extras(monkeypatch) -> Iterator[None]:
    """As if neither HEIC, AVIF nor videos could be read here."""
    monkeypatch.setattr(formats, "_READERS", dict.fromkeys(formats._READERS, "absent_package"))
    formats.can_read.cache_clear()
    yield
    formats.can_read.cache_clear()


@pytest.fixture
def colour_photos(tmp_path: Path) -> Path:
    """A folder of one JPEG per colour, one in a subfolder, and a file that is no photo."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    places = (folder / "a.jpg", folder / "b.JPG", folder / "sub" / "c.jpg")
    for place, colour in zip(places, COLOURS, strict=True):
        Image.new("RGB", (120, 90), colour).save(place, "JPEG")
    (folder / "notes.txt").write_text("not a photo")
    return folder
