"""Files, folders, patterns, lists and archives: each photo once, or why it cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from rs_runtime.photos.zipped import ZipPhoto
from rs_runtime.results import Failure
from rs_runtime.sources.given import photos_given, start_folder
from rs_runtime.sources.listed import paths_listed


@pytest.fixture
def card(tmp_path, monkeypatch) -> Path:
    """The current folder, with photos on two levels, a file that is none, and an archive."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "sub/b.jpg", "sub/deep/c.png", "sub/.hidden/d.jpg", "x[1].jpg"):
        place = tmp_path / "card" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(place)
    (tmp_path / "card" / "notes.txt").write_text("no photo")
    with zipfile.ZipFile(tmp_path / "card.zip", "w") as archive:
        archive.write("card/a.jpg", "in/a.jpg")
    return tmp_path


def found(*given: str, null: bool = False) -> list[str]:
    """The photos of what was given; of a Failure its kind too."""
    names = []
    for source in photos_given([Path(each) for each in given], lambda _: None, null):
        if isinstance(source, Failure):
            names.append(f"{source.kind}: {source.path}")
        elif source is not None:
            names.append(source.path if isinstance(source, ZipPhoto) else str(source))
    return names


ALL = ["card/a.jpg", "card/x[1].jpg", "card/sub/b.jpg", "card/sub/deep/c.png"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("card/*.jpg", ["card/a.jpg", "card/x[1].jpg"]),
        ("card/?.jpg", ["card/a.jpg"]),
        ("card/s*/*.jpg", ["card/sub/b.jpg"]),
        # What matches is taken as if it were given: notes.txt is left out, a folder is searched.
        ("card/*", ["card/a.jpg", "card/sub/b.jpg", "card/sub/deep/c.png", "card/x[1].jpg"]),
        ("card/**", ALL),
        ("**/*.jpg", [name for name in ALL if name.endswith("jpg")]),
        ("card/**/deep/*", ["card/sub/deep/c.png"]),
        ("card/**/**/c.*", ["card/sub/deep/c.png"]),
        ("./**/deep/*.png", ["card/sub/deep/c.png"]),
        ("*.zip", ["card.zip/in/a.jpg"]),
        # A file of that very name is no pattern.
        ("card/x[1].jpg", ["card/x[1].jpg"]),
        ("card/*.gif", ["folder: card/*.gif"]),
        ("absent/**/*.jpg", ["folder: absent/**/*.jpg"]),
    ],
)
def test_patterns(card, pattern, names) -> None:
    assert found(pattern) == names
    if not pattern.startswith("./"):
        absolute = [name if ":" in name else str(card / name) for name in names]
        if ":" not in names[0]:
            assert found(str(card / pattern)) == absolute


def test_patterns_do_not_follow_loops(card) -> None:
    (card / "card" / "sub" / "loop").symlink_to(card / "card")
    assert found("card/**") == ALL


def test_everything_mixed_is_in_the_order_given(card) -> None:
    given = ("card.zip", "card/sub", "card/a.jpg", "absent.jpg", "card/*.jpg", "card/notes.txt")
    assert found(*given) == [
        *("card.zip/in/a.jpg", "card/sub/b.jpg", "card/sub/deep/c.png", "card/a.jpg", "absent.jpg"),
        *("card/x[1].jpg", "card/notes.txt"),
    ]


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_what_is_given_twice_is_found_once(card) -> None:
    os.symlink("card", "link")
    os.symlink("a.jpg", "card/own-name.jpg")
    given = ("card", "./card/a.jpg", f"{card}/card/sub", "link/x[1].jpg", "card.zip", "./card.zip")
    told: list[str] = []
    sources = photos_given(
        [Path(each) for each in (*given, "absent.jpg", "absent.jpg")], told.append
    )
    names = [getattr(each, "path", each) for each in sources]
    assert [*map(str, names)] == [
        *("card/a.jpg", "card/own-name.jpg", "card/x[1].jpg", "card/sub/b.jpg"),
        *("card/sub/deep/c.png", "card.zip/in/a.jpg", "absent.jpg"),
    ]
    assert told == ["left out: 6 files given twice"]


