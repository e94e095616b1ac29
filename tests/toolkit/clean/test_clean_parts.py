"""Cleaning in several parts, or on Ray, is the cleaning of one process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rs_toolkit.data.photos as photos_module
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit import ray_cluster
from rs_toolkit.data.index import build_index, read_index, write_index
from rs_toolkit.data.photos import PhotoCache, default_cache_dir
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.folders.filter import Verdicts, write_filter_json
from rs_train.classifier import embed as embed_module
from rs_train.classifier.backbones import build_backbone

SAME = ("index.parquet", "findings.parquet", "decided.csv", "splits.json", "audit.json")
# Each process of Python knows the backbone of the tests; a worker of Ray dies at one photo, always.
SITE = """
import os, runpy, signal
from pathlib import Path

if b"default_worker.py" in Path("/proc/self/cmdline").read_bytes():
    runpy.run_path({backbone!r})
    if {kills!r}:
        from rs_toolkit.data import index
        real = index.read_photo

        def read_photo(path, name=None):
            if path.name == {kills!r}:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(path, name)

        index.read_photo = read_photo
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos of two classes, a copy and a damaged one among them."""
    generator, root = np.random.default_rng(2), tmp_path / "photos"
    for number in range(24):
        folder = root / ("corvidae", "felidae")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        small = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(small).resize((96, 96)).save(folder / f"{number:02}.png")
    (folder / "23.png").write_bytes((folder / "21.png").read_bytes())
    (folder / "19.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return root


@pytest.fixture
def judge(photos: Path, tmp_path: Path) -> Path:
    """A filter folder, whose model was never trained."""
    import keras

    folder, preprocessing = tmp_path / "filter", Preprocessing(size=24)
    keras.utils.set_random_seed(3)
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    keras.Sequential([keras.Input((24, 24, 3)), *layers]).save(tmp_path / "student.keras")
    found = build_index(read_dataset(photos), PhotoCache(default_cache_dir(), preprocessing))
    write_index(folder / "index.parquet", found)
    (tmp_path / "student.keras").rename(folder / "student.keras")
    truth = np.arange(len(found)) < 6
    Verdicts(truth, truth, np.where(truth, 0.9, 0.1)).write(folder / "verdicts.parquet")
    (folder / "config.json").write_text(
        json.dumps(dict.fromkeys(("data_root", "not_organism_root"), str(photos)))
    )
    write_filter_json(
        folder,
        classes=[{"name": "organism", "organism": True}, {"name": "page", "organism": False}],
        preprocessing=preprocessing,
        calibration={"temperature": 2.0, "bias": -1.0},
        thresholds={"not_organism": 0.2, "organism": 0.9},
        student="tiny",
        teacher=None,
        metrics={"test": {"auroc": 0.9}},
        data_fingerprint="0" * 64,
    )
    return folder


@pytest.fixture
def clean(photos: Path, judge: Path, tmp_path: Path, monkeypatch, run, repository):
    """Clean the photos with a cache of its own; return what was found and printed."""
    build_backbone("tiny", 32).save_weights(tmp_path / "tiny.weights.h5")
    settings = ("--backbone", "tiny", "--weights", tmp_path / "tiny.weights.h5", "--imgsz", 32)

    def clean_(cache: str, *options: object, kills: str = "") -> tuple[list[bytes], str, str]:
        site = tmp_path / f"site-{cache}"
        site.mkdir(exist_ok=True)
        backbone = str(repository / "tests" / "tiny_backbone.py")
        (site / "sitecustomize.py").write_text(SITE.format(backbone=backbone, kills=kills))
        path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
        with monkeypatch.context() as patch:
            patch.setenv("RS_CACHE", str(tmp_path / cache))
            patch.setenv("PYTHONPATH", path)
            out = tmp_path / f"of-{cache}"
            code, said, err = run(
                "clean", photos, "--out", out, "--filter", judge, *settings, *options
            )
        assert code == 0, err
        return [(out / name).read_bytes() for name in SAME if out.exists()], said, err

    return clean_


@pytest.fixture
def work(monkeypatch) -> Callable[[], tuple[int, int]]:
    """Count what this process decodes and embeds."""
    done = [0, 0]
    decode, embed = photos_module.load_together, embed_module.frozen_features

    def decoding(*given: object) -> object:
        done[0] += 1
        return decode(*given)

    def embedding(*given: object) -> object:
        done[1] += 1
        return embed(*given)

    monkeypatch.setattr(photos_module, "load_together", decoding)
    monkeypatch.setattr(embed_module, "frozen_features", embedding)
    return lambda: (done[0], done[1])


def test_parts_are_the_whole(clean, work, tmp_path) -> None:
    wanted, _, _ = clean("alone")
    organisms = {photo.organism for photo in read_index(tmp_path / "of-alone" / "index.parquet")}
    assert None in organisms and len(organisms) > 10
    counts = [clean("parts", "--shard", f"{part}/3")[1] for part in (1, 2, 3)]
    assert sum(int(said.split()[2]) for said in counts) == 24
    before = work()
    assert clean("parts")[0] == wanted
    # Only the damaged photo is tried again, and the backbone is not loaded.
    assert np.subtract(work(), before).tolist() == [1, 0]


def test_ray_changes_nothing_also_where_a_photo_kills_its_workers(clean, work, monkeypatch) -> None:
    """Ray is told of GPUs that are not there, and TensorFlow is said to see them: a stand-in."""
    ray = pytest.importorskip("ray", reason="needs the [ray] extra")
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("needs /proc, to know a worker")

    def start(*given: object) -> None:
        ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
        asked.append(ray_cluster.whole_machines(ray))

    def sees() -> bool:
        return True

    # So that a worker gets the function itself, and not the name of this module.
    sees.__module__ = "__main__"
    asked: list[ray_cluster.Workers] = []
    monkeypatch.setattr(ray_cluster, "_connect", start)
    monkeypatch.setattr(ray_cluster, "_sees_gpu", sees)
    wanted, _, _ = clean("alone")
    before = work()
    found, _, err = clean("ray", "--address", "local", kills="05.png")
    assert found == wanted and asked == [(1, {"num_cpus": 2, "num_gpus": 1})]
    # One of 16 parts; the damaged photo is tried again.
    assert "1 of 16 parts failed on Ray, and are done here: its worker died" in err
    assert 1 < (work()[0] - before[0]) < 12


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        ([(8, 0)], (1, {"num_cpus": 8})),
        ([(8, 0), (2, 0), (0, 0)], (5, {"num_cpus": 2})),
        ([(8, 0), (16, 4), (16, 2)], (6, {"num_cpus": 4, "num_gpus": 1})),
        ([(1, 2)], (1, {"num_cpus": 1, "num_gpus": 1})),
        ([], (1, {"num_cpus": 1})),
    ],
)
def test_tensorflow_gets_whole_machines_or_gpus(nodes, wanted, monkeypatch) -> None:
    class Ray:
        def nodes(self) -> list[dict[str, object]]:
            machines = [{"CPU": float(cores), "GPU": float(gpus)} for cores, gpus in nodes]
            gone = {"Alive": False, "Resources": {}}
            return [gone, *({"Alive": True, "Resources": found} for found in machines)]

        def remote(self, **given: object) -> object:
            return lambda task: task

    monkeypatch.setattr(ray_cluster, "_answer", lambda ray, task: True)
    assert ray_cluster.whole_machines(Ray()) == wanted
