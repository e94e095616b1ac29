"""The results of a study as files: the table of trials, the best settings, and a picture."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_toolkit.config.training import TrainConfig, read_preset
from rs_toolkit.files import atomic_write, write_csv
from rs_toolkit.pictures import draw_picture
from rs_toolkit.progress import Progress
from rs_train.tuning.space import applied
from rs_train.tuning.study import FIRST

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from rs_train.tuning.study import Study

__all__ = [
    *("Result", "draw_importance", "importances", "said_values", "shown_values", "summarize"),
    "write_results",
]

_LEAST = 10  # finished trials, below which importances would be chance


@dataclass(frozen=True)
class Result:
    """What a study has found so far.

    ``trials`` counts those that are finished, of which ``pruned`` and ``failed``.  ``best`` and
    ``given`` are macro-F1 of the best trial and of the settings as they were given, 0 to 1; None:
    there is none.  ``run`` is the best trial's name, ``values`` are its settings that were tuned.
    """

    trials: int
    pruned: int
    failed: int
    best: float | None
    given: float | None
    run: str
    values: dict[str, Any]


def summarize(study: Study, config: TrainConfig) -> Result:
    """Return the results of the trials that have ended; of equal ones, the first is the best."""
    from optuna.trial import TrialState

    ended = [trial for trial in study.trials() if study.counts(trial)]
    states = [trial.state for trial in ended]
    scored = {
        str(trial.user_attrs["run"]): trial for trial in ended if trial.state == TrialState.COMPLETE
    }
    run = max(scored, key=lambda name: (_value(scored[name]), -scored[name].number), default="")
    return Result(
        trials=len(ended),
        pruned=states.count(TrialState.PRUNED),
        failed=states.count(TrialState.FAIL),
        best=_value(scored[run]) if run else None,
        given=_value(scored[FIRST]) if FIRST in scored else None,
        run=run,
        values=shown_values(config, scored[run].params) if run else {},
    )


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def shown_values(config: TrainConfig, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a trial as they were used, by name."""
    settings = applied(config, values)
    return {name: getattr(settings, name) for name in sorted(values)}


def said_values(values: dict[str, Any]) -> str:
    """Return them as a text for people."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )


def write_results(folder: Path, study: Study, config: TrainConfig) -> Result:
    """Write ``trials.csv`` and, once a trial has a score, ``best.toml``; return the results.

    The caller keeps other processes away meanwhile, so that older results replace no newer ones.
    """
    result = summarize(study, config)
    names = sorted({name for trial in study.trials() for name in trial.params})
    rows = [_row(study, trial, config, names) for trial in study.trials()]
    header = ("trial", "state", "macro_f1", "steps", "seconds", "run", *names, "error")
    write_csv(folder / "trials.csv", header, rows)
    if result.best is not None:
        head = (
            f"# The best of {result.trials} trials of rs-toolkit tune, with a macro-F1 of "
            f"{result.best:.4f} on photos that\n# are not the test's.  "
            "Use: rs-toolkit train PHOTOS --config best.toml\n"
        )
        with atomic_write(folder / "best.toml") as temporary:
            temporary.write_text(head + _toml(applied(config, result.values)), "utf-8")
    return result


def _row(study: Study, trial: FrozenTrial, config: TrainConfig, names: Sequence[str]) -> list[Any]:
    """Return a row of the table; a pruned trial has its last score."""
    put_back = trial.state.is_finished() and not study.counts(trial)
    values = shown_values(config, trial.params)
    steps = trial.intermediate_values
    value = trial.value if trial.value is not None else steps[max(steps)] if steps else None
    return [
        trial.number,
        "put back" if put_back else trial.state.name.lower(),
        None if value is None else round(value, 6),
        max(steps, default=0),
        None if trial.duration is None else round(trial.duration.total_seconds(), 1),
        trial.user_attrs.get("run"),
        *(values.get(name) for name in names),
        trial.user_attrs.get("error"),
    ]


def _toml(config: TrainConfig) -> str:
    """Return all settings that differ from the defaults, or from those of the preset, as TOML."""
    preset = read_preset(config.preset) if config.preset else {}
    changed = {
        item.name: value
        for item in fields(TrainConfig)
        if (value := getattr(config, item.name)) != item.default
        or value != preset.get(item.name, value)
    }
    # JSON's texts, numbers, true and false are TOML's, except for this one character.
    lines = (
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in changed.items()
    )
    return "".join(lines).replace("\x7f", "\\u007f")


def importances(study: Study) -> dict[str, float]:
    """Return the share of each tuned setting in what makes trials good, the largest first.

    They add up to 1.  Empty: fewer than 10 trials ran to their end, or their scores are all equal.

    References
    ----------
    Watanabe, Bansal, Hutter (2023), PED-ANOVA: efficiently quantifying hyperparameter importance in
    arbitrary subspaces.
    """
    from optuna.importance import get_param_importances
    from optuna.trial import TrialState

    values = [trial.value for trial in study.trials() if trial.state == TrialState.COMPLETE]
    if len(values) < _LEAST or len(set(values)) < 2:
        return {}
    with warnings.catch_warnings(action="ignore"):
        return get_param_importances(study.optuna)


def draw_importance(folder: Path, study: Study, progress: Progress) -> None:
    """Draw ``importance.png``, bars of the importances; without any, the picture is left out."""
    found = importances(study)
    path = folder / "importance.png"
    if not found:
        path.unlink(missing_ok=True)
        progress.note(f"no importance.png: it takes {_LEAST} finished trials of different scores")
        return
    draw_picture(path, lambda: _bars(found), progress.note)


def _bars(found: dict[str, float]) -> Any:
    from matplotlib.figure import Figure

    names, shares = list(found)[::-1], list(found.values())[::-1]
    figure = Figure((6, 1 + 0.4 * len(names)), dpi=100, layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, shares)
    axes.bar_label(bars, [f"{share:.2f}" for share in shares], padding=3)
    axes.set(xlabel="importance (PED-ANOVA): share in what makes trials good", xlim=(0, 1.1))
    axes.spines[["top", "right"]].set_visible(False)
    return figure