def listed(data: bytes, monkeypatch, tmp_path: Path, **options: bool) -> list[str]:
    place = tmp_path / "list"
    place.write_bytes(data)
    with place.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        return found("-", **options)


def test_a_list_names_files_folders_and_archives(card, monkeypatch, tmp_path) -> None:
    data = b"\xef\xbb\xbfcard/a.jpg\r\n\ncard/sub\ncard.zip\ncard/*.jpg\ncard/x[1].jpg"
    # A pattern in a list is a name, because names may look like patterns.
    wanted = ["card/a.jpg", "card/sub/b.jpg", "card/sub/deep/c.png", "card.zip/in/a.jpg"]
    assert listed(data, monkeypatch, tmp_path) == [*wanted, "card/*.jpg", "card/x[1].jpg"]


@pytest.mark.skipif(os.name != "posix", reason="such names are possible on POSIX only")
def test_a_list_with_nul_names_any_file(card, monkeypatch, tmp_path) -> None:
    odd = b"card/two\nlines \xff.jpg"
    (card / os.fsdecode(odd)).write_bytes(b"x")
    data = odd + b"\0card/a.jpg\0"
    assert listed(data, monkeypatch, tmp_path, null=True) == [os.fsdecode(odd), "card/a.jpg"]
    # What comes before is not lost.
    data = b"card/a.jpg\n" + data
    assert listed(data, monkeypatch, tmp_path) == ["card/a.jpg", "card/two", "folder: -"]
    assert "--null" in _last_problem(data, monkeypatch, tmp_path)


def test_lists_that_are_none(card, monkeypatch, tmp_path) -> None:
    assert listed(b"\n\n", monkeypatch, tmp_path) == ["folder: -"]
    assert "over 65536 bytes" in _last_problem(b"x" * 200_000, monkeypatch, tmp_path)
    for stdin, problem in ((None, "closed"), (SimpleNamespace(fileno=lambda: 999), "descriptor")):
        monkeypatch.setattr("sys.stdin", stdin)
        (failure,) = photos_given([Path("-")], lambda _: None)
        assert failure.kind == "folder" and problem in failure.problem


def _last_problem(data: bytes, monkeypatch, tmp_path: Path) -> str:
    (tmp_path / "list").write_bytes(data)
    with (tmp_path / "list").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        (*_, last) = photos_given([Path("-")], lambda _: None)
    assert isinstance(last, Failure)
    return last.problem


@pytest.mark.skipif(os.name != "posix", reason="Windows cannot wait for a pipe")
def test_a_slow_list_does_not_hold_back_answers(card, monkeypatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader) as file, os.fdopen(writer, "wb", buffering=0) as pipe:
        monkeypatch.setattr("sys.stdin", file)
        monkeypatch.setattr("rs_runtime.sources.listed._MOMENT_S", 0.01)
        paths = paths_listed(False)
        pipe.write(b"card/a.jpg\ncard/")
        assert [next(paths), next(paths)] == [Path("card/a.jpg"), None]
        pipe.write(b"b.jpg\n")
        assert next(path for path in paths if path) == Path("card/b.jpg")


def test_a_list_through_a_pipe(card, onnx_kit) -> None:
    command = [sys.executable, "-m", "rs_runtime", "--kit", str(onnx_kit), "-", "--top", "1"]
    done = subprocess.run(command, input=b"card/a.jpg\ncard/absent.jpg\n", capture_output=True)
    assert (done.returncode, done.stdout.count(b"card/a.jpg")) == (1, 1)
    assert b"absent.jpg' does not exist" in done.stderr


def test_the_folder_that_all_lies_in(card) -> None:
    def start(*given: str) -> str:
        return os.path.relpath(start_folder([Path(each) for each in given]), card)

    assert start("card") == start("card/a.jpg") == start("card/*.jpg") == "card"
    assert start("card/sub/**/*.jpg") == "card/sub"
    assert start("card/sub", "card/a.jpg") == "card"
    assert start("-") == start("card", "card.zip") == "."
    assert start("card.zip") == "card.zip/in"
