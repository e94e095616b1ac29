"""Prune, cluster and train with rounding: ``python -m rs_export.shrink.finetune FOLDER``.

This is a process of its own, because importing tensorflow-model-optimization turns ``tf.keras``
into tf_keras for the rest of the process.  It reads job.json, start.keras and representative.npy
from FOLDER.  The changed model learns to give the logits of the run's model (Hinton et al. 2015,
"Distilling the Knowledge in a Neural Network") on the run's oversampled and augmented training
photos.  The new weights go to a file, and progress to standard output, one JSON object per line.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rs_export.shrink.legacy import legacy_clone, write_weights
from rs_export.shrink.lighter import to_train
from rs_toolkit.batches.oversampling import Shares
from rs_toolkit.batches.pipeline import PixelSource, training_epoch
from rs_toolkit.environment import standard_settings
from rs_toolkit.errors import ExportError, ToolkitError
from rs_toolkit.files import read_json
from rs_toolkit.folders.run import Run

__all__ = ["main"]

# Temperature of Hinton et al.; the loss times its square keeps gradients independent of it.
_SOFTNESS = 2.0


def main(folder: Path) -> int:
    """Do the job of job.json; return 0 if the weights were written, else 2 and print an error."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    try:
        _run(folder, read_json(folder / "job.json"))
        return 0
    except (ToolkitError, OSError) as error:
        _say(error=str(error))
        return 2


def _say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def _run(folder: Path, job: dict[str, Any]) -> None:
    # Opened before TensorFlow, which takes seconds to load, so that errors are reported at once.
    run = replace(Run.open(Path(job["run"])), data_root=Path(job["data_root"]))
    import keras
    import tensorflow as tf
    import tf_keras

    # The parent process has told what is not used.
    standard_settings(tf_keras.backend)
    standard_settings(keras.config)
    tf_keras.utils.set_random_seed(job["seed"])
    tf.config.experimental.enable_op_determinism()
    teacher, start = (
        legacy_clone(keras.models.load_model(path, compile=False, safe_mode=True))
        for path in (run.path / "model.keras", folder / "start.keras")
    )
    inputs = np.load(folder / "representative.npy", allow_pickle=False)
    batches, source = _batches(run, job)
    steps = int(batches.cardinality())
    student, plain, callbacks = to_train(job["method"], start, inputs, steps)
    taught = batches.map(lambda images, _: (images, teacher(images, training=False))).prefetch(1)
    with source.unburied():
        _teach(student, taught, steps, job, callbacks)
    write_weights(Path(job["out"]), plain(student))


def _batches(run: Run, job: dict[str, Any]) -> tuple[Any, PixelSource]:
    """Return batches of photos, one for each training step, and the source of their pixels."""
    photos, labels = run.split("train")
    source = PixelSource(lambda rows: run.pixels([photos[row] for row in rows]))
    epoch = partial(
        training_epoch,
        source,
        labels,
        run.preprocessing,
        balance=run.config["balance"],
        strength=run.config["augment"],
        batch_size=job["batch_size"],
        # Draw photos and augmentations other than those that the float model was trained on.
        seed=job["seed"] + 1,
        shares=Shares.of(photos),
    )
    steps, batches = max(1, int(job["passes"] * len(photos) // job["batch_size"])), epoch(epoch=0)
    for number in range(1, -(-steps // int(batches.cardinality()))):
        batches = batches.concatenate(epoch(epoch=number))
    return batches.take(steps), source


def _teach(
    student: Any, batches: Any, steps: int, job: dict[str, Any], callbacks: list[Any]
) -> None:
    """Fit the student to the teacher's softened logits; batches are (images, teacher's logits)."""
    import tensorflow as tf
    import tf_keras

    rate = tf_keras.optimizers.schedules.CosineDecay(
        job["learning_rate"] / 20,
        steps,
        alpha=0.01,
        warmup_target=job["learning_rate"],
        warmup_steps=max(1, steps // 20),
    )

    def divergence(answers: Any, logits: Any) -> Any:
        wanted, got = (tf.nn.softmax(values / _SOFTNESS) for values in (answers, logits))
        return tf_keras.losses.kl_divergence(wanted, got) * _SOFTNESS**2

    report = tf_keras.callbacks.LambdaCallback(
        on_batch_end=lambda batch, logs: _say(done=batch + 1, total=steps, loss=float(logs["loss"]))
    )
    student.compile(tf_keras.optimizers.Adam(rate, clipnorm=1.0), divergence)
    # Variables that are created while the training step is traced make TensorFlow trace it twice.
    student.optimizer.build(student.trainable_variables)
    history = student.fit(batches, shuffle=False, verbose=0, callbacks=[*callbacks, report])
    loss = history.history["loss"][-1]
    if not np.isfinite(loss):
        raise ExportError(
            f"{job['method']}: the loss became {loss}; leave the recipe out, or train the run "
            "with a lower --learning-rate"
        )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
