"""A run in several parts, merged, ends as one run does."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.cli import main
from rs_runtime.errors import JournalError
from rs_runtime.shards import Shard, merge_journals, shard

PARTS = 3


@pytest.fixture
def card(tmp_path: Path, onnx_kit: Path, monkeypatch) -> Path:
    """A folder of 20 photos, one damaged, and one folder without photos."""
    folder = tmp_path / "card"
    (folder / "cam 1").mkdir(parents=True)
    generator = np.random.default_rng(1)
    for number in range(20):
        colour = tuple(generator.integers(0, 256, 3).tolist())
        exif = Image.Exif()
        exif[0x0132] = f"2025:03:09 06:{number:02d}:00"
        Image.new("RGB", (40, 40), colour).save(folder / "cam 1" / f"{number}.png", exif=exif)
    (folder / "cam 1" / "7.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    monkeypatch.setenv("RS_KIT", str(onnx_kit))
    return folder


def parts(card: Path, *options: str) -> list[Path]:
    """Classify each part; return the journals."""
    journals = []
    for number in range(1, PARTS + 1):
        journals.append(card.parent / f"{number}.journal")
        place = ("--shard", f"{number}/{PARTS}", "--journal", str(journals[-1]))
        assert main([str(card), *place, *options]) in (0, 1)
    return journals


@pytest.mark.parametrize("options", [(), ("--sequence", "2m"), ("--cameras",)])
def test_parts_and_a_merge_end_as_one_run(card, capfd, options) -> None:
    outputs = ("--json", *options)
    assert main([str(card), *outputs]) == 1
    wanted = capfd.readouterr()
    journals = parts(card, *outputs)
    shown = capfd.readouterr()
    assert shown.out == "" and shown.err.count("7.png") == 1
    merged = card.parent / "all.journal"
    assert merge_journals(merged, journals) == (19, 0)
    before = merged.read_bytes()
    assert main([str(card), *outputs, "--journal", str(merged)]) == 1
    assert capfd.readouterr() == wanted
    # Nothing was classified again.
    assert merged.read_bytes() == before


def test_each_photo_is_in_one_part(card) -> None:
    paths = [str(path) for path in card.rglob("*.png")]
    held = [[Shard(k, 7).holds(path) for path in paths] for k in range(1, 8)]
    assert np.sum(held, axis=0).tolist() == [1] * len(paths)
    # The same on every machine and in every release.
    assert [Shard(k, 4).holds("card/DSC_0001.JPG") for k in range(1, 5)] == PLACE


PLACE = [False, False, False, True]


def test_a_journal_that_was_cut_off_loses_one_answer(card, capfd) -> None:
    first, *others = parts(card)
    data = first.read_bytes()
    first.write_bytes(data[:-20])
    merged = card.parent / "all.journal"
    answers = data.count(b'"crc32"') + sum(x.read_bytes().count(b'"crc32"') for x in others)
    assert merge_journals(merged, [first, *others]) == (answers - 1, 1)
    capfd.readouterr()
    assert main([str(card), "--journal", str(merged), "--json"]) == 1
    assert len(capfd.readouterr().out.splitlines()) == 20


def test_other_settings_and_other_files_are_refused(card) -> None:
    journals = parts(card)
    other = card.parent / "other.journal"
    main([str(card), "--journal", str(other), "--top", "2"])
    merged = card.parent / "all.journal"
    with pytest.raises(JournalError, match=r"another top than .*: 2, not 5"):
        merge_journals(merged, [*journals, other])
    with pytest.raises(JournalError, match=r"7\.png' is no journal"):
        merge_journals(merged, [*journals, card / "cam 1" / "7.png"])
    assert not merged.exists()
    with pytest.raises(JournalError, match="is there already"):
        merge_journals(other, journals)
    assert not list(card.parent.glob(".tmp-*"))


def test_a_line_of_settings_that_is_forged_is_no_line_of_settings(card) -> None:
    journal, *_ = parts(card)
    head = b'{"journal": "rs-classify", "format": 1, '
    journal.write_bytes(journal.read_bytes() + head + b'"key": 3, "settings": []}\n' + b"[" * 99999)
    assert merge_journals(card.parent / "all.journal", [journal]).damaged == 2


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/2/3", "1/9999999"])
def test_a_part_is_refused_by_name(text) -> None:
    with pytest.raises(ArgumentTypeError, match="as 3/20"):
        shard(text)


def test_a_part_needs_a_journal(card, capfd) -> None:
    assert main([str(card), "--shard", "1/3"]) == 2
    assert "--journal" in capfd.readouterr().err
