"""A kit of three species with ranks and a filter, and photos as two cameras leave them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from rs_runtime.cli import main
from rs_runtime.kit.kit import write_kit
from rs_runtime.kit.manifest import ClassInfo, FilterSpec, Manifest

FOX = {"kingdom": "animalia", "phylum": "chordata", "class": "mammalia", "order": "carnivora"}
CLASSES = (
    ("vulpes vulpes", "red fox", {**FOX, "family": "canidae", "genus": "vulpes"}),
    ("canis lupus", "=wolf", {**FOX, "family": "canidae", "genus": "canis"}),
    ("parus major", None, {**FOX, "class": "aves", "order": "passeriformes", "family": "paridae"}),
)
# A photo's colour is the logits of the three classes; blue is no organism to the filter.
COLOURS = {"fox": "red", "dog": "yellow", "empty": "blue", "grey": (128, 128, 128)}


@pytest.fixture
def field_kit(
    tmp_path: Path, manifest: Manifest, filter_spec: FilterSpec, onnx_models: dict[str, bytes]
) -> Path:
    """Fox: species; dog: family, of two species; empty: no organism; grey: uncertain."""
    path = tmp_path / "field.rskit"
    classes = tuple(
        ClassInfo(i, name, common, {**taxon, "species": name})
        for i, (name, common, taxon) in enumerate(CLASSES)
    )
    thresholds = {"species": 0.6, "family": 0.8, "class": 0.8}
    kit = replace(
        manifest,
        name="field",
        rank="species",
        classes=classes,
        variants=(replace(manifest.variants[1], thresholds=thresholds),),
        default_variants={"onnxruntime": "onnx_fp32"},
        filter=replace(
            filter_spec,
            variants=filter_spec.variants[1:],
            default_variants={"onnxruntime": "filter_fp32"},
        ),
    )
    models = {"models/b.onnx": onnx_models["float"], "models/filter_b.onnx": onnx_models["float"]}
    write_kit(path, kit, models)
    return path


@pytest.fixture
def photo() -> Callable[..., Path]:
    """The function that writes photos."""
    return _photo


def _photo(
    path: Path,
    kind: str,
    taken: str | None = "2025:03:09 06:30:12",
    place: tuple[float, float] | None = None,
) -> Path:
    """Write a JPEG of one colour with the time, the place in degrees, and a camera."""
    data = Image.Exif()
    data[0x010F], data[0x0110] = "RECONYX", "HF2X"
    inner = data.get_ifd(0x8769)
    inner[0xA431] = f"SN-{path.parts[-2]}"
    if taken:
        inner[0x9003] = taken
    if place:
        where = data.get_ifd(0x8825)
        for tag, value, signs in ((1, place[0], "NS"), (3, place[1], "EW")):
            where[tag] = signs[value < 0]
            where[tag + 1] = (abs(value), 0.0, 0.0)
        data[0x8825] = where
    # Pillow 11.0 writes only what is assigned.
    data[0x8769] = inner
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (96, 64), COLOURS[kind]).save(path, "JPEG", exif=data)
    return path


@pytest.fixture
def cameras(tmp_path: Path) -> Path:
    """Two cameras' photos: one with coordinates, one without; five answers and one damaged file."""
    root = tmp_path / "survey"
    card = root / "CAM1" / "DCIM" / "100RECNX"
    _photo(card / "IMG_0001.JPG", "fox", "2025:03:09 06:30:12", (-1.5, 36.25))
    _photo(card / "IMG_0002.JPG", "dog", "2025:03:11 23:00:00", (-1.5, 36.25))
    _photo(root / "CAM2" / "IMG_0001.JPG", "empty")
    _photo(root / "CAM2" / "IMG_0002.JPG", "grey")
    _photo(root / "CAM2" / '=1+1,\n"é".jpg', "fox", None)
    (root / "CAM2" / "bad.jpg").write_bytes(b"no photo")
    return root


@pytest.fixture
def classify(field_kit: Path, monkeypatch, capfd) -> Callable[..., tuple[int, str, str]]:
    """Run the command on the field kit; return exit code, standard output and error."""
    monkeypatch.setenv("RS_KIT", str(field_kit))
    monkeypatch.delenv("RS_PUBLIC_KEY", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run
