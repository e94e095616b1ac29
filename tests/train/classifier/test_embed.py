from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.data.index import build_index
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.errors import WeightsError
from rs_toolkit.progress import Progress
from rs_train.classifier.backbones import build_backbone
from rs_train.classifier.embed import embed

CHECK = """
import sys
from pathlib import Path
import numpy as np
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.data.index import read_index
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.progress import Progress
from rs_train.classifier.embed import embed
work = Path(sys.argv[1])
photos = list(read_index(work / "index.parquet"))
cache = PhotoCache(work / "cache", Preprocessing(size=32))
found = embed(photos, work, cache, backbone="tiny", weights=sys.argv[2], progress=Progress())
np.save(work / "found.npy", found)
assert not {"tensorflow", "keras"} & set(sys.modules), "a heavy import"
"""


@pytest.fixture
def weights(tmp_path) -> Path:
    path = tmp_path / "tiny.weights.h5"
    build_backbone("tiny", 32).save_weights(path)
    return path


def test_a_second_time_nothing_is_embedded_nor_loaded(shapes, weights, tmp_path) -> None:
    from rs_toolkit.data.index import write_index

    cache = PhotoCache(tmp_path / "cache", Preprocessing(size=32))
    dataset = read_dataset(shapes)
    photos = [photo for photo in build_index(dataset, cache) if photo.error is None][:9]
    write_index(tmp_path / "index.parquet", photos)
    settings = {"backbone": "tiny", "weights": str(weights), "progress": Progress()}
    first = embed(photos, dataset.root, cache, **settings)
    assert first.shape[0] == 9 and first.dtype == np.float32
    assert len(np.unique(first.round(5), axis=0)) > 1
    # In the second process the photos are not even where they were.
    command = [sys.executable, "-c", CHECK, str(tmp_path), str(weights)]
    subprocess.run(command, check=True, timeout=60)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), first)


def test_a_photo_more_is_embedded_alone(shapes, weights, tmp_path, monkeypatch) -> None:
    cache = PhotoCache(tmp_path / "cache", Preprocessing(size=32))
    dataset = read_dataset(shapes)
    photos = [photo for photo in build_index(dataset, cache) if photo.error is None][:9]
    settings = {"backbone": "tiny", "weights": str(weights), "progress": Progress()}
    embed(photos[:8], dataset.root, cache, **settings)
    asked = []
    pixels = PhotoCache.pixels
    monkeypatch.setattr(
        PhotoCache, "pixels", lambda self, p, root: asked.append(p.path) or pixels(self, p, root)
    )
    assert len(embed(photos, dataset.root, cache, **settings)) == 9
    assert asked == [photos[8].path]


def test_wrong_weights_are_one_line(shapes, tmp_path, one_line) -> None:
    cache = PhotoCache(tmp_path / "cache", Preprocessing(size=32))
    with pytest.raises(WeightsError) as caught:
        embed([], shapes, cache, backbone="tiny", weights="absent.h5", progress=Progress())
    one_line(str(caught.value))
