from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_toolkit.data.taxonomy import RANKS, Taxon, normalize_name
from rs_toolkit.errors import ConfigError

NAMES = st.none() | st.text(max_size=12)


@pytest.mark.parametrize(
    ("given_name", "wanted"),
    [
        ("  Panthera   Leo\t", "panthera leo"),
        ("Felidae", "felidae"),
        ("", None),
        (None, None),
        ("\u200b \r", None),
        # Readers leave these words out, unless an organism has such a name.
        ("NaN", "nan"),
        (" n/a ", "n/a"),
        ("Nannidae", "nannidae"),
        ("Fel\u200bidae\u00ad", "felidae"),
        ("0\r\x1b", "0"),
    ],
)
def test_names(given_name, wanted) -> None:
    assert normalize_name(given_name) == wanted


def test_names_of_macs_and_of_linux_are_one() -> None:
    assert normalize_name(unicodedata.normalize("NFD", "Coëlidae")) == "coëlidae"


def test_every_rank_is_kept_and_normalized() -> None:
    taxon = Taxon.from_dict({rank: f" {rank.upper()} a" for rank in RANKS})
    assert [taxon.at(rank) for rank in RANKS] == [f"{rank} a" for rank in RANKS]
    assert taxon.class_ == "class a"
    assert tuple(taxon.to_dict()) == RANKS


def test_epithet_gets_its_genus() -> None:
    assert Taxon(genus="Sturnus", species="vulgaris").at("species") == "sturnus vulgaris"
    assert Taxon(genus="Sturnus", species="Sturnus vulgaris").at("species") == "sturnus vulgaris"
    assert Taxon(species="vulgaris").at("species") == "vulgaris"


def test_unknown_rank_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'tribe'.*family"):
        Taxon().at("tribe")


@settings(deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(RANKS, NAMES)))
def test_round_trip_changes_nothing(names) -> None:
    taxon = Taxon.from_dict(names)
    assert Taxon.from_dict(taxon.to_dict()) == taxon


def test_names_are_those_at_all_ranks() -> None:
    taxon = Taxon(class_="Insecta", genus="Apis", species="mellifera")
    assert taxon.names == tuple(map(taxon.at, RANKS))
