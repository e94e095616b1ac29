"""A study in a folder: its trials, which several processes or machines may take turns to run.

``journal.jsonl`` is the log of Optuna (Akiba et al. 2019): one JSON object a line, and no pickle.
Whoever begins a trial holds ``study.lock`` meanwhile, and for its whole life a lock on a file of
its own in ``workers/``.  The operating system ends a lock with its process.  So a trial that runs
although its worker's lock is free was left by a killed process: it is put back, and the next to ask
gets it.
"""

from __future__ import annotations

import os
import platform
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.folders.locks import held, lock_without_waiting, locked
from rs_train.run_folder import undamaged
from rs_train.tuning.space import Range, distributions

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, Trial

__all__ = ["FIRST", "Study"]

FIRST = "0000"
"""The ``run`` of the trial with the settings as they were given."""
_NAME = "tune"
_TRIES = 2  # A trial during which so many processes died is not tried again.
_STARTUP = 5  # trials that are never pruned, because there is nothing to compare with


class Study:
    """A study that is open; see :meth:`open`."""

    def __init__(
        self, folder: Path, space: dict[str, Range], seed: int, first: dict[str, Any], warm_up: int
    ) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self._seed = folder, seed
        self._distributions = distributions(space)
        self.worker = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        journal = folder / "journal.jsonl"
        (folder / "workers").mkdir(exist_ok=True)
        with undamaged(journal), locked(self._lock):
            lock: Any = _JournalLock(journal)
            self._storage = JournalStorage(JournalFileBackend(str(journal), lock))
            pruner = optuna.pruners.MedianPruner(_STARTUP, warm_up)
            self.optuna = optuna.create_study(
                storage=self._storage,
                pruner=pruner,
                study_name=_NAME,
                direction="maximize",
                load_if_exists=True,
            )
            if not self.trials():
                self.optuna.enqueue_trial(first)

    @classmethod
    @contextmanager
    def open(
        cls, folder: Path, space: dict[str, Range], seed: int, first: dict[str, Any], warm_up: int
    ) -> Iterator[Study]:
        """Open the study of a folder, or begin it, and take part in it for the time of the block.

        Parameters
        ----------
        space, seed
            What is tried, and the seed of the sampler.
        first
            Values of the first trial.
        warm_up
            Steps of a trial before it may be pruned.

        Raises
        ------
        RunError
            The journal is damaged, or the file system has no locks.
        """
        study = cls(folder, space, seed, first, warm_up)
        mark = folder / "workers" / f"{study.worker}.lock"
        file = lock_without_waiting(mark)
        try:
            yield study
        finally:
            with suppress(OSError):
                mark.unlink()
            if file is not None:
                os.close(file)

    @property
    def _lock(self) -> Path:
        return self.folder / "study.lock"

    def trials(self) -> Sequence[FrozenTrial]:
        """Return all trials so far, in the order of their numbers."""
        return self.optuna.get_trials(deepcopy=False)

    def unfinished(self) -> set[str]:
        """Return the ``run`` of each trial that is running, or was put back and waits."""
        return {
            str(trial.user_attrs["run"])
            for trial in self.trials()
            if not trial.state.is_finished() and "run" in trial.user_attrs
        }

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from beginning or putting back trials for the time of the block."""
        with locked(self._lock):
            yield

    def begin(self, wanted: int | None) -> Trial | int:
        """Begin a trial, unless ``wanted`` are finished or begun; None: there is no limit.

        Trials of dead processes are put back before.  Returns the trial, whose ``params`` are set,
        or the number of trials that other processes are running.
        """
        from optuna.trial import TrialState

        with self.alone():
            trials = self.trials()
            for trial in trials:
                if trial.state == TrialState.RUNNING and self._is_orphan(trial):
                    self._put_back(trial, died=True)
            trials = self.trials()
            running = sum(trial.state == TrialState.RUNNING for trial in trials)
            if wanted is not None and running + sum(map(self.counts, trials)) >= wanted:
                return running
            # A sampler for each trial: what it draws depends on the seed and the earlier trials
            # alone, whichever process asks, and whether or not some trials had to be put back.
            number = sum(not trial.user_attrs.get("put_back", False) for trial in trials)
            self.optuna.sampler = _sampler(self._seed, number)
            with warnings.catch_warnings(action="ignore"):
                begun = self.optuna.ask(self._distributions)
            begun.set_user_attr("worker", self.worker)
            begun.set_user_attr("run", begun.user_attrs.get("run", f"{begun.number:04d}"))
            return begun

    @staticmethod
    def counts(trial: FrozenTrial) -> bool:
        """Return whether a trial is one of those wanted: it has ended, and was not put back."""
        return trial.state.is_finished() and not trial.user_attrs.get("put_back", False)

    def end(self, trial: Trial, value: float | None, error: str = "") -> None:
        """End a trial with its value; None: it was pruned or, with an ``error``, failed."""
        from optuna.trial import TrialState

        if value is not None:
            self.optuna.tell(trial, value)
        elif error:
            trial.set_user_attr("error", error)
            self.optuna.tell(trial, state=TrialState.FAIL)
        else:
            self.optuna.tell(trial, state=TrialState.PRUNED)

    def put_back(self, trial: Trial, *, died: bool) -> None:
        """End a trial without a result; the next to ask gets it, also where it was the last wanted.

        ``died``: it was the trial's fault, perhaps; that must not happen often.
        """
        with self.alone():
            self._put_back(self.trials()[trial.number], died=died)

    def _put_back(self, trial: FrozenTrial, *, died: bool) -> None:
        from optuna.trial import TrialState

        tries = trial.user_attrs.get("tries", 0) + died
        again = tries < _TRIES
        name, text = ("put_back", True) if again else ("error", f"{tries} processes died in it")
        self._storage.set_trial_user_attr(trial._trial_id, name, text)
        run = trial.user_attrs.get("run", f"{trial.number:04d}")
        queued = {
            other.user_attrs.get("run")
            for other in self.trials()
            if other.state == TrialState.WAITING
        }
        # Queued before it is ended, or it would be lost if this process ended in between.
        if again and run not in queued:
            values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            self.optuna.enqueue_trial(values, {"run": run, "tries": tries})
        self.optuna.tell(trial.number, state=TrialState.FAIL)

    def _is_orphan(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get("worker")
        if worker == self.worker:
            return False
        # Without a name: its process died while it held the lock that this one holds now.
        return worker is None or not held(self.folder / "workers" / f"{worker}.lock")


def _sampler(seed: int, number: int) -> BaseSampler:
    """Return the tree-structured Parzen estimator (Bergstra et al. 2011) for a trial."""
    from optuna.samplers import TPESampler

    drawn = np.random.SeedSequence((seed, number)).generate_state(1)[0]
    return TPESampler(seed=int(drawn))


class _JournalLock:
    """A lock for Optuna's journal, without its own one's 30 seconds after a process was killed.

    A process that was killed, or whose disk was full, may have written half a line.  Another line
    after it would make the journal unreadable, so whoever writes next takes it away.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._file = journal.with_name(f"{journal.name}.lock")
        self._held = ExitStack()

    def acquire(self) -> bool:
        """Wait for the lock."""
        with ExitStack() as stack:
            stack.enter_context(locked(self._file))
            _drop_half_a_line(self._journal)
            self._held = stack.pop_all()
        return True

    def release(self) -> None:
        """End the lock."""
        self._held.close()


def _drop_half_a_line(path: Path) -> None:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if file.read(1) in (b"", b"\n"):
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
