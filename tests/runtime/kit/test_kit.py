from __future__ import annotations

import errno
import hashlib
import io
import json
import lzma
import os
import tempfile
import zipfile
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import rs_runtime.kit.kit
from rs_runtime.errors import (
    KitError,
    KitFormatError,
    KitIntegrityError,
    KitNotFoundError,
    KitVersionError,
)
from rs_runtime.kit.archive import layout
from rs_runtime.kit.kit import find_kit, open_kit, write_kit
from rs_runtime.kit.manifest import Manifest
from rs_runtime.kit.ranges import Range
from rs_runtime.kit.sets import SetSpec, UnknownSpec
from rs_runtime.kit.signature import find_public_key
from rs_runtime.kit.verdict import LossVerdict

GOLDEN = "8dfa6e56e2b48cb64efa98a80485df8c1efc97070628c82d6bc992386c7eb29b"
GOLDEN_WITH_FILTER = "e6c2d3ca3e0a0bb2dfb66e5410e4c42b1de4a15f6a0643003203c94bbcce4ea6"
# What older schemas wrote, all without a verdict, and without a filter and a version of the pixels
# before 1.4: fields that variants did not have yet, and the kit's SHA-256.
OLDER = {
    "1.5": ((), "a031384cb42c571a754dac1db7c7b89388067d583cbb1f2e15bc344e6a9e82ad"),
    "1.4": ((), "ab21418b8a3e39bbbace40b9162ab0decc210417dc07feae10e353919044a83c"),
    "1.0": (
        ("warning", "thresholds"),
        "066726b7bd0549dc8fea2dfbd1612a882f9f4a741939500144a80ac756517fba",
    ),
    "1.1": (("thresholds",), "2ebce9ba0dd973aef0b932721539062f39ab9760856f9c5ed42491798f0161cc"),
    "1.3": ((), "582c21b9640b8c72a976f0cbe6754c2484f40694d81a6ef2519e40e01bfa6ff7"),
    "1.2": ((), "2b66289fd54822ba8f6ee4b9b7da1f41077c8109b5cd0a1d0f20c0ed155a488a"),
}


@pytest.fixture
def refused(one_line):
    """Return a function that opens a bad kit and gives the error's message."""

    def check(path: Path, kind: type[KitError] = KitError) -> str:
        with pytest.raises(kind) as caught:
            open_kit(path).close()
        text = one_line(str(caught.value))
        assert path.name in text and len(text) < 1000
        return text

    return check


def pack(path: Path, members: dict[str, bytes]) -> None:
    """Write a canonical archive of any members, right or wrong."""
    placed, tail = layout({name: (len(x), zlib.crc32(x)) for name, x in members.items()})
    path.write_bytes(b"".join(head + members[entry.name] for entry, head in placed) + tail)


