"""``rs-classify --filter``: what is shown, what is left out, and what happens without one."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from rs_runtime.cli import main
from rs_runtime.errors import KitIntegrityError
from rs_runtime.filter import Filter
from rs_runtime.kit.kit import open_kit, write_kit


@pytest.fixture
def classify(filter_kit, colour_photos, monkeypatch, capfd, one_line):
    """Run the command on the colour photos, with the kit that has a filter."""
    monkeypatch.setenv("RS_KIT", str(filter_kit))
    monkeypatch.delenv("RS_PUBLIC_KEY", raising=False)

    def run(*arguments: object, folder=colour_photos) -> tuple[int, list[str], list[str]]:
        code = main([str(argument) for argument in (folder, *arguments)])
        captured = capfd.readouterr()
        complaints = captured.err.splitlines(keepends=True)
        return code, captured.out.splitlines(), [one_line(x, "rs-classify") for x in complaints]

    return run


@pytest.fixture
def models(tflite_models, onnx_models) -> dict[str, bytes]:
    """The members of ``filter_kit``."""
    return {
        "models/a.tflite": tflite_models["float"],
        "models/b.onnx": onnx_models["float"],
        "models/filter_a.tflite": tflite_models["int8"],
        "models/filter_b.onnx": onnx_models["float"],
    }


def doubts(lines: list[str]) -> list[str]:
    """Return what the lines of photos say after the last answer."""
    said = [line.split("  ")[-1] for line in lines if ".jpg" in line.lower()]
    return ["" if line.startswith("family") else line for line in said]


@pytest.mark.parametrize("options", [[], ["--filter", "report"]])
def test_report_adds_a_doubt_and_hides_nothing(classify, options) -> None:
    off = classify("--filter", "off")
    code, out, err = classify(*options)
    assert (code, err) == (0, []) == (off[0], off[2])
    assert doubts(out) == ["", "", "not an organism (0%)"] and doubts(off[1]) == [""] * 3
    assert [line.removesuffix("  not an organism (0%)") for line in out] == off[1]


def test_on_leaves_out_what_is_no_organism(classify) -> None:
    _, off, _ = classify("--filter", "off")
    code, out, err = classify("--filter", "on")
    assert (code, err) == (0, [])
    assert out[:-1] == off[:8] and len(off) == 12
    assert out[-1].endswith("c.jpg  not an organism (0%), not classified")


def test_json(classify) -> None:
    lines = {
        option: [json.loads(line) for line in classify("--json", "--filter", option)[1]]
        for option in ("off", "report", "on")
    }
    for off, report, on in zip(*lines.values(), strict=True):
        assert off["filter"] is None
        assert report == {**off, "filter": report["filter"]}
        assert report["filter"].keys() == {"verdict", "probability", "variant"}
        left_out = report["filter"]["verdict"] == "not_organism"
        assert on == {**report, **({"answer": None, "top": []} if left_out else {})}
    verdicts = [line["filter"]["verdict"] for line in lines["report"]]
    assert verdicts == ["organism", "organism", "not_organism"]


def test_the_uncertain_are_classified(classify, filter_kit, manifest, filter_spec, models) -> None:
    spec = replace(filter_spec, thresholds={"not_organism": 0.0, "organism": 1.0})
    write_kit(filter_kit, replace(manifest, filter=spec), models)
    for option in ("on", "report"):
        code, out, err = classify("--filter", option)
        assert (code, err, len(out)) == (0, [], 12)
        assert all(line.startswith("maybe no organism (") for line in doubts(out))


@pytest.mark.parametrize(("threshold", "expected"), [(0, []), (1, [0, 1, 2]), (0.5, [2])])
def test_threshold(classify, threshold, expected) -> None:
    _, out, _ = classify("--json", "--filter", "on", "--filter-threshold", threshold)
    found = [json.loads(line) for line in out]
    assert [place for place, line in enumerate(found) if not line["top"]] == expected
    assert all(line["filter"]["verdict"] != "uncertain" for line in found)


@pytest.mark.parametrize(
    "options", [["--filter", "maybe"], ["--filter-threshold", "2"], ["--filter-threshold", "nan"]]
)
def test_wrong_usage(classify, options) -> None:
    code, out, err = classify(*options)
    assert (code, out, len(err)) == (2, [], 1)


def test_kits_without_a_filter(classify, onnx_kit, monkeypatch) -> None:
    monkeypatch.setenv("RS_KIT", str(onnx_kit))
    usual = classify()
    assert usual[0] == 0 and not any("organism" in line for line in usual[1])
    for options in (["report"], ["off"], ["report", "--filter-threshold", "0.5"]):
        assert classify("--filter", *options) == usual
    assert json.loads(classify("--json")[1][0])["filter"] is None
    code, out, err = classify("--filter", "on")
    assert (code, out, len(err)) == (2, [], 1) and "has no filter" in err[0]


@pytest.mark.parametrize("model", [b"no model at all, but long enough to be looked at", "fails"])
def test_a_broken_filter_does_not_stop_the_report(
    classify, filter_kit, manifest, filter_spec, models, model
) -> None:
    off = classify("--filter", "off")
    members = {**models, "models/filter_a.tflite": model}
    if model == "fails":
        # It loads, and then gives other classes than its kit names.
        members = models
        filter_spec = replace(filter_spec, classes=filter_spec.classes[1:])
    write_kit(filter_kit, replace(manifest, filter=filter_spec), members)
    code, out, err = classify()
    assert (code, out, len(err)) == (0, off[1], 1)
    assert err[0].startswith("rs-classify: warning: photos are not judged by the filter: ")
    code, out, err = classify("--filter", "on")
    # One that loads fails photo by photo, and each photo is told.
    lines = len(classify("--filter", "off", "--json")[1]) if model == "fails" else 1
    assert (code, out, len(err)) == (2, [], lines)
    assert all("filter 'filter_int8'" in line for line in err)


def test_the_filter_runs_on_the_classifiers_engine(
    classify, filter_kit, manifest, filter_spec, models
) -> None:
    def used(*options: str) -> str | None:
        verdict = json.loads(classify("--json", *options)[1][0])["filter"]
        return verdict and verdict["variant"]

    assert used() == used("--engine", "litert") == "filter_int8"
    assert used("--engine", "onnxruntime") == used("--variant", "onnx_fp32") == "filter_fp32"
    only = replace(filter_spec, variants=filter_spec.variants[:1], default_variants={})
    del models["models/filter_b.onnx"]
    write_kit(filter_kit, replace(manifest, filter=only), models)
    # Any engine will do, unless one was asked for.
    assert used("--variant", "onnx_fp32") == "filter_int8"
    code, out, err = classify("--engine", "onnxruntime")
    assert (code, len(out), len(err)) == (0, 12, 1) and "has models for litert" in err[0]


def test_unreadable_photos_are_no_fault_of_the_filter(classify, colour_photos) -> None:
    code, out, err = classify(folder=colour_photos / "notes.txt")
    assert (code, out, len(err)) == (1, [], 1) and "no JPEG" in err[0]


def test_one_warning_for_all_photos(classify, monkeypatch) -> None:
    from rs_runtime.errors import FilterError

    calls = []

    def fails(*_: object) -> None:
        calls.append(1)
        raise FilterError("filter 'x' broke")

    monkeypatch.setattr(Filter, "judge", fails)
    code, out, err = classify()
    assert (code, len(out), len(err), len(calls)) == (0, 12, 1, 1)


def damage(kit: Path, member: str) -> None:
    """Flip the last bit of a member."""
    with zipfile.ZipFile(kit) as archive:
        info = archive.getinfo(member)
    raw = bytearray(kit.read_bytes())
    # A local header has 30 bytes and the name.
    raw[info.header_offset + 30 + len(member) + info.file_size - 1] ^= 1
    kit.write_bytes(raw)


@pytest.mark.parametrize(
    ("member", "refused"),
    [
        ("models/a.tflite", True),
        ("models/b.onnx", False),
        ("models/filter_a.tflite", True),
        ("models/filter_b.onnx", False),
    ],
)
def test_damage_of_what_is_used_is_refused(
    classify, filter_kit, manifest, filter_spec, models, member, refused
) -> None:
    write_kit(filter_kit, replace(manifest, filter=filter_spec), models)
    sound = classify("--engine", "litert")
    damage(filter_kit, member)
    code, out, err = classify("--engine", "litert")
    if refused:
        assert (code, out, len(err)) == (2, [], 1)
        assert f"member '{member}' is damaged" in err[0] and "copy it again" in err[0]
    else:
        assert (code, out, err) == sound
    with pytest.raises(KitIntegrityError):
        open_kit(filter_kit)
