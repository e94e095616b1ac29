"""The epochs of a training as files to look at while it runs: ``epochs.csv``, and TensorBoard's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rs_toolkit.files import write_csv

__all__ = ["EpochLog"]


class EpochLog:
    """Writes ``epochs.csv`` into a folder and, if ``tensorboard``, events into ``tensorboard/``.

    Both repeat the history of a training.  The CSV file is written whole and atomically, and the
    first events of a process replace those of earlier ones.  So a training that was killed and
    resumed has each epoch once.
    """

    def __init__(self, folder: Path, tensorboard: bool = False) -> None:
        self._folder, self._tensorboard = folder, tensorboard
        self._writer: Any = None
        self._logged = 0

    def write(self, history: Sequence[dict[str, Any]]) -> None:
        """Write all rows of a history; each has an ``epoch``, and numbers or None."""
        columns = list(dict.fromkeys(key for row in history for key in row))
        rows = ([row.get(name) for name in columns] for row in history)
        write_csv(self._folder / "epochs.csv", columns, rows)
        if self._tensorboard:
            self._write_events(history)

    def _write_events(self, history: Sequence[dict[str, Any]]) -> None:
        import tensorflow as tf

        if self._writer is None:
            folder = self._folder / "tensorboard"
            for earlier in folder.glob("events.out.tfevents.*"):
                earlier.unlink()
            self._writer = tf.summary.create_file_writer(str(folder))
        # What tf.summary.scalar writes, which needs the package tensorboard.
        kind = tf.compat.v1.SummaryMetadata(data_class=1)
        kind.plugin_data.plugin_name = "scalars"
        with self._writer.as_default():
            for row in history[self._logged :]:
                for name, value in row.items():
                    if name != "epoch" and value is not None:
                        tf.summary.write(name, tf.constant(value, tf.float32), row["epoch"], kind)
        self._logged = len(history)
        self._writer.flush()
