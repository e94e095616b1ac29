from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import ConfigError, DataError
from rs_toolkit.review import journal
from rs_toolkit.review.journal import JOURNAL, Decision, ignore, read_decisions
from rs_toolkit.review.verdicts import apart, apply_decisions, settled

TIME = "2031-05-04T12:00:00+00:00"


def decision(path: str, action: str, label: str | None = None, *group: str) -> Decision:
    """A decision on photos whose content is named after them."""
    return Decision(TIME, path, f"#{path}", action, label, {name: f"#{name}" for name in group})


def read(path: Path, *decisions: Decision) -> dict[str, Decision]:
    for item in decisions:
        journal.append(path, item)
    return read_decisions(path)


def photo(path: str, family: str = "felidae", **names: object) -> Photo:
    taxon = Taxon(kingdom="animalia", order=f"order of {family}", family=family, genus="x")
    return replace(Photo(path=path, taxon=taxon, sha256=f"#{path}"), **names)


class TestJournal:
    def test_last_decision_on_a_photo_counts(self, tmp_path) -> None:
        kept, dropped = decision("a.jpg", "keep"), decision("a.jpg", "drop")
        other = decision("b.jpg", "relabel", "canidae")
        found = read(tmp_path / JOURNAL, kept, other, dropped)
        assert list(found.values()) == [other, dropped]
        assert found[dropped.key].line == 3

    def test_a_label_and_a_relation_do_not_replace_each_other(self, tmp_path) -> None:
        same, kept = decision("a.jpg", "same", None, "b.jpg"), decision("a.jpg", "keep")
        assert list(read(tmp_path / JOURNAL, same, kept).values()) == [same, kept]

    def test_undo_brings_back_the_decision_before(self, tmp_path) -> None:
        kept, dropped = decision("a.jpg", "keep"), decision("a.jpg", "drop")
        undo = decision("a.jpg", "undo")
        assert list(read(tmp_path / JOURNAL, kept, dropped, undo).values()) == [kept]
        assert not read(tmp_path / JOURNAL, undo)

    def test_undo_tells_a_label_from_a_relation(self, tmp_path) -> None:
        same, kept = decision("a.jpg", "same", None, "b.jpg"), decision("a.jpg", "keep")
        undo = decision("a.jpg", "undo", None, "b.jpg")
        assert list(read(tmp_path / JOURNAL, same, kept, undo).values()) == [kept]

    def test_no_journal_is_no_decision(self, tmp_path) -> None:
        assert read_decisions(tmp_path / JOURNAL) == {}

    def test_texts_of_any_alphabet_survive(self, tmp_path) -> None:
        odd = replace(decision('ä"\n\\/日本.jpg', "keep"), note="ünsure\t\u2028")
        assert list(read(tmp_path / JOURNAL, odd).values()) == [odd]
        assert (tmp_path / JOURNAL).read_bytes().count(b"\n") == 1

    def test_wherever_the_last_line_is_cut_nothing_else_is_lost(self, tmp_path) -> None:
        path = tmp_path / JOURNAL
        first, second, third = (decision(f"{n}.jpg", "keep") for n in range(3))
        read(path, first, second)
        whole = path.read_bytes()
        start = whole.index(b"\n") + 1
        for end in range(start, len(whole)):
            path.write_bytes(whole[:end])
            reports: list[str] = []
            # All but the newline is there: the decision is whole.
            kept = [first, second] if end == len(whole) - 1 else [first]
            assert list(read_decisions(path, report=reports.append).values()) == kept
            assert len(reports) == (0 if end in (start, len(whole) - 1) else 1)
            assert all("line 2" in text and "cut off" in text for text in reports)
            journal.append(path, third)
            assert list(read_decisions(path).values()) == [*kept, third]

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            (b"{", "not one JSON object"),
            (b"[]", "not one JSON object"),
            (b"[" * 100_000, "not one JSON object"),
            (b'"\xff"', "not one JSON object"),
            (b'{"time": NaN, "path": 1}', "time is missing or no text"),
            (b'{"action": "burn"}', "action is 'burn', wanted one of: keep,"),
            (b'{"sha256": 7}', "sha256 is missing or no text"),
            (b'{"action": "relabel"}', "relabel without a label"),
            (b'{"action": "relabel", "label": 5}', "label is missing or no text"),
            (b'{"action": "same"}', "same without a group"),
            (b'{"action": "keep", "group": {"b.jpg": "#"}}', "keep with a group"),
            (b'{"action": "same", "group": ["b.jpg"]}', "group is not {path: sha256}"),
            (b'{"action": "same", "group": {"a.jpg": "#"}}', "the photo is in its own group"),
            (b'{"path": "never.jpg", "action": "undo"}', "takes back a decision that is not"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_bad_line_is_reported_and_the_rest_counts(
        self, tmp_path, one_line, line, problem
    ) -> None:
        path, reports = tmp_path / JOURNAL, []
        row = {"time": TIME, "path": "a.jpg", "sha256": "#a.jpg", "action": "keep"}
        with contextlib.suppress(ValueError, RecursionError, TypeError):
            line = json.dumps(row | json.loads(line)).encode()
        first, last = decision("1.jpg", "keep"), decision("2.jpg", "keep")
        read(path, first)
        path.write_bytes(path.read_bytes() + line + b"\n")
        journal.append(path, last)
        assert list(read_decisions(path, report=reports.append).values()) == [first, last]
        assert f"{JOURNAL} line 2: {problem}" in one_line(reports[0])
        assert len(reports) == 1

    def test_decisions_on_other_photos_are_reported_one_by_one(self, tmp_path, one_line) -> None:
        path, reports = tmp_path / JOURNAL, []
        here = [photo("a.jpg"), photo("b.jpg"), photo("c.jpg", sha256="edited")]
        kept = decision("a.jpg", "keep")
        read(path, decision("gone\n.jpg", "drop"), decision("c.jpg", "drop"), kept)
        for others in (("c.jpg",), ("b.jpg", "d.jpg")):
            journal.append(path, decision("a.jpg", "same", None, *others))
        found = read_decisions(path, here, reports.append)
        assert list(found.values()) == [kept, decision("a.jpg", "same", None, "b.jpg")]
        for text, line, why in zip(
            reports,
            (1, 2, 4, 5),
            ("no such photo", "has changed since", "none of its group", "1 of its group"),
            strict=True,
        ):
            assert f"line {line}, " in one_line(text) and why in text

    def test_a_file_too_large_is_refused(self, tmp_path, monkeypatch, one_line) -> None:
        monkeypatch.setattr(journal, "_MAX_BYTES", 10)
        (tmp_path / JOURNAL).write_bytes(b" " * 11)
        with pytest.raises(DataError) as caught:
            read_decisions(tmp_path / JOURNAL)
        assert "larger than 10 bytes" in one_line(str(caught.value))

    def test_a_part_of_a_line_is_an_error(self, tmp_path, monkeypatch) -> None:
        class Full(io.FileIO):
            def write(self, data: object) -> int:
                return super().write(bytes(data)[:20])  # type: ignore[call-overload]

        path = tmp_path / JOURNAL
        monkeypatch.setattr(Path, "open", lambda self, mode, buffering: Full(self, "ab+"))
        with pytest.raises(OSError, match="No space left"):
            journal.append(path, decision("a.jpg", "keep"))
        monkeypatch.undo()
        assert list(read(path, decision("b.jpg", "keep"))) == [decision("b.jpg", "keep").key]


class TestVerdicts:
    def apply(self, photos, *decisions: Decision, rank: str = "family", report=ignore):
        return apply_decisions(photos, journal.latest(decisions), rank, report)

    def test_keep_changes_nothing_and_is_settled(self) -> None:
        photos = (photo("a.jpg", weight=0.4, group="g"), photo("b.jpg"))
        assert self.apply(photos, decision("a.jpg", "keep")) == photos
        judged = (decision("a.jpg", "keep"), decision("b.jpg", "same", None, "a.jpg"))
        assert settled(journal.latest(judged)) == {"a.jpg"}

    def test_drop_weighs_nothing_and_stays(self) -> None:
        photos = (photo("a.jpg"), photo("b.jpg", error="is empty"))
        done = self.apply(photos, decision("a.jpg", "drop"), decision("b.jpg", "drop"))
        assert done == tuple(replace(item, weight=0.0) for item in photos)
        assert done[0].error is None

    def test_relabel_gives_the_names_of_the_class_down_to_the_rank(self) -> None:
        wrong = photo("a.jpg", common_name="cat", site="camera 3")
        photos = (wrong, photo("b.jpg", "canidae", common_name="fox"), photo("c.jpg"))
        done = self.apply(photos, decision("a.jpg", "relabel", "Canidae"))
        names = Taxon(kingdom="animalia", order="order of canidae", family="canidae")
        assert done == (replace(wrong, taxon=names, common_name=None), *photos[1:])

    @pytest.mark.parametrize("rank", ["species", "common_name"])
    def test_relabel_at_the_finest_rank_gives_every_name(self, rank) -> None:
        fox = Taxon(order="carnivora", family="canidae", genus="vulpes", species="vulpes vulpes")
        photos = (photo("a.jpg"), Photo("b.jpg", fox, "red fox", sha256="#"))
        label = "vulpes vulpes" if rank == "species" else "red fox"
        done = self.apply(photos, decision("a.jpg", "relabel", label), rank=rank)
        assert (done[0].taxon, done[0].common_name) == (fox, "red fox")

    def test_relabel_follows_the_majority_of_usable_photos(self) -> None:
        odd = Taxon(kingdom="plantae", family="canidae")
        photos = (
            photo("a.jpg"),
            *(Photo(f"{n}.jpg", odd, sha256="#", error="is empty") for n in range(5)),
            Photo("b.jpg", odd, sha256="#"),
            *(photo("c.jpg", "canidae"), photo("d.jpg", "canidae")),
        )
        done = self.apply(photos, decision("a.jpg", "relabel", "canidae"))
        assert done[0].taxon.kingdom == "animalia"

    def test_relabels_do_not_depend_on_each_other(self) -> None:
        photos = (photo("a.jpg"), photo("b.jpg", "canidae"))
        swap = (decision("a.jpg", "relabel", "canidae"), decision("b.jpg", "relabel", "felidae"))
        assert [item.taxon.family for item in self.apply(photos, *swap)] == ["canidae", "felidae"]

    def test_relabel_to_the_label_it_has_changes_nothing(self) -> None:
        photos = (photo("a.jpg"), photo("b.jpg"))
        assert self.apply(photos, decision("a.jpg", "relabel", "felidae")) == photos

    def test_relabel_to_a_class_without_photos_is_reported(self, one_line) -> None:
        photos, reports = (photo("a.jpg"),), []
        wanted = decision("a.jpg", "relabel", "ursidae")
        assert self.apply(photos, wanted, report=reports.append) == photos
        assert "no photo is of class 'ursidae'" in one_line(*reports)

    def test_same_joins_the_groups_that_its_photos_are_in(self) -> None:
        photos = (
            *(photo("a.jpg"), photo("b.jpg", group="g2"), photo("c.jpg", group="g2")),
            *(photo("d.jpg", group="g1"), photo("e.jpg"), photo("f.jpg", group="g3")),
        )
        done = self.apply(photos, decision("b.jpg", "same", None, "a.jpg", "d.jpg"))
        assert [item.group for item in done] == ["g1", "g1", "g1", "g1", None, "g3"]
        assert [replace(item, group=None) for item in done] == [
            replace(item, group=None) for item in photos
        ]

    def test_same_without_groups_makes_one(self) -> None:
        photos = tuple(photo(name) for name in "abcd")
        done = self.apply(
            photos, decision("b", "same", None, "a"), decision("c", "same", None, "b")
        )
        assert [item.group for item in done] == ["same:a", "same:a", "same:a", None]

    def test_the_later_of_same_and_different_wins(self) -> None:
        photos = tuple(photo(name) for name in "abc")
        same, odd = (
            decision("a", "same", None, "b", "c"),
            decision("a", "different", None, "b", "c"),
        )
        assert apart(journal.latest([odd, same])) == set()
        assert {item.group for item in self.apply(photos, odd, same)} == {"same:a"}
        assert apart(journal.latest([same, odd])) == {frozenset("ab"), frozenset("ac")}
        assert [item.group for item in self.apply(photos, same, odd)] == [None, "same:b", "same:b"]

    def test_different_leaves_groups_of_the_index_alone(self) -> None:
        photos = (photo("a", group="burst"), photo("b", group="burst"))
        assert self.apply(photos, decision("a", "different", None, "b")) == photos

    def test_decisions_on_other_contents_do_nothing(self) -> None:
        photos, reports = (photo("a", sha256="edited"), photo("b")), []
        wanted = (decision("a", "drop"), decision("b", "same", None, "a"))
        assert self.apply(photos, *wanted, report=reports.append) == photos
        assert len(reports) == 2

    def test_no_such_rank(self) -> None:
        with pytest.raises(ConfigError, match="rank"):
            self.apply((photo("a"),), decision("a", "keep"), rank="tribe")
