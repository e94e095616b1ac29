"""Studies: what they find and write, and what becomes of one whose processes are killed."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rs_toolkit.cli.options import train_settings
from rs_toolkit.config.base import load_settings
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.config.tuning import TuneConfig
from rs_toolkit.data.index import read_index, write_index
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.errors import ConfigError, DataError, RunError
from rs_toolkit.files import sha256_file
from rs_toolkit.folders.claim import claimed
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import Progress
from rs_train.classifier.checkpoint import FitState
from rs_train.classifier.prepare import prepare
from rs_train.classifier.train import train
from rs_train.tuning import objectives
from rs_train.tuning import tune as module
from rs_train.tuning.results import importances
from rs_train.tuning.space import SPACES, applied, as_given, distributions, search_space
from rs_train.tuning.study import Study
from rs_train.tuning.tune import tune

TUNING = TuneConfig(folds=3)
TRIALS = 12
# A worker of a study whose first trial never ends.
HANGS = """
import runpy, sys, time
from pathlib import Path
runpy.run_path(sys.argv[1])
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.config.tuning import TuneConfig
from rs_train.tuning import tune as module
def hang(config, name, report):
    report(1, 3, 0.5)
    print("hangs", flush=True)
    time.sleep(600)
module.cross_validation = lambda *given: hang
settings = TrainConfig(**eval(sys.argv[4]))
module.tune(Path(sys.argv[2]), settings, TuneConfig(folds=3), Path(sys.argv[3]), trials=4)
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    # What it holds is not asked, see _hard.
    path = tmp_path_factory.mktemp("weights") / "made.weights.h5"
    path.touch()
    return TrainConfig(
        backbone="tiny", weights=str(path), imgsz=32, epochs=2, patience=0, batch_size=16,
        learning_rate=2e-3, val=0.2, test=0.2, refit="val",
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _hard() -> Iterator[None]:
    """Give the shapes features that tell them apart less well than any network's."""

    def features(photos: list[Photo], *given: Any, **more: Any) -> np.ndarray:
        found = np.empty((len(photos), 2, 6), np.float32)
        for row, photo in enumerate(photos):
            found[row] = np.random.default_rng(int(photo.sha256[:8], 16)).normal(size=(2, 6))
            found[row, :, ord(str(photo.label("family"))[0]) % 3] += 1.5
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objectives, "embed_views", features)
        yield


@pytest.fixture(scope="module")
def study(shapes, config, tmp_path_factory) -> Path:
    """A finished study of stage 1."""
    folder = tmp_path_factory.mktemp("studies") / "whole"
    tune(shapes, config, TUNING, folder, trials=TRIALS)
    return folder


@pytest.fixture
def scores(monkeypatch) -> Callable[[Any], None]:
    """Return a function that puts another objective in the place of stage 1's."""

    def put(objective: Any) -> None:
        monkeypatch.setattr(module, "cross_validation", lambda *given: objective)

    return put


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def tried(folder: Path) -> list[tuple[str, ...]]:
    """Return what a study tried and found, without times and what was put back."""
    columns = ("state", "macro_f1", "steps", "balance", "head_strength")
    return [
        tuple(row[name] for name in columns) for row in rows(folder) if row["state"] != "put back"
    ]


def test_a_study_finds_no_worse_than_it_was_given_and_writes_it_down(
    study, shapes, config, tmp_path
) -> None:
    table = rows(study)
    states = [row["state"] for row in table]
    assert len(table) == TRIALS and set(states) <= {"complete", "pruned"} and "pruned" in states
    # The first trial is as given; head_strength 0 means "automatic".
    assert (float(table[0]["balance"]), table[0]["head_strength"]) == (0.5, "0.03")
    done = [row for row in table if row["state"] == "complete"]
    best = max(done, key=lambda row: float(row["macro_f1"]))
    settings = train_settings(study / "best.toml", {})
    assert settings == replace(
        config, balance=float(best["balance"]), head_strength=float(best["head_strength"])
    )
    about = json.loads((study / "study.json").read_text())
    assert about["versions"]["optuna"] and about["data_fingerprint"] and about["weights_sha256"]
    assert about["settings"] == config.to_dict() and about["tune"] == TUNING.to_dict()
    assert os.listdir(study / "workers") == []


