"""The results of a training: what is measured, and the files that tell it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rs_toolkit.files import write_json
from rs_toolkit.folders.run import write_logits
from rs_toolkit.metrics.calibration import fit_temperature
from rs_toolkit.metrics.classification import evaluate
from rs_toolkit.pictures import draw_picture, short
from rs_toolkit.splits.places import Places
from rs_train.classifier.checkpoint import FitState
from rs_train.classifier.fine_tune import Portion
from rs_train.classifier.folds import Judged

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["Again", "Results", "history"]

_MOST_NAMES = 60


class Again(NamedTuple):
    """The model of a refit, its training, and what folds judged where it was on every photo."""

    model: keras.Model
    state: FitState
    judged: Judged | None = None


@dataclass(frozen=True)
class Results:
    """What is known of a run's model.

    Attributes
    ----------
    names : of the classes
    metrics : content of metrics.json, but for the question
    temperature, fitted_on : content of calibration.json
    labels : class numbers (n,) of the photos on which the test's scores rest
    logits : to be kept, by the name of their file: ``test`` (n, classes), and perhaps ``val``
    places : which question the test's scores answer
    """

    names: Sequence[str]
    metrics: dict[str, Any]
    temperature: float
    fitted_on: str
    labels: NDArray[np.int64]
    logits: dict[str, NDArray[np.float32]]
    places: Places

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        logits: dict[str, NDArray[np.float32]],
        portions: dict[str, Portion],
        places: Places,
    ) -> Results:
        """Measure a model by its ``logits`` of validation and test photos."""
        labels = {side: portions[side].labels for side in logits}
        temperature = fit_temperature(logits["val"], labels["val"], portions["val"].shares.groups)
        metrics = {
            side: evaluate(logits[side], labels[side], names, temperature) for side in logits
        }
        kept = {"test": logits["test"]}
        return cls(names, metrics, temperature, "val", labels["test"], kept, places)

    def refitted(self, val: NDArray[np.float32], test: NDArray[np.float32]) -> Results:
        """Return those of a second model, by the first's logits ``val`` and its own ``test``."""
        found = evaluate(test, self.labels, self.names, self.temperature)
        return replace(
            self,
            metrics={**self.metrics, "first_model": {"test": self.metrics["test"]}, "test": found},
            fitted_on="val, by the model before the refit",
            logits={"val": val, "test": test},
        )

    def by_folds(self, judged: Judged) -> Results:
        """Return those of a model that has learned from every photo."""
        first = {"first_model": {"test": self.metrics["test"]}, "out_of_fold": judged.about()}
        return replace(
            self,
            metrics={**self.metrics, **first, "test": judged.scores(self.names)},
            temperature=judged.temperature(),
            fitted_on="photos of all folds, each by the model that was trained without its fold",
            labels=judged.labels,
            logits={"test": judged.logits},
            places=judged.places,
        )

    def write(self, run: Path, note: Callable[[str], None]) -> None:
        """Write all but metrics.json, which marks a run as finished; ``note`` takes problems."""
        for side, values in self.logits.items():
            write_logits(run, side, values)
        found = {"temperature": self.temperature, "fitted_on": self.fitted_on}
        write_json(run / "calibration.json", found)
        self._draw(run, note)

    def write_metrics(self, run: Path) -> None:
        """Write metrics.json."""
        write_json(run / "metrics.json", {**self.metrics, "question": self.places.to_dict()})

    def _draw(self, run: Path, note: Callable[[str], None]) -> None:
        """Draw the confusion matrix of the photos on which the test's scores rest."""
        from sklearn.metrics import confusion_matrix

        numbers = np.arange(len(self.names))
        table = confusion_matrix(self.labels, self.logits["test"].argmax(1), labels=numbers)
        draw_picture(run / "confusion.png", lambda: _confusion(table, self.names), note)


def history(state: FitState, again: Again | None) -> dict[str, Any]:
    """Return the content of history.json."""
    return {
        "stage_1": state.stage_1,
        "best_epoch": state.best_epoch,
        "best_weights": state.best_weights,
        "tau": state.tau,
        "probe_kept": state.probe_kept,
        "planned_epochs": state.epochs,
        "epochs": state.history,
        "refit": again and again.state.history,
    }


def _confusion(table: NDArray[np.int64], names: Sequence[str]) -> Any:
    """Return the figure of a confusion matrix, each row divided by its number of photos."""
    from matplotlib.figure import Figure

    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    side = float(np.clip(0.25 * len(names), 5, 16))
    figure = Figure((side + 1, side), dpi=100, layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(picture, ax=axes, label="share of the true class's test photos")
    axes.set(xlabel="predicted", ylabel="true")
    # More names could not be read.
    if len(names) <= _MOST_NAMES:
        shown = [short(name) for name in names]
        axes.set_xticks(range(len(names)), shown, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), shown, fontsize=7)
    return figure
