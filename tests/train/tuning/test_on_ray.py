"""A study on Ray is a study of several processes, also where one of them is killed."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from rs_toolkit.config.training import TrainConfig
from rs_toolkit.config.tuning import TuneConfig
from rs_toolkit.progress import Progress
from rs_toolkit.ray_cluster import connected
from rs_train.classifier.backbones import build_backbone
from rs_train.tuning.on_ray import Job, run_trials
from rs_train.tuning.tune import tune

# A process of Ray dies in the middle of a trial, once.
SITE = """
import os, runpy, signal
from pathlib import Path

if b"default_worker.py" in Path("/proc/self/cmdline").read_bytes():
    runpy.run_path({backbone!r})
    from rs_train.tuning import objectives
    real, mark = objectives.fit_head, Path({mark!r})

    def fit_head(*given):
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return real(*given)
        os.kill(os.getpid(), signal.SIGKILL)

    objectives.fit_head = fit_head
"""


class Notes(Progress):
    def __init__(self) -> None:
        self.found: list[str] = []

    def note(self, text: str) -> None:
        self.found.append(text)


def test_trials_run_on_ray_and_a_killed_process_is_replaced(
    shapes, repository, tmp_path, monkeypatch
) -> None:
    pytest.importorskip("ray", reason="needs the [ray] extra")
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("needs /proc, to know a worker")
    weights, mark = tmp_path / "tiny.weights.h5", tmp_path / "killed"
    build_backbone("tiny", 32).save_weights(weights)
    config = TrainConfig(backbone="tiny", weights=str(weights), imgsz=32, val=0.2, test=0.2)
    backbone = str(repository / "tests" / "tiny_backbone.py")
    (tmp_path / "sitecustomize.py").write_text(SITE.format(backbone=backbone, mark=str(mark)))
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    what = (shapes, config, TuneConfig(folds=3), tmp_path / "study")
    notes, on_ray = Notes(), []

    with connected("local", 2) as ray:

        def spread(study, seconds) -> None:
            run_trials(ray, Job(*what, trials=4), notes, study, seconds)
            on_ray.extend(study.trials())

        found = tune(*what, trials=4, progress=notes, spread=spread)
    with (tmp_path / "study" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert mark.exists() and "a process on Ray ended: WorkerCrashedError" in notes.found
    # All were run there, and that of the killed process was put back.
    assert len(on_ray) == len(rows) == 5 and all(trial.state.is_finished() for trial in on_ray)
    assert [row["state"] for row in rows].count("put back") == 1
    assert found.trials == 4 and found.given is not None and found.failed == 0
    mine = {trial.user_attrs["worker"] for trial in on_ray if "worker" in trial.user_attrs}
    assert not any(f"-{os.getpid()}-" in worker for worker in mine)
    for line in (tmp_path / "study" / "journal.jsonl").read_text().splitlines():
        assert isinstance(json.loads(line), dict)