def unpack(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repack(path: Path, **changes: object) -> None:
    """Change top-level manifest fields of a kit, with right checksums."""
    members = unpack(path)
    head = json.loads(members["manifest.json"]) | changes
    pack(path, members | {"manifest.json": json.dumps(head).encode()})


def test_round_trip(kit_path, manifest, contents) -> None:
    with open_kit(kit_path) as kit:
        assert kit.members == tuple(sorted(contents))
        assert {name: kit.read(name) for name in kit.members} == contents
        assert replace(kit.manifest, members={}) == manifest
        with pytest.raises(KitFormatError, match="no member 'models/x'"):
            kit.read("models/x")


def test_bytes_are_golden(kit_path, manifest, contents, filter_spec, filter_contents) -> None:
    golden = replace(manifest, preprocessing=replace(manifest.preprocessing, pixels_version=2))
    write_kit(kit_path, golden, contents)
    assert hashlib.sha256(kit_path.read_bytes()).hexdigest() == GOLDEN
    judge = replace(filter_spec, preprocessing=replace(filter_spec.preprocessing, pixels_version=2))
    write_kit(kit_path, replace(golden, filter=judge), contents | filter_contents)
    assert hashlib.sha256(kit_path.read_bytes()).hexdigest() == GOLDEN_WITH_FILTER


@pytest.mark.parametrize("schema", sorted(OLDER))
def test_kits_of_older_schemas_are_read(schema, kit_path, manifest, contents) -> None:
    missing, golden = OLDER[schema]
    head = json.loads(unpack(kit_path)["manifest.json"]) | {"schema": schema}
    head["preprocessing"]["pixels_version"] = 2
    if schema < "1.4":
        del head["preprocessing"]["pixels_version"]
    if schema < "1.3":
        del head["filter"]
    for variant in head["variants"]:
        for key in (*missing, *(("verdict", "sets", "unknown") if schema < "1.5" else ())):
            del variant[key]
    old = json.dumps(head, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    pack(kit_path, contents | {"manifest.json": old})
    assert hashlib.sha256(kit_path.read_bytes()).hexdigest() == golden
    with open_kit(kit_path) as kit:
        # Older models were trained with older pixels.
        version = 2 if schema >= "1.4" else 1
        assert kit.manifest.preprocessing == replace(manifest.preprocessing, pixels_version=version)
        read = replace(kit.manifest, members={}, schema="1.6", preprocessing=manifest.preprocessing)
        assert missing == () or not any(variant.thresholds for variant in read.variants)
        assert replace(read, variants=manifest.variants) == manifest
        assert {name: kit.read(name) for name in kit.members} == contents


def test_warnings(refused, kit_path, manifest, contents) -> None:
    variant = replace(manifest.variants[0], warning="lost 9 points, forced")
    warned = replace(manifest, variants=(variant, manifest.variants[1]))
    write_kit(kit_path, warned, contents)
    with open_kit(kit_path) as kit:
        assert [item.warning for item in kit.manifest.variants] == [variant.warning, None]
    for wrong in ("", "a\nb", 1, "x" * 501, [], False):
        variants = json.loads(warned.to_json())["variants"]
        repack(kit_path, variants=[variants[0] | {"warning": wrong}, variants[1]])
        assert "variants[0].warning" in refused(kit_path, KitFormatError)


VERDICT = {
    "verdict": "undecided",
    "metric": "macro_f1",
    "loss_low": -0.01,
    "loss_high": 0.03,
    "margin": 0.02,
}


def test_verdicts(refused, kit_path, manifest, contents, filter_spec, filter_contents) -> None:
    verdict = LossVerdict(**VERDICT)
    judged, filters = (
        tuple(replace(item, verdict=verdict) for item in part)
        for part in (manifest.variants, filter_spec.variants)
    )
    told = replace(manifest, variants=judged, filter=replace(filter_spec, variants=filters))
    write_kit(kit_path, told, contents | filter_contents)
    with open_kit(kit_path) as kit:
        assert {item.verdict for item in kit.manifest.variants} == {verdict}
        assert {item.verdict for item in kit.manifest.filter.variants} == {verdict}
    variants = json.loads(told.to_json())["variants"]
    for change in (
        {"verdict": "fine"}, {"metric": ""}, {"metric": None}, {"loss_low": 0.5}, {"loss_low": -2},
        {"loss_high": "1"}, {"margin": -0.1}, {"margin": None},
    ):  # fmt: skip
        repack(kit_path, variants=[variants[0] | {"verdict": VERDICT | change}, variants[1]])
        assert "variants[0].verdict." in refused(kit_path, KitFormatError)
    # Before schema 1.5 the key meant nothing.
    repack(kit_path, variants=[variants[0] | {"verdict": 5}, variants[1]], schema="1.4")
    with open_kit(kit_path) as kit:
        assert {item.verdict for item in kit.manifest.variants} == {None}


NAMES = {"sw": "nyekundu", "pt-BR": "vermelho"}
RANGE = {"countries": ["KEN", "TZA"], "boxes": [[33.9, -4.7, 41.9, 5.5], [170, -90, -170, 90]]}


def test_names_and_ranges_of_classes(refused, kit_path, manifest, contents) -> None:
    where = Range(tuple(RANGE["countries"]), tuple(map(tuple, RANGE["boxes"])))
    told = replace(manifest.classes[0], common_names=NAMES, range=where)
    given = replace(manifest, classes=(told, *manifest.classes[1:]))
    write_kit(kit_path, given, contents)
    with open_kit(kit_path) as kit:
        assert kit.manifest.classes == given.classes
    classes = json.loads(given.to_json())["classes"]
    assert classes[0]["range"] == RANGE and not {"range", "common_names"} & {*classes[1]}
    wrong = (
        {"countries": [], "boxes": []}, {"countries": ["UK"]}, {"countries": ["ken"]},
        {"countries": "KEN"}, {"countries": ["KEN"] * 301}, {"boxes": [[0, 0, 0]]}, {"boxes": 1},
        {"boxes": [[0, 5, 1, 4]]}, {"boxes": [[0, -91, 1, 4]]}, {"boxes": [[0, 0, 181, 4]]},
        {"boxes": [[0, "0", 1, 4]]}, {"boxes": [RANGE["boxes"][0]] * 101},
    )  # fmt: skip
    for change in wrong:
        repack(kit_path, classes=[classes[0] | {"range": RANGE | change}, *classes[1:]])
        assert "classes[0].range" in refused(kit_path, KitFormatError)
    for names in ({"SW": "a"}, {"s": "a"}, {"sw": ""}, {"sw": "\n"}, {"sw": None}, ["sw"]):
        repack(kit_path, classes=[classes[0] | {"common_names": names}, *classes[1:]])
        assert "classes[0].common_names" in refused(kit_path, KitFormatError)
    # Before schema 1.6 the keys meant nothing.
    old = [item | {"range": 5, "common_names": "x"} for item in classes]
    repack(kit_path, classes=old, schema="1.5")
    with open_kit(kit_path) as kit:
        assert {(item.range, len(item.common_names)) for item in kit.manifest.classes} == {
            (None, 0)
        }


SETS = {"prevalence": [0.5, 0.3, 0.2], "coverages": [0.5, 0.9], "ratios": [1.5, 0.0]}
UNKNOWN = {"score": "energy", "quantiles": [-1.0, 0.5, 2.0]}


def test_sets_and_unknown_scores(refused, kit_path, manifest, contents) -> None:
    sets = SetSpec(*map(tuple, SETS.values()))
    unknown = UnknownSpec("energy", tuple(UNKNOWN["quantiles"]))
    fitted = replace(manifest.variants[0], sets=sets, unknown=unknown)
    given = replace(manifest, variants=(fitted, manifest.variants[1]))
    write_kit(kit_path, given, contents)
    with open_kit(kit_path) as kit:
        assert kit.manifest.variants == given.variants
    variants = json.loads(given.to_json())["variants"]
    wrong_sets = (
        {"prevalence": [0.5, 0.5]}, {"prevalence": [0.5, 0.5, 0]}, {"coverages": [0.9, 0.5]},
        {"coverages": [0.5, 0.5]}, {"ratios": [0.5, 0.9]}, {"ratios": [0.5]}, {"ratios": [1e13, 0]},
        {"coverages": [], "ratios": []}, {"prevalence": None}, {"coverages": [0.5, 1.1]},
    )  # fmt: skip
    for change in wrong_sets:
        repack(kit_path, variants=[variants[0] | {"sets": SETS | change}, variants[1]])
        assert "sets" in refused(kit_path, KitFormatError)
    for change in ({"score": "odd"}, {"quantiles": [1]}, {"quantiles": [2, 1]}, {"score": None}):
        repack(kit_path, variants=[variants[0] | {"unknown": UNKNOWN | change}, variants[1]])
        assert "variants[0].unknown" in refused(kit_path, KitFormatError)
    # Before schema 1.5 the keys meant nothing.
    old = [item | {"sets": 5, "unknown": "x"} for item in variants]
    repack(kit_path, variants=old, schema="1.4")
    with open_kit(kit_path) as kit:
        assert {(item.sets, item.unknown) for item in kit.manifest.variants} == {(None, None)}


def test_thresholds(refused, kit_path, manifest, contents) -> None:
    variant = replace(manifest.variants[0], thresholds={"family": 0.5, "order": 0.0})
    given = replace(manifest, variants=(variant, manifest.variants[1]))
    write_kit(kit_path, given, contents)
    with open_kit(kit_path) as kit:
        assert kit.manifest.variants[0].thresholds == {"family": 0.5, "order": 0}
    for wrong in ({"tribe": 0.5}, {"family": 1.1}, {"family": -1}, {"family": "0"}, [], None, 0.5):
        variants = json.loads(given.to_json())["variants"]
        repack(kit_path, variants=[variants[0] | {"thresholds": wrong}, variants[1]])
        assert "variants[0].thresholds" in refused(kit_path, KitFormatError)


def test_any_zip_program_reads_kits(kit_path, contents) -> None:
    with zipfile.ZipFile(kit_path) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "manifest.json"
        assert {name: archive.read(name) for name in archive.namelist()[1:]} == contents


def test_manifest_json_is_canonical(kit_path) -> None:
    with open_kit(kit_path) as kit:
        assert kit.manifest.to_json() == unpack(kit_path)["manifest.json"]


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_every_flipped_byte_is_refused(refused, kit_path, mask) -> None:
    good = kit_path.read_bytes()
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= mask
        kit_path.write_bytes(bad)
        refused(kit_path)


def test_every_truncation_and_addition_is_refused(refused, kit_path) -> None:
    good = kit_path.read_bytes()
    for length in (*range(0, len(good), 13), len(good) - 1):
        kit_path.write_bytes(good[:length])
        refused(kit_path)
    for bad in (good + b"\0", b"\0" + good, good + good):
        kit_path.write_bytes(bad)
        refused(kit_path)


@pytest.mark.parametrize(
    "name",
    [
        *("../evil.md", "/etc/evil.md", "models/../evil.onnx", "C:\\evil.md", "a/b/c.md", "run.sh"),
        *("models/evil.pkl", "./a.md", "models//a.onnx", "ä.md", "a\n.md", ".hidden.md", "a/"),
    ],
)
def test_member_names_are_refused(refused, kit_path, name, manifest, contents) -> None:
    with zipfile.ZipFile(kit_path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"evil")
    assert "not allowed" in refused(kit_path, KitFormatError)
    with pytest.raises(KitFormatError, match=r"not allowed|printable"):
        write_kit(kit_path, manifest, contents | {name: b""})


def test_duplicate_members_are_refused(refused, kit_path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(kit_path, "a") as archive:
        archive.writestr("MODEL_CARD.md", b"other")
    assert "same name" in refused(kit_path, KitFormatError)


def test_compressed_members_are_refused(refused, kit_path) -> None:
    with zipfile.ZipFile(kit_path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("NOTES.md", b"notes" * 100)
    assert "compressed" in refused(kit_path, KitFormatError)


def test_wrong_hash_and_size_are_refused(refused, kit_path) -> None:
    with open_kit(kit_path) as kit:
        listed = json.loads(kit.manifest.to_json())["members"]
    for change, problem in (({"sha256": "0" * 64}, "SHA-256"), ({"size": 5}, "manifest says 5")):
        wrong = listed | {"models/a.tflite": listed["models/a.tflite"] | change}
        repack(kit_path, members=wrong)
        assert problem in refused(kit_path, KitIntegrityError)


def test_unlisted_and_missing_members_are_refused(refused, kit_path) -> None:
    members = unpack(kit_path)
    pack(kit_path, members | {"EXTRA.md": b""})
    assert "not in the manifest" in refused(kit_path, KitFormatError)
    del members["MODEL_CARD.md"]
    pack(kit_path, members)
    assert "in the manifest only" in refused(kit_path, KitFormatError)


def test_schema_versions(refused, kit_path) -> None:
    repack(kit_path, schema="1.7", novelty={"x": 1})
    open_kit(kit_path).close()
    for schema in ("2.0", "0.9"):
        repack(kit_path, schema=schema)
        assert schema in refused(kit_path, KitVersionError)
    for schema in ("one", "1", "1.0.0", "١.٠"):
        repack(kit_path, schema=schema)
        refused(kit_path, KitFormatError)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "zip"),
        ("rank", "tribe"),
        ("classes", []),
        ("classes", [{"id": 1}]),
        ("preprocessing", {"size": 10**9}),
        ("preprocessing", {"size": 32, "resize": "squash", "scale": 10**400, "offset": 0}),
        ("preprocessing", {"size": 32, "resize": "a" * 10**6, "scale": 1, "offset": 0}),
        ("variants", [{}]),
        ("variants", {}),
        ("name", 5),
        ("default_variants", {"litert": "absent"}),
        ("default_variants", {"litert": "onnx_fp32"}),
        ("calibration", {"temperature": "1"}),
        ("name", "a\x1b[2J"),
        ("name", ""),
        ("members", {}),
        ("classes", [{"id": 0, "name": "a", "taxon": {"tribe": "b"}}]),
        ("schema", None),
        ("environment", {"a": "b" * 1000}),
    ],
)
def test_malformed_manifests_are_refused(refused, kit_path, field, value) -> None:
    repack(kit_path, **{field: value})
    refused(kit_path, KitFormatError)


@pytest.mark.parametrize(
    "head",
    [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a": NaN}', b'{"a": 1, "a": 2}', b"9" * 9999],
)
def test_malformed_json_is_refused(refused, tmp_path, head) -> None:
    path = tmp_path / "bad.rskit"
    pack(path, {"manifest.json": head})
    refused(path, KitFormatError)


@pytest.mark.parametrize("temperature", [0, -1, 1e9, True, None])
def test_temperature_range(manifest, contents, tmp_path, temperature) -> None:
    variants = (replace(manifest.variants[0], temperature=temperature), manifest.variants[1])
    with pytest.raises(KitFormatError, match="temperature"):
        write_kit(tmp_path / "bad.rskit", replace(manifest, variants=variants), contents)
    assert list(tmp_path.iterdir()) == []


def test_non_kits_are_refused(refused, tmp_path) -> None:
    path = tmp_path / "photo.rskit"
    path.write_bytes(b"hello")
    assert "no kit" in refused(path, KitFormatError)
    assert "does not exist" in refused(tmp_path / "absent.rskit", KitNotFoundError)
    assert "regular file" in refused(tmp_path, KitNotFoundError)


def test_failed_writes_leave_the_old_kit(kit_path, manifest, contents, monkeypatch) -> None:
    before = kit_path.read_bytes()
    monkeypatch.setattr(
        rs_runtime.kit.kit.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28))
    )
    with pytest.raises(OSError):
        write_kit(kit_path, manifest, contents | {"NEW.md": b""})
    assert kit_path.read_bytes() == before
    assert [path.name for path in kit_path.parent.iterdir()] == [kit_path.name]


