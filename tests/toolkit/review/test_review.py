from __future__ import annotations

import io
import runpy
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from rs_toolkit.checks.findings import Finding, read_findings, write_findings
from rs_toolkit.data.index import read_index
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError
from rs_toolkit.review import journal
from rs_toolkit.review.images import render
from rs_toolkit.review.items import read_folder
from rs_toolkit.review.journal import JOURNAL, Decision, read_decisions
from rs_toolkit.review.session import Refused, Session
from rs_toolkit.review.verdicts import apart, apply_decisions

_SAMPLE = runpy.run_path(str(Path(__file__).with_name("review_folder.py")))
clean_folder, ITEMS, GROUP = _SAMPLE["clean_folder"], _SAMPLE["ITEMS"], _SAMPLE["GROUP"]
BROKEN, MARKUP = _SAMPLE["BROKEN"], _SAMPLE["MARKUP"]
DISC, QUAD = 2, 3  # items of one photo each

TIME = "2031-05-04T12:00:00+00:00"


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    """A clean folder that no test changes."""
    return clean_folder(tmp_path_factory.mktemp("review"))


@pytest.fixture
def folder(tmp_path, sample) -> Path:
    """A clean folder of photos that no test changes."""
    return Path(shutil.copytree(sample, tmp_path / "clean"))


class TestFolder:
    def read(self, folder: Path):
        return read_folder(folder, lambda text: None)

    def test_items_are_sorted_and_grouped(self, folder) -> None:
        found = self.read(folder)
        names = [[found.photos[n].path for n in item.photos] for item in found.items]
        assert names == [list(GROUP) if name == GROUP[0] else [name] for name in ITEMS]
        assert found.items[1].flags == {"near_duplicate": 0.97}
        assert found.items[3].flags == {"label_noise": 0.8, "blurred": 0.4}

    def test_duplicates_are_grouped_as_in_the_index(self, folder) -> None:
        unnamed = Finding(GROUP[1], "exact_duplicate", 1.0, detail="of another")
        alone = Finding("discidae/5.jpg", "near_duplicate", 0.9, detail="gone.jpg")
        write_findings(folder / "findings.parquet", [unnamed, alone])
        found = self.read(folder)
        assert [item.is_group for item in found.items] == [True, False]
        assert [found.photos[n].path for n in found.items[0].photos] == list(GROUP)

    def test_the_text_of_a_finding_is_no_path(self, folder) -> None:
        odd = Finding("discidae/5.jpg", "near_duplicate", 0.9, detail="discidae/4.jpg")
        write_findings(folder / "findings.parquet", [odd])
        (item,) = self.read(folder).items
        assert not item.is_group

    def test_a_flagged_photo_of_a_group_is_asked_about_twice(self, folder) -> None:
        extra = Finding(GROUP[1], "label_noise", 0.7)
        write_findings(
            folder / "findings.parquet", [*read_findings(folder / "findings.parquet"), extra]
        )
        items = self.read(folder).items
        place = next(n for item in items if item.is_group for n in item.photos[1:2])
        assert [dict(item.flags) for item in items if place in item.photos] == [
            {"near_duplicate": 0.97},
            {"label_noise": 0.7},
        ]

    def test_typical_photos_are_usable_unflagged_and_not_the_one_in_question(self, folder) -> None:
        found = self.read(folder)
        places = {item.path: n for n, item in enumerate(found.photos)}
        names = [found.photos[n].path for n in found.typical("discidae", places["discidae/2.jpg"])]
        assert sorted(names) == ["discidae/3.jpg", "discidae/4.jpg", "discidae/5.jpg", MARKUP]
        assert names[-1] == MARKUP
        typical = {found.photos[n].path for n in found.typical("trigonidae", -1)}
        assert BROKEN not in typical and len(typical) == 3
        assert found.typical("ursidae", -1) == []

    def test_a_finding_on_no_photo_is_reported(self, folder, one_line) -> None:
        reports: list[str] = []
        write_findings(folder / "findings.parquet", [Finding("x\n.jpg", "dark", 0.5)])
        assert read_folder(folder, reports.append).items == ()
        assert "no photo 'x .jpg'" in one_line(*reports)

    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            (None, "nothing to review (no clean.json in it)"),
            ("{", "cannot be read (JSONDecodeError"),
            ("[]", "cannot be read (TypeError"),
            ("[" * 100_000, "cannot be read (ValueError: its values are nested too deeply"),
            ('{"rank": "family", "classes": []}', "cannot be read (KeyError: 'data_root'"),
            ('{"data_root": "/", "rank": "family", "classes": [1]}', "must be text"),
            ('{"data_root": "/gone", "rank": "family", "classes": []}', "no longer in '/gone'"),
            ('{"data_root": "/", "rank": "tribe", "classes": []}', "got 'tribe', wanted one of"),
        ],
    )
    def test_other_folders_are_refused(self, folder, one_line, settings, problem) -> None:
        (folder / "clean.json").unlink()
        if settings is not None:
            (folder / "clean.json").write_text(settings)
        with pytest.raises(DataError) as caught:
            self.read(folder)
        assert problem in one_line(str(caught.value))