def test_the_rank_may_be_chosen_automatically(shapes, config, tmp_path) -> None:
    given, folder = replace(config, rank="auto"), tmp_path / "s"
    tune(shapes, given, TUNING, folder, trials=1)
    assert train_settings(folder / "best.toml", {}).rank == "family"
    # The same command goes on.
    assert tune(shapes, given, TUNING, folder, trials=2).trials == 2


def test_a_teacher_must_not_know_the_photos_of_a_study(shapes, config, tmp_path) -> None:
    """It is checked before the trials, which begin with the study's photos, and is recorded."""
    teacher, swapped = tmp_path / "teacher", tmp_path / "swapped"
    cache = PhotoCache.default(config.imgsz, config.resize, config.strict_photos)
    found = prepare(shapes, config, teacher, cache, Progress())
    (teacher / "model.keras").write_bytes(b"is not loaded")
    (teacher / "calibration.json").write_text('{"temperature": 1}')
    run = json.loads((teacher / "config.json").read_text())
    run["settings"]["refit"] = "none"
    (teacher / "config.json").write_text(json.dumps(run))
    given, folder = replace(config, teacher=str(teacher)), tmp_path / "study"
    tune(shapes, given, TUNING, folder, trials=1)
    assert json.loads((folder / "study.json").read_text())["teacher_sha256"]
    (teacher / "model.keras").write_bytes(b"another")
    with pytest.raises(RunError, match=r"began with other .* or teacher"):
        tune(shapes, given, TUNING, folder, trials=2)
    sides = {"train": "test", "test": "train", "val": "val"}
    photos = [replace(photo, split=sides[str(photo.split)]) for photo in found.photos]
    write_index(swapped / "index.parquet", photos)
    with pytest.raises(DataError, match="leave out --splits-from"):
        tune(shapes, replace(given, splits_from=str(swapped)), TUNING, tmp_path / "t", trials=1)


def test_the_same_seed_gives_the_same_trials_also_when_continued(
    study, shapes, config, tmp_path
) -> None:
    again = tmp_path / "again"
    tune(shapes, config, TUNING, again, trials=5)
    found = tune(shapes, config, TUNING, again, trials=TRIALS)
    assert tried(again) == tried(study) and found.trials == TRIALS
    # Nothing is left to do.
    assert tune(shapes, config, TUNING, again, trials=TRIALS) == found
    other = tmp_path / "other"
    tune(shapes, replace(config, seed=1), TUNING, other, trials=2)
    assert tried(other)[1] != tried(study)[1]


def test_folds_hold_whole_groups_and_no_test_photo(shapes, config, tmp_path, monkeypatch) -> None:
    seen = []
    embed, fit = objectives.embed_views, objectives.fit_head

    def embedding(photos: Any, *given: Any, **more: Any) -> Any:
        seen.extend(photos)
        return embed(photos, *given, **more)

    judged = []

    def fitting(features: Any, labels: Any, weights: Any, val: Any, *more: Any) -> Any:
        judged.append((len(features), len(val)))
        # As in stage 1 of a training: classes, strengths, and two views of each photo.
        assert more[1:] == (3, (0.03,), 2)
        return fit(features, labels, weights, val, *more)

    monkeypatch.setattr(objectives, "embed_views", embedding)
    monkeypatch.setattr(objectives, "fit_head", fitting)
    tune(shapes, config, TUNING, tmp_path / "s", trials=1)
    assert {photo.split for photo in seen} == {"train", "val"}
    # Each photo is judged once; the linear layer learns from both views of the others.
    assert sum(held for _, held in judged) == len(seen)
    assert all(learned == 2 * (len(seen) - held) for learned, held in judged)
    groups = [f"g{number // 4}" for number in range(len(seen))]
    photos = [replace(photo, group=name) for photo, name in zip(seen, groups, strict=True)]
    labels = np.arange(len(seen)) % 3
    for learned, held in objectives._folds(labels, photos, config, 3):
        assert not {groups[row] for row in learned} & {groups[row] for row in held}


