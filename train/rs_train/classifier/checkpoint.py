"""Checkpoints, from which an interrupted training continues: weights, optimizer, epoch, history."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_runtime.errors import reason
from rs_toolkit.errors import RunError
from rs_toolkit.files import atomic_write, read_json, require_space, sha256_file, write_json
from rs_train.classifier.epoch_log import EpochLog
from rs_train.run_folder import begun, undamaged

if TYPE_CHECKING:
    import keras

__all__ = ["Checkpoints", "FitState", "weights_sha256", "weights_to_load"]


@dataclass
class FitState:
    """The state of a training after ``epoch`` finished epochs and ``seconds`` of wall time.

    ``history`` has one row per epoch; row 0 is the state before the first.  ``best_epoch`` has the
    highest ``score`` of :class:`rs_train.classifier.fit_loop.Judgement`, which is ``best_score``.
    ``best_weights`` are those of it that scored so: ``last`` or ``average``.  ``epochs`` is the
    planned number, None before it is known.  ``stage_1`` is the result of a classifier's stage 1,
    None where there was no stage 1.  ``tau`` is that of a classifier's normalized head, and
    ``probe_kept`` says that its probe (:mod:`rs_train.classifier.probe`) was better than the best
    epoch.
    """

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_score: list[float] = field(default_factory=list)
    best_weights: str = "last"
    epochs: int | None = None
    finished: bool = False
    stage_1: dict[str, float] | None = None
    tau: float = 0.0
    probe_kept: bool = False
    seconds: float = 0.0


class Checkpoints:
    """The ``checkpoints/`` folder of a run or a filter.

    ``state.json`` holds the :class:`FitState`, whose epoch numbers name the weights files.  It is
    written after them, so that a process killed at any time leaves the last complete epoch.  A
    state with another ``fingerprint`` (of settings and data) is refused.

    Beside the folder, :class:`EpochLog` writes the history; ``tensorboard`` is handed on to it.
    """

    def __init__(self, folder: Path, fingerprint: str, tensorboard: bool = False) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self._log = EpochLog(folder.parent, tensorboard)

    @staticmethod
    def begun(folder: Path) -> bool:
        """Return whether a ``checkpoints`` folder holds a state to continue from."""
        return (folder / "state.json").is_file()

    def load(self) -> FitState | None:
        """Return the saved state, or None where there is none yet.

        RunError: the state is damaged, or belongs to other settings or data.
        """
        path = self.folder / "state.json"
        if not self.begun(self.folder):
            return None
        with undamaged(path):
            saved = read_json(path)
            state, mark = FitState(**saved["state"]), str(saved["fingerprint"])
        if mark != self.fingerprint:
            raise RunError(
                f"{path}: the settings or the photos changed since the run began; restore them, or "
                "begin in a new folder"
            )
        # The process may have been killed after it wrote the state, and before the log.
        self._log.write(state.history)
        return state

    def save_state(self, state: FitState) -> None:
        """Write the state only; no weight may have changed since the last :meth:`save`."""
        values = {"fingerprint": self.fingerprint, "state": asdict(state)}
        write_json(self.folder / "state.json", values)
        self._log.write(state.history)

    def save(self, state: FitState, model: keras.Model) -> None:
        """Write the model, its optimizer and the state; delete the weights of other epochs.

        The weights of the best epoch stay.  OSError: the disk is full; the last state still holds.
        """
        for leftover in self.folder.glob(".tmp-*"):
            leftover.unlink()
        # AdamW keeps two or three more numbers per weight.  HDF5 crashes on a full disk.
        require_space(self.folder, 4 * 4 * model.count_params() + 2**20)
        with atomic_write(self._weights(state.epoch)) as temporary:
            model.save_weights(temporary)
        self.save_state(state)
        keep = {self._weights(state.epoch), self._weights(state.best_epoch)}
        for file in self.folder.glob("epoch-*.weights.h5"):
            if file not in keep:
                file.unlink()

    def restore(self, model: keras.Model, epoch: int) -> None:
        """Load the weights (and the optimizer, if the model has one) of a saved epoch."""
        path = self._weights(epoch)
        try:
            model.load_weights(path)
        except (OSError, ValueError, KeyError) as error:
            problem = f"{path}: damaged ({reason(error)}); delete the folder and begin again"
            raise RunError(problem) from None

    def _weights(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}.weights.h5"


def weights_sha256(weights: str) -> str | None:
    """Return the SHA-256 of a local file of pretrained weights; None if ``weights`` are not a file.

    :func:`rs_train.classifier.backbones.load_backbone_weights` says what ``weights`` may be.
    """
    path = Path(weights)
    known = weights in ("none", "imagenet", "package")
    return None if known or not path.is_file() else sha256_file(path)


def weights_to_load(folder: Path, weights: str) -> str:
    """Return ``weights``, or ``none`` where a checkpoint in ``folder`` replaces them.

    Raises
    ------
    RunError
        The weights file differs from the one that the training in this folder began with.  A file
        that is gone is no error here; :func:`load_backbone_weights` reports it if it is needed.
    """
    if (folder / "config.json").is_file():
        saved, now = begun(folder), weights_sha256(weights)
        before = saved.get("weights_sha256") or saved.get("student_weights_sha256")
        if before and now and before != now:
            raise RunError(
                f"{folder}: began with other weights ({weights} had SHA-256 {before[:12]}…, now "
                f"{now[:12]}…); put the former file back, or choose another --out"
            )
    return "none" if Checkpoints.begun(folder / "checkpoints") else weights
