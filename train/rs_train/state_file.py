"""``state.json`` of a checkpoint folder: where a training stands, of which settings and data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from rs_toolkit.errors import RunError
from rs_toolkit.files import read_json, write_json
from rs_train.run_folder import undamaged

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["StateFile"]

State = TypeVar("State", bound="DataclassInstance")


class StateFile(Generic[State]):
    """The state of one training.

    Parameters
    ----------
    folder
        The ``checkpoints`` folder.
    fingerprint
        Of settings and data; a state of another fingerprint is refused.
    kind
        The state's dataclass.
    """

    def __init__(self, folder: Path, fingerprint: str, kind: type[State]) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self._kind = kind

    @staticmethod
    def begun(folder: Path) -> bool:
        """Whether a ``checkpoints`` folder holds a state to continue from."""
        return (folder / "state.json").is_file()

    def save_state(self, state: State) -> None:
        """Write the state alone, where no weight changed since the last save."""
        write_json(
            self.folder / "state.json", {"fingerprint": self.fingerprint, "state": asdict(state)}
        )

    def load(self) -> State | None:
        """Return the saved state, or None where no epoch was finished.

        Raises
        ------
        RunError
            The state is damaged, or was made with other settings or data.
        """
        path = self.folder / "state.json"
        if not self.begun(self.folder):
            return None
        with undamaged(path):
            saved = read_json(path)
            state, mark = self._kind(**saved["state"]), str(saved["fingerprint"])
        if mark != self.fingerprint:
            raise RunError(
                f"{path}: the settings or the photos changed since the run began; begin in a new "
                "folder, or restore them"
            )
        return state
