"""Sorting into folders: every photo once, nothing overwritten, and all of it undone."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from rs_runtime.outputs import sort


@pytest.fixture
def sorted_(classify, cameras, tmp_path):
    """Sort the photos into ``tmp_path / "s"`` with options; return the folder."""

    def run(*options: object) -> Path:
        code, _, _ = classify(cameras, "--sort-into", tmp_path / "s", *options)
        assert code == 1
        return tmp_path / "s"

    return run


def files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.parent != folder
    )


def test_photos_lie_in_the_folders_of_their_answers(sorted_, cameras) -> None:
    folder = sorted_()
    *named, odd = files(folder)
    assert named == [
        "canidae/CAM1__DCIM__100RECNX__IMG_0002.JPG",
        "no answer/CAM2__bad.jpg",
        "not an organism/CAM2__IMG_0001.JPG",
        "uncertain/CAM2__IMG_0002.JPG",
        "vulpes vulpes/CAM1__DCIM__100RECNX__IMG_0001.JPG",
    ]
    assert odd.startswith("vulpes vulpes/CAM2___1_1") and odd.endswith(".jpg")
    one = cameras / "CAM1" / "DCIM" / "100RECNX" / "IMG_0002.JPG"
    assert (folder / named[0]).read_bytes() == one.read_bytes()
    assert (folder / named[0]).stat().st_nlink == 1


@pytest.mark.parametrize("options", [(), ("--link",)])
def test_a_second_run_makes_nothing_twice_and_undo_takes_all_back(
    sorted_, classify, cameras, tmp_path, options
) -> None:
    before = sorted(cameras.rglob("*"))
    folder = sorted_(*options)
    made = files(folder)
    record = (folder / "sorted.jsonl").read_text()
    assert sorted_(*options) == folder
    assert files(folder) == made and (folder / "sorted.jsonl").read_text().split() == record.split()
    code, out, err = classify("--undo-sort", folder)
    assert (code, out) == (0, "") and "removed 6 files" in err
    assert not folder.exists() and sorted(cameras.rglob("*")) == before


def test_links_are_links(sorted_, cameras) -> None:
    folder = sorted_("--link")
    made = folder / "uncertain" / "CAM2__IMG_0002.JPG"
    assert made.samefile(cameras / "CAM2" / "IMG_0002.JPG")


def test_a_crash_between_a_file_and_its_record_makes_no_second_copy(sorted_) -> None:
    folder = sorted_()
    made, record = files(folder), folder / "sorted.jsonl"
    whole = record.read_text()
    # The last two lines are lost, and one more is cut.
    record.write_text("".join(whole.splitlines(keepends=True)[:-2])[:-20])
    sorted_()
    assert files(folder) == made
    told = {json.loads(line)["to"] for line in record.read_text().splitlines() if line[-1:] == "}"}
    assert told == {*made}


def test_what_was_changed_or_is_the_last_copy_stays(sorted_, classify, cameras) -> None:
    folder = sorted_()
    changed = folder / "uncertain" / "CAM2__IMG_0002.JPG"
    changed.write_bytes(b"edited")
    (cameras / "CAM2" / "bad.jpg").unlink()
    (folder / "canidae" / "mine.txt").write_text("mine")
    code, _, err = classify("--undo-sort", folder)
    assert code == 1 and "was changed" in err and "is the last copy" in err
    assert files(folder) == [
        *("canidae/mine.txt", "no answer/CAM2__bad.jpg", "uncertain/CAM2__IMG_0002.JPG"),
    ]
    # What stays is still known.
    assert len((folder / "sorted.jsonl").read_text().splitlines()) == 2


def test_a_record_written_by_others_removes_nothing_outside(classify, tmp_path) -> None:
    folder, victim = tmp_path / "s", tmp_path / "victim.jpg"
    (folder / "x").mkdir(parents=True)
    victim.write_bytes(b"photo")
    shutil.copy2(victim, tmp_path / "source.jpg")
    (folder / "link").symlink_to(tmp_path)
    facts = {"source": str(tmp_path / "source.jpg"), "how": "copy", "size": 5}
    lines = [
        {**facts, "to": to, "mtime_ns": victim.stat().st_mtime_ns}
        for to in ("../victim.jpg", "x/../../victim.jpg", str(victim), "link/victim.jpg", "./a")
    ]
    odd = ["[]", '{"to": 1}', "[" * 9999, "\x00", json.dumps({**lines[0], "size": "5"})]
    (folder / "sorted.jsonl").write_text("\n".join([*map(json.dumps, lines), *odd]) + "\n")
    assert classify("--undo-sort", folder)[0] == 0
    assert victim.read_bytes() == b"photo"


def test_a_file_of_the_same_name_is_not_overwritten(sorted_, classify, cameras, tmp_path) -> None:
    folder = tmp_path / "s"
    sorted_()
    classify("--undo-sort", folder)
    # As if another photo had been sorted to this name.
    (folder / "uncertain").mkdir(parents=True)
    mine = folder / "uncertain" / "CAM2__IMG_0002.JPG"
    mine.write_bytes(b"mine")
    (folder / ".rs-toolkit").write_text("x")
    (folder / "sorted.jsonl").touch()
    sorted_()
    assert mine.read_bytes() == b"mine"
    assert len([name for name in files(folder) if name.startswith("uncertain/CAM2__IMG_0002")]) == 2


def test_other_answers_move_nothing(sorted_, cameras) -> None:
    folder = sorted_()
    made = files(folder)
    sorted_("--min-probability", "1")
    assert files(folder) == made


def test_sorted_photos_are_not_classified_again(classify, cameras) -> None:
    classify(cameras, "--sort-into", cameras / "s")
    _, out, err = classify(cameras, "--json")
    assert len(out.splitlines()) == 6 and "left out: folder" in err


def test_links_to_another_disk_are_refused(classify, cameras, tmp_path, monkeypatch) -> None:
    def refuse(source: object, place: object) -> None:
        raise OSError(18, "Invalid cross-device link", source)

    monkeypatch.setattr(sort.os, "link", refuse)
    code, _, err = classify(cameras, "--sort-into", tmp_path / "s", "--link")
    assert code == 2 and "leave out --link" in err


def test_disks_without_links_get_copies(sorted_, monkeypatch) -> None:
    def refuse(source: object, place: object) -> None:
        raise PermissionError(1, "Operation not permitted", source)

    monkeypatch.setattr(sort.os, "link", refuse)
    assert len(files(sorted_())) == 6


def test_a_photo_that_cannot_be_read_costs_only_itself(classify, cameras, tmp_path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (cameras / "CAM2" / "bad.jpg").chmod(0)
    code, _, err = classify(cameras, "--sort-into", tmp_path / "s")
    assert code == 1 and "1 input not sorted: unreadable" in err
    assert len(files(tmp_path / "s")) == 5


def test_photos_of_an_archive_are_sorted_and_taken_back(classify, cameras, tmp_path) -> None:
    archive, folder = tmp_path / "card.zip", tmp_path / "s"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        for place in sorted((cameras / "CAM1").rglob("*.JPG")):
            writer.write(place, place.name)
    names = ["canidae/card.zip__IMG_0002.JPG", "vulpes vulpes/card.zip__IMG_0001.JPG"]
    for _ in range(2):
        assert classify(archive, "--sort-into", folder)[0] == 0
        assert files(folder) == names
    assert (folder / names[0]).read_bytes() == sorted(cameras.rglob("IMG_0002.JPG"))[0].read_bytes()
    # A crash between a file and its line: it is found again, and not copied twice.
    record = folder / "sorted.jsonl"
    record.write_text(record.read_text().splitlines()[0] + "\n")
    classify(archive, "--sort-into", folder)
    assert files(folder) == names
    assert classify("--undo-sort", folder)[0] == 0 and not folder.exists()


def test_the_last_copy_of_a_photo_of_an_archive_stays(classify, cameras, tmp_path) -> None:
    archive, folder = tmp_path / "card.zip", tmp_path / "s"
    for name in ("IMG_0001.JPG", "IMG_0002.JPG"):
        with zipfile.ZipFile(archive, "w") as writer:
            writer.write(sorted(cameras.rglob(name))[0], "a.jpg")
        if not folder.exists():
            assert classify(archive, "--sort-into", folder)[0] == 0
    code, _, err = classify("--undo-sort", folder)
    assert code == 1 and "is the last copy" in err and len(files(folder)) == 1


def test_photos_of_an_archive_are_not_linked(classify, cameras, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "card.zip", "w") as writer:
        writer.write(sorted(cameras.rglob("IMG_0001.JPG"))[0], "a.jpg")
    code, _, err = classify(tmp_path / "card.zip", "--sort-into", tmp_path / "s", "--link")
    assert code == 0 and "1 input not sorted: unreadable, or, with --link, in an archive" in err