class TestImages:
    def side(self, data: bytes) -> tuple[int, int]:
        image = Image.open(io.BytesIO(data))
        assert image.format == "JPEG" and not image.getexif()
        return image.size

    def test_bounded_upright_and_cut_to_the_box(self, tmp_path) -> None:
        image = Image.new("RGB", (200, 100))
        image.paste((255, 0, 0), (50, 0, 100, 50))
        image.save(tmp_path / "a.png")
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(tmp_path / "turned.jpg", exif=exif)
        plain = Photo("a.png", Taxon())
        assert self.side(render(plain, tmp_path, 1280)) == (200, 100)
        assert self.side(render(plain, tmp_path, 50)) == (50, 25)
        assert self.side(render(replace(plain, path="turned.jpg"), tmp_path, 50)) == (25, 50)
        cut = render(replace(plain, box="0.25,0,0.25,0.5"), tmp_path, 1280)
        assert self.side(cut) == (50, 50)
        assert Image.open(io.BytesIO(cut)).getpixel((25, 25))[0] > 240

    def test_a_part_of_a_photo_above_pillows_own_limit_is_shown(
        self, tmp_path, monkeypatch
    ) -> None:
        Image.new("RGB", (200, 100)).save(tmp_path / "a.png")
        with monkeypatch.context() as patched:
            patched.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
            part = render(Photo("a.png", Taxon(), box="0,0,0.5,1"), tmp_path, 1280)
        assert self.side(part) == (100, 100)

    @pytest.mark.parametrize(
        "path", ["gone.jpg", "text.jpg", "../secret.png", "sub/../../secret.png", "{}/secret.png"]
    )
    def test_what_cannot_be_shown_is_grey(self, tmp_path, path) -> None:
        root = tmp_path / "data"
        (root / "sub").mkdir(parents=True)
        (root / "text.jpg").write_text("no picture")
        Image.new("RGB", (40, 40), (255, 0, 0)).save(tmp_path / "secret.png")
        data = render(Photo(path.format(tmp_path), Taxon()), root, 400)
        corner = Image.open(io.BytesIO(data)).getpixel((1, 1))
        assert all(abs(value - 128) < 4 for value in corner)

    def test_a_photo_that_changed_is_not_shown(self, tmp_path) -> None:
        photos = read_index(clean_folder(tmp_path) / "index.parquet")
        shown = next(item for item in photos if item.path == "discidae/0.jpg")
        root = tmp_path / "data"
        before = render(shown, root, 400)
        (root / "discidae/0.jpg").write_bytes((root / "discidae/2.jpg").read_bytes())
        assert self.side(render(shown, root, 400)) != self.side(before)


