"""Long runs that are killed, interrupted or out of time, and then go on."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import zlib
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.classify import Classifier
from rs_runtime.cli import main
from rs_runtime.errors import FilterError, JournalError
from rs_runtime.filter import Filter
from rs_runtime.journal import photo_key, settings_of
from rs_runtime.journal_file import Journal
from rs_runtime.kit.kit import write_kit
from rs_runtime.kit.sets import SetSpec, UnknownSpec
from rs_runtime.kit.verdict import LossVerdict
from rs_runtime.progress import Progress
from rs_runtime.stderr import write_stderr

COUNT = 24


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder of small photos, of which one is damaged."""
    folder = tmp_path / "card"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        colour = tuple(generator.integers(0, 256, 3).tolist())
        exif = Image.Exif()
        # Photos with and without a time and a camera.
        exif.update({0x0132: "2025:03:09 06:30:12", 0x010F: "Reconyx"} if number % 2 else {})
        Image.new("RGB", (40, 40), colour).save(folder / f"{number:02d}.png", exif=exif)
    (folder / "05.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


@pytest.fixture
def journal(tmp_path) -> Path:
    """Where a journal may be written; it is not there yet."""
    return tmp_path / "run.journal"


@pytest.fixture
def classify(onnx_kit, photos, monkeypatch, capfd):
    """Run the command on the photos; return exit code, standard output and complaints."""
    monkeypatch.setenv("RS_KIT", str(onnx_kit))
    monkeypatch.delenv("RS_PUBLIC_KEY", raising=False)

    def run(*arguments: object) -> tuple[int, str, list[str]]:
        code = main([str(argument) for argument in (photos, "--threads", 2, *arguments)])
        captured = capfd.readouterr()
        return code, captured.out, captured.err.splitlines()

    return run


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the photos that are decoded."""
    import rs_runtime.classify

    real, names = rs_runtime.classify.load_each, []

    def load(photo: Path, models: object):
        names.append(photo.name)
        return real(photo, models)

    monkeypatch.setattr("rs_runtime.classify.load_each", load)
    return names


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_run_killed_at_any_point_goes_on_to_the_same_output(
    classify, onnx_kit, photos, journal, decoded, killed_script
) -> None:
    undisturbed = classify("--json")
    names = [path.name for path in sorted(photos.iterdir())]
    assert sorted(decoded) == names
    command = ["--kit", onnx_kit, photos, "--threads", "2", "--json", "--journal", journal]
    for last in (0, 1, 7, 9):
        script = [sys.executable, "-c", killed_script, str(last)]
        done = subprocess.run([*script, *map(str, command)], capture_output=True, timeout=120)
        assert done.returncode == -signal.SIGKILL
        assert undisturbed[1].startswith(done.stdout.decode().rpartition("\n")[0])
    decoded.clear()
    assert classify("--json", "--journal", journal) == undisturbed
    # Of the killed runs, the first wrote nothing, and each later one began with a line of its own.
    assert len(decoded) == COUNT - 0 - 6 - 8 and len({*decoded}) == len(decoded)
    decoded.clear()
    assert classify("--json", "--journal", journal) == undisturbed
    assert decoded == ["05.png"]


def test_the_journal_holds_all_that_is_printed(
    classify, filter_kit, manifest, filter_spec, journal, decoded, monkeypatch, tmp_path
) -> None:
    sets, unknown = SetSpec((0.5, 0.25, 0.25), (0.9,), (0.5,)), UnknownSpec("energy", (0.0, 4.0))
    verdict = LossVerdict("undecided", "macro_f1", -0.01, 0.04, 0.02)
    from rs_runtime.kit.kit import open_kit

    with open_kit(filter_kit) as kit:
        members = {name: kit.read(name) for name in kit.members}
    variant = replace(manifest.variants[0], sets=sets, unknown=unknown, verdict=verdict)
    full = replace(manifest, variants=(variant, *manifest.variants[1:]), filter=filter_spec)
    write_kit(filter_kit, full, members)
    monkeypatch.setenv("RS_KIT", str(filter_kit))
    for shown in (["--json"], []):
        options = ["--coverage", 0.9, "--filter", "on", *shown]
        first = classify(*options)
        assert classify(*options, "--journal", journal) == first
        decoded.clear()
        assert classify(*options, "--journal", journal) == first
        assert decoded == ["05.png"]


def test_changed_photos_and_other_settings_are_classified_again(
    classify, photos, journal, decoded, onnx_kit, manifest, onnx_models
) -> None:
    def again(*options: object) -> int:
        decoded.clear()
        plain, counted = classify("--json", *options), len(decoded)
        decoded.clear()
        assert classify("--json", *options, "--journal", journal) == plain
        assert counted == COUNT
        return len(decoded)

    assert again() == COUNT
    assert again() == 1
    assert again("--top", 1) == COUNT
    assert again("--min-probability", 0.9) == COUNT
    assert again("--strict-photos") == COUNT
    assert again("--threads", 1) == 1 and again("--top", 1) == 1
    Image.new("RGB", (41, 40), "blue").save(photos / "00.png")
    os.utime(photos / "01.png", ns=(1, 1))
    assert again() == 3
    (photos / "02.png").rename(photos / "zz.png")
    assert again() == 2
    other = replace(manifest.variants[1], temperature=3.0)
    kit = replace(manifest, variants=(other,), default_variants={})
    write_kit(onnx_kit, kit, {"models/b.onnx": onnx_models["float"]})
    assert again() == COUNT


def test_photos_without_an_answer_are_tried_again(classify, photos, journal) -> None:
    code, _, err = classify("--journal", journal)
    assert code == 1 and len(err) == 1 and "05.png" in err[0]
    bad = photos / "05.png"
    before = bad.stat()
    data = bad.read_bytes()
    Image.new("RGB", (40, 40), "red").save(bad)
    os.utime(bad, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert bad.read_bytes() != data
    assert classify("--journal", journal)[0] == 0


@pytest.mark.parametrize("damage", ["cut", "zeros", "flipped", "foreign line"])
def test_a_damaged_line_costs_its_photo_only(classify, journal, decoded, damage) -> None:
    first = classify("--json", "--journal", journal)
    data = journal.read_bytes()
    lines = data.splitlines(keepends=True)
    at = len(data) - len(lines[-1])
    if damage == "cut":
        journal.write_bytes(data[:-9])
    elif damage == "zeros":
        journal.write_bytes(data[:at] + bytes(len(lines[-1])))
    elif damage == "flipped":
        place = data.index(b"probability", at) + 15
        journal.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    else:
        journal.write_bytes(data + b'{"crc32": 1, "row": {}}\n[[[[\n' + b"x" * 100)
    decoded.clear()
    assert classify("--json", "--journal", journal) == first
    assert len(decoded) == (1 if damage == "foreign line" else 2)
    decoded.clear()
    assert classify("--json", "--journal", journal) == first
    assert decoded == ["05.png"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r'"probability": [^,}]+', '"probability": "high"'),
        ('"common_name": null', '"common_name": 3'),
        (r'"top": \[.*?\]', '"top": 1'),
        (r'"answer": {.*?}', '"answer": []'),
        ('"filter": null', '"filter": {}'),
        (r'"found": .*', '"found": [[]]}'),
        ('"name": "red"', r'"name": "\\u001b[2J"'),
        ('"taken": null', '"taken": "2025-99-09T06:30:00"'),
        ('"taken": null', '"taken": "some time of a day in the year"'),
        ('"latitude": null', '"latitude": 91'),
    ],
)
def test_a_row_with_wrong_values_costs_its_photo_only(classify, journal, decoded, old, new) -> None:
    first = classify("--journal", journal)
    head, *rows = journal.read_bytes().splitlines(keepends=True)
    row = re.sub(old, new, rows[0].decode().partition('"row": ')[2][:-2]).encode()
    assert row not in rows[0]
    forged = b'{"crc32": %d, "row": %s}\n' % (zlib.crc32(row), row)
    journal.write_bytes(b"".join([head, forged, *rows[1:]]))
    decoded.clear()
    assert classify("--journal", journal) == first
    assert sorted(decoded) == ["00.png", "05.png"]


def test_errors_of_the_disk_name_the_journal(classify, journal, monkeypatch) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("rs_runtime.journal_file.os.fsync", fails)
    code, _, err = classify("--journal", journal)
    assert code == 2 and str(journal) in err[-1] and "Input/output error" in err[-1]


def test_the_line_of_progress_is_removed_before_an_error(classify, journal, monkeypatch) -> None:
    def step(self: Progress) -> None:
        write_stderr("how far it is")
        self._shown = True

    real, calls = Journal.add, count()

    def add(self: Journal, *answer: object) -> None:
        if next(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        real(self, *answer)

    monkeypatch.setattr(Progress, "step", step)
    monkeypatch.setattr(Journal, "add", add)
    code, _, err = classify("--journal", journal)
    assert code == 2 and err[-1].startswith("\x1b[Krs-classify: ")


def test_another_file_is_not_taken_for_a_journal(classify, photos, one_line) -> None:
    for name, content in (("notes.txt", b"my notes\n"), ("x.jsonl", b'{"path": "a.jpg"}\n')):
        other = photos.parent / name
        other.write_bytes(content)
        code, out, err = classify("--journal", other)
        assert (code, out, len(err)) == (2, "", 1) and "is another file" in one_line(err[0])
        assert other.read_bytes() == content
    code, out, err = classify("--journal", photos.parent / "absent" / "x.journal")
    assert (code, out, len(err)) == (2, "", 1) and "absent" in err[0]


@pytest.mark.skipif(os.name != "posix", reason="needs flock")
def test_two_commands_do_not_share_a_journal(classify, onnx_kit, journal) -> None:
    with Classifier.open(onnx_kit) as classifier:
        settings = settings_of(classifier, 5)
    with Journal(journal, settings):
        code, out, err = classify("--journal", journal)
        assert (code, out, len(err)) == (2, "", 1) and "in use by another command" in err[0]
        with pytest.raises(JournalError, match="in use"):
            Journal(journal, settings)
    assert classify("--journal", journal)[0] == 1


def test_equal_hashes_are_told_apart(onnx_kit, photos, journal, monkeypatch) -> None:
    monkeypatch.setattr("rs_runtime.journal_file.PhotoKey.number", lambda self: 2**64 - 1)
    first, second = (photo_key(photos / name) for name in ("00.png", "01.png"))
    with Classifier.open(onnx_kit) as classifier:
        settings, found = settings_of(classifier, 5), classifier.classify(photos / "00.png")
    with Journal(journal, settings) as opened:
        opened.add(first, found)
    with Journal(journal, settings) as opened:
        assert opened.find(first) == found and opened.find(second) is None


def test_photos_that_a_broken_filter_did_not_judge_are_judged_later(
    classify, filter_kit, journal, decoded, monkeypatch
) -> None:
    monkeypatch.setenv("RS_KIT", str(filter_kit))
    whole = classify("--json")

    def fails(*_: object) -> None:
        raise FilterError("filter 'x' broke")

    with monkeypatch.context() as patched:
        patched.setattr(Filter, "judge", fails)
        _, out, err = classify("--json", "--journal", journal)
        assert json.loads(out.splitlines()[0])["filter"] is None and "not judged" in err[0]
    decoded.clear()
    assert classify("--json", "--journal", journal) == whole
    assert len(decoded) == COUNT


def test_ctrl_c_keeps_what_is_done(classify, journal, decoded, monkeypatch) -> None:
    whole = classify("--json")
    real, calls = Classifier.logits, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return real(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Classifier, "logits", interrupted)
        code, out, err = classify("--json", "--journal", journal)
    assert code == 130 and whole[1].startswith(out) and len(out.splitlines()) == 10
    assert "9 photos with an answer" in err[-1] and "the same command goes on" in err[-1]
    decoded.clear()
    assert classify("--json", "--journal", journal) == whole
    assert len(decoded) == COUNT - 9


def test_the_time_limit_ends_a_run_that_then_goes_on(
    classify, journal, decoded, monkeypatch
) -> None:
    whole = classify("--json")
    now = iter(range(10_000))
    with monkeypatch.context() as patched:
        patched.setattr("rs_runtime.run.time.monotonic", lambda: next(now))
        code, out, err = classify("--json", "--journal", journal, "--max-runtime", "30s")
        assert code == 124 and whole[1].startswith(out) and 2 < len(out.splitlines()) < COUNT
        assert err[-1].startswith("rs-classify: the time is over; ") and str(journal) in err[-1]
        code, _, err = classify("--max-runtime", "8s")
        assert code == 124 and "without --journal" in err[-1]
    assert classify("--json", "--journal", journal, "--max-runtime", "1h30m") == whole


@pytest.mark.parametrize("text", ["", "0", "0m", "-5s", "half", "30m1h", "1.5h", "m"])
def test_times_that_are_none(classify, text) -> None:
    code, out, err = classify(f"--max-runtime={text}")
    assert (code, out, len(err)) == (2, "", 1) and "--max-runtime" in err[0]


def test_times() -> None:
    from rs_runtime.console import duration

    assert [duration(text) for text in ("90", "90s", "30m", "1h30m", "2h", "1m5s")] == [
        *(90, 90, 1800, 5400, 7200, 65),
    ]
