"""The main job by its commands: train from a weights file, export, classify."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rs_runtime.cli
import rs_toolkit.cli.main
from rs_runtime.kit.kit import open_kit
from rs_toolkit.folders.run import Run

SIDE = 48


def odd_photos(folder: Path) -> None:
    """Save a class's photos once more in every way that cameras and scanners have."""
    for number, source in enumerate(sorted(folder.glob("*.png"))):
        image = Image.open(source).convert("RGB")
        path = folder / f"odd-{number:02d}"
        if number % 6 == 0:
            image.convert("CMYK").save(path.with_suffix(".jpg"), quality=95)
        elif number % 6 == 1:
            image.convert("P").save(path.with_suffix(".gif"))
        elif number % 6 == 2:
            exif = Image.Exif()
            exif[0x0112] = 6
            image.transpose(Image.Transpose.ROTATE_90).save(path.with_suffix(".jpg"), exif=exif)
        elif number % 6 == 3:
            wide = np.asarray(image.convert("L")).astype(np.uint16) * 257
            Image.fromarray(wide).save(path.with_suffix(".png"))
        elif number % 6 == 4:
            image.putalpha(200)
            image.save(path.with_suffix(".webp"), lossless=True)
        else:
            image.convert("L").save(path.with_suffix(".tif"))


def command(main, *arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["command", *map(str, arguments)])
        try:
            return int(main() or 0)
        except SystemExit as stop:
            return int(stop.code or 0)


@pytest.fixture(scope="module")
def job(shapes, tmp_path_factory) -> Path:
    """A folder with data, a run trained in both stages, and its kit."""
    from rs_train.classifier.backbones import build_backbone

    folder = tmp_path_factory.mktemp("job")
    shutil.copytree(shapes, folder / "photos")
    for kind in sorted((folder / "photos").iterdir()):
        odd_photos(kind)
    (folder / "photos" / "discidae" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    weights = folder / "made.weights.h5"
    build_backbone("tiny", SIDE).save_weights(weights)
    config = folder / "settings.toml"
    config.write_text(
        f'backbone = "tiny"\nimgsz = {SIDE}\nepochs = 9\nlearning_rate = 2e-3\n'
        'fine_tune_from = "all"\nbatch_size = 16\n'
    )
    run = folder / "run"
    train = ("train", folder / "photos", "--config", config, "--weights", weights, "--out", run)
    assert command(rs_toolkit.cli.main.main, *train, "--epochs", 10) == 0
    recipes = [
        part for name in ("tflite_fp32", "tflite_int8", "onnx_u8s8") for part in ("--recipe", name)
    ]
    assert command(rs_toolkit.cli.main.main, "export", run, *recipes, "--max-drop", 5) == 0
    return folder


def test_flags_override_the_settings_file(job) -> None:
    saved = json.loads((job / "run" / "config.json").read_text())
    assert saved["settings"]["epochs"] == 10
    assert saved["settings"]["imgsz"] == SIDE
    assert len(saved["weights_sha256"]) == 64
    assert saved["counts"]["left out"] == 1


def test_both_stages_ran_and_it_learned(job) -> None:
    history = json.loads((job / "run" / "history.json").read_text())
    assert 0 < history["stage_1"]["val_macro_f1"] <= 1
    # Stage 2 starts from the top that stage 1 solved.
    assert history["epochs"][0]["val_macro_f1"] == pytest.approx(history["stage_1"]["val_macro_f1"])
    found = json.loads((job / "run" / "metrics.json").read_text())["test"]
    # Six trainings from other random weights named 88 to 96 % right; the largest class has 50 %.
    guessed = max(item["support"] for item in found["per_class"]) / found["n"]
    assert found["accuracy"] > guessed + 0.2


def test_unreadable_photos_are_listed(job) -> None:
    run = Run.open(job / "run")
    bad = [photo for photo in run.photos if photo.error]
    assert [photo.path for photo in bad] == ["discidae/cut.jpg"]
    assert "cannot be decoded" in str(bad[0].error)


def test_training_and_the_kit_see_the_same_pixels(job) -> None:
    run = Run.open(job / "run")
    photos = [photo for photo in run.photos if photo.split]
    assert {photo.mode for photo in photos} >= {"CMYK", "P", "I;16", "RGBA", "L", "RGB"}
    with open_kit(job / "run" / "export" / "run.rskit") as kit:
        field = kit.manifest.preprocessing
    trained = run.pixels(photos)
    for pixels, photo in zip(trained, photos, strict=True):
        np.testing.assert_array_equal(pixels, field.load(run.data_root / photo.path), photo.path)


@pytest.mark.parametrize("engine", ["litert", "onnxruntime"])
def test_the_command_answers_what_the_report_measured(job, engine, capsys) -> None:
    run = Run.open(job / "run")
    photos, labels = run.split("test")
    paths = [run.data_root / photo.path for photo in photos]
    kit = job / "run" / "export" / "run.rskit"
    arguments = (*paths, "--kit", kit, "--engine", engine, "--json", "--top", 1)
    assert command(rs_runtime.cli.main, *arguments) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    right = [answer["top"][0]["class_id"] == y for answer, y in zip(answers, labels, strict=True)]
    report = json.loads((kit.parent / "report.json").read_text())
    measured = report["table"][report["shipped"][engine]]["accuracy"]
    assert np.mean(right) == pytest.approx(measured)


def test_damaged_run_files_are_one_line(job, tmp_path, capsys) -> None:
    for name in ("model.keras", "classes.json", "index.parquet", "calibration.json", "config.json"):
        run = tmp_path / name
        shutil.copytree(job / "run", run, ignore=shutil.ignore_patterns("export", "checkpoints"))
        whole = (run / name).read_bytes()
        (run / name).write_bytes(whole[: len(whole) // 2])
        assert command(rs_toolkit.cli.main.main, "export", run) == 2, name
        said = capsys.readouterr().err.strip().splitlines()
        assert said[-1].startswith("rs-toolkit: "), name
        assert not any("Traceback" in line for line in said), name
