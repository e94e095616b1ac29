from __future__ import annotations

from pathlib import Path

import pytest

from rs_toolkit.errors import ConfigError
from rs_train.teacher.prompts import DEFAULT_PROMPTS, read_prompts

GOOD = """
templates = ["a photo of {}.", "{}"]
[organism.birds]
names = ["a duck", "an  owl"]
[not_organism.map]
names = ["a map"]
"""


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "prompts.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_each_name_is_put_into_every_template(written) -> None:
    birds, maps = read_prompts(written(GOOD)).classes
    assert (birds.name, birds.organism, maps.name, maps.organism) == ("birds", True, "map", False)
    assert birds.prompts == ("a photo of a duck.", "a duck", "a photo of an owl.", "an owl")
    assert maps.prompts == ("a photo of a map.", "a map")


def test_without_templates_names_are_the_prompts(written) -> None:
    text = GOOD.replace('templates = ["a photo of {}.", "{}"]', "")
    assert read_prompts(written(text)).classes[0].prompts == ("a duck", "an owl")


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("a comment", "another", False),
        ('"a duck", "an  owl"', '"a duck",\n "an owl"', False),
        ("a duck", "a drake", True),
        ("birds", "fowl", True),
        ("a photo", "a picture", True),
        ('"a duck", "an  owl"', '"an owl", "a duck"', True),
    ],
)
def test_the_fingerprint_follows_the_texts_alone(written, old, new, changes) -> None:
    before = read_prompts(written("# a comment\n" + GOOD)).fingerprint
    after = read_prompts(written(("# a comment\n" + GOOD).replace(old, new, 1))).fingerprint
    assert len(before) == 16 and (before != after) is changes


def test_the_packaged_prompts_cover_what_a_naive_filter_lost() -> None:
    prompts = read_prompts()
    kept = " ".join(text for item in prompts.classes if item.organism for text in item.prompts)
    wanted = "coral anemone jellyfish sponge,sea turtle,starfish,worm,lichen,moss,seaweed,mushroom"
    for name in wanted.replace(" ", ",").split(","):
        assert name in kept, name
    dropped = {item.name for item in prompts.classes if not item.organism}
    assert {"document", "map", "museum_label", "chart", "screenshot", "people"} <= dropped
    assert DEFAULT_PROMPTS.parent.parent.name == "teacher"


def test_the_samples_prompts_are_read(repository) -> None:
    prompts = read_prompts(repository / "samples" / "prompts-sample.toml")
    dropped = {item.name for item in prompts.classes if not item.organism}
    assert dropped == {"landscape", "document", "chart", "screenshot"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("templates", "template", "unknown key 'template'"),
        ("names", "name", "unknown key 'organism.birds.name'"),
        ("[organism.birds]", "[organism.birds]\nx = 1", "unknown key 'organism.birds.x'"),
        ("[organism.birds]", "[not_organism.birds]", "no class [organism"),
        ("[not_organism.map]", "[organism.map]", "no class [not_organism"),
        ("[not_organism.map]", "[not_organism.birds]", "of both kinds"),
        ("[not_organism.map]", '[not_organism."  "]', "wanted a name"),
        ("[not_organism.map]", '[not_organism."a\\nb"]', "wanted a name"),
        ('[organism.birds]\nnames = ["a duck", "an  owl"]', "organism = 7", "no class"),
        ('[not_organism.map]\nnames = ["a map"]', "[not_organism]\nmap = 3", "is no table"),
        ('["a map"]', "[]", "at least one"),
        ('["a map"]', '"a map"', "wanted a list"),
        ('"a map"', "7", "printable"),
        ('"a map"', '""', "printable"),
        ('"a map"', '"a\\u0000map"', "printable"),
        ('"a map"', f'"{"m" * 501}"', "printable"),
        ('"a map"', '"a map", "A  map"', "given twice"),
        ('"a map"', '"a Duck"', "is in organism.birds.names and not_organism.map.names"),
        ('"{}"', '"a photo"', "wanted one {}"),
        ('"{}"', '"{} and {}"', "wanted one {}"),
        ('"{}"', '"{} {0.__class__}"', "wanted one {}"),
        ('"{}"', '"a photo of {}."', "given twice"),
        ('["a map"]', str([f"map {n}" for n in range(1000)]), "take some out"),
        ("[organism.birds]", "[organism.birds", "not a TOML file"),
    ],
)
def test_a_wrong_file_is_one_line(written, one_line, old, new, says) -> None:
    assert GOOD.count(old) >= 1
    with pytest.raises(ConfigError) as caught:
        read_prompts(written(GOOD.replace(old, new, 1)))
    assert says in one_line(str(caught.value))


def test_a_missing_or_huge_file_is_one_line(written, tmp_path, one_line) -> None:
    for path in (tmp_path / "absent.toml", written("#" * 1_000_001), tmp_path):
        with pytest.raises(ConfigError) as caught:
            read_prompts(path)
        one_line(str(caught.value))


def test_too_many_prompts_and_classes_are_refused(written, one_line) -> None:
    many = [f"t{n} {{}}" for n in range(200)], [f"n{n}" for n in range(200)]
    texts = f"templates = {many[0]}\n[organism.a]\nnames = {many[1]}\n[not_organism.b]\nnames=['x']"
    classes = "".join(f"[organism.c{n}]\nnames = ['c{n}']\n" for n in range(256))
    for text in (texts, classes + "[not_organism.b]\nnames = ['x']"):
        with pytest.raises(ConfigError) as caught:
            read_prompts(written(text))
        assert "take some out" in one_line(str(caught.value))
