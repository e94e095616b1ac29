from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.classify import Classifier
from rs_runtime.cli import main
from rs_runtime.errors import EngineError
from rs_runtime.kit.kit import open_kit, write_kit
from rs_runtime.kit.sets import SetSpec, UnknownSpec
from rs_runtime.kit.verdict import LossVerdict


@pytest.fixture
def classify(onnx_kit, monkeypatch, capfd, one_line):
    """Run the command on the colour kit; return exit code, stdout lines and complaints."""
    monkeypatch.setenv("RS_KIT", str(onnx_kit))
    monkeypatch.delenv("RS_PUBLIC_KEY", raising=False)

    def run(*arguments: object) -> tuple[int, list[str], list[str]]:
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        complaints = captured.err.splitlines(keepends=True)
        return code, captured.out.splitlines(), [one_line(x, "rs-classify") for x in complaints]

    return run


def test_table(classify, colour_photos) -> None:
    code, out, err = classify(colour_photos, "--top", 2)
    assert (code, err) == (0, [])
    assert len(out) == 9
    told = [Path(line.partition("  ")[0]).name for line in out[::3]]
    assert told == ["a.jpg", "b.JPG", "c.jpg"]
    assert [out[i].split("%")[1].split()[0] for i in (1, 4, 7)] == ["red", "green", "blue"]
    assert out[4].split()[1:] == ["green", "things", "green"]


def test_the_finest_certain_rank_is_named(
    classify, onnx_kit, manifest, onnx_models, colour_photos
) -> None:
    phyla = ("chordata", "chordata", "mollusca")
    classes = tuple(
        replace(item, taxon={"kingdom": "animalia", "phylum": phylum})
        for item, phylum in zip(manifest.classes, phyla, strict=True)
    )

    def lines(*options: object, **thresholds: float) -> list[str]:
        variant = replace(manifest.variants[1], thresholds=thresholds, temperature=4.0)
        kit = replace(manifest, classes=classes, variants=(variant,), default_variants={})
        write_kit(onnx_kit, kit, {"models/b.onnx": onnx_models["float"]})
        code, out, err = classify(colour_photos, "--top", 1, *options)
        assert (code, err) == (0, [])
        return [line.split("  ", 1)[-1] for line in out[::2]]

    def names(*options: object, **thresholds: float) -> list[str]:
        return [line.partition(" (")[0] for line in lines(*options, **thresholds)]

    families, uncertain = ["family red", "family green", "family blue"], ["uncertain"] * 3
    phyla_named = ["phylum chordata", "phylum chordata", "phylum mollusca"]
    assert names(family=0.5, phylum=0.5) == families
    assert names(family=1.0, phylum=0.5) == phyla_named
    # All are of one kingdom, as would be a photo of anything.
    assert names(family=1.0, phylum=1.0, kingdom=0.0) == uncertain
    assert names("--min-probability", 1, family=0.0) == uncertain
    assert names("--min-probability", 0) == families
    assert names() == uncertain
    answer = json.loads(classify(colour_photos / "a.jpg", "--json")[1][0])["answer"]
    assert answer["rank"] is None and answer["name"] is None


def test_json_lines(classify, colour_photos) -> None:
    bad = colour_photos / "notes.txt"
    code, out, err = classify(colour_photos, bad, "--json")
    lines = [json.loads(line) for line in out]
    assert code == 1 and len(err) == 1 and len(lines) == 4
    assert [line["top"][0]["name"] for line in lines[:3]] == ["red", "green", "blue"]
    assert all(0 <= score["probability"] <= 1 for line in lines[:3] for score in line["top"])
    assert lines[3]["path"] == str(bad) and "no JPEG" in lines[3]["error"]


SETS = SetSpec((0.5, 0.25, 0.25), (0.8, 0.9), (1.5, 0.25))
UNKNOWN = UnknownSpec("max_logit", (0.0, 4.0, 8.0))