def test_a_killed_worker_leaves_nothing_broken(study, shapes, config, repository, tmp_path) -> None:
    """Two processes share a study, and one is killed in the middle of a trial."""
    folder = tmp_path / "shared"
    values = {name: value for name, value in config.to_dict().items() if value != ""}
    command = [sys.executable, "-c", HANGS, repository / "tests" / "tiny_backbone.py"]
    with subprocess.Popen(
        [*map(str, command), str(shapes), str(folder), repr(values)], stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == b"hangs\n"
        notes = []

        class Kills(Progress):
            """Kill the other process when only its trial is left."""

            def note(self, text: str) -> None:
                notes.append(text)
                if text.startswith("waiting"):
                    # Half a line, as if it had been killed while it wrote.
                    with (folder / "journal.jsonl").open("a") as file:
                        file.write('{"op_code": 6, "wor')
                    worker.send_signal(signal.SIGKILL)
                    worker.wait()

        found = tune(shapes, config, TUNING, folder, trials=4, progress=Kills())
    assert [text for text in notes if text.startswith("waiting")] == [
        "waiting for trials of other processes: 1"
    ]
    table = rows(folder)
    assert found.trials == 4 and len(table) == 5
    assert [row["trial"] for row in table if row["state"] == "put back"] == ["0"]
    # The trial of the killed process was run by the other one, with the same values.
    assert tried(folder)[-1] == tried(study)[0]
    assert found.given == pytest.approx(float(table[-1]["macro_f1"]), abs=1e-6)
    for line in (folder / "journal.jsonl").read_text().splitlines():
        assert isinstance(json.loads(line), dict)


def test_a_trial_in_which_processes_die_is_not_tried_for_ever(shapes, config, tmp_path, scores):
    def dies(config: TrainConfig, name: str, report: Any) -> float:
        if name == "0001":
            raise MemoryError
        return config.balance

    scores(dies)
    for _ in range(2):
        with pytest.raises(MemoryError):
            tune(shapes, config, TUNING, tmp_path / "s", trials=4)
    found = tune(shapes, config, TUNING, tmp_path / "s", trials=4)
    assert (found.trials, found.failed) == (4, 1)
    assert [row["error"] for row in rows(tmp_path / "s") if row["error"]] == [
        "2 processes died in it"
    ]


def test_after_ctrl_c_the_same_command_goes_on(study, shapes, config, tmp_path, monkeypatch):
    folder, made = tmp_path / "s", module.cross_validation

    def interrupted(*given: Any) -> Any:
        inner = made(*given)

        def score(config: TrainConfig, name: str, report: Any) -> float:
            if name == "0003":
                raise KeyboardInterrupt
            return inner(config, name, report)

        return score

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "cross_validation", interrupted)
        tune(shapes, config, TUNING, folder, trials=6)
    # The best so far is written.
    assert load_settings(TrainConfig, {}) != train_settings(folder / "best.toml", {})
    tune(shapes, config, TUNING, folder, trials=6)
    assert tried(folder) == tried(study)[:6]


