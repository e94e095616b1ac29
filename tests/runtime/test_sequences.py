"""Sequences: which photos they have, what is answered, and that a crash changes nothing."""

from __future__ import annotations

import csv
import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime import Classifier, Failure, Prediction
from rs_runtime import sequences as module
from rs_runtime.cli import main
from rs_runtime.errors import SequenceError
from rs_runtime.filter import FilterVerdict
from rs_runtime.photos.exif import Exif
from rs_runtime.results import PhotoFacts
from rs_runtime.sequences import ByTable, ByTime, classify_sequences, read_sequences


def save(path: Path, colour: tuple[int, int, int], time: str | None, make: str = "Reconyx") -> None:
    exif = Image.Exif()
    exif.update({0x010F: make} if make else {})
    if time:
        exif.update({0x0132: f"2025:03:09 {time}"})
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40), colour).save(path, exif=exif)


@pytest.fixture
def card(tmp_path) -> Path:
    """Two cameras' folders: sequences of 3, 1 and 2 photos, one photo damaged, one timeless."""
    folder = tmp_path / "card"
    for name, colour, time in (
        ("A/1.png", (255, 0, 0), "06:30:00"),
        ("A/2.png", (100, 140, 0), "06:30:20"),
        ("A/4.png", (200, 0, 0), "06:30:40"),
        ("A/5.png", (0, 0, 255), "06:31:11"),
        ("A/6.png", (0, 0, 255), None),
        ("B/1.png", (0, 250, 0), "06:31:12"),
        ("B/2.png", (0, 100, 140), "06:31:12"),
    ):
        save(folder / name, colour, time)
    (folder / "A" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


EXPECTED = [
    *("A/1.png", "A/1.png", None, "A/1.png", "A/5.png", None, "B/1.png", "B/1.png"),
]


@pytest.fixture
def classify(onnx_kit, card, capfd):
    """Run the command on the card as JSON; return exit code, rows and complaints."""

    def run(*options: object) -> tuple[int, list[dict], str]:
        asked = [str(option) for option in options]
        code = main([str(card), "--kit", str(onnx_kit), "--json", *asked])
        out, err = capfd.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return run


def ids(rows: list[dict]) -> list[str | None]:
    return [(row.get("sequence") or {}).get("id") for row in rows]


def test_photos_of_one_camera_near_in_time_are_a_sequence(classify, card) -> None:
    code, rows, err = classify("--sequence", "30s")
    assert code == 1 and "3.png" in err and err.count("\n") == 1
    assert [Path(row["path"]).relative_to(card).as_posix() for row in rows] == [
        *("A/1.png", "A/2.png", "A/3.png", "A/4.png", "A/5.png", "A/6.png"),
        *("B/1.png", "B/2.png"),
    ]
    assert ids(rows) == EXPECTED
    rows.pop(2)
    assert [row["sequence"]["photos"] for row in rows if row["sequence"]] == [3, 3, 3, 1, 2, 2]
    assert not any("kept" in row for row in rows)
    # Each photo keeps its own answer.
    assert [row["top"][0]["name"] for row in rows[:3]] == ["red", "green", "red"]
    assert {row["sequence"]["top"][0]["name"] for row in rows[:3]} == {"red"}
    alone = rows[3]
    assert alone["sequence"]["top"] == alone["top"]


def test_without_the_option_there_are_no_sequences(classify) -> None:
    _, rows, _ = classify()
    assert ids(rows) == [None] * 8


def test_the_answer_is_the_normalized_mean_of_the_logarithms(onnx_kit, card) -> None:
    photos = [card / "A" / name for name in ("1.png", "2.png", "4.png")]
    with Classifier.open(onnx_kit) as classifier:
        own = np.log([classifier.probabilities(pixels(classifier, each))[0] for each in photos])
        *_, found = classify_sequences(classifier, photos, ByTime(30), top=3)
    mean = np.exp(own.mean(axis=0))
    expected = mean / mean.sum()
    assert isinstance(found, Prediction) and found.sequence is not None and found.kept is None
    for score in found.sequence.top:
        assert score.probability == pytest.approx(float(expected[score.class_id]), rel=1e-4)


def pixels(classifier: Classifier, photo: Path) -> np.ndarray:
    return classifier.preprocessing.load(photo)[None]


def test_with_a_list_of_species_the_sequence_has_both_answers(onnx_kit, card) -> None:
    photos = sorted((card / "A").glob("[124].png"))
    with Classifier.open(onnx_kit, species=["green", "blue"]) as classifier:
        found = next(classify_sequences(classifier, photos, ByTime(30)))
    assert isinstance(found, Prediction) and found.sequence and found.sequence.original
    assert [score.name for score in found.sequence.top] == ["green", "blue"]
    assert found.sequence.original.top[0].name == "red"
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


def photo(path: str, time: str | None, verdict: str | None = None, **camera: str) -> Prediction:
    facts = PhotoFacts(4, 3, Exif(time and f"2025-03-09T{time}", **camera))
    judged = verdict and FilterVerdict(verdict, 0.5, "filter")
    return Prediction(path, "v", None, (), filter=judged or None, photo=facts)


def places(seconds: float, *results: Prediction | Failure) -> list[int | None]:
    """Return the number of each result's sequence."""
    rule = ByTime(seconds, "/base")
    names = [rule.place(each) for each in results]
    order = list(dict.fromkeys(name for name in names if name))
    return [None if name is None else order.index(name) for name in names]


def test_times_cameras_and_folders_part_sequences() -> None:
    assert places(
        10,
        photo("/base/1", "06:00:00.5+02:00"),
        photo("/base/2", "06:00:10.4+02:00"),
        photo("/base/3", "06:00:20.5+02:00"),
        Failure("/base/4", "damaged"),
        photo("/base/5", None),
        photo("/base/6", "06:00:15"),
        photo("/base/7", "06:00:15", serial="2"),
        photo("/base/8", "06:00:15", serial="2", model="X"),
        photo("/base/a/9", "06:00:15", serial="2", model="X"),
        Failure("/base/b", "folder cannot be read", "folder"),
        photo("/base/a/9b", "06:00:15", serial="2", model="X"),
        photo("/base/a/10", "05:59:00", serial="2", model="X"),
    ) == [0, 0, 1, None, None, 1, 2, 3, 4, None, 5, 6]


def test_a_folder_that_ends_ends_its_sequence() -> None:
    rule = ByTime(10, "/base")
    name = rule.place(photo("/base/a/1", "06:00:00"))
    assert name == "a/1" and rule.goes_on(name)
    rule.place(Failure("/base/b/1", "damaged"))
    assert not rule.goes_on(name)


def test_photos_that_show_no_organism_do_not_count(filter_kit, tmp_path) -> None:
    folder = tmp_path / "card"
    save(folder / "1.png", (250, 0, 0), "06:00:00")
    save(folder / "2.png", (0, 0, 255), "06:00:01")  # the filter takes blue for none
    save(folder / "3.png", (0, 0, 255), "07:00:01")
    with Classifier.open(filter_kit, engine="onnxruntime") as classifier:
        first, second, third = classify_sequences(classifier, sorted(folder.iterdir()), ByTime(5))
    for found in (first, second, third):
        assert isinstance(found, Prediction) and found.sequence
    assert (first.sequence.photos, first.sequence.counted) == (2, 1)
    assert first.sequence.top == first.top == second.sequence.top != second.top
    assert (third.sequence.counted, third.sequence.answer, third.sequence.top) == (0, None, ())


@pytest.fixture
def table(tmp_path, card) -> Path:
    """Sequences that lie apart, one with a photo that is not there, one with a damaged photo."""
    path = tmp_path / "sequences.csv"
    path.write_text(
        "note,path,sequence\n,A/1.png,night\n,./B/2.png,night\nx,A/3.png,bad\n,A/2.png,day\n"
        ",A/absent.png,day\n,A/9.png,\n"
    )
    return path


def test_given_sequences(classify, table) -> None:
    code, rows, _ = classify("--sequences", table)
    assert code == 1 and ids(rows) == ["night", "day", *[None] * 5, "night"]
    assert rows[0]["sequence"] == rows[-1]["sequence"]
    assert [row["sequence"]["photos"] for row in (rows[0], rows[1])] == [2, 1]


@pytest.mark.parametrize("rule", ["time", "given"])
def test_a_photo_given_twice_counts_once(onnx_kit, card, table, rule, capfd) -> None:
    options = ["--sequence", "30s"] if rule == "time" else ["--sequences", str(table)]
    again = card / "A" / ".." / "A" / "1.png"
    given = [*(str(again),) * (rule == "given"), str(card), str(again), str(card / "B")]
    main([*given, "--kit", str(onnx_kit), "--json", *options])
    out, err = capfd.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 8 and f"{3 + (rule == 'given')} files given twice" in err
    first = next(row for row in rows if row["path"].endswith("A/1.png"))
    assert first["sequence"]["photos"] == (3 if rule == "time" else 2)


def test_a_photo_given_twice_does_not_end_its_sequence(manifest) -> None:
    results = [photo(f"/base/{name}", "06:00:00") for name in ("1", "1", "2", "1")]
    rule = ByTable({"1": "night", "2": "night"}, "/base")
    found = [*classify_sequences(Results(manifest, results), [], rule)]
    assert [item.sequence.photos for item in found] == [3, 3, 3, 1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("path;sequence\n", "line 1 lacks the columns path, sequence"),
        ("", "line 1 lacks the columns"),
        ("path,sequence\na,1\n./a,2\n", "line 3 has 'a' in another sequence"),
        (f"path,sequence\na,{'x' * 501}\n", "line 2 has a sequence"),
        ("path,sequence\na,\u202eb\n", "at most 500 printable characters"),
        (b"path,sequence\n\xff,1\n", "no text in UTF-8"),
    ],
)
def test_tables_of_no_use_end_the_command(tmp_path, classify, text, problem) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    code, rows, err = classify("--sequences", path)
    assert (code, rows) == (2, []) and problem in err and err.count("\n") == 1
    with pytest.raises(SequenceError, match="cannot be read"):
        read_sequences(tmp_path / "absent.csv")


