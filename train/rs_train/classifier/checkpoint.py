"""What an interrupted run continues from: weights, optimizer, epoch, history."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_toolkit.errors import RunError
from rs_toolkit.files import atomic_write, require_space
from rs_train.state_file import StateFile

if TYPE_CHECKING:
    import keras

__all__ = ["Checkpoints", "FitState"]


@dataclass
class FitState:
    """Where stage 2 stands.

    Attributes
    ----------
    epoch
        Finished epochs.
    history
        One row a finished epoch; row 0 is the state before the first.
    best_epoch, best_macro_f1
        The epoch of best validation macro-F1, whose weights the run keeps.
    finished
        Whether fitting ended by itself.
    stage_1
        What stage 1 measured; None where it was skipped.
    seconds
        Wall time of the whole run so far, of all its sessions.
    """

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_macro_f1: float = -1.0
    finished: bool = False
    stage_1: dict[str, float] | None = None
    seconds: float = 0.0


class Checkpoints(StateFile[FitState]):
    """The ``checkpoints/`` folder of a run.

    A state names the weights files that belong to it, and is renamed into place after they are
    on disk: a kill at any instant leaves the last complete epoch.

    Parameters
    ----------
    folder
        The ``checkpoints`` folder.
    fingerprint
        Of settings and data; a state of another fingerprint is refused.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        super().__init__(folder, fingerprint, FitState)

    def save(self, state: FitState, model: keras.Model) -> None:
        """Write the model, its optimizer and the state; drop what is no longer needed.

        Raises
        ------
        OSError
            The disk is full; the last saved state still holds.
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
            first = str(error).splitlines()[0]
            raise RunError(f"{path}: damaged ({first}); delete the run and train again") from None

    def _weights(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}.weights.h5"
