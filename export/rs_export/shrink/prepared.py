"""Fine-tuned weights for the recipes that need them, made once and kept in the cache."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_export.quantize.equalize import equalize
from rs_export.shrink.legacy import legacy_weights, with_weights, write_weights
from rs_export.shrink.sparse import pruned_in_one_shot
from rs_toolkit.data.photos import default_cache_dir
from rs_toolkit.errors import ExportError
from rs_toolkit.files import sha256_bytes, sha256_file, write_json
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from rs_toolkit.folders.run import Run

__all__ = ["Preparer"]

# By method: passes as a multiple of Preparer.passes, and the learning rate as a multiple of the
# run's.  Pruning changes a model most, and needs most steps to recover.  Rounding changes it least,
# and equalized weights are small, but Adam's steps do not get smaller with them.
_EFFORTS = {"sp": (2.0, 1.0), "c": (1.0, 0.3), "qat": (1.0, 0.03)}
_BATCH = 32
_VERSION = 3
# Up to this sparsity in per cent, rs_export.shrink.sparse loses almost nothing without training.
_FREE_SPARSITY = 50


@dataclass(frozen=True)
class Preparer:
    """Makes pruned, clustered or rounded models that imitate the run's model.

    Attributes
    ----------
    inputs : returns calibration photos as model inputs, float32 (n, S, S, 3)
    passes : photos shown in each fine-tuning, as a multiple of the training photos, above 0;
        pruning shows twice as many
    """

    run: Run
    trained: keras.Model
    inputs: Callable[[], NDArray[np.float32]]
    passes: float
    seed: int
    progress: Progress

    def model(self, preparation: str) -> keras.Model:
        """Return the model of a recipe's ``preparation``; ``sp50_qat`` starts from ``sp50``.

        ExportError: the fine-tuning failed, or a layer cannot be fine-tuned.
        """
        earlier, _, method = preparation.rpartition("_")
        path = self._path(preparation)
        start = self.model(earlier) if earlier else self.trained
        if method == "qat":
            # Equalized first, because training has to adapt the weights that will be rounded.
            start = equalize(start, self.inputs())
        if path.exists():
            try:
                return with_weights(start, path)
            except Exception as error:  # A damaged zip archive can raise any exception.
                self.progress.note(f"{path}: damaged ({type(error).__name__}); made again")
                path.unlink()
        is_pruning = method.startswith("sp")
        if is_pruning:
            self.progress.note(f"{preparation}: prune in one shot")
            start = pruned_in_one_shot(start, self.inputs(), method, self.seed)
        if is_pruning and method != "sp24" and int(method[2:]) <= _FREE_SPARSITY:
            write_weights(path, legacy_weights(start))
        else:
            self._fine_tune(preparation, start, path)
        return with_weights(start, path)

    def _settings(self, preparation: str) -> dict[str, Any]:
        method = preparation.rpartition("_")[2]
        passes, rate = _EFFORTS[method.rstrip("0123456789")]
        return {
            "batch_size": min(_BATCH, self.run.config["batch_size"]),
            "learning_rate": rate * self.run.config["learning_rate"],
            "passes": passes * self.passes,
            "seed": self.seed,
        }

    def _path(self, preparation: str) -> Path:
        """Return the cache file; its name is a hash of everything that its content depends on."""
        content = {
            "version": _VERSION,
            "preparation": preparation,
            "model": sha256_file(self.run.path / "model.keras"),
            "data": self.run.data_fingerprint,
            "calibration": sha256_bytes(self.inputs().tobytes()),
            **self._settings(preparation),
        }
        digest = sha256_bytes(json.dumps(content, sort_keys=True).encode())
        return default_cache_dir() / "finetuned" / f"{digest[:32]}.npz"

    def _fine_tune(self, preparation: str, start: keras.Model, path: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="rs-finetune-") as name:
            folder = Path(name)
            start.save(folder / "start.keras")
            np.save(folder / "representative.npy", self.inputs(), allow_pickle=False)
            job = {
                **self._settings(preparation),
                "method": preparation.rpartition("_")[2],
                "run": str(self.run.path.resolve()),
                "data_root": str(self.run.data_root),
                "out": str(path),
            }
            write_json(folder / "job.json", job)
            self._watch(preparation, folder)

    def _watch(self, title: str, folder: Path) -> None:
        """Run the fine-tuning process and show its progress; ExportError: it failed."""
        command = [sys.executable, "-m", "rs_export.shrink.finetune", str(folder)]
        failure = ""
        with (
            (folder / "stderr").open("wb") as stderr,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as child,
        ):
            try:
                for line in child.stdout or ():
                    said = _said(line)
                    failure = said.get("error", failure)
                    if "done" in said:
                        text = f"loss {said['loss']:.3f}"
                        self.progress.update(title, said["done"], said["total"], text)
            except BaseException:
                child.kill()
                raise
        if child.returncode:
            last = (folder / "stderr").read_text("utf-8", "replace").strip().splitlines()[-1:]
            reason = failure or f"exit code {child.returncode}: {' '.join(last)[:300]}"
            raise ExportError(f"{title}: fine-tuning failed ({reason}); leave such recipes out")


def _said(line: str) -> dict[str, Any]:
    """Return the JSON object in a line of output; an empty one if a library wrote the line."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