def test_changes_after_opening_are_noticed(kit_path, manifest, contents) -> None:
    # Larger than a file buffer, so that reading goes to the disk.
    write_kit(kit_path, manifest, contents | {"models/a.tflite": b"a" * 300_000})
    with open_kit(kit_path) as kit:
        with kit_path.open("rb+") as file:
            file.write(b"\0" * kit_path.stat().st_size)
        with pytest.raises(KitIntegrityError, match="SHA-256 differs"):
            kit.read("models/a.tflite")


def test_xz_transport(refused, kit_path, contents, monkeypatch) -> None:
    packed = kit_path.with_name("colours.rskit.xz")
    good = lzma.compress(kit_path.read_bytes())
    packed.write_bytes(good)
    with open_kit(packed) as kit:
        assert kit.read("models/a.tflite") == contents["models/a.tflite"]
    for bad in (good[:-9], good[:50], good + b"x", good + good, good[:60] + b"\0" + good[61:]):
        packed.write_bytes(bad)
        refused(packed, KitIntegrityError)
    packed.write_bytes(lzma.compress(b"\0" * 100_000))
    monkeypatch.setattr(rs_runtime.kit.kit, "MAX_KIT_BYTES", 50_000)
    assert "unpacks to more" in refused(packed, KitFormatError)


