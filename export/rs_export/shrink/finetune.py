"""Prune, cluster and train with rounding: ``python -m rs_export.shrink.finetune FOLDER``.

A process of its own, because importing tensorflow-model-optimization turns ``tf.keras`` into
tf_keras for good.  It reads job.json, start.keras and representative.npy of a folder, and teaches
the changed model to answer as the run's own does (Hinton et al. 2015, "Distilling the Knowledge in
a Neural Network") on the run's oversampled, augmented training photos.  It writes the weights, and
progress to standard output, one JSON object a line.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rs_export.shrink.legacy import legacy_clone, write_weights
from rs_export.shrink.lighter import to_train
from rs_toolkit.batches.oversampling import Shares
from rs_toolkit.batches.pipeline import PixelSource, training_epoch
from rs_toolkit.errors import ExportError, ToolkitError
from rs_toolkit.files import read_json
from rs_toolkit.folders.run import Run

__all__ = ["main"]

# Hinton et al. soften both sides by a temperature; its square keeps gradients comparable.
_SOFTNESS = 2.0


def main(folder: Path) -> int:
    """Do what job.json says; 0 if the weights were written, else 2 and one line of error."""
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
    # Before TensorFlow, which takes seconds to load: what is missing is said at once.
    run = Run.open(Path(job["run"]))
    import keras
    import tensorflow as tf
    import tf_keras

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
    """Return batches of photos, one a step, and what loads their pixels."""
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
        # Not the draws that the float model was trained with.
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
    """Fit the student to the teacher's softened answers; batches are of images and answers."""
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
    history = student.fit(batches, shuffle=False, verbose=0, callbacks=[*callbacks, report])
    loss = history.history["loss"][-1]
    if not np.isfinite(loss):
        raise ExportError(
            f"{job['method']}: the loss became {loss}; leave the recipe out, or train the run "
            "with a lower --learning-rate"
        )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
