"""The rank that ``auto`` chooses, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError
from rs_toolkit.progress import Progress
from rs_toolkit.splits.rank import settle_rank
from rs_toolkit.splits.table import make_splits

AUTO = TrainConfig(rank="auto")


class Notes(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def photos(number: int, genus: str, species: str | None, **known) -> list[Photo]:
    taxon = Taxon(order="carnivora", family=f"{genus[0]}idae", genus=genus, species=species)
    return [Photo(f"{genus}/{species}/{n}.jpg", taxon, **known) for n in range(number)]


def chosen(found: list[Photo], config: TrainConfig = AUTO) -> tuple[str, str]:
    notes = Notes()
    rank = settle_rank(found, config, notes).rank
    return rank, " ".join(notes.texts)


LYNXES = [*photos(8, "lynx", "lynx rufus"), *photos(7, "lynx", "lynx lynx")]
DOGS = [*photos(4, "canis", "canis lupus"), *photos(4, "canis", "canis latrans")]


def test_the_finest_rank_with_enough_photos_is_taken_and_explained(one_line) -> None:
    assert chosen([*LYNXES, *photos(7, "canis", "canis lupus")])[0] == "species"
    rank, said = chosen([*LYNXES, *DOGS])
    assert rank == "genus"
    for part in ("rank auto: genus", "100% of all photos", "species 65%", "--rank"):
        assert part in one_line(said)


def test_copies_and_bursts_are_no_photos_of_their_own() -> None:
    copies = [replace(photo, group=f"burst {n // 4}") for n, photo in enumerate(DOGS)]
    rank, said = chosen([*LYNXES, *copies])
    # Two groups of dogs: no rank has enough, and species has most.
    assert rank == "species" and "more than others" in said
    assert chosen([*LYNXES, *copies], replace(AUTO, group_by="species"))[1]


def test_photos_without_a_label_count_against_a_rank() -> None:
    nameless = [replace(p, taxon=replace(p.taxon, species=None)) for p in photos(20, "lynx", "a b")]
    rank, said = chosen([*LYNXES, *photos(20, "canis", "canis lupus"), *nameless])
    assert rank == "genus" and "species 64%" in said


def test_common_names_are_taken_only_where_no_rank_has_more() -> None:
    named = [Photo(f"{n}.jpg", Taxon(), common_name="fox" if n % 2 else "owl") for n in range(20)]
    assert chosen(named)[0] == "common_name"
    assert chosen([*LYNXES, *DOGS, *named])[0] == "genus"


@pytest.mark.parametrize("found", [[], LYNXES[:8], [Photo("a.jpg", Taxon()), Photo("b", Taxon())]])
def test_where_there_are_no_two_classes_the_split_says_so(found, one_line) -> None:
    config = settle_rank(found, AUTO, Notes())
    assert config.rank == "species"
    with pytest.raises(DataError, match="photos") as caught:
        make_splits(found, config)
    one_line(str(caught.value))


def test_a_given_rank_stays_and_nothing_is_said() -> None:
    assert chosen(LYNXES, replace(AUTO, rank="order")) == ("order", "")
