"""``rs-toolkit tune``: trial after trial, until there are enough or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_toolkit.config.training import TrainConfig
from rs_toolkit.config.tuning import TuneConfig
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.data.readers import require_data
from rs_toolkit.errors import ConfigError, RunError, ToolkitError
from rs_toolkit.progress import Progress
from rs_train.classifier.prepare import RunData
from rs_train.tuning.begin import begin_study
from rs_train.tuning.objectives import Objective, Report, Trainings, cross_validation
from rs_train.tuning.results import (
    Result,
    draw_importance,
    said_values,
    shown_values,
    summarize,
    write_results,
)
from rs_train.tuning.space import applied, as_given, search_space
from rs_train.tuning.study import FIRST, Study

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["tune"]

_PAUSE = 0.5  # seconds between two looks at the trials of other processes


Spread = Callable[[Study, float], object]


class _OutOfTimeError(Exception):
    """The time is over in the middle of a trial."""


def tune(
    data: Path,
    config: TrainConfig,
    tuning: TuneConfig,
    folder: Path,
    *,
    trials: int | None = None,
    seconds: float | None = None,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> Result:
    """Search for better settings of a training, and write the study into ``folder``.

    The first trial has the settings of ``config``, the next nine are drawn at random, and the
    others by the tree-structured Parzen estimator (Bergstra et al. 2011).  Any but the first is
    pruned where its best score so far is below the median of the earlier ones at the same step.
    With one process, the same arguments give the same trials.  A study that the folder holds is
    continued.

    Parameters
    ----------
    data
        As :func:`rs_train.classifier.train.train` takes it.
    trials
        Finished trials of the study, all processes together; None: no limit.
    seconds
        Time for this process; the trial that is running then is put back.  None: no limit.
    spread
        Called with the study once it has begun, and the seconds that are left: other processes may
        run trials before this one does.

    Raises
    ------
    RunError
        The folder holds another study, or no trial has a score.
    ToolkitError
        The data, the weights or the settings cannot be used; see each subclass.
    """
    progress = progress or Progress()
    deadline = time.monotonic() + (seconds or float("inf"))
    require_data(data)
    if config.time:
        raise ConfigError(
            f"time: got {config.time!r} in the settings; a trial has a number of epochs, which is "
            "the same on each machine; leave it out"
        )
    space = search_space(tuning, config)
    cache = PhotoCache.default(config.imgsz, config.resize, config.strict_photos)

    def make(found: RunData, sources: dict[str, Any]) -> Objective:
        if tuning.stage == 1:
            return cross_validation(found.config, tuning.folds, found, cache, progress)
        return Trainings(folder, folder / "split", sources, found, progress)

    config, objective = begin_study(folder, data, config, tuning, cache, progress, make)
    # Slow rates and much regularization begin slowly.
    warm_up = 1 if tuning.stage == 1 else max(1, config.epochs // 4)
    first = as_given(config, space)
    with Study.open(folder, space, config.seed, first, warm_up) as study:
        if spread is not None:
            spread(study, deadline - time.monotonic())
        return _Search(study, config, objective, trials, deadline, progress).run()


class _Search:
    """The work of one process on a study."""

    def __init__(
        self,
        study: Study,
        config: TrainConfig,
        objective: Objective,
        wanted: int | None,
        deadline: float,
        progress: Progress,
    ) -> None:
        self._study, self._config, self._objective = study, config, objective
        self._wanted, self._deadline, self._progress = wanted, deadline, progress

    def run(self) -> Result:
        """Run trials while some are wanted and there is time; write and return the results."""
        waiting = False
        while time.monotonic() < self._deadline:
            begun = self._study.begin(self._wanted)
            if not isinstance(begun, int):
                waiting = False
                if not self._one(begun):
                    break
            elif begun == 0:
                break
            else:
                if not waiting:
                    self._progress.note(f"waiting for trials of other processes: {begun}")
                waiting = True
                time.sleep(_PAUSE)
        result = self._written()
        if result.best is None:
            raise RunError(
                f"{self._study.folder}: no trial has a score yet ({result.failed} failed); give "
                "more --time or --trials; the same command goes on"
            )
        draw_importance(self._study.folder, self._study, self._progress)
        return result

    def _one(self, trial: Trial) -> bool:
        """Run a trial; return False if the time is over, and the trial was put back."""
        from optuna import TrialPruned

        score, error = None, ""
        config = applied(self._config, trial.params).unrepeated()
        try:
            name = str(trial.user_attrs["run"])
            score = self._objective(config, name, self._report(trial))
        except TrialPruned:
            pass
        except _OutOfTimeError:
            self._study.put_back(trial, died=False)
            return False
        except ToolkitError as problem:
            error = str(problem)
            if summarize(self._study, self._config).best is None:
                # Not what was tried is at fault, but the settings that were given.
                self._study.put_back(trial, died=False)
                raise
        except BaseException as problem:
            # A person or the machine is at fault (a full disk), or perhaps what was tried.
            self._study.put_back(trial, died=not isinstance(problem, KeyboardInterrupt | OSError))
            raise
        self._study.end(trial, score, error)
        result = self._written()
        self._tell(trial, score, error, result)
        return True

    def _report(self, trial: Trial) -> Report:
        from optuna import TrialPruned

        told = 0

        def report(step: int, steps: int, value: float) -> None:
            nonlocal told
            if step <= told:
                return
            told = step
            trial.report(value, step)
            if step >= steps:
                # The score is known, and nothing would be saved.
                return
            if trial.user_attrs["run"] != FIRST and trial.should_prune():
                raise TrialPruned
            if time.monotonic() > self._deadline:
                raise _OutOfTimeError

        return report

    def _written(self) -> Result:
        with self._study.alone():
            result = write_results(self._study.folder, self._study, self._config)
            if isinstance(self._objective, Trainings):
                self._objective.keep_only({result.run, *self._study.unfinished()})
        return result

    def _tell(self, trial: Trial, score: float | None, error: str, result: Result) -> None:
        of = f"/{self._wanted}" if self._wanted else ""
        said = f"macro-F1 {score:.4f}" if score is not None else "pruned"
        best = f"  best {result.best:.4f}" if result.best is not None else ""
        values = said_values(shown_values(self._config, trial.params))
        self._progress.note(
            f"trial {result.trials}{of}  {f'failed: {error}' if error else said}{best}  {values}"
        )