@pytest.fixture
def fitted_kit(onnx_kit, manifest, onnx_models) -> Path:
    """The ONNX kit with sets and an unknown score; a colour's own logit is 8, the others are -8."""
    variant = replace(manifest.variants[1], sets=SETS, unknown=UNKNOWN, temperature=8.0)
    kit = replace(manifest, variants=(variant,), default_variants={})
    write_kit(onnx_kit, kit, {"models/b.onnx": onnx_models["float"]})
    return onnx_kit


def test_sets_hold_more_classes_at_a_higher_coverage(classify, fitted_kit, colour_photos) -> None:
    def told(*options: object) -> dict:
        return json.loads(classify(colour_photos / "sub", "--json", *options)[1][0])

    assert told()["set"] is None
    assert told("--coverage", 0.8)["set"] == {"coverage": 0.8, "classes": ["blue"]}
    # Red is as probable as green, but more often so.
    assert told("--coverage", 0.85)["set"]["classes"] == ["blue", "green"]
    assert told("--coverage", 0.95)["set"]["classes"] == ["blue", "red", "green"]
    code, out, err = classify(colour_photos / "sub", "--coverage", 0.9)
    assert (code, err) == (0, [])
    assert out[-1] == "  set of 90%: blue things; green things"


def test_a_kit_without_sets_refuses_a_coverage(classify, onnx_kit, colour_photos) -> None:
    code, out, err = classify(colour_photos, "--coverage", 0.9)
    assert code == 2 and not out
    assert "no sets of classes" in err[0]


def test_strange_photos_are_marked(classify, fitted_kit, tmp_path, colour_photos) -> None:
    Image.new("RGB", (40, 40), (128, 128, 128)).save(tmp_path / "grey.png")
    [line] = classify(tmp_path / "grey.png", "--json")[1]
    found = json.loads(line)["unknown"]
    assert found["score"] == "max_logit" and found["strangeness"] > 0.95
    out = classify(tmp_path / "grey.png", colour_photos / "a.jpg")[1]
    assert "perhaps none of the classes (stranger than " in out[0]
    assert "perhaps" not in out[4]


def test_json_lines_tell_the_verdict(
    classify, onnx_kit, manifest, onnx_models, colour_photos
) -> None:
    def told(verdict: LossVerdict | None) -> object:
        variant = replace(manifest.variants[1], verdict=verdict)
        kit = replace(manifest, variants=(variant,), default_variants={})
        write_kit(onnx_kit, kit, {"models/b.onnx": onnx_models["float"]})
        return json.loads(classify(colour_photos / "a.jpg", "--json")[1][0])["verdict"]

    assert told(None) is None
    undecided = LossVerdict("undecided", "macro_f1", -0.01, 0.04, 0.02)
    assert told(undecided) == {
        "verdict": "undecided",
        "metric": "macro_f1",
        "loss_low": -0.01,
        "loss_high": 0.04,
        "margin": 0.02,
    }


@pytest.mark.parametrize(
    "name", ["notes.txt", "absent.jpg", "two\nlines.jpg", "esc\x1b[2J.jpg", "n" * 300 + ".jpg"]
)
def test_bad_photos_cost_one_line_each(classify, colour_photos, name) -> None:
    code, out, err = classify(colour_photos / name, colour_photos / "a.jpg")
    assert code == 1 and len(err) == 1 and len(out) == 4


def test_empty_folder(classify, tmp_path, colour_photos) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "._a.jpg").write_bytes(b"a Mac was here")
    code, out, err = classify(tmp_path / "empty", colour_photos)
    assert code == 2 and len(out) > 3
    assert len(err) == 1 and "holds no photos" in err[0]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_photos_in_a_folder_that_are_not_read_are_named(
    classify, colour_photos, options, without_extras
) -> None:
    for name in ("IMG_1.HEIC", "IMG_2.heic", "raw.DNG", "clip.mp4"):
        (colour_photos / name).write_bytes(b"x")
    code, out, err = classify(colour_photos, "--top", 1, *options)
    assert code == 1 and len(err) == 4 and all("not supported" in line for line in err)
    assert all(any(name in line for line in err) for name in ("IMG_1.HEIC", "clip.mp4"))
    assert len(out) == (7 if options else 6)
    code, out, err = classify(colour_photos / "raw.DNG", *options)
    assert code == 1 and len(err) == 1 and "raw.DNG" in err[0] and "not supported" in err[0]