@pytest.mark.parametrize("step", ["enqueue_trial", "tell"])
def test_ctrl_c_while_a_trial_is_put_back_does_not_lose_it(
    shapes, config, tmp_path, scores, monkeypatch, step
) -> None:
    import optuna

    def interrupted(*given: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    def begins(config: TrainConfig, name: str, report: Any) -> float:
        patch.setattr(optuna.study.Study, step, interrupted)
        raise KeyboardInterrupt

    scores(begins)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        tune(shapes, config, TUNING, tmp_path / "s", trials=2)
    scores(lambda config, name, report: config.balance)
    found = tune(shapes, config, TUNING, tmp_path / "s", trials=2)
    assert (found.given, found.trials) == (0.5, 2)
    assert sorted(row["run"] for row in rows(tmp_path / "s") if row["state"] != "put back") == [
        *("0000", "0002")
    ]


def test_a_full_disk_is_no_damage(shapes, config, tmp_path, scores, monkeypatch) -> None:
    from optuna.storages.journal import JournalFileBackend

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    scores(lambda config, name, report: config.balance)
    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", full)
        with pytest.raises(OSError, match="No space left"):
            tune(shapes, config, TUNING, tmp_path / "s", trials=1)
    # Nor is it the fault of a trial, however often it happens.
    scores(full)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            tune(shapes, config, TUNING, tmp_path / "s", trials=1)
    scores(lambda config, name, report: config.balance)
    assert tune(shapes, config, TUNING, tmp_path / "s", trials=1).given == 0.5


def test_time_ends_a_search_within_a_trial(shapes, config, tmp_path, scores, monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def slow(config: TrainConfig, name: str, report: Any) -> float:
        for step in (1, 2, 3):
            now[0] += 1
            report(step, 3, 0.5)
        return 0.5

    scores(slow)
    found = tune(shapes, config, TUNING, tmp_path / "s", seconds=7.5)
    assert found.trials == 2
    assert [row["state"] for row in rows(tmp_path / "s")] == [
        *("complete", "complete", "put back", "waiting")
    ]
    with pytest.raises(RunError, match="no trial has a score yet"):
        tune(shapes, config, TUNING, tmp_path / "t", seconds=1.5)


def test_the_picture_shows_which_setting_mattered(shapes, config, tmp_path, scores) -> None:
    scores(lambda config, name, report: 0.5 + config.balance / 2)
    with Study.open(tmp_path, search_space(TUNING, config), 0, {}, 1) as empty:
        assert importances(empty) == {}
    folder = tmp_path / "s"
    tune(shapes, config, TUNING, folder, trials=10)
    assert (folder / "importance.png").read_bytes()[:4] == b"\x89PNG"
    with Study.open(folder, search_space(TUNING, config), 0, {}, 1) as study:
        assert list(importances(study)) == ["balance", "head_strength"]
    # What is no longer known is not left to be seen.
    scores(lambda config, name, report: 0.5)
    tune(shapes, replace(config, seed=1), TUNING, tmp_path / "t", trials=10)
    assert not (tmp_path / "t" / "importance.png").exists()


def test_a_failed_trial_is_named_and_the_search_goes_on(shapes, config, tmp_path, scores) -> None:
    def fails(config: TrainConfig, name: str, report: Any) -> float:
        if name == "0001":
            raise RunError("epoch 1: got loss nan")
        return config.balance

    scores(fails)
    found = tune(shapes, config, TUNING, tmp_path / "s", trials=4)
    assert (found.trials, found.failed) == (4, 1)
    assert rows(tmp_path / "s")[1]["error"] == "epoch 1: got loss nan"


def test_settings_that_fail_as_they_were_given_end_the_search(shapes, config, tmp_path, scores):
    def fails(config: TrainConfig, name: str, report: Any) -> float:
        raise RunError("epoch 1: got loss nan")

    scores(fails)
    with pytest.raises(RunError, match="epoch 1: got loss nan"):
        tune(shapes, config, TUNING, tmp_path / "s", trials=4)
    scores(lambda config, name, report: 0.5)
    assert tune(shapes, config, TUNING, tmp_path / "s", trials=1).given == 0.5


def test_another_study_is_refused(study, shapes, config, tmp_path, one_line) -> None:
    before = (study / "trials.csv").read_bytes()
    for given, tuning, said in (
        (replace(config, seed=3), TUNING, r"other settings \(seed\)"),
        (config, replace(TUNING, folds=4), r"other settings \(folds\)"),
    ):
        with pytest.raises(RunError, match=said) as caught:
            tune(shapes, given, tuning, study, trials=1)
        one_line(str(caught.value))
    other = tmp_path / "fewer"
    for file in sorted(shapes.rglob("*.png"))[3:]:
        (other / file.parent.name).mkdir(parents=True, exist_ok=True)
        os.link(file, other / file.parent.name / file.name)
    with pytest.raises(RunError, match="other photos, splits, weights or teacher"):
        tune(other, config, TUNING, study, trials=1)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").touch()
    with pytest.raises(RunError, match=r"no study, but notes.txt"):
        tune(shapes, config, TUNING, tmp_path / "taken", trials=1)
    assert (study / "trials.csv").read_bytes() == before


def test_a_damaged_journal_is_one_line(study, shapes, config, tmp_path, one_line) -> None:
    folder = tmp_path / "s"
    tune(shapes, config, TUNING, folder, trials=1)
    text = (folder / "journal.jsonl").read_text()
    for damage in (text.replace('"op_code":4', '"op_code"4'), "[]\n" + text, '{"a": 1}\n' + text):
        (folder / "journal.jsonl").write_text(damage)
        with pytest.raises(RunError, match="damaged") as caught:
            tune(shapes, config, TUNING, folder, trials=2)
        one_line(str(caught.value))


@pytest.mark.parametrize(
    ("changed", "tuning", "kind", "said"),
    [
        ({"weights": "none"}, TUNING, ConfigError, "weights: got none"),
        ({"time": "30m"}, TUNING, ConfigError, "time: got '30m'"),
        ({}, TuneConfig(only="dropout"), ConfigError, "only: got 'dropout', wanted one or more"),
        ({"test": 0.5}, TuneConfig(folds=20), DataError, "wanted 20 or more; lower --folds"),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    shapes, config, tmp_path, changed, tuning, kind, said
) -> None:
    with pytest.raises(kind, match=said):
        tune(shapes, replace(config, **changed), tuning, tmp_path / "s", trials=1)


def test_folds_are_refused_where_there_are_none() -> None:
    with pytest.raises(ConfigError, match="folds: got 10 with stage 2"):
        TuneConfig(stage=2, folds=10)


def test_every_setting_of_the_search_space_can_be_used() -> None:
    limits = {item.name: item.metadata for item in fields(TrainConfig)}
    for stage in SPACES:
        space = search_space(TuneConfig(stage=stage), TrainConfig())
        # What is written down in one place are settings of a training, within its limits.
        assert set(distributions(space)) == set(SPACES[stage]) <= set(limits)
        for name, allowed in space.items():
            for value in allowed.choices or (allowed.low, allowed.high):
                applied(TrainConfig(), {name: value})
        assert applied(TrainConfig(), as_given(TrainConfig(), space)) == replace(
            TrainConfig(), **({"head_strength": 0.03} if stage == 1 else {})
        )


def test_a_range_holds_what_was_given() -> None:
    given = TrainConfig(loss="focal", layer_decay=0.3, weight_decay=0.0, dropout=0.9)
    space = search_space(TuneConfig(stage=2), given)
    assert as_given(given, space)["loss"] == "focal" in space["loss"].choices
    assert (space["layer_decay"].low, space["dropout"].high) == (0.3, 0.9)
    assert as_given(given, space)["weight_decay"] == space["weight_decay"].low == 1e-4
    adjusted = TrainConfig(loss="balanced_softmax", logit_adjustment=0.5)
    assert applied(adjusted, {"loss": "cross_entropy"}).logit_adjustment == 1
    assert applied(adjusted, {"loss": "balanced_softmax"}).logit_adjustment == 0.5


def test_only_some_settings_are_tuned() -> None:
    space = search_space(TuneConfig(stage=2, only="learning-rate, dropout"), TrainConfig())
    assert set(space) == {"learning_rate", "dropout"}


def test_nothing_of_a_study_is_unpickled(study) -> None:
    from optuna.storages.journal import JournalFileBackend
    from optuna.storages.journal._base import BaseJournalSnapshot

    # Optuna's journal unpickles snapshots, which only backends of this kind have.
    assert not issubclass(JournalFileBackend, BaseJournalSnapshot)
    with Study.open(study, search_space(TUNING, TrainConfig()), 0, {}, 1) as opened:
        kind = type(opened.optuna.sampler).__module__
    assert "cmaes" not in kind


def test_whole_trainings_are_run_folders_that_a_person_can_finish(shapes, config, tmp_path) -> None:
    tuning, folder = TuneConfig(stage=2, only="learning_rate,loss"), tmp_path / "s"
    found = tune(shapes, replace(config, weights="none"), tuning, folder, trials=1)
    run = folder / "trials" / found.run
    with (run / "epochs.csv").open(newline="") as file:
        scored = [float(row["val_macro_f1"]) for row in csv.DictReader(file)]
    assert len(scored) == 3 and max(scored) == found.best == found.given
    # Nothing was measured on test photos, until a person asks for it.
    assert not (run / "metrics.json").exists()
    settings = train_settings(folder / "best.toml", {})
    assert settings.refit == "val"
    train(shapes, replace(settings, refit="none"), run, resume=True)
    assert Run.open(run).config["learning_rate"] == settings.learning_rate
    # The photos, splits and classes are those of the study.
    assert read_index(run / "index.parquet") == read_index(folder / "split" / "index.parquet")


def test_a_training_is_pruned_after_an_epoch_and_only_the_best_keeps_its_weights(
    shapes, config, tmp_path, monkeypatch
) -> None:
    begun = []

    def trains(
        data: Path, config: TrainConfig, run: Path, *, resume: bool, watch: Any, **more: Any
    ):
        begun.append(run.name)
        assert resume and (run / "config.json").exists()
        (run / "checkpoints").mkdir()
        state = FitState(history=[{"epoch": 0, "val_macro_f1": 0.2}], epochs=3, best_score=[0.2])
        for epoch in range(1, 4):
            good = run.name in ("0000", "0006")
            score = 0.2 * epoch if good else 0.1 / len(begun)
            state.history.append({"epoch": epoch, "val_macro_f1": score})
            state.best_score = [max(score, *state.best_score)]
            watch(state)

    monkeypatch.setattr("rs_train.classifier.train.train", trains)
    monkeypatch.setattr("keras.utils.clear_session", lambda: None)
    folder = tmp_path / "s"
    found = tune(shapes, config, TuneConfig(stage=2), folder, trials=8)
    assert begun == [f"{number:04d}" for number in range(8)]
    table = rows(folder)
    pruned = ["0005", "0007"]
    assert [row["run"] for row in table if row["state"] == "pruned"] == pruned
    assert all(row["steps"] == ("1" if row["run"] in pruned else "3") for row in table)
    # Two are equally good.
    kept = [run.name for run in (folder / "trials").iterdir() if (run / "checkpoints").exists()]
    assert kept == [found.run] == ["0000"]


def test_a_trial_that_a_person_finishes_keeps_its_weights(tmp_path) -> None:
    folders = [tmp_path / "trials" / name / "checkpoints" for name in ("0000", "0001", "0002")]
    for folder in folders:
        folder.mkdir(parents=True)
    trials = objectives.Trainings(tmp_path, tmp_path, {}, None, Progress())
    with claimed(folders[0].parent):
        trials.keep_only({"0001"})
    assert [folder.exists() for folder in folders] == [True, True, False]
    trials.keep_only({"0001"})
    assert [folder.exists() for folder in folders] == [False, True, False]


def test_the_settled_rank_is_tuned_and_written(shapes, config, tmp_path) -> None:
    given = replace(config, rank="auto")
    for _ in range(2):
        tune(shapes, given, TUNING, tmp_path / "s", trials=1)
    assert train_settings(tmp_path / "s" / "best.toml", {}).rank == "family"
    folder = tmp_path / "t"
    tune(shapes, replace(given, weights="none", epochs=0), TuneConfig(stage=2), folder, trials=1)
    begun = json.loads((folder / "trials" / "0000" / "config.json").read_text())
    assert begun["settings"]["rank"] == "family"


def test_a_mended_command_may_use_the_same_folder(shapes, config, tmp_path) -> None:
    folder = tmp_path / "s"
    with pytest.raises(ConfigError, match="weights: got none"):
        tune(shapes, replace(config, weights="none"), TUNING, folder, trials=1)
    with pytest.raises(DataError, match="lower --folds"):
        tune(shapes, replace(config, test=0.5), TuneConfig(folds=20), folder, trials=1)
    assert not folder.exists()
    assert tune(shapes, config, TUNING, folder, trials=1).trials == 1


def test_a_teacher_is_checked_and_recorded(shapes, config, trained, tmp_path, scores) -> None:
    taught = replace(config, teacher=str(trained))
    tuning, folder = TuneConfig(stage=2), tmp_path / "s"
    scores(lambda config, name, report: 0.5)
    tune(shapes, taught, TUNING, folder, trials=1)
    about = json.loads((folder / "study.json").read_text())
    assert about["teacher_sha256"] == sha256_file(trained / "model.keras")
    # With another split, it has learned from photos that the student is tested on.
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    photos = [replace(photo, split="test") for photo in Run.open(trained).photos]
    shutil.copy(trained / "config.json", mixed)
    write_index(mixed / "index.parquet", [*photos[::2], *Run.open(trained).photos[1::2]])
    for chosen in (tuning, TUNING):
        with pytest.raises(DataError, match="learned from"):
            tune(shapes, replace(taught, splits_from=str(mixed)), chosen, tmp_path / "t", trials=1)


def test_a_setting_that_undoes_a_preset_is_in_the_best_ones(shapes, config, tmp_path) -> None:
    given = replace(config, preset="dropout", dropout=0.3)
    tune(shapes, given, TUNING, tmp_path / "s", trials=1)
    assert train_settings(tmp_path / "s" / "best.toml", {}).dropout == 0.3
