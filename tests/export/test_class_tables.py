"""Tables of ranges and names: what classes get from them, and which tables are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from rs_export.class_tables import with_names, with_ranges
from rs_runtime.kit.manifest import ClassInfo
from rs_runtime.kit.ranges import Range
from rs_toolkit.errors import ExportError

CATS = {"family": "felidae", "genus": "panthera"}
CLASSES = (
    ClassInfo(0, "panthera leo", "lion", {**CATS, "species": "panthera leo"}),
    ClassInfo(1, "panthera pardus", None, {**CATS, "species": "panthera pardus"}),
    ClassInfo(2, "capra hircus", "goat", {"family": "bovidae", "genus": "capra"}),
)
HEAD = "scientificName,countries,minLatitude,maxLatitude,minLongitude,maxLongitude\n"


@pytest.fixture
def table(tmp_path):
    """Write a table and return its path."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_ranges_are_those_of_the_finest_taxon_and_add_up(table) -> None:
    notes: list[str] = []
    path = table(
        "\ufeff" + HEAD + "Felidae,KEN tza,,,,\n"
        '"Panthera leo (Linnaeus, 1758)",IND;BWA,,,,\nPANTHERA  LEO,BWA,-26.9,-17,20,29.4\n'
        "Panthera_leo,,20,25,70,71,\n\nCanis lupus,DEU,,,,\n"
    )
    lion, leopard, goat = with_ranges(CLASSES, path, notes.append)
    boxes = ((20.0, -26.9, 29.4, -17.0), (70.0, 20.0, 71.0, 25.0))
    assert lion.range == Range(("BWA", "IND"), boxes)
    assert (leopard.range, goat.range) == (Range(("KEN", "TZA")), None)
    assert notes == [
        "table.csv: 1 names are of no class (canis lupus)",
        "no range: 1 of 3 classes (capra hircus)",
    ]


def test_short_names_of_limits(table) -> None:
    path = table("scientific_name,min_lat,max_lat,min_lon,max_lon\npanthera leo,-1,1,170,-170\n")
    assert with_ranges(CLASSES, path, print)[0].range == Range((), ((170.0, -1.0, -170.0, 1.0),))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name,countries\npanthera leo,KEN\n", "line 1 lacks the column scientificName"),
        ("", "line 1 lacks"),
        (HEAD + "panthera leo,UK,,,,\n", "line 2: countries must be ISO 3166-1 .* got 'UK'"),
        (HEAD + "panthera leo,,,,,\n", "line 2 has neither countries nor limits"),
        (HEAD + "panthera leo,,1,,,\n", "line 2: wanted minLatitude"),
        (HEAD + "panthera leo,,5,1,0,1\n", "line 2: wanted minLatitude"),
        (HEAD + "panthera leo,,nan,1,0,1\n", "line 2: wanted minLatitude"),
        (HEAD + "panthera leo,,0,1,0,181\n", "longitudes from -180 to 180"),
        (HEAD + "\ncanis lupus,DEU,,,,\n", r"none of its 1 names is of a class \(canis lupus\)"),
        (HEAD + "".join(f"panthera leo,,0,{i},0,1\n" for i in range(1, 85)) * 2, None),
        (HEAD + "".join(f"panthera leo,,0,{i / 2},0,1\n" for i in range(101)), "100 boxes"),
        (b"scientificName,countries\npanthera leo,\xff", "no text in UTF-8"),
    ],
)
def test_tables_of_ranges_that_are_refused(table, text, problem, one_line) -> None:
    path = table(text)
    if problem is None:
        assert len(with_ranges(CLASSES, path, print)[0].range.boxes) == 84
        return
    with pytest.raises(ExportError, match=problem) as caught:
        with_ranges(CLASSES, path, print)
    assert "table.csv" in one_line(str(caught.value))


def test_a_table_that_is_not_there(tmp_path) -> None:
    with pytest.raises(ExportError, match=r"--ranges .*none\.csv.* cannot be read"):
        with_ranges(CLASSES, tmp_path / "none.csv", print)


NAMES = "scientificName,vernacularName,language\n"


def test_names_are_those_of_the_class_itself(table) -> None:
    path = table(
        NAMES + "Panthera leo,simba,sw\npanthera leo,samba,sw\nPanthera leo,leão,pt_BR\n"
        "Felidae,paka,sw\nCapra hircus,mbuzi,sw\n"
    )
    notes: list[str] = []
    lion, leopard, goat = with_names(CLASSES, "species", path, notes.append)
    assert lion.common_names == {"pt-BR": "leão", "sw": "simba"}
    assert (leopard.common_names, goat.common_names) == ({}, {"sw": "mbuzi"})
    assert notes == ["table.csv: 1 names are of no class (felidae)"]


def test_a_table_of_ranges_is_none_of_names(table) -> None:
    with pytest.raises(ExportError, match="line 1 lacks the column vernacularName"):
        with_names(CLASSES, "species", table(HEAD + "panthera leo,KEN,,,,\n"), print)


def test_classes_of_common_names_are_known_by_their_taxon(table) -> None:
    wild = ClassInfo(0, "lion", None, {**CATS, "species": "panthera leo"})
    path = table(NAMES + "Panthera leo,simba,sw\n")
    assert with_names([wild], "common_name", path, print)[0].common_names == {"sw": "simba"}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("panthera leo,simba,Swahili", "line 2: language must be"),
        ("panthera leo,simba", "line 2: language must be"),
        ("panthera leo,,sw", "line 2: vernacularName must be"),
        ('panthera leo,"sim\nba",sw', "vernacularName must be"),
        (f"panthera leo,{'a' * 501},sw", "vernacularName must be"),
    ],
)
def test_tables_of_names_that_are_refused(table, row, problem, one_line) -> None:
    with pytest.raises(ExportError, match=problem) as caught:
        with_names(CLASSES, "species", table(NAMES + row + "\n"), print)
    one_line(str(caught.value))
