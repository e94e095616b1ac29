"""Where outputs go: found at the start, whole or not at all, and nothing of the user's replaced."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from rs_runtime.classify import Classifier
from rs_runtime.outputs.places import flat_name, safe_name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "none/a.csv"], "folder 'none' is not there"),
        (["--page", "none/a.html"], "is not there"),
        (["--sort-into", "none/a"], "is not there"),
        (["-o", "."], "is a folder"),
        (["-o", "a.jpg"], "is the name of a photo"),
        (["-o", "field.rskit.xz"], "is the name of a photo or a kit"),
        (["-o", "a.csv", "--page", "./a.csv"], "is named twice"),
        (["-o", "a.csv", "--journal", "a.csv"], "is named twice"),
        (["-o", "list.csv", "--species", "list.csv"], "is named twice"),
        (["a.zip", "--format", "darwin-core", "-o", "a.zip"], "is named twice"),
        (["--sort-into", "a", "--explain", "a"], "is named twice"),
        (["-o", "pipe"], "is no file; to print, leave out --output"),
        (["-o", "link"], "is no file; to print, leave out --output"),
        (["-o", "a.json"], "--format speciesnet or megadetector"),
        (["--format", "parquet"], "needs --output"),
        (["--format", "camtrap-dp", "-o", "full"], "is there already"),
        (["--sort-into", "full"], "holds other files"),
        (["--explain", "full"], "holds other files"),
        (["--json", "--format", "csv"], "leave it out"),
        (["--link"], "--sort-into"),
        (["--deployments", "a.csv"], "is for --format camtrap-dp"),
        (["--timezone", "EST"], "+03:00"),
        (["--timezone", "+99:00"], "+03:00"),
        (["--undo-sort", "full"], "has no sorted.jsonl"),
    ],
)
def test_what_cannot_be_written_is_said_at_the_start(
    classify, cameras, tmp_path, monkeypatch, options, said
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "list.csv").write_text("scientificName\nCanidae\n")
    os.mkfifo("pipe")
    (tmp_path / "link").symlink_to("pipe")
    before = sorted(path for path in tmp_path.rglob("*"))
    code, out, err = classify(cameras, *options)
    assert (code, out, err.count("\n")) == (2, "", 1) and said in err
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_the_file_of_a_link_is_replaced_and_not_the_link(classify, cameras, tmp_path) -> None:
    (tmp_path / "link.csv").symlink_to("real.csv")
    classify(cameras, "-o", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "real.csv").is_file()


def test_a_file_that_cannot_be_made_is_said_at_the_start(classify, cameras, tmp_path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    code, out, err = classify(cameras, "-o", locked / "a.csv")
    assert (code, out) == (2, "") and "check the path, permissions" in err


@pytest.fixture
def stops(monkeypatch):
    """Let the run end by an error or by Ctrl-C after two photos."""

    def after_two(error: BaseException) -> None:
        whole = Classifier.classify_many

        def few(self, *args: object):
            for number, found in enumerate(whole(self, *args)):
                if number == 2:
                    raise error
                yield found

        monkeypatch.setattr(Classifier, "classify_many", few)

    return after_two


def test_an_interrupted_run_writes_a_part_and_keeps_what_was_whole(
    classify, cameras, tmp_path, stops
) -> None:
    whole = tmp_path / "m.json"
    whole.write_text("of yesterday")
    stops(KeyboardInterrupt())
    assert classify(cameras, "--format", "megadetector", "-o", whole)[0] == 130
    assert whole.read_text() == "of yesterday"
    assert len(json.loads((tmp_path / "m.partial.json").read_text())["images"]) == 2
    code, out, _ = classify(cameras, "--format", "speciesnet")
    assert code == 130 and len(json.loads(out)["predictions"]) == 2
    assert not [*tmp_path.glob(".tmp*")]


def test_a_run_that_fails_leaves_everything_as_it_was(classify, cameras, tmp_path, stops) -> None:
    names = ("a.csv", "page.html")
    for name in names:
        (tmp_path / name).write_text("of yesterday")
    stops(OSError(28, "No space left on device"))
    before = sorted(path for path in tmp_path.rglob("*"))
    code, _, err = classify(cameras, "-o", tmp_path / "a.csv", "--page", tmp_path / "page.html")
    assert code == 2 and "No space left" in err
    assert all((tmp_path / name).read_text() == "of yesterday" for name in names)
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is full")
def test_a_full_disk_leaves_nothing_half_done(classify, cameras, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("rs_runtime.outputs.camtrap._SPOOL", "/dev/full")
    page = tmp_path / "a.html"
    asked = ("--format", "camtrap-dp", "-o", tmp_path / "new", "--page", page)
    code, _, err = classify(cameras, *asked)
    assert code == 2 and f"'{tmp_path / 'new'}': No space left" in err
    assert page.is_file() and not (tmp_path / "new").exists() and not [*tmp_path.glob(".tmp*")]


@pytest.mark.parametrize("form", ["csv", "speciesnet", "megadetector", "darwin-core"])
def test_a_run_that_goes_on_writes_what_an_undisturbed_one_does(
    classify, cameras, tmp_path, form, monkeypatch
) -> None:
    kept = ("--journal", tmp_path / "journal")
    options = (cameras, "--format", form)
    assert classify(*options, "-o", tmp_path / "one")[0] == 1
    with monkeypatch.context() as patched:
        ticks = iter([0.0, *[1.0] * 2, *[100.0] * 9])
        patched.setattr("rs_runtime.run.time.monotonic", lambda: next(ticks))
        code, _, err = classify(*options, "-o", tmp_path / "two", "--max-runtime", "50", *kept)
    assert code == 124 and "two.partial" in err and not (tmp_path / "two").exists()
    assert classify(*options, "-o", tmp_path / "two", *kept)[0] == 1
    assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()


def test_memory_does_not_hold_the_rows(classify, cameras, tmp_path, monkeypatch) -> None:
    sizes = []

    def grow(self, path: str | None) -> str:
        sizes.append(next(tmp_path.glob(".tmp*")).stat().st_size)
        return str(path)

    monkeypatch.setattr("rs_runtime.outputs.context.Context.relative", grow)
    photo = cameras / "CAM2" / "IMG_0001.JPG"
    many = [shutil.copy(photo, cameras / f"{number}.jpg") for number in range(40)]
    classify(*many, "--format", "csv", "-o", tmp_path / "a", "--top", 3)
    # The file grows while the run goes on.
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("../../etc", "_.._etc"),
        ("a/b\\c:d", "a_b_c_d"),
        ("CON", "_CON"),
        ("nul.jpg", "_nul.jpg"),
        (" . ", "_"),
        ("é ü (x)", "é ü (x)"),
        ("x" * 300, "x" * 100),
        ("a\n\x00b", "a__b"),
    ],
)
def test_names_of_folders_are_safe(text, name) -> None:
    assert safe_name(text) == name


def test_names_of_files_are_safe_and_differ() -> None:
    assert flat_name("CAM1/100RECNX/IMG_1.JPG") == "CAM1__100RECNX__IMG_1.JPG"
    names = {flat_name(path) for path in ("a?.jpg", "a*.jpg", "a_.jpg", "..", "/a?.jpg")}
    assert len(names) == 5 and not any(set("/?*\\") & set(name) for name in names)
    assert len(flat_name("x" * 300 + ".jpg").encode()) < 255
