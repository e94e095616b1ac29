"""``rs-toolkit tune`` as a user meets it; what it does is tested in tests/train/tuning."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import rs_train.tuning.tune
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.config.tuning import TuneConfig
from rs_train.tuning.results import Result

FOUND = Result(7, 2, 1, 0.51234, 0.5, "0003", {"balance": 0.8, "loss": "focal"})


@dataclass
class Search:
    """Stands for the search; ``given`` are the arguments of its calls."""

    problem: type[BaseException] | None = None
    given: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, data: Path, *settings: Any, **more: Any) -> Result:
        self.given.append({"settings": settings, **more})
        if self.problem:
            raise self.problem
        return FOUND


@pytest.fixture
def search(monkeypatch, tmp_path) -> Search:
    found = Search()
    monkeypatch.setattr(rs_train.tuning.tune, "tune", found)
    monkeypatch.chdir(tmp_path)
    return found


def test_options_reach_the_search_and_its_result_is_printed(run, search) -> None:
    code, out, _ = run("tune", "photos", "--stage", 2, "--only", "loss", "--weights", "none")
    assert code == 0
    assert out.splitlines() == [
        "best of 7 trials, 2 of them pruned, 1 failed: macro-F1 0.5123 (as given: 0.5000)",
        "balance 0.8, loss focal",
        str(Path("tune", "photos", "best.toml")),
    ]
    (given,) = search.given
    assert given["settings"] == (
        TrainConfig(weights="none"),
        TuneConfig(stage=2, only="loss"),
        Path("tune", "photos"),
    )


@pytest.mark.parametrize(
    ("options", "trials", "seconds"),
    [((), 30, None), (("--time", "30m"), None, 1800), (("--time", "90s", "--trials", 5), 5, 90)],
)
def test_the_budget_is_trials_or_time(run, search, options, trials, seconds) -> None:
    assert run("tune", "photos", *options, "--out", "s")[0] == 0
    assert (search.given[0]["trials"], search.given[0]["seconds"]) == (trials, seconds)
    # The time of a study is not that of a training.
    assert search.given[0]["settings"][0].time == ""


def test_a_study_with_a_time_may_have_settings_that_a_timed_training_has_not(
    run, search, tmp_path
) -> None:
    (tmp_path / "s.toml").write_text("first_size = 160\n")
    assert run("tune", "photos", "--config", "s.toml", "--time", "30m")[0] == 0
    assert search.given[0]["seconds"] == 1800
    assert search.given[0]["settings"][0].first_size == 160


def test_a_wrong_time_is_one_line(run, search, one_line) -> None:
    code, _, err = run("tune", "photos", "--time", "soon")
    assert code == 2 and "wanted a time such as 30m" in one_line(err, "rs-toolkit")


def test_ctrl_c_says_how_to_go_on(run, search) -> None:
    search.problem = KeyboardInterrupt
    code, _, err = run("tune", "photos")
    assert code == 130 and "interrupted; the same command goes on" in err