def test_a_folder_of_nothing_but_unread_photos_is_not_called_empty(classify, tmp_path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.MOV").write_bytes(b"")
    code, out, err = classify(tmp_path / "videos")
    assert (code, out, len(err)) == (1, [], 1) and "a.MOV" in err[0]


def test_pictures_that_the_toolkit_wrote_are_left_out_and_that_is_said(
    classify, colour_photos
) -> None:
    run = colour_photos / "runs" / "photos"
    run.mkdir(parents=True)
    (run / ".rs-toolkit").write_text("rs-toolkit wrote this folder.")
    (run / "confusion.png").write_bytes(b"x")
    code, out, err = classify(colour_photos, "--top", 1)
    assert (code, len(out), len(err)) == (0, 6, 1)
    assert "left out" in err[0] and str(run) in err[0]


def test_linked_folders_are_followed_without_loops(classify, colour_photos, tmp_path) -> None:
    (tmp_path / "trip").mkdir()
    (tmp_path / "trip" / "card").symlink_to(colour_photos)
    (colour_photos / "back").symlink_to(tmp_path / "trip")
    code, out, err = classify(tmp_path / "trip", "--top", 1)
    assert (code, err) == (0, []) and len(out) == 6


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_photo_without_its_end_is_classified_with_a_note(
    classify, colour_photos, options
) -> None:
    photo = colour_photos / "a.jpg"
    photo.write_bytes(photo.read_bytes()[:-2])
    code, out, err = classify(photo, "--top", 1, *options)
    assert code == 0 and len(err) == 1 and "lacks its last bytes" in err[0]
    assert "red" in "".join(out)
    if options:
        assert "lacks its last bytes" in json.loads(out[0])["note"]
    code, out, err = classify(photo, "--strict-photos", *options)
    assert code == 1 and len(err) == 1 and "lacks its last bytes" in err[0]
    assert "probability" not in "".join(out)
    code, out, _ = classify(colour_photos / "b.JPG", "--strict-photos", "--json")
    assert code == 0 and json.loads(out[0])["note"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--top", "0"],
        ["--top", "x"],
        ["--threads", "-1"],
        ["--engine", "torch"],
        ["--odd"],
        ["--min-probability", "1.1"],
        ["--min-probability", "nan"],
        ["--min-probability", "half"],
    ],
)
def test_wrong_usage(classify, colour_photos, arguments) -> None:
    photos = [colour_photos] if arguments else []
    code, out, err = classify(*photos, *arguments)
    assert (code, out, len(err)) == (2, [], 1)


def test_unusable_kits(classify, onnx_kit, colour_photos) -> None:
    good = onnx_kit.read_bytes()
    flipped = bytearray(good)
    flipped[good.index(b"MatMul")] ^= 1
    wrong = {"cut short": good[:-5], "SHA-256": bytes(flipped), "no kit": b"hello"}
    for problem, data in wrong.items():
        onnx_kit.write_bytes(data)
        code, out, err = classify(colour_photos)
        assert (code, out, len(err)) == (2, [], 1) and problem in err[0]
    onnx_kit.unlink()
    code, out, err = classify(colour_photos)
    assert (code, out, len(err)) == (2, [], 1) and "does not exist" in err[0]