class Results:
    """In place of a classifier: gives results, and counts those that wait."""

    def __init__(self, manifest, results: list[Prediction | Failure], end=None) -> None:
        self.manifest, self.results, self.taken, self.end = manifest, results, 0, end
        self.keep_all = False

    def classify_many(self, photos: object, top: int, journal: object):
        for each in self.results:
            self.taken += 1
            yield each
        if self.end is not None:
            raise self.end


@pytest.mark.parametrize("kind", ["time", "given"])
def test_at_most_so_many_results_wait(manifest, monkeypatch, kind) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    results: list[Prediction | Failure] = [photo(f"/base/{i}", "06:00:00") for i in range(35)]
    results[3:3] = [Failure(f"/base/bad-{i}", "damaged") for i in range(30)]
    fake = Results(manifest, results)
    given = ByTable({**{f"{i}": "all" for i in range(35)}, "absent": "all"}, "/base")
    rule = ByTime(30, "/base") if kind == "time" else given
    told: list[str] = []
    yielded = 0
    parts, got = [], []
    for found in classify_sequences(fake, [], rule, warn=told.append):
        yielded += 1
        assert fake.taken - yielded < 10
        got.append(found)
        parts.append(found.sequence.photos if isinstance(found, Prediction) else 0)
    assert yielded == 65 and max(parts) == 10
    assert [found.path for found in results] == [each.path for each in fake.results]
    assert told and "answered in parts" in told[0]
    names = {found.sequence.id for found in got if isinstance(found, Prediction)}
    assert names == {"all"} if kind == "given" else len(names) == len(told) + 1


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError])
def test_what_waits_is_not_lost(manifest, end) -> None:
    fake = Results(manifest, [photo(f"/base/{i}", "06:00:00") for i in range(3)], end)
    found = []
    with pytest.raises(end):
        for item in classify_sequences(fake, [], ByTime(5, "/base")):
            found.append(item)
    assert [item.sequence.photos for item in found] == [3] * 3


