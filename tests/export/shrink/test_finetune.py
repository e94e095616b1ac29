"""Pruning, clustering and training with rounding, each in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rs_export import ExportSettings, export_run
from rs_export.quantize.ranges import class_balanced
from rs_export.recipes import Recipe
from rs_export.shrink.prepared import Preparer
from rs_runtime.engines.engine import load_engine
from rs_toolkit.errors import ExportError
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import Progress


class Steps(Progress):
    """Progress that remembers how far each title came."""

    def __init__(self) -> None:
        self.done: dict[str, tuple[int, int]] = {}

    def update(self, title: str, done: int, total: int, text: str = "") -> None:
        self.done[title] = (done, total)


def preparer(run: Run, progress: Progress | None = None, seed: int = 0) -> Preparer:
    # As an export does, so that what is made here is found by the exports below.
    photos, labels = run.split("train")
    chosen = [photos[i] for i in class_balanced(labels, 200, 0)]
    inputs = np.asarray(run.preprocessing.model_input(run.pixels(chosen)), np.float32)
    return Preparer(
        run, run.load_model(), lambda: inputs, passes=3, seed=seed, progress=progress or Progress()
    )


@pytest.fixture(scope="module")
def run(trained, shapes, tmp_path_factory) -> Run:
    """A run whose photos were moved: the process has to be told where they are."""
    folder = tmp_path_factory.mktemp("moved") / "run"
    shutil.copytree(trained, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "data_root": "/nowhere"}))
    return Run.open(folder).moved(shapes)


@pytest.fixture(scope="module")
def steps() -> Steps:
    return Steps()


@pytest.fixture(scope="module")
def models(run, steps) -> dict[str, Any]:
    made = preparer(run, steps)
    return {name: made.model(name) for name in ("sp50", "sp24", "c4", "sp50_qat")}


def pointwise(model: Any) -> np.ndarray:
    return np.asarray(model.get_layer("block2_sepconv1").get_weights()[1])[0, 0]


@pytest.fixture(scope="module")
def said(trained) -> list[str]:
    """What a process prints where tensorflow-model-optimization may turn tf.keras into tf_keras."""
    code = (
        "import os; os.environ['TF_USE_LEGACY_KERAS'] = '1'\n"
        "import keras, numpy as np\n"
        "from rs_export.shrink.legacy import legacy_clone\n"
        "from rs_export.shrink.lighter import _require\n"
        "from rs_toolkit.errors import ExportError\n"
        f"model = keras.models.load_model({str(trained / 'model.keras')!r}, compile=False)\n"
        "x = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 3)).astype('float32')\n"
        "one, other = (np.asarray(m(x, training=False)) for m in (model, legacy_clone(model)))\n"
        "print(abs(one - other).max(), abs(one).max())\n"
        "x = keras.Input((8, 8, 3))\n"
        "odd = keras.Model(x, keras.layers.Conv2DTranspose(2, 3)(x))\n"
        "for act in (lambda: _require(None), lambda: legacy_clone(odd)):\n"
        "    try: act()\n"
        "    except ExportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()


def test_legacy_clone_computes_the_same(said) -> None:
    difference, size = map(float, said[0].split())
    assert difference < 1e-5 * size


def test_the_library_is_never_believed_when_it_gives_nothing(said) -> None:
    """On a Keras 3 model clustering returns None and pruning raises: both must be said."""
    nothing, odd = said[1:]
    assert "gave NoneType instead of a model" in nothing
    assert "got a Conv2DTranspose, which cannot be fine-tuned for export" in odd


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "bit", "array"])
def test_a_damaged_cache_entry_is_made_again(run, damage, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RS_CACHE", str(tmp_path))
    notes: list[str] = []
    progress = Progress()
    monkeypatch.setattr(progress, "note", notes.append)
    made = preparer(run, progress)
    first = made.model("sp50").get_weights()
    [entry] = (tmp_path / "finetuned").iterdir()
    sound = entry.read_bytes()
    if damage == "array":
        with entry.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        # Behind an array's header of 128 bytes.
        place = sound.index(b"\x93NUMPY") + 130
        flipped = sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :]
        texts = {
            "cut": sound[: len(sound) // 2],
            "empty": b"",
            "text": b"no weights",
            "bit": flipped,
        }
        entry.write_bytes(texts[damage])
    again = made.model("sp50")
    assert any(f"{entry}: damaged" in note for note in notes)
    for one, other in zip(again.get_weights(), first, strict=True):
        assert np.array_equal(one, other)
    # The new entry is sound: nothing is said of it.
    count = len(notes)
    made.model("sp50")
    assert len(notes) == count


def test_pruned_weights_are_zero(models) -> None:
    assert np.mean(pointwise(models["sp50"]) == 0) == pytest.approx(0.5, abs=0.02)
    groups = (pointwise(models["sp24"]) != 0).T.reshape(-1, 4)
    assert groups.sum(axis=1).max() <= 2


def test_small_layers_are_left_dense(models) -> None:
    for name in ("sp50", "sp24", "c4"):
        depthwise = models[name].get_layer("block2_sepconv1").get_weights()[0]
        assert np.count_nonzero(depthwise) == depthwise.size
        assert len(np.unique(depthwise)) > 4


def test_clustered_weights_take_few_values(models) -> None:
    assert len(np.unique(pointwise(models["c4"]))) <= 4


def test_training_with_rounding_moves_weights_and_keeps_zeros(run, models) -> None:
    before, after = (pointwise(models[name]) for name in ("sp50", "sp50_qat"))
    # Equalizing comes first, and changes a channel by one factor; training changes each weight.
    with np.errstate(invalid="ignore"):
        factors = after / before
    assert np.nanmax(np.nanstd(factors, axis=1) / np.abs(np.nanmean(factors, axis=1))) > 1e-4
    assert np.all(after[before == 0] == 0)


def test_prepared_models_still_know_the_classes(run, models) -> None:
    photos, labels = run.split("test")
    inputs = run.preprocessing.model_input(run.pixels(photos))
    wanted = np.asarray(run.load_model()(inputs)).argmax(axis=1)
    assert np.mean(wanted == labels) > 0.8
    for name, model in models.items():
        got = np.asarray(model(inputs)).argmax(axis=1)
        assert np.mean(got == wanted) > (0.6 if name == "c4" else 0.8), name


def test_progress_reaches_the_end(steps, models) -> None:
    # Half the weights go without training.
    assert set(steps.done) == set(models) - {"sp50"}
    assert all(done == total > 1 for done, total in steps.done.values())


def test_a_preparation_is_made_once(run, models) -> None:
    silent = Steps()
    again = preparer(run, silent).model("sp50")
    assert not silent.done
    np.testing.assert_array_equal(pointwise(again), pointwise(models["sp50"]))


def test_a_process_that_dies_is_one_line(run, monkeypatch, one_line) -> None:
    monkeypatch.setattr("rs_export.shrink.prepared.sys.executable", "/bin/false")
    with pytest.raises(ExportError, match="sp75: fine-tuning failed") as caught:
        preparer(run).model("sp75")
    one_line(str(caught.value))


def test_what_the_process_says_is_the_error(run, monkeypatch, one_line) -> None:
    def spoilt(path: Path, job: dict[str, Any]) -> None:
        path.write_text(json.dumps({**job, "run": "/nowhere"}), "utf-8")

    monkeypatch.setattr("rs_export.shrink.prepared.write_json", spoilt)
    with pytest.raises(ExportError, match="no such run folder") as caught:
        preparer(run, seed=5).model("sp75")
    one_line(str(caught.value))


@pytest.mark.parametrize("name", ["tflite_sp50_int8", "onnx_sp50_qat_u8s8"])
def test_fine_tuned_variants_are_exported(trained, models, tmp_path, name) -> None:
    settings = ExportSettings(recipes=(name,), passes=3, max_drop=100)
    result = export_run(trained, settings, out=tmp_path)
    recipe = Recipe.parse(name)
    assert result.shipped == {recipe.engine: name}
    engine = load_engine(recipe.engine, tmp_path / recipe.member)
    assert engine.size == 32
    assert result.table[name]["accuracy"] > 0.6
