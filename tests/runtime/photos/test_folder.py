"""Searching folders: links, loops, hidden files, and photos that are not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from rs_runtime.photos.folder import photos_below, unsupported


def fail(error: OSError) -> None:
    raise error


def found(root: Path) -> dict[str, str | None]:
    return {os.path.relpath(path, root): problem for path, problem in photos_below(root, fail, [])}


@pytest.fixture
def card(tmp_path) -> Path:
    folder = tmp_path / "card"
    folder.mkdir()
    for name in ("b.jpg", "a.PNG", "._a.PNG", "notes.txt"):
        (folder / name).write_bytes(b"x")
    return folder


def test_linked_folders_are_entered_once(card, tmp_path) -> None:
    root = tmp_path / "root"
    (root / "own").mkdir(parents=True)
    for name in ("one", "two"):
        (root / name).symlink_to(card)
    (card / "loop").symlink_to(root)
    (root / "own" / "up").symlink_to(root)
    assert found(root) == {"one/a.PNG": None, "one/b.jpg": None}


def test_links_that_lead_nowhere_are_named(card) -> None:
    (card / "Lynx lynx").symlink_to(card / "absent")
    (card / "c.jpg").symlink_to(card / "absent.jpg")
    files = found(card)
    assert "is a link to" in str(files.pop("Lynx lynx"))
    # It says so itself when it is opened.
    assert files == {"a.PNG": None, "b.jpg": None, "c.jpg": None}


def test_a_link_in_a_folder_that_cannot_be_entered_is_an_entry_like_others(
    card, monkeypatch
) -> None:
    (card / "Lynx lynx").symlink_to(card / "absent")
    (card / "c.jpg").symlink_to(card / "absent.jpg")

    def refused(path: str) -> str:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "readlink", refused)
    assert found(card) == {"a.PNG": None, "b.jpg": None, "c.jpg": None}


def test_photos_that_are_not_read_are_named_by_suffix_or_content(card, without_extras) -> None:
    (card / "a.HEIC").write_bytes(b"x")
    (card / "b.Dng").write_bytes(b"II*\0")
    (card / "c.mp4").write_bytes(b"")
    (card / "no suffix").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    (card / "d.bak").write_bytes(b"RIFF\0\0\0\0AVI LIST")
    problems = {name: text for name, text in found(card).items() if text}
    assert sorted(problems) == ["a.HEIC", "b.Dng", "c.mp4", "d.bak", "no suffix"]
    assert all("not supported" in text for text in problems.values())


def test_a_jpeg_that_kept_the_suffix_of_another_format_is_read(card, without_extras) -> None:
    Image.new("RGB", (8, 8)).save(card / "a.heic", "JPEG")
    assert found(card)["a.heic"] is None
    assert unsupported(card / "a.heic") is None
    # Pillow would read only the thumbnail of a raw photo.
    Image.new("RGB", (8, 8)).save(card / "b.nef", "TIFF")
    assert unsupported(card / "b.nef") == ".nef is not supported; convert it to JPEG"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_opened(card) -> None:
    for name in ("pipe", "pipe.heic", "pipe.jpg"):
        os.mkfifo(card / name)
    assert found(card)["pipe.jpg"] is None and "pipe" not in found(card)


def test_folders_that_cannot_be_read_are_reported(card, monkeypatch) -> None:
    errors: list[OSError] = []
    assert list(photos_below(card / "absent", errors.append, [])) == []
    assert len(errors) == 1