class TestSession:
    @pytest.fixture
    def session(self, folder) -> Session:
        return Session(folder, pytest.fail)

    def places(self, session: Session, number: int) -> tuple[int, ...]:
        return session.folder.items[number].photos

    def test_photos_decisions_and_examples_are_shown(self, session) -> None:
        (n,) = self.places(session, DISC)
        shown = session.item(DISC)
        assert [example["label"] for example in shown["examples"]] == ["discidae", "quadridae"]
        assert shown["photos"][0]["decision"] is None
        assert session.decide(DISC, n, "relabel", "Quadridae")["decided"] == {str(DISC): True}
        decided = {"action": "relabel", "label": "quadridae"}
        assert session.item(DISC)["photos"][0]["decision"] == decided

    def test_a_session_goes_on_where_the_last_one_ended(self, session, folder) -> None:
        for number, action in ((0, "drop"), (DISC, "keep"), (QUAD, "keep")):
            session.decide(number, self.places(session, number)[0], action)
        again = Session(folder, pytest.fail)
        assert again.left == session.left == 2
        undone = again.undo()
        assert (undone["item"], undone["action"], undone["decided"]) == (QUAD, "keep", {"3": False})
        assert Session(folder, pytest.fail).left == 3

    def test_a_group_is_decided_when_nothing_is_left_to_say(self, session, folder) -> None:
        first, second, _ = self.places(session, 1)
        assert session.decide(1, second, "different")["decided"] == {"1": False}
        assert [item["apart"] for item in session.item(1)["photos"]] == [False, True, False]
        assert session.decide(1, first, "same")["decided"] == {"1": True}
        found = read_decisions(folder / JOURNAL)
        assert apart(found) == {frozenset(GROUP[:2]), frozenset(GROUP[1:])}
        fresh = [replace(photo, group=None) for photo in session.folder.photos]
        done = apply_decisions(fresh, found, "family")
        groups = [item.group for item in done if item.path in GROUP]
        assert groups == [f"same:{GROUP[0]}", None, f"same:{GROUP[0]}"]

    def test_two_of_three_set_apart_say_all(self, session) -> None:
        first, second, _ = self.places(session, 1)
        session.decide(1, first, "different")
        assert session.decide(1, second, "different")["decided"] == {"1": True}
        # One that was set apart is put back.
        session.decide(1, first, "same")
        assert session.item(1)["photos"][0]["apart"] is False

    @pytest.mark.parametrize(
        "values",
        [
            (9, 0, "keep"),
            (-1, 0, "keep"),
            (True, 0, "keep"),
            ("1", 0, "keep"),
            (None, None, None),
            (DISC, 13, "keep"),
            (DISC, "n", "burn"),
            (DISC, "n", "undo"),
            (DISC, "n", ["keep"]),
            (DISC, "n", "same"),
            (DISC, "n", "relabel"),
            (DISC, "n", "relabel", "ursidae"),
            (DISC, "n", "relabel", {"a": 1}),
            (DISC, "n", "keep", None, "x" * 501),
            (DISC, "n", "keep", None, 7),
        ],
        ids=str,
    )
    def test_nonsense_is_refused_and_not_written(self, session, folder, values) -> None:
        (n,) = self.places(session, DISC)
        with pytest.raises(Refused):
            session.decide(*(n if value == "n" else value for value in values))
        assert not (folder / JOURNAL).exists()

    def test_nothing_to_take_back(self, session) -> None:
        with pytest.raises(Refused):
            session.undo()

    def test_undo_passes_over_decisions_on_other_photos(self, session, folder) -> None:
        (n,) = self.places(session, DISC)
        session.decide(DISC, n, "keep")
        path, sha256 = session.folder.photos[n].path, session.folder.photos[n].sha256
        for stranger in (
            Decision(TIME, "elsewhere.jpg", "#", "drop"),
            Decision(TIME, path, sha256, "same", None, {"elsewhere.jpg": "#"}),
        ):
            journal.append(folder / JOURNAL, stranger)
        again = Session(folder, lambda text: None)
        assert again.undo()["name"] == path
        actions = [item.action for item in read_decisions(folder / JOURNAL).values()]
        assert actions == ["drop", "same"]

    def test_one_decision_is_written_at_a_time(self, session, monkeypatch) -> None:
        inside, most = [], []

        def append(path: Path, item: Decision) -> None:
            inside.append(item)
            most.append(len(inside))
            time.sleep(0.01)
            inside.remove(item)

        monkeypatch.setattr("rs_toolkit.review.journal.append", append)
        (n,) = self.places(session, DISC)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda action: session.decide(DISC, n, action), ["keep", "drop"] * 4))
        assert most == [1] * 8

    def test_a_full_disk_decides_nothing(self, session, monkeypatch) -> None:
        if not Path("/dev/full").exists():
            pytest.skip("no /dev/full here")
        monkeypatch.setattr(session, "_journal", Path("/dev/full"))
        with pytest.raises(OSError, match="No space left"):
            session.decide(DISC, self.places(session, DISC)[0], "keep")
        assert session.left == len(ITEMS)
