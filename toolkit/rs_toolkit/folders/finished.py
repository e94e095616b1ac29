"""Checks of run and filter folders: all files are there, and the model has the right shapes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rs_runtime.errors import reason
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.errors import RunError

if TYPE_CHECKING:
    import keras

__all__ = ["load_keras_model", "require_files"]


def require_files(folder: Path, names: tuple[str, ...], kind: str, command: str) -> None:
    """Check that a folder, made by ``rs-toolkit <command>``, has all files of ``names``.

    Raises
    ------
    RunError
        The folder or a file is missing; the message says how to finish the folder.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such {kind} folder; give one that rs-toolkit {command} made")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise RunError(
            f"{folder}: not a finished {kind} ({', '.join(missing)} missing); finish it with "
            f"rs-toolkit {command} --resume {folder}"
        )


def load_keras_model(path: Path, size: int, classes: int, advice: str) -> keras.Model:
    """Load a model with input (n, size, size, 3) and output (n, classes) from a ``.keras`` file.

    The file is not trusted; Keras' safe mode runs no code from it.

    Raises
    ------
    RunError
        The file is damaged, or its model has other shapes; the message ends with ``advice``.
    """
    quiet_tensorflow()
    import keras

    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        shapes = tuple(model.input_shape), tuple(model.output_shape)
    except Exception as error:
        # Keras passes on any exception of zipfile, h5py and its deserializer.
        raise RunError(f"{path}: damaged ({reason(error)}); {advice}") from None
    wanted = ((None, size, size, 3), (None, classes))
    if shapes != wanted:
        raise RunError(f"{path}: got shapes {shapes}, wanted {wanted}; {advice}")
    return model
