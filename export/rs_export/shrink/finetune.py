"""Prune, cluster and train with rounding: ``python -m rs_export.shrink.finetune JOB``.

A process of its own, because importing tensorflow-model-optimization turns ``tf.keras`` into
tf_keras for good (see rs_export.shrink.legacy).  It reads a JSON job, teaches the changed model to
answer as the unchanged one does (Hinton et al. 2015, "Distilling the Knowledge in a Neural
Network") on the run's own oversampled, augmented training photos, and writes the weights.  Progress
goes to standard output, one JSON object a line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_export.shrink.legacy import Weights, legacy_clone, write_weights
from rs_export.shrink.lighter import clustered, freeze_light, pruned, rounded, rounded_weights
from rs_toolkit.batches.oversampling import Shares
from rs_toolkit.batches.pipeline import PixelSource, training_epoch
from rs_toolkit.errors import ExportError, ToolkitError
from rs_toolkit.files import read_json
from rs_toolkit.folders.run import Run

__all__ = ["main"]

# Hinton et al. soften both sides by a temperature; its square keeps gradients comparable.
_SOFTNESS = 2.0


def main(job: Path) -> int:
    """Do what the job file says; 0 if the weights were written, else 2 and one line of error."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    try:
        _run(read_json(job))
        return 0
    except (ToolkitError, OSError) as error:
        _say(error=str(error))
        return 2


def _say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def _run(job: dict[str, Any]) -> None:
    # Before TensorFlow, which takes seconds to load: what is missing is said at once.
    run = Run.open(Path(job["run"]))
    import keras
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(job["seed"])
    tf.config.experimental.enable_op_determinism()
    teacher = legacy_clone(keras.models.load_model(job["teacher"], compile=False, safe_mode=True))
    start = legacy_clone(keras.models.load_model(job["start"], compile=False, safe_mode=True))
    freeze_light(start)
    inputs = np.load(job["representative"], allow_pickle=False)
    student, plain, callbacks = _changed(job["method"], start, inputs, _steps(run, job))
    _teach(student, teacher, run, job, callbacks)
    write_weights(Path(job["out"]), plain(student))


def _steps(run: Run, job: dict[str, Any]) -> int:
    return max(1, int(job["passes"] * len(run.split("train")[0]) // job["batch_size"]))


def _batches(run: Run, job: dict[str, Any]) -> tuple[Any, PixelSource]:
    """Return as many batches of photos as there are steps, and what loads their pixels."""
    photos, labels = run.split("train")
    shares = Shares.of(photos)
    source = PixelSource(lambda rows: run.pixels([photos[row] for row in rows]))

    def epoch(number: int) -> Any:
        return training_epoch(
            source,
            labels,
            run.preprocessing,
            balance=run.config["balance"],
            strength=run.config["augment"],
            batch_size=job["batch_size"],
            # Not the draws that the float model was trained with.
            seed=job["seed"] + 1,
            epoch=number,
            shares=shares,
        )

    steps, batches = _steps(run, job), epoch(0)
    for number in range(1, -(-steps // int(batches.cardinality()))):
        batches = batches.concatenate(epoch(number))
    return batches.take(steps), source


def _teach(student: Any, teacher: Any, run: Run, job: dict[str, Any], callbacks: list[Any]) -> None:
    """Fit the student to the teacher's softened answers."""
    import tensorflow as tf
    import tf_keras

    batches, source = _batches(run, job)
    steps = int(batches.cardinality())
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
    taught = batches.map(lambda images, _: (images, teacher(images, training=False))).prefetch(1)
    with source.unburied():
        history = student.fit(taught, shuffle=False, verbose=0, callbacks=[*callbacks, report])
    loss = history.history["loss"][-1]
    if not np.isfinite(loss):
        raise ExportError(
            f"{job['method']}: the loss became {loss}; leave the recipe out, or train the run "
            "with a lower --learning-rate"
        )


def _changed(
    method: str, model: Any, inputs: NDArray[np.float32], steps: int
) -> tuple[Any, Callable[[Any], Weights], list[Any]]:
    """Return the model to train, what reads plain weights from it by layer, and callbacks."""
    import tensorflow_model_optimization as tfmot

    if method == "qat":
        return rounded(model, inputs), rounded_weights, []
    if method.startswith("sp"):
        library, student = tfmot.sparsity.keras, pruned(method, model, steps)
        strip, callbacks = library.strip_pruning, [library.UpdatePruningStep()]
    else:
        student = clustered(int(method.removeprefix("c")), model)
        strip, callbacks = tfmot.clustering.keras.strip_clustering, []

    def plain(trained: Any) -> Weights:
        return {layer.name: layer.get_weights() for layer in strip(trained).layers}

    return student, plain, callbacks


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
