"""What an interrupted distillation continues from: safetensors and JSON, nothing that runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rs_toolkit.errors import RunError
from rs_toolkit.files import atomic_write
from rs_train.state_file import StateFile

__all__ = ["DistillState", "StudentCheckpoints"]


@dataclass
class DistillState:
    """Where a distillation stands.

    Attributes
    ----------
    epoch
        Finished epochs.
    history
        One row a finished epoch; row 0 is the state before the first.
    best_epoch, best_auroc, best_loss
        The epoch of best validation AUROC or, of equal ones, least loss; the filter keeps it.
    finished
        Whether it ended by itself.
    seconds
        Wall time so far, of all sessions.
    """

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_auroc: float = -1.0
    best_loss: float = float("1e300")
    finished: bool = False
    seconds: float = 0.0


class StudentCheckpoints(StateFile[DistillState]):
    """The ``checkpoints/`` folder of a filter.

    A state is renamed into place after the files that it names: a kill at any instant leaves the
    last complete epoch.

    Parameters
    ----------
    folder
        The ``checkpoints`` folder.
    fingerprint
        Of settings and data; a state of another fingerprint is refused.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        super().__init__(folder, fingerprint, DistillState)

    def save(self, state: DistillState, student: Any, optimizer: Any) -> None:
        """Write the student, its optimizer and the state; drop what is no longer needed.

        Raises
        ------
        OSError
            The disk is full; the last saved state still holds.
        """
        for leftover in self.folder.glob(".tmp-*"):
            leftover.unlink()
        model, steps = self._file("student", state.epoch), self._file("optimizer", state.epoch)
        _write(model, student.state_dict())
        moments = optimizer.state_dict()["state"]
        _write(
            steps,
            {f"{row}.{key}": value for row, item in moments.items() for key, value in item.items()},
        )
        self.save_state(state)
        keep = {model, steps, self._file("student", state.best_epoch)}
        for file in self.folder.glob("*.safetensors"):
            if file not in keep:
                file.unlink()

    def restore(self, epoch: int, student: Any, optimizer: Any | None = None) -> None:
        """Load the weights of a saved epoch, and the optimizer's state where one is given.

        Raises
        ------
        RunError
            A file is missing, damaged, or of another student.
        """
        from safetensors.torch import load_file

        path = self._file("student", epoch)
        try:
            student.load_state_dict(load_file(path))
            if optimizer is None:
                return
            path = self._file("optimizer", epoch)
            moments: dict[int, dict[str, Any]] = {}
            for name, value in load_file(path).items():
                row, key = name.split(".", 1)
                moments.setdefault(int(row), {})[key] = value
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": moments, "param_groups": groups})
        except Exception as error:
            # safetensors and torch raise classes of their own.
            reason = " ".join(str(error).split())[:200]
            raise RunError(f"{path}: damaged ({reason}); delete the folder, distil again") from None

    def _file(self, kind: str, epoch: int) -> Path:
        return self.folder / f"{kind}-{epoch:04d}.safetensors"


def _write(path: Path, tensors: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    with atomic_write(path) as temporary:
        save_file({name: value.contiguous() for name, value in tensors.items()}, temporary)
