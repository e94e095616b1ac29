"""``rs-toolkit kit``: what is printed, what is written, and the exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rs_runtime.kit.kit import write_kit
from rs_runtime.kit.manifest import (
    ClassInfo,
    FilterClass,
    FilterSpec,
    FilterVariant,
    Manifest,
    Variant,
)
from rs_runtime.kit.verdict import LossVerdict
from rs_runtime.photos.preprocess import Preprocessing

MANIFEST = Manifest(
    name="birds",
    created_by="tests",
    rank="family",
    classes=tuple(ClassInfo(i, name, None, {}) for i, name in enumerate(("larkidae", "owlidae"))),
    preprocessing=Preprocessing(size=32),
    variants=(Variant("tflite_int8", "litert", "models/a.tflite", 1.5, {"macro_f1": 0.7}),),
    default_variants={"litert": "tflite_int8"},
    calibration={"temperature": 1.2},
    data_fingerprint="0" * 64,
)
UNSIGNED = "signature not checked"
MEMBERS = {"models/a.tflite": b"model", "MODEL_CARD.md": b"# birds\n"}


@pytest.fixture
def kit(tmp_path) -> Path:
    path = tmp_path / "birds.rskit"
    write_kit(path, MANIFEST, MEMBERS)
    return path


@pytest.fixture
def run(run, monkeypatch):
    """Return the function that runs the command line, for ``rs-toolkit kit``."""
    monkeypatch.delenv("RS_PUBLIC_KEY", raising=False)
    return lambda *arguments: run("kit", *arguments)


def test_inspect_prints_json(run, kit) -> None:
    code, out, _ = run("inspect", kit)
    told = json.loads(out)
    assert code == 0
    assert told["variants"]["tflite_int8"]["macro_f1"] == 0.7
    assert told["members"]["models/a.tflite"]["size"] == 5
    assert told["classes"] == 2
    assert told["variants"]["tflite_int8"]["warning"] is None


def test_inspect_shows_warnings(run, kit) -> None:
    measured = {"macro_f1": 0.7, "warning": None, "engine": "fast"}
    variant = replace(MANIFEST.variants[0], warning="forced", measured=measured)
    write_kit(kit, replace(MANIFEST, variants=(variant,)), MEMBERS)
    told = json.loads(run("inspect", kit)[1])["variants"]["tflite_int8"]
    # A measurement's name does not hide a field.
    assert (told["warning"], told["engine"], told["macro_f1"]) == ("forced", "litert", 0.7)


def test_inspect_shows_verdicts(run, kit) -> None:
    verdict = LossVerdict("undecided", "macro_f1", -0.01, 0.04, 0.02)
    variant = replace(MANIFEST.variants[0], verdict=verdict)
    write_kit(kit, replace(MANIFEST, variants=(variant,)), MEMBERS)
    told = json.loads(run("inspect", kit)[1])["variants"]["tflite_int8"]["verdict"]
    assert LossVerdict(**told) == verdict


def test_verify(run, kit, one_line) -> None:
    assert run("verify", kit)[:2] == (0, f"{kit}: sound, 2 members, schema 1.6, {UNSIGNED}\n")
    damaged = bytearray(kit.read_bytes())
    damaged[damaged.index(b"model", 200)] ^= 1
    kit.write_bytes(damaged)
    code, out, err = run("verify", kit)
    assert (code, out) == (2, "")
    one_line(err, "rs-toolkit")


def test_keygen_sign_and_verify(run, kit, tmp_path, one_line) -> None:
    pytest.importorskip("cryptography")
    key, public, signature = (tmp_path / name for name in ("key", "key.pub", "birds.rskit.sig"))
    assert run("keygen", key) == (0, f"{key}\n{public}\n", "")
    code, out, err = run("verify", kit, "--public-key", public)
    assert (code, out) == (2, "") and "does not exist" in one_line(err, "rs-toolkit")
    assert run("sign", kit, "--key", key) == (0, f"{signature}\n", "")
    said = f"{kit}: sound, 2 members, schema 1.6, signed by the owner of {public}\n"
    assert run("verify", kit, "--public-key", public) == (0, said, "")
    assert run("verify", kit)[:2] == (0, f"{kit}: sound, 2 members, schema 1.6, {UNSIGNED}\n")
    write_kit(kit, replace(MANIFEST, name="forged"), MEMBERS)
    code, out, err = run("verify", kit, "--public-key", public)
    assert (code, out) == (2, "") and "is not what the owner" in one_line(err, "rs-toolkit")
    before = key.read_bytes()
    for wrong in (("keygen", key), ("sign", kit, "--key", public), ("keygen", tmp_path / "a/b")):
        code, out, err = run(*wrong)
        assert (code, out) == (2, "")
        one_line(err, "rs-toolkit")
    assert key.read_bytes() == before


def test_verify_knows_the_variable_of_rs_classify(run, kit, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RS_PUBLIC_KEY", str(tmp_path / "absent.pub"))
    code, _, err = run("verify", kit)
    assert code == 2 and "absent.pub" in err


def test_damaged_kits_are_not_signed(run, kit, tmp_path, one_line) -> None:
    pytest.importorskip("cryptography")
    run("keygen", tmp_path / "key")
    kit.write_bytes(kit.read_bytes()[:-1])
    code, out, err = run("sign", kit, "--key", tmp_path / "key")
    assert (code, out) == (2, "")
    one_line(err, "rs-toolkit")
    assert not kit.with_name("birds.rskit.sig").exists()


def test_diff(run, kit, tmp_path) -> None:
    assert run("diff", kit, kit) == (0, "", "")
    other = tmp_path / "other.rskit"
    classes = (MANIFEST.classes[0], replace(MANIFEST.classes[1], name="gullidae"))
    write_kit(other, replace(MANIFEST, classes=classes, rank="order"), MEMBERS)
    code, out, _ = run("diff", kit, other)
    assert code == 1
    assert out.splitlines() == ["- class owlidae", "+ class gullidae", "  rank: family -> order"]


def test_filters_are_told_and_compared(run, kit, tmp_path) -> None:
    assert json.loads(run("inspect", kit)[1])["filter"] is None
    spec = FilterSpec(
        classes=(FilterClass("birds", True), FilterClass("documents", False)),
        preprocessing=Preprocessing(size=16),
        variants=(
            FilterVariant("f", "litert", "models/filter_f.tflite", 2.0, {"auroc": 0.9}, 0.5),
        ),
        default_variants={"litert": "f"},
        thresholds={"not_organism": 0.1, "organism": 0.5},
    )
    paths = (tmp_path / "one.rskit", tmp_path / "two.rskit")
    for path, low in zip(paths, (0.1, 0.2), strict=True):
        thresholds = {**spec.thresholds, "not_organism": low}
        manifest = replace(MANIFEST, filter=replace(spec, thresholds=thresholds))
        write_kit(path, manifest, {**MEMBERS, "models/filter_f.tflite": b"f"})
    assert json.loads(run("inspect", paths[0])[1])["filter"] == {
        "classes": {"birds": "organism", "documents": "not_organism"},
        "preprocessing": Preprocessing(size=16).to_dict(),
        "default_variants": {"litert": "f"},
        "thresholds": {"not_organism": 0.1, "organism": 0.5},
        "variants": {
            "f": {
                "auroc": 0.9,
                "engine": "litert",
                "member": "models/filter_f.tflite",
                "temperature": 2.0,
                "bias": 0.5,
            }
        },
    }
    code, out, _ = run("diff", *paths)
    assert (code, out) == (1, "  filter.thresholds.not_organism: 0.1 -> 0.2\n")
    code, out, _ = run("diff", kit, paths[0])
    assert code == 1 and all(
        line.startswith(("+ filter.", "+ members.")) for line in out.split("\n")[:-1]
    )
    assert "+ filter.classes.documents: not_organism" in out


def test_extract_writes_the_members_and_nothing_else(run, kit, tmp_path) -> None:
    folder = tmp_path / "out"
    code, out, _ = run("extract", kit, folder)
    assert code == 0
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == MEMBERS
    assert len(out.splitlines()) == len(MEMBERS)


@pytest.mark.parametrize("action", ["inspect", "verify", "extract"])
def test_no_kit_is_one_line(run, tmp_path, one_line, action) -> None:
    (tmp_path / "photo.rskit").write_bytes(b"\xff\xd8\xff no kit")
    rest = [tmp_path / "out"] if action == "extract" else []
    for name in ("none.rskit", "photo.rskit"):
        code, out, err = run(action, tmp_path / name, *rest)
        assert (code, out) == (2, "")
        one_line(err, "rs-toolkit")
    assert not (tmp_path / "out").exists()