def test_kit_of_another_version(classify, tmp_path, onnx_kit, colour_photos) -> None:
    from zipfile import ZipFile
    from zlib import crc32

    from rs_runtime.kit.archive import layout

    with ZipFile(onnx_kit) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["manifest.json"] = members["manifest.json"].replace(b'"1.6"', b'"2.0"')
    placed, tail = layout({name: (len(x), crc32(x)) for name, x in members.items()})
    onnx_kit.write_bytes(b"".join(head + members[entry.name] for entry, head in placed) + tail)
    code, out, err = classify(colour_photos)
    assert (code, out, len(err)) == (2, [], 1) and "schema 2.0" in err[0]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_warning_is_said_once_and_first(
    classify, onnx_kit, manifest, onnx_models, colour_photos, monkeypatch, options
) -> None:
    _, without, _ = classify(colour_photos, *options)
    warned = replace(manifest.variants[1], warning="lost 9 points, forced")
    kit = replace(manifest, variants=(warned,), default_variants={})
    write_kit(onnx_kit, kit, {"models/b.onnx": onnx_models["float"]})
    complaint = "rs-classify: warning: lost 9 points, forced"
    assert classify(colour_photos, *options) == (0, without, [complaint])
    show = []
    monkeypatch.setattr("rs_runtime.cli.complain", lambda _, text: show.append(text))
    monkeypatch.setattr("rs_runtime.outputs.pending.say", lambda _: show.append("answer"))
    classify(colour_photos, *options)
    assert show == ["warning: lost 9 points, forced", *["answer"] * 3]


def test_public_key(classify, onnx_kit, colour_photos, tmp_path, monkeypatch) -> None:
    pytest.importorskip("cryptography")
    from rs_runtime.kit.signature import generate_key, write_signature

    private, public = generate_key(tmp_path / "key")
    code, out, err = classify(colour_photos, "--public-key", public)
    assert (code, out, len(err)) == (2, [], 1) and "onnx.rskit.sig' does not exist" in err[0]
    with open_kit(onnx_kit) as kit:
        write_signature(onnx_kit, kit.manifest_digest(), private)
    assert classify(colour_photos, "--public-key", public)[::2] == (0, [])
    _, other = generate_key(tmp_path / "other")
    monkeypatch.setenv("RS_PUBLIC_KEY", str(other))
    code, out, err = classify(colour_photos)
    assert (code, out, len(err)) == (2, [], 1) and "is not what the owner of" in err[0]
    assert classify(colour_photos, "--public-key", public)[::2] == (0, [])


def test_unknown_variant(classify, colour_photos) -> None:
    code, _, err = classify(colour_photos, "--variant", "x")
    assert code == 2 and len(err) == 1 and "onnx_fp32" in err[0]


def test_version(classify) -> None:
    code, out, err = classify("--version")
    assert (code, err) == (0, []) and out[0].startswith("rs-classify ")


def test_interrupt(classify, colour_photos, monkeypatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Classifier, "logits", interrupt)
    assert classify(colour_photos) == (130, [], [])


def test_too_little_memory_is_one_line(classify, colour_photos, monkeypatch) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Classifier, "logits", exhausted)
    code, out, err = classify(colour_photos)
    assert (code, out, len(err)) == (2, [], 1) and "not enough memory" in err[0]


def test_closed_output_is_quiet(onnx_kit, colour_photos) -> None:
    command = [sys.executable, "-m", "rs_runtime", "--kit", str(onnx_kit)]
    process = subprocess.Popen(
        # So many that most are classified in threads, and fill the pipe.
        [*command, "--threads", "2", *[str(colour_photos)] * 40],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 141
    process.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("options", [[], ["--json"], ["--version"]])
def test_full_disk_is_one_line(onnx_kit, colour_photos, one_line, options) -> None:
    command = [sys.executable, "-m", "rs_runtime", "--kit", str(onnx_kit), *options]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*command, str(colour_photos)], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert "cannot be written" in one_line(done.stderr, "rs-classify")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_engine_error_costs_one_photo(classify, colour_photos, monkeypatch, options) -> None:
    real = Classifier.logits

    def failing(self: Classifier, pixels: np.ndarray, *engine: object) -> np.ndarray:
        # The second photo is green.
        if pixels.mean(axis=(0, 1, 2)).argmax() == 1:
            raise EngineError("onnxruntime failed to run the model: out of memory")
        return real(self, pixels, *engine)

    monkeypatch.setattr(Classifier, "logits", failing)
    code, out, err = classify(colour_photos, "--top", 1, *options)
    assert code == 1 and len(err) == 1 and "b.JPG" in err[0] and "out of memory" in err[0]
    text = "\n".join(out)
    assert "a.jpg" in text and "c.jpg" in text
    # An engine that answers no photo at all is of no use.
    code, out, err = classify(colour_photos / "b.JPG", *options)
    assert code == 2 and len(err) == 1


