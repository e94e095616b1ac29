"""Trials of a study on a Ray cluster: tasks of Ray are processes that take part in the study."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rs_runtime.errors import reason
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.config.tuning import TuneConfig
from rs_toolkit.data.photos import default_cache_dir
from rs_toolkit.environment import quiet_tensorflow, use_device
from rs_toolkit.errors import ToolkitError
from rs_toolkit.progress import Progress
from rs_toolkit.ray_cluster import RETRIES, Workers, one_core_each, whole_machines
from rs_train.tuning.study import Study
from rs_train.tuning.tune import tune

__all__ = ["Job", "run_trials"]

_LOOK_S = 1.0
_END_S = 20.0


@dataclass(frozen=True)
class Job:
    """What a process that takes part in a study is given: arguments of ``tune``, and a device."""

    data: Path
    config: TrainConfig
    tuning: TuneConfig
    folder: Path
    trials: int | None
    device: str = "auto"


def run_trials(ray: Any, job: Job, progress: Progress, study: Study, seconds: float) -> None:
    """Run trials of a study on the machines of a cluster, which share its folder.

    A process of stage 1 has a core, one of stage 2 a machine or a GPU.  One that dies is started
    again, and its trial is put back.  A note says why one could not go on; what is then left is up
    to the caller.

    Parameters
    ----------
    ray
        As :func:`rs_toolkit.ray_cluster.connected` gives it.
    study
        It has begun, so that its photos are in the cache.
    seconds
        Time for all processes together, perhaps infinite.
    """
    tasks = _Tasks(ray, job, _workers(ray, job), time.monotonic() + seconds)
    said: set[str] = set()
    try:
        while tasks.running:
            for problem in tasks.look():
                if problem not in said:
                    said.add(problem)
                    progress.note(f"a process on Ray ended: {problem}")
            ended = sum(map(study.counts, study.trials()))
            progress.update("trials on Ray", ended, max(job.trials or 0, ended + 1))
    except BaseException:
        tasks.interrupt()
        raise


def _workers(ray: Any, job: Job) -> Workers:
    found = whole_machines(ray) if job.tuning.stage == 2 else one_core_each(ray)
    return found._replace(most=min(found.most, job.trials or found.most))


class _Tasks:
    """The processes on Ray; ``running`` are those that have not ended."""

    def __init__(self, ray: Any, job: Job, workers: Workers, deadline: float) -> None:
        self._ray, self._deadline = ray, deadline
        # Ray would start one that died with the seconds that it had at first.
        self._task = ray.remote(max_retries=0, **workers.each)(_take_part)
        self._job = replace(job, data=job.data.resolve(), folder=job.folder.resolve())
        self._retries = RETRIES * workers.most
        self.running = [self._begin() for _ in range(workers.most)]

    def _begin(self) -> Any:
        left = self._deadline - time.monotonic()
        cache = str(default_cache_dir().resolve())
        return self._task.remote(self._job, cache, None if math.isinf(left) else max(left, 0.01))

    def look(self) -> list[str]:
        """Wait a moment, start again what died, and return why others ended early."""
        done, self.running = self._ray.wait(self.running, timeout=_LOOK_S)
        problems = []
        for task in done:
            try:
                problem = str(self._ray.get(task))
            except self._ray.exceptions.RayTaskError as error:
                problem = reason(error.cause)
            except self._ray.exceptions.RayError as error:
                problem = type(error).__name__
                if self._retries and time.monotonic() < self._deadline:
                    self._retries -= 1
                    self.running.append(self._begin())
            problems += [problem] if problem else []
        return problems

    def interrupt(self) -> None:
        """Let all end as by Ctrl-C: they put back their trials."""
        for task in self.running:
            self._ray.cancel(task)
        if self.running:
            self._ray.wait(self.running, num_returns=len(self.running), timeout=_END_S)


def _take_part(job: Job, cache: str, seconds: float | None) -> str:
    """Run trials until there are enough or the time is over; return what went wrong."""
    os.environ["RS_CACHE"] = cache
    try:
        if job.tuning.stage == 2:
            quiet_tensorflow()
            use_device(job.device)
        given = (job.data, job.config, job.tuning, job.folder)
        tune(*given, trials=job.trials, seconds=seconds)
    except ToolkitError as error:
        return str(error)
    return ""
