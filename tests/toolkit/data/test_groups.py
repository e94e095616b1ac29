from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_toolkit.data.groups import LEVELS, connected, group_photos
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import ConfigError, DataError

MAYBE = st.none() | st.sampled_from("abcde")


def photo(number: int, group=None, species=None, site=None, observation=None) -> Photo:
    taxon = Taxon(family="felidae", species=species)
    return Photo(f"{number}.jpg", taxon, group=group, site=site, observation=observation)


def together(names) -> list[set[int]]:
    found = defaultdict(set)
    for number, name in enumerate(names):
        found[name].add(number)
    return list(found.values())


@st.composite
def photos(draw):
    rows = draw(st.lists(st.tuples(MAYBE, MAYBE, MAYBE, MAYBE), min_size=1, max_size=25))
    return [photo(number, *row) for number, row in enumerate(rows)]


@settings(deadline=None)
@given(photos(), st.sampled_from(LEVELS))
def test_groups_are_exactly_the_connected_components(rows, level) -> None:
    def linked(one: Photo, other: Photo) -> bool:
        pairs = [(one.group, other.group)]
        if level not in ("photo", "duplicates"):
            pairs.append((one.observation, other.observation))
        if level == "species":
            pairs.append((one.taxon.species, other.taxon.species))
        elif level == "site":
            pairs.append((one.site, other.site))
        return any(left and left == right for left, right in pairs)

    try:
        grouping = group_photos(rows, level)
    except DataError:
        values = [p.taxon.species if level == "species" else getattr(p, level) for p in rows]
        assert level in ("site", "species")
        known = list(filter(None, values))
        assert not known or (level == "site" and len(set(known)) == len(known) > 1)
        return
    expected = [{number} for number in range(len(rows))]
    for one in range(len(rows)):
        for other in range(one):
            if linked(rows[one], rows[other]):
                sets = [found for found in expected if found & {one, other}]
                expected = [found for found in expected if not found & {one, other}]
                expected.append(set().union(*sets))
    assert sorted(map(sorted, together(grouping.names))) == sorted(map(sorted, expected))


@given(photos(), st.sampled_from(["photo", "duplicates"]), st.randoms(use_true_random=False))
def test_names_do_not_depend_on_the_order(rows, level, random) -> None:
    names = dict(zip([p.path for p in rows], group_photos(rows, level).names, strict=True))
    random.shuffle(rows)
    assert list(group_photos(rows, level).names) == [names[p.path] for p in rows]


def test_a_burst_joins_two_sites_and_the_unknown_are_told() -> None:
    rows = [
        *(photo(0, site="north"), photo(1, site="north", group="burst")),
        *(photo(2, site="south", group="burst"), photo(3, site="south")),
        *(photo(4), photo(5, group="copies"), photo(6, group="copies"), photo(7, site="west")),
    ]
    grouping = group_photos(rows, "site")
    assert together(grouping.names) == [{0, 1, 2, 3}, {4}, {5, 6}, {7}]
    assert grouping.unknown == ("4.jpg", "5.jpg", "6.jpg")
    assert group_photos(rows).unknown == ()


def test_observations_stay_together_unless_it_is_switched_off() -> None:
    rows = [photo(0, observation="e1", site="a"), photo(1, observation="e1"), photo(2, site="a")]
    rows += [photo(3, observation="e2"), photo(4)]
    alone = [{n} for n in range(5)]
    wanted = {"site": [{0, 1, 2}, {3}, {4}], "duplicates": alone, "photo": alone}
    for level, groups in wanted.items():
        assert together(group_photos(rows, level).names) == groups
    grouping = group_photos(rows)
    assert together(grouping.names) == [{0, 1}, {2}, {3}, {4}]
    assert grouping.unknown == ("2.jpg", "4.jpg")
    assert group_photos([photo(0), photo(1)]).unknown == ()


def test_a_site_of_each_photo_is_no_site(one_line) -> None:
    rows = [photo(n, site=f"https://x.org/{n}.jpg", observation=f"e{n}") for n in range(3)]
    with pytest.raises(DataError, match="each of 3 photos has a site of its own") as caught:
        group_photos([*rows, photo(9)], "site")
    assert "'https://x.org/0.jpg'" in one_line(str(caught.value))
    # An observation of one photo is common.
    grouping = group_photos(rows, "observation")
    assert together(grouping.names) == [{0}, {1}, {2}]
    assert grouping.single == ("0.jpg", "1.jpg", "2.jpg")
    assert group_photos([*rows, photo(4, site="a"), photo(5, site="a")], "site").single == (
        *("0.jpg", "1.jpg", "2.jpg"),
    )
    assert group_photos([photo(0, site="a"), photo(1)], "site").single == ("0.jpg",)


def test_a_value_is_no_group_of_that_name() -> None:
    rows = [photo(0, site="a"), photo(1, group="a"), photo(2, observation="a")]
    assert len(set(group_photos(rows, "site").names)) == 3


def test_chains_of_any_length_are_one_component() -> None:
    links = [(str(n), str(n + 1)) for n in range(5000)]
    assert set(connected(links)) == {"0"}
    assert set(connected(reversed(links))) == {"0"}


def test_nothing_to_group_by_is_one_line(one_line) -> None:
    with pytest.raises(DataError, match="got 2 photos without a site") as caught:
        group_photos([photo(0), photo(1, species="lynx lynx")], "site")
    one_line(str(caught.value))
    with pytest.raises(ConfigError, match="got 'country', wanted one of: observation"):
        group_photos([], "country")
    assert group_photos([], "site").names == ()