def test_a_warning_is_given_where_nobody_takes_it(manifest, monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    fake = Results(manifest, [photo(f"/base/{i}", "06:00:00") for i in range(3)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len([*classify_sequences(fake, [], ByTime(5, "/base"))]) == 3
    assert caught


@pytest.mark.parametrize("rule", ["time", "given"])
def test_killed_at_any_point_a_run_ends_with_the_same_output(
    classify, card, table, tmp_path, rule
) -> None:
    options = ("--sequence", "30s") if rule == "time" else ("--sequences", table)
    journal = tmp_path / "run.journal"
    whole = classify(*options)
    assert classify(*options, "--journal", journal) == whole
    data = journal.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    assert len(ends) == 8
    # After each answer, and within one.
    for size in (*ends, ends[2] + 40, ends[6] + 200):
        journal.write_bytes(data[:size])
        assert classify(*options, "--journal", journal) == whole
        assert len(journal.read_bytes().splitlines()) in (8, 9)


def test_a_journal_without_sequences_is_not_taken_for_one_with_them(classify, tmp_path) -> None:
    journal = tmp_path / "run.journal"
    classify("--journal", journal)
    _, rows, _ = classify("--journal", journal, "--sequence", "30s")
    assert rows[0]["sequence"]["counted"] == 3


def test_a_journal_with_other_numbers_of_classes_counts_for_nothing(onnx_kit, card) -> None:
    with Classifier.open(onnx_kit) as classifier:
        classifier.keep_all = True
        good = classifier.classify(card / "A" / "1.png")
        for kept in ("AAAA", "", "AADAfwAAwH8AAMB/", None):
            (found,) = classify_sequences(classifier, [replace(good, kept=kept)], ByTime(5))
            assert isinstance(found, Prediction) and found.sequence
            assert found.sequence.counted == 0


def test_files_and_tables_tell_of_sequences(classify, card, onnx_kit, tmp_path, capfd) -> None:
    base = [str(card), "--kit", str(onnx_kit), "--sequence", "30"]
    base += ["--min-probability", "0.5"]
    main([*base, "-o", str(tmp_path / "a.csv")])
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [row["sequence"] or None for row in rows] == EXPECTED
    assert [*rows[0]][-4:] == [
        *("sequence", "sequence_rank", "sequence_name", "sequence_probability")
    ]
    capfd.readouterr()
    main(base)
    out = capfd.readouterr().out
    assert out.count("  sequence of 3 photos: family red (") == 3
    assert out.count("  sequence of") == 5
    main([*base, "--format", "camtrap-dp", "-o", str(tmp_path / "package")])
    observed = csv.DictReader((tmp_path / "package.partial" / "observations.csv").open())
    assert [row["eventID"] or None for row in observed] == EXPECTED


def test_folders_may_be_relative(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rule = ByTable({"a/1.png": "night"}, "card")
    assert rule.place(photo("card/a/1.png", None)) == "night"
    assert ByTime(5, "card").place(photo("card/a/1.png", "06:00:00")) == "a/1.png"
    assert ByTime(5).place(photo("card/a/1.png", "06:00:00")) == "card/a/1.png"


def test_a_table_that_names_no_photo_is_said_once(classify, card, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    table = tmp_path / "other.csv"
    table.write_text("path,sequence\ncard/A/1.png,night\n")
    _, rows, err = classify("--sequences", table)
    assert ids(rows) == [None] * 8 and err.count("no photo so far is in the table") == 1
    assert "'card/A/1.png'" in err and "'A/1.png'" in err and repr(str(card)) in err
    table.write_text("path,sequence\n")
    assert "which is empty" in classify("--sequences", table)[2]
    table.write_text("path,sequence\nB/2.png,night\n")
    monkeypatch.setattr(module, "MOST", 500)
    assert "no photo so far" not in classify("--sequences", table)[2]


def test_photos_without_a_time_are_said_to_be_in_no_sequence(onnx_kit, card, capfd) -> None:
    for name, said in (("6.png", 1), ("5.png", 0)):
        main([str(card / "A" / name), "--kit", str(onnx_kit), "--sequence", "30"])
        assert capfd.readouterr().err.count("no photo so far says when it was taken") == said