def test_an_error_of_the_system_says_what_failed(classify, colour_photos, monkeypatch) -> None:
    def refused(*_: object) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied", "/mnt/kits")

    monkeypatch.setattr("rs_runtime.kit.kit.find_kit", refused)
    code, out, err = classify(colour_photos)
    assert (code, out, len(err)) == (2, [], 1)
    assert "'/mnt/kits': Permission denied" in err[0] and "output" not in err[0]
    # The output still works.
    assert classify("--version")[1][0].startswith("rs-classify ")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_names_that_the_terminal_lacks(
    tmp_path, manifest, onnx_models, colour_photos, one_line, options
) -> None:
    names = [replace(item, common_name="robin, tit, …") for item in manifest.classes]
    only = replace(
        manifest, classes=tuple(names), variants=manifest.variants[1:], default_variants={}
    )
    kit = tmp_path / "names.rskit"
    write_kit(kit, only, {"models/b.onnx": onnx_models["float"]})
    photo = (colour_photos / "a.jpg").rename(colour_photos / "Käfer … 1.jpg")
    done = subprocess.run(
        [sys.executable, "-m", "rs_runtime", "--kit", kit, photo, tmp_path / "… 2.jpg", *options],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert done.returncode == 1
    assert r"\u2026 2.jpg" in one_line(done.stderr.decode("latin-1"), "rs-classify")
    out = done.stdout.decode("latin-1").splitlines()
    if options:
        first = json.loads(out[0])
        assert first["path"] == str(photo) and first["top"][0]["common_name"] == "robin, tit, …"
    else:
        assert out[0].endswith(r"Käfer \u2026 1.jpg  uncertain") and r"robin, tit, \u2026" in out[1]


def test_shared_edge_cases_are_classified_or_reported(classify, shared) -> None:
    folder = shared / "data" / "edge_cases"
    notes = folder / "README.md"
    photos = sorted(path for path in folder.iterdir() if path != notes)
    assert len(photos) >= 10
    code, out, err = classify(folder, notes, "--json")
    answers = {Path(line["path"]): line for line in map(json.loads, out)}
    assert list(answers) == [*photos, notes] and len(out) == len(answers)
    failed = [path for path, answer in answers.items() if "error" in answer]
    assert (code, len(err)) == (1, len(failed))
    assert all(path.name in line for path, line in zip(failed, err, strict=True))
    assert notes in failed and all("truncated" in path.name for path in failed if path != notes)
    good = [path for path in photos if path not in failed]
    code, out, err = classify(*good, "--json")
    assert (code, len(out), err) == (0, len(good), [])


def test_photos_may_stand_before_and_after_options(classify, colour_photos) -> None:
    first, second = colour_photos / "a.jpg", colour_photos / "b.JPG"
    code, out, _ = classify(first, "--top", "1", second)
    assert code == 0 and [line.split()[0] for line in out if line.startswith("/")] == [
        str(first),
        str(second),
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--explain-grid", "3"], "--explain-grid is for --explain"),
        (["--timezone", "+03:00"], "--timezone is for --format camtrap-dp or darwin-core"),
        (["--cameras", "--boxes", "x.json"], "--cameras judges whole frames: not with --boxes"),
        (["--watch", "."], "leave it out of the photos"),
        (["--watch", "../photos"], "leave it out of the photos"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    classify, colour_photos, monkeypatch, options, said
) -> None:
    monkeypatch.chdir(colour_photos)
    code, out, err = classify("a.jpg", *options)
    assert (code, out, len(err)) == (2, [], 1) and said in err[0]


def test_frames_without_a_video_are_said(classify, colour_photos) -> None:
    code, _, err = classify(colour_photos, "--frames", 3)
    assert code == 0 and len(err) == 1 and "--frames is for videos" in err[0]
