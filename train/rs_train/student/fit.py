"""A student's gradient descent: seeded, kept epoch by epoch, resumed exactly."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.errors import RunError
from rs_toolkit.metrics.binary import auroc
from rs_toolkit.progress import Progress
from rs_train.student.checkpoint import DistillState, StudentCheckpoints
from rs_train.student.lesson import Lesson
from rs_train.student.loss import distill_loss, student_odds
from rs_train.student.portion import Portion, balanced_order, recoloured, student_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Course", "fit_student"]

_MOST_VIEWS = 2**31


@dataclass
class Course:
    """A student and all that it is trained with.

    Attributes
    ----------
    student
        As :func:`rs_train.student.student.build_student` makes it.
    train, val
        Photos to learn from, and to choose the best epoch by.
    lesson
        What is taught.
    preprocessing, config, progress
        As everywhere.
    """

    student: Any
    train: Portion
    val: Portion
    lesson: Lesson
    preprocessing: Preprocessing
    config: DistillConfig
    progress: Progress
    _frozen: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def head_only(self) -> bool:
        """Whether the backbone stays as it is."""
        return self.config.train_from == "head"

    @property
    def views(self) -> int:
        """How many views there are: a teacher's are fixed, and so are those of frozen features."""
        fixed = self.head_only or self.train.taught is not None
        return self.config.views if fixed else _MOST_VIEWS

    def step(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Any:
        """Return the loss of a random view of each of these training photos, a tensor."""
        import torch

        views = rng.integers(0, self.views, len(rows))
        if self.head_only:
            features = torch.from_numpy(self._features("train", self.views)[rows, views])
        else:
            images = self.train.images(rows, views, self.config.seed)
            images = recoloured(images, self.config.augment, rng)
            inputs = torch.from_numpy(self.preprocessing.model_input(images))
            features = self.student.features(inputs)
        taught = self.train.taught
        return self._loss(
            self.student.head(features),
            None if taught is None else taught[rows, views],
            self.train.target[rows],
        )

    def validate(self) -> tuple[float, float]:
        """Return loss and AUROC of the validation photos as they are."""
        import torch

        features = torch.from_numpy(self._features("val", 1)[:, 0])
        taught = None if self.val.taught is None else self.val.taught[:, 0]
        self.student.eval()
        with torch.no_grad():
            outputs = self.student.head(features)
            loss = float(self._loss(outputs, taught, self.val.target))
            odds = student_odds(outputs[1], self.lesson).numpy()
        # Of a student that diverged there is nothing to rank.
        return loss, auroc(odds, self.val.truth) if np.isfinite(odds).all() else 0.0

    def _loss(
        self, outputs: tuple[Any, Any], taught: NDArray[np.float32] | None, target: Any
    ) -> Any:
        import torch

        goal = None if taught is None else torch.from_numpy(taught)
        wanted = torch.from_numpy(target.astype(np.float32))
        return distill_loss(*outputs, goal, wanted, self.lesson, self.config)

    def _features(self, side: str, views: int) -> NDArray[np.float32]:
        """Return features of a side; those of a frozen backbone are computed once."""
        if side not in self._frozen:
            photos = self.train if side == "train" else self.val
            found = student_features(
                self.student, photos, views, self.preprocessing, self.config.seed, self.progress
            )
            if not self.head_only:
                return found
            self._frozen[side] = found
        return self._frozen[side]


def fit_student(course: Course, checkpoints: StudentCheckpoints, started: float) -> DistillState:
    """Train until the validation photos are told apart no better, and leave the best epoch.

    Continues from ``checkpoints`` where a state exists.  Every epoch is a function of the saved
    state, the seed and its number, so that an interrupted run ends as an uninterrupted one.
    ``started`` is the ``time.perf_counter()`` at which this session began.

    Raises
    ------
    RunError
        The loss became infinite, or a checkpoint is damaged.
    """
    config, student = course.config, course.student
    optimizer = _optimizer(student, config)
    state = checkpoints.load()
    if state is None:
        state = DistillState()
        _record(state, course, None)
        checkpoints.save(state, student, optimizer)
    else:
        checkpoints.restore(state.epoch, student, optimizer)
    earlier = state.seconds
    while not state.finished:
        if state.epoch >= config.epochs or state.epoch - state.best_epoch >= config.patience:
            state.finished = True
            checkpoints.save_state(state)
            break
        loss = _one_epoch(course, optimizer, state.epoch)
        state.epoch += 1
        _record(state, course, loss)
        state.seconds = round(earlier + time.perf_counter() - started, 2)
        checkpoints.save(state, student, optimizer)
        row = state.history[-1]
        course.progress.note(
            f"epoch {state.epoch}/{config.epochs}  loss {loss:.4f}  validation loss "
            f"{row['val_loss']:.4f}  AUROC {row['val_auroc']:.4f}"
        )
    checkpoints.restore(state.best_epoch, student)
    student.eval()
    return state


def _optimizer(student: Any, config: DistillConfig) -> Any:
    """Return AdamW; biases and gains, having one dimension, do not decay."""
    import torch

    student.body.requires_grad_(config.train_from == "all")
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _one_epoch(course: Course, optimizer: Any, epoch: int) -> float:
    """Train on each photo of the epoch's order once; return the mean loss."""
    import torch

    config = course.config
    order = balanced_order(course.train, config, epoch)
    steps = -(-len(order) // config.batch_size)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    torch.manual_seed(config.seed + epoch)
    total = 0.0
    course.student.train(not (config.frozen_batch_norm or course.head_only))
    for step, rows in enumerate(np.array_split(order, steps)):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _rate(epoch + (step + 1) / steps, config.epochs)
        loss = course.step(rows, np.random.default_rng((config.seed, epoch, step)))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        total += loss.item() * len(rows)
        course.progress.update(f"epoch {epoch + 1}", step + 1, steps, f"loss {loss.item():.4f}")
    return total / len(order)


def _rate(at: float, epochs: int) -> float:
    """Return the share of the peak rate: warm-up over one epoch, then cosine to a hundredth."""
    if at <= 1:
        return at
    return float(0.01 + 0.99 * (1 + np.cos(np.pi * (at - 1) / max(1, epochs - 1))) / 2)


def _record(state: DistillState, course: Course, loss: float | None) -> None:
    """Append a history row with the validation figures, and note a new best."""
    val_loss, area = course.validate()
    if not np.isfinite([loss or 0.0, val_loss]).all():
        raise RunError(
            f"epoch {state.epoch}: the loss became {loss}, {val_loss} on validation photos; lower "
            f"--learning-rate (got {course.config.learning_rate})"
        )
    # Rounded, so that a difference that says nothing does not outweigh the loss.
    area = round(area, 4)
    state.history.append(
        {"epoch": state.epoch, "loss": loss, "val_loss": val_loss, "val_auroc": area}
    )
    if (area, -val_loss) > (state.best_auroc, -state.best_loss):
        state.best_epoch, state.best_auroc, state.best_loss = state.epoch, area, val_loss