def test_find_kit(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RS_KIT", raising=False)
    with pytest.raises(KitNotFoundError, match="--kit"):
        find_kit()
    for age, name in enumerate(("new.rskit", "old.rskit.xz")):
        Path(name).touch()
        rs_runtime.kit.kit.os.utime(name, (1000 - age, 1000 - age))
    assert find_kit() == Path("new.rskit")
    # macOS writes them beside a kit on a card; here they are newer.
    for name in ("._new.rskit", "._old.rskit.xz"):
        Path(name).write_bytes(b"\0\5\x16\7")
        os.utime(name, (2_000_000_000, 2_000_000_000))
    assert find_kit() == Path("new.rskit")
    monkeypatch.setenv("RS_KIT", "/from/env.rskit")
    assert find_kit() == Path("/from/env.rskit")
    assert find_kit(Path("mine.rskit")) == Path("mine.rskit")


@pytest.mark.parametrize("name", ["RS_KIT", "RS_PUBLIC_KEY"])
def test_a_variable_may_begin_with_the_home_folder(tmp_path, monkeypatch, name) -> None:
    # A shell leaves ~ alone between quotes, and so does a service's configuration.
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv(name, "~/kits/x")
    found = {"RS_KIT": find_kit, "RS_PUBLIC_KEY": find_public_key}
    assert found[name]() == tmp_path / "kits" / "x"


def test_manifest_is_the_schema_of_the_contract(manifest) -> None:
    root = json.loads(manifest.to_json())
    assert root["format"] == "rskit" and root["schema"] == "1.6"
    assert set(Manifest.__dataclass_fields__) | {"format"} == set(root)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_while_unpacking_names_the_folder(kit_path, monkeypatch, one_line) -> None:
    packed = kit_path.with_name("colours.rskit.xz")
    packed.write_bytes(lzma.compress(kit_path.read_bytes()))
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(open, "/dev/full", "w+b"))
    monkeypatch.setattr(tempfile, "tempdir", "/full")
    with pytest.raises(KitError) as caught:
        open_kit(packed)
    assert "into the folder '/full': No space left" in one_line(str(caught.value))
    assert str(packed) in str(caught.value) and "copy it again" not in str(caught.value)


def test_no_folder_to_unpack_in_is_one_line(kit_path, monkeypatch, one_line, tmp_path) -> None:
    packed = kit_path.with_name("colours.rskit.xz")
    packed.write_bytes(lzma.compress(kit_path.read_bytes()))
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "absent")])
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pytest.raises(KitError, match="No usable temporary directory") as caught:
        open_kit(packed)
    assert "TMPDIR" in one_line(str(caught.value))


def test_a_packed_kit_that_cannot_be_read_is_to_be_copied_again(kit_path, monkeypatch) -> None:
    packed = kit_path.with_name("colours.rskit.xz")
    packed.write_bytes(lzma.compress(kit_path.read_bytes()))

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    monkeypatch.setattr(Path, "open", lambda *_: Broken(lzma.compress(b"")))
    monkeypatch.setattr(Broken, "seek", lambda *_: 0)
    with pytest.raises(KitIntegrityError, match=r"Input/output error; copy it again"):
        open_kit(packed)
