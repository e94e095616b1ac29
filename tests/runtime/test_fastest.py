"""Which model of a kit is the fastest here: measured once, remembered, and used."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from PIL import Image

from rs_runtime import fastest
from rs_runtime.classify import Classifier
from rs_runtime.cli import main
from rs_runtime.errors import KitIntegrityError
from rs_runtime.fastest import fastest_variant, milliseconds
from rs_runtime.kit.kit import open_kit, write_kit
from rs_runtime.kit.verdict import LossVerdict


class Clock:
    """Instead of processes that measure: a model takes as many ms as its first byte says."""

    def __init__(self) -> None:
        self.loaded = 0

    def run(self, command: list[str], **settings: object) -> subprocess.CompletedProcess:
        path, name, digest = command[-3:]
        with open_kit(Path(path)) as kit:
            assert kit.manifest_digest().hex() == digest
            (member,) = [x.member for x in kit.manifest.variants if x.name == name]
            ms = kit.read(member)[0]
        if ms == 0:
            raise subprocess.CalledProcessError(2, command)
        self.loaded += 1
        return subprocess.CompletedProcess(command, 0, f"{ms}\n".encode())


@pytest.fixture
def clock(monkeypatch, tmp_path) -> Clock:
    found = Clock()
    monkeypatch.setattr(subprocess, "run", found.run)
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    return found


@pytest.fixture
def ask(manifest, clock, tmp_path):
    """Return what is the fastest of models that take so many seconds."""

    def found(first: int, second: int, measure: bool = True, **changes: object) -> str | None:
        one, two = manifest.variants
        path = tmp_path / "timed.rskit"
        models = {"models/a.tflite": bytes([first]), "models/b.onnx": bytes([second])}
        changed = replace(manifest, variants=(one, replace(two, **changes)))
        write_kit(path, changed, {**models, "MODEL_CARD.md": b"# Colours\n"})
        with open_kit(path) as kit:
            return fastest_variant(kit, measure)

    return found


def test_the_faster_one_is_found(ask) -> None:
    assert ask(5, 3) == "onnx_fp32"
    assert ask(3, 5) == "tflite_fp32"


def test_it_is_measured_once_and_only_if_asked(ask, clock) -> None:
    assert ask(5, 3, measure=False) is None and clock.loaded == 0
    assert ask(5, 3) == "onnx_fp32" and clock.loaded == 2
    assert ask(5, 3) == "onnx_fp32" and clock.loaded == 2
    # What was measured is used by commands that measure nothing.
    assert ask(5, 3, measure=False) == "onnx_fp32" and clock.loaded == 2


def test_another_version_of_an_engine_is_measured_anew(ask, clock, monkeypatch) -> None:
    ask(5, 3)
    another = ModuleSpec("onnxruntime", None, origin=__file__)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: another)
    ask(5, 3)
    assert clock.loaded == 4


def lost(verdict: str) -> LossVerdict:
    return LossVerdict(verdict, "macro-F1", 0.0, 0.1, 0.02)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"verdict": lost("kept")}, "onnx_fp32"),
        ({"verdict": lost("undecided")}, None),
        ({"verdict": lost("lost")}, None),
        ({"warning": "it lost too much"}, None),
    ],
)
def test_models_that_are_not_trusted_are_never_the_fastest(ask, change, found) -> None:
    assert ask(5, 3, **change) == found


def test_a_model_that_does_not_run_here_is_passed_over(ask) -> None:
    assert ask(5, 0) == "tflite_fp32"
    assert ask(0, 0) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"a": 1}', b'{"a": {"b": "c"}}', b"\xff"])
def test_a_damaged_memory_is_measured_again(damage, ask, clock, tmp_path) -> None:
    ask(5, 3)
    (tmp_path / "cache" / "fastest.json").write_bytes(damage)
    assert ask(5, 3) == "onnx_fp32" and clock.loaded == 4


def test_without_a_place_to_remember_it_measures_each_time(ask, clock, tmp_path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    assert ask(5, 3) == ask(5, 3) == "onnx_fp32"
    assert clock.loaded == 4


def test_the_memory_keeps_a_bounded_number_of_kits(ask, clock, tmp_path) -> None:
    file = tmp_path / "cache" / "fastest.json"
    file.parent.mkdir()
    file.write_text(json.dumps({str(number): {"x": 1} for number in range(500)}))
    ask(5, 3)
    kept = json.loads(file.read_text())
    assert len(kept) == 100 and "0" not in kept and "499" in kept


@pytest.fixture
def both_kit(tmp_path, manifest, onnx_models, tflite_models) -> Path:
    path = tmp_path / "both.rskit"
    models = {"models/a.tflite": tflite_models["float"], "models/b.onnx": onnx_models["float"]}
    write_kit(path, manifest, models)
    return path


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (40, 40), "red").save(folder / "a.png")
    return folder


def test_a_folder_is_classified_by_the_fastest_and_one_photo_by_what_is_known(
    both_kit, photos, monkeypatch, capfd
) -> None:
    asked = []

    def answer(kit: object, measure: bool, tell: object = None) -> str | None:
        asked.append(measure)
        return "onnx_fp32" if measure else None

    monkeypatch.setattr(fastest, "fastest_variant", answer)

    def variant(*arguments: object) -> str:
        assert main(["--json", "--kit", str(both_kit), *map(str, arguments)]) == 0
        return json.loads(capfd.readouterr().out)["variant"]

    assert variant(photos) == "onnx_fp32"
    assert variant(photos / "a.png") == "tflite_fp32"
    # It is also asked which model to read ahead, on several cores.
    assert asked.count(True) == 1 and not asked[-1]
    before = len(asked)
    # Who names an engine or a model gets it.
    assert variant(photos, "--engine", "litert") == "tflite_fp32"
    assert variant(photos, "--variant", "tflite_fp32") == "tflite_fp32"
    assert len(asked) == before


def test_real_engines_are_measured(both_kit, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fastest, "fastest_variant", fastest_variant)
    said: list[str] = []
    with Classifier.open(both_kit, measure=said.append) as classifier:
        chosen = classifier.variant.name
    times = next(iter(json.loads((tmp_path / "cache" / "fastest.json").read_text()).values()))
    assert set(times) == {"tflite_fp32", "onnx_fp32"} and min(times, key=times.get) == chosen
    assert said[-1] == ", ".join(f"{name} {ms:g} ms" for name, ms in times.items())


def test_nothing_in_the_current_folder_runs(both_kit, photos, monkeypatch, tmp_path) -> None:
    # A card may hold files that are called as modules of Python are.
    for module in ("json", "numpy", "bisect"):
        (photos / f"{module}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(photos)
    # Here the folder was on the path before, as "".
    monkeypatch.setattr("sys.path", [folder for folder in sys.path if folder])
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    said: list[str] = []
    with open_kit(both_kit) as kit:
        assert fastest_variant(kit, True, said.append)
    assert not (tmp_path / "ran").exists() and " ms" in said[-1]


def test_a_kit_that_was_exchanged_is_not_measured(onnx_kit) -> None:
    with open_kit(onnx_kit) as kit:
        (name,), digest = [x.name for x in kit.manifest.variants], kit.manifest_digest().hex()
    assert milliseconds(onnx_kit, name, digest) > 0
    with pytest.raises(KitIntegrityError, match="has changed"):
        milliseconds(onnx_kit, name, "0" * 64)
