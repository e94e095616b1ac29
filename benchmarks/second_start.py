"""Time starts of a training on one folder of photos; prints JSON.  Called by ``input.py``.

It runs with the code of this version or of an earlier one, whichever ``PYTHONPATH`` names, and so
uses only what both have.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from pathlib import Path

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.progress import Progress
from rs_train.classifier.prepare import prepare

SIDE = 64
REPEATS, MOST_SECONDS = 3, 10


def main() -> None:
    work, run = Path(sys.argv[1]), Path(sys.argv[1], "run")
    cache = PhotoCache(work / "cache", Preprocessing(size=SIDE))
    config = TrainConfig(imgsz=SIDE, rank="family")
    times: list[float] = []
    cpu: list[float] = []
    # The first start imports pyarrow and the like, and fills the cache where it is empty.
    while len(times) <= REPEATS and sum(times[1:]) < MOST_SECONDS:
        shutil.rmtree(run, ignore_errors=True)
        begun, spent = time.perf_counter(), time.process_time()
        found = prepare(work / "photos", config, run, cache, Progress())
        times.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - spent)
    photos = [(p.path, p.sha256, p.width, p.height, p.group, p.split) for p in found.photos]
    digest = hashlib.sha256(repr((photos, found.classes, found.mark)).encode()).hexdigest()
    print(
        json.dumps({"first_s": times[0], "again_s": times[1:], "cpu_s": cpu[1:], "digest": digest})
    )


if __name__ == "__main__":
    main()
