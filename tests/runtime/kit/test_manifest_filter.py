"""The manifest's ``filter``: what is read, and what is refused where."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rs_runtime.errors import KitFormatError
from rs_runtime.kit.kit import open_kit, write_kit
from rs_runtime.kit.manifest import Manifest

FILTERS = [
    ("classes", {"classes": [{"name": "bird", "organism": True}]}),
    ("true and false", {"classes": [{"name": x, "organism": True} for x in "ab"]}),
    ("unique", {"classes": [{"name": "a", "organism": x} for x in (True, False)]}),
    ("organism", {"classes": [{"name": x, "organism": x == "a" or None} for x in "ab"]}),
    ("preprocessing", {"preprocessing": None}),
    ("variants", {"variants": []}),
    ("variants", {"variants": None}),
    ("default_variants.litert", {"default_variants": {"litert": "filter_fp32"}}),
    ("default_variants.litert", {"default_variants": {"litert": "tflite_fp32"}}),
    ("organism must be a number from 0.6", {"thresholds": {"not_organism": 0.6, "organism": 0.5}}),
    ("thresholds.not_organism", {"thresholds": {"not_organism": -0.1, "organism": 0.5}}),
    ("thresholds.organism", {"thresholds": {"not_organism": 0.5, "organism": 1.1}}),
    ("lacks 'organism'", {"thresholds": {"not_organism": 0.5}}),
]
FILTER_VARIANTS = [
    ("temperature", {"temperature": 0}),
    ("temperature", {"temperature": 1001}),
    ("bias", {"bias": -1001}),
    ("bias", {"bias": "0"}),
    ("unique", {"name": "filter_fp32"}),
    ("is not listed", {"member": "models/absent.tflite"}),
    ("is a classifier's", {"member": "models/a.tflite"}),
    ("models/*.tflite", {"member": "models/filter_b.onnx"}),
    ("models/*.tflite", {"member": "MODEL_CARD.md"}),
    ("engine", {"engine": "torch"}),
]


@pytest.fixture
def given(kit_path, manifest, contents, filter_spec, filter_contents) -> Manifest:
    """The manifest of a kit with a filter, as it is read."""
    write_kit(kit_path, replace(manifest, filter=filter_spec), contents | filter_contents)
    with open_kit(kit_path) as kit:
        return kit.manifest


def read(manifest: Manifest, **changes: Any) -> Manifest:
    """Read a manifest after changing its top-level fields."""
    return Manifest.from_json(json.dumps(json.loads(manifest.to_json()) | changes).encode())


def test_filters_are_read_as_written(given, filter_spec) -> None:
    assert given.filter == filter_spec
    assert read(given) == given
    assert read(given, filter=None) == replace(given, filter=None)
    absent = json.loads(given.to_json())
    del absent["filter"]
    assert Manifest.from_json(json.dumps(absent).encode()) == replace(given, filter=None)


def test_edges_of_the_ranges(given) -> None:
    spec = json.loads(given.to_json())["filter"]
    edges = {"temperature": 1000, "bias": -1000}
    thresholds = {"not_organism": 0, "organism": 0}
    several = [{"name": f"class {i}", "organism": i > 0} for i in range(1000)]
    variants = [item | edges for item in spec["variants"]]
    changed = {"thresholds": thresholds, "variants": variants, "classes": several}
    found = read(given, filter=spec | changed).filter
    assert found is not None and len(found.classes) == 1000
    assert (found.variants[1].temperature, found.variants[1].bias) == (1000, -1000)
    with pytest.raises(KitFormatError, match="2 to 1000 items"):
        read(given, filter=spec | {"classes": [*several, {"name": "x", "organism": True}]})


@pytest.mark.parametrize(("problem", "change"), FILTERS + FILTER_VARIANTS)
def test_wrong_filters_are_refused(given, one_line, problem, change) -> None:
    spec = json.loads(given.to_json())["filter"]
    if (problem, change) in FILTER_VARIANTS:
        change = {"variants": [spec["variants"][0] | change, spec["variants"][1]]}
    with pytest.raises(KitFormatError) as caught:
        read(given, filter=spec | change)
    text = one_line(str(caught.value))
    assert "manifest.filter" in text and problem in text


@pytest.mark.parametrize("value", [5, [], {}, "on", False])
def test_filters_are_objects_since_schema_1_3(given, value) -> None:
    with pytest.raises(KitFormatError, match=r"manifest\.filter"):
        read(given, filter=value)
    old = read(given, filter=value, schema="1.2")
    assert old == replace(given, filter=None, schema="1.2")


def test_a_filter_put_into_an_old_kit_is_not_lost(
    given, kit_path, contents, filter_spec, filter_contents
) -> None:
    old = replace(given, schema="1.2")
    assert read(old).filter is None
    write_kit(kit_path, old, contents | filter_contents)
    with open_kit(kit_path) as kit:
        assert (kit.manifest.schema, kit.manifest.filter) == ("1.6", filter_spec)
