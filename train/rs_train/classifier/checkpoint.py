"""What an interrupted training continues from: weights, optimizer, epoch, history."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_runtime.errors import reason
from rs_toolkit.errors import RunError
from rs_toolkit.files import atomic_write, read_json, require_space, sha256_file, write_json
from rs_train.run_folder import begun, undamaged

if TYPE_CHECKING:
    import keras

__all__ = ["Checkpoints", "FitState", "weights_sha256", "weights_to_load"]


@dataclass
class FitState:
    """Where a training stands: after ``epoch`` finished epochs and ``seconds`` of wall time.

    ``history`` has one row a finished epoch; row 0 is the state before the first.  The weights of
    ``best_epoch`` are kept, whose :class:`rs_train.classifier.fit_loop.Judgement` was
    ``best_score``.  ``stage_1`` is what a classifier's stage 1 measured.
    """

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_score: list[float] = field(default_factory=list)
    finished: bool = False
    stage_1: dict[str, float] | None = None
    seconds: float = 0.0


class Checkpoints:
    """The ``checkpoints/`` folder of a run or a filter.

    ``state.json`` tells where the training stands and names the weights files that belong to it.
    It is renamed into place after they are on disk, so that a kill at any instant leaves the last
    complete epoch.  A state of another ``fingerprint``, of settings and data, is refused.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint

    @staticmethod
    def begun(folder: Path) -> bool:
        """Whether a ``checkpoints`` folder holds a state to continue from."""
        return (folder / "state.json").is_file()

    def load(self) -> FitState | None:
        """Return the saved state, or None where no epoch was finished.

        RunError: the state is damaged, or was made with other settings or data.
        """
        path = self.folder / "state.json"
        if not self.begun(self.folder):
            return None
        with undamaged(path):
            saved = read_json(path)
            state, mark = FitState(**saved["state"]), str(saved["fingerprint"])
        if mark != self.fingerprint:
            raise RunError(
                f"{path}: the settings or the photos changed since the run began; begin in a new "
                "folder, or restore them"
            )
        return state

    def save_state(self, state: FitState) -> None:
        """Write the state alone, where no weight changed since the last save."""
        values = {"fingerprint": self.fingerprint, "state": asdict(state)}
        write_json(self.folder / "state.json", values)

    def save(self, state: FitState, model: keras.Model) -> None:
        """Write the model, its optimizer and the state; drop what is no longer needed.

        OSError: the disk is full; the last saved state still holds.
        """
        for leftover in self.folder.glob(".tmp-*"):
            leftover.unlink()
        # The optimizer keeps two numbers a weight; HDF5 crashes the process on a full disk.
        require_space(self.folder, 4 * 3 * model.count_params() + 2**20)
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
            raise RunError(
                f"{path}: damaged ({reason(error)}); delete the folder and begin again"
            ) from None

    def _weights(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}.weights.h5"


def weights_sha256(weights: str) -> str | None:
    """Return the SHA-256 of the local file of pretrained weights; None where they are no such file.

    ``weights`` are as :func:`rs_train.classifier.backbones.load_backbone_weights` takes them.
    """
    path = Path(weights)
    known = weights in ("none", "imagenet", "package")
    return None if known or not path.is_file() else sha256_file(path)


def weights_to_load(folder: Path, weights: str) -> str:
    """Return the pretrained weights to load: ``none`` where a checkpoint replaces them.

    Raises
    ------
    RunError
        The weights file is no longer the one that the training in this folder began with.  One
        that is gone is not checked: loading it, if it is needed, says that it is missing.
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
