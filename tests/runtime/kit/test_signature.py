"""Signed kits: who signed, what exactly, and everything that is no valid signature."""

from __future__ import annotations

import base64
import hashlib
import lzma
import os
import shutil
import stat
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rs_runtime.kit.kit
from rs_runtime.errors import KitIntegrityError, KitSignatureError
from rs_runtime.kit.kit import open_kit, write_kit
from rs_runtime.kit.signature import find_public_key, generate_key, signature_path, write_signature

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519


@pytest.fixture
def keys(tmp_path) -> tuple[Path, Path]:
    """A private and a public key."""
    return generate_key(tmp_path / "key")


@pytest.fixture
def signed(kit_path, keys) -> Path:
    """The signature of ``kit_path``."""
    return sign(kit_path, keys[0])


@pytest.fixture
def refused(kit_path, keys, one_line):
    """Return a function that opens the kit with a key, and gives the error's line."""

    def check(public_key: Path = keys[1]) -> str:
        with pytest.raises(KitSignatureError) as caught:
            open_kit(kit_path, public_key)
        return one_line(str(caught.value))

    return check


def sign(kit: Path, key: Path) -> Path:
    with open_kit(kit) as opened:
        return write_signature(kit, opened.manifest_digest(), key)


def private_pem(key: Any, password: bytes | None = None) -> bytes:
    locked = pem.BestAvailableEncryption(password) if password else pem.NoEncryption()
    return key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, locked)


def public_pem(key: Any) -> bytes:
    form = (pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form)


def test_the_signature_is_what_the_format_says(kit_path, keys, signed) -> None:
    assert signed == signature_path(kit_path) == kit_path.with_name("colours.rskit.sig")
    line = signed.read_bytes()
    assert len(line) == 89 and line.endswith(b"\n")
    with zipfile.ZipFile(kit_path) as archive:
        head = archive.read("manifest.json")
    key = pem.load_pem_public_key(keys[1].read_bytes())
    assert isinstance(key, ed25519.Ed25519PublicKey)
    key.verify(base64.b64decode(line), b"rskit-signature-v2\0" + hashlib.sha256(head).digest())
    open_kit(kit_path, keys[1]).close()


def test_the_digest_is_the_files(kit_path) -> None:
    with open_kit(kit_path) as kit:
        assert kit.digest() == hashlib.sha256(kit_path.read_bytes()).digest()


@pytest.mark.parametrize("every_member", [True, False])
def test_first_signatures_were_of_the_whole_kit(
    refused, kit_path, keys, manifest, contents, every_member
) -> None:
    message = b"rskit-signature-v1\0" + hashlib.sha256(kit_path.read_bytes()).digest()
    key = pem.load_pem_private_key(keys[0].read_bytes(), None)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    signature_path(kit_path).write_bytes(base64.b64encode(key.sign(message)))
    open_kit(kit_path, keys[1], every_member=every_member).close()
    write_kit(kit_path, manifest, contents | {"models/a.tflite": b"worse"})
    refused()


def test_only_what_is_used_is_hashed(kit_path, keys, signed, contents) -> None:
    raw = bytearray(kit_path.read_bytes())
    # The last byte of a model.
    raw[raw.index(contents["models/a.tflite"]) + len(contents["models/a.tflite"]) - 1] ^= 1
    kit_path.write_bytes(raw)
    with pytest.raises(KitIntegrityError, match=r"'models/a.tflite' is damaged"):
        open_kit(kit_path, keys[1])
    with open_kit(kit_path, keys[1], every_member=False) as kit:
        assert kit.read("models/b.onnx") == contents["models/b.onnx"]
        with pytest.raises(KitIntegrityError, match=r"'models/a.tflite' is damaged"):
            kit.read("models/a.tflite")


def test_both_forms_of_a_kit_share_a_signature(kit_path, keys, signed, contents) -> None:
    packed = kit_path.with_name("colours.rskit.xz")
    packed.write_bytes(lzma.compress(kit_path.read_bytes()))
    with open_kit(packed, keys[1]) as kit:
        assert kit.read("MODEL_CARD.md") == contents["MODEL_CARD.md"]
    signed.unlink()
    assert sign(packed, keys[0]) == signed
    open_kit(kit_path, keys[1]).close()


@pytest.mark.parametrize("ends", [(b"", b""), (b"\n ", b"\r\n"), (b"", b"\n\n")])
def test_white_space_around_a_signature_is_ignored(kit_path, keys, signed, ends) -> None:
    signed.write_bytes(ends[0] + signed.read_bytes().strip() + ends[1])
    open_kit(kit_path, keys[1]).close()


def test_every_flipped_bit_of_a_signature_is_refused(refused, signed) -> None:
    good = signed.read_bytes()[:88]
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        signed.write_bytes(bad)
        refused()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: b"",
        lambda line: line[:-5],
        lambda line: line * 2,
        lambda line: line + b"x",
        lambda line: line[:40] + b"\n" + line[40:],
        lambda line: line.replace(b"=", b""),
        lambda line: base64.b64decode(line),
        lambda line: base64.b64decode(line).hex().encode(),
        lambda line: base64.b64encode(base64.b64decode(line) + b"\0"),
        lambda line: b"\xff" * 88,
        lambda line: line + b" " * 1000,
        lambda line: b"-----BEGIN PGP SIGNATURE-----",
    ],
)
def test_malformed_signatures_are_refused(refused, signed, spoil) -> None:
    signed.write_bytes(spoil(signed.read_bytes()))
    assert signed.name in refused()


def test_signatures_that_are_no_files_are_refused(refused, signed) -> None:
    signed.unlink()
    assert "'" + str(signed) + "' does not exist" in refused()
    signed.mkdir()
    assert "not a regular file" in refused()
    signed.rmdir()
    os.mkfifo(signed)
    assert "not a regular file" in refused()


def test_someone_elses_signature_is_refused(refused, kit_path, tmp_path, signed) -> None:
    sign(kit_path, generate_key(tmp_path / "other")[0])
    assert "is not what the owner" in refused()


def test_another_kits_signature_is_refused(refused, keys, signed, manifest, contents) -> None:
    other = signed.with_name("other.rskit")
    write_kit(other, replace(manifest, name="others"), contents)
    shutil.copy(sign(other, keys[0]), signed)
    assert "is not what the owner" in refused()


def test_changed_kits_are_refused(refused, kit_path, signed, manifest, contents) -> None:
    for changed in (contents | {"models/a.tflite": b"worse"}, contents | {"MORE.md": b""}):
        write_kit(kit_path, manifest, changed)
        open_kit(kit_path).close()
        refused()
    write_kit(kit_path, replace(manifest, calibration={"temperature": 1.6}), contents)
    refused()


@pytest.mark.parametrize("forged_first", [True, False])
def test_a_kit_that_changes_while_it_is_opened(
    kit_path, keys, manifest, contents, monkeypatch, forged_first
) -> None:
    # Larger than a file buffer, so that reading goes to the disk.
    write_kit(kit_path, manifest, contents | {"models/a.tflite": b"a" * 300_000})
    sign(kit_path, keys[0])
    genuine = kit_path.read_bytes()
    write_kit(kit_path, manifest, contents | {"models/a.tflite": b"b" * 300_000})
    forged = kit_path.read_bytes()
    before, after = (forged, genuine) if forged_first else (genuine, forged)
    kit_path.write_bytes(before)
    verify = rs_runtime.kit.kit._verify

    def swap(file: Any, every_member: bool) -> Any:
        found = verify(file, every_member)
        kit_path.write_bytes(after)
        return found

    monkeypatch.setattr(rs_runtime.kit.kit, "_verify", swap)
    with (
        pytest.raises((KitIntegrityError, KitSignatureError)),
        open_kit(kit_path, keys[1]) as kit,
    ):
        kit.read("models/a.tflite")


def test_wrong_public_keys_are_refused(refused, signed, keys, tmp_path) -> None:
    key = tmp_path / "wrong.pub"
    assert "does not exist" in refused(key)
    assert "not a regular file" in refused(tmp_path)
    others = (
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256R1()),
        *(ed448.Ed448PrivateKey.generate(), x25519.X25519PrivateKey.generate()),
    )
    whole = keys[1].read_bytes()
    broken = (b"", b"\xff" * 99, whole[:-30], whole.replace(b"M", b"N", 1), b"\0" + whole[1:])
    for wrong in (*map(public_pem, others), keys[0].read_bytes(), *broken):
        key.write_bytes(wrong)
        assert "no ed25519 public key" in refused(key)
    key.write_bytes(whole + b"\n" * 2**20)
    assert "more than" in refused(key)


def test_wrong_private_keys_are_refused(kit_path, keys, tmp_path, one_line) -> None:
    key = tmp_path / "wrong"
    locked = private_pem(ed25519.Ed25519PrivateKey.generate(), b"password")
    other = private_pem(ec.generate_private_key(ec.SECP256R1()))
    for wrong in (locked, other, keys[1].read_bytes(), b"", b"\xff" * 99):
        key.write_bytes(wrong)
        with pytest.raises(KitSignatureError, match="no ed25519 private key") as caught:
            sign(kit_path, key)
        one_line(str(caught.value))
    assert not signature_path(kit_path).exists()


def test_private_keys_are_private(keys, tmp_path) -> None:
    before = os.umask(0)
    try:
        private, public = generate_key(tmp_path / "open")
    finally:
        os.umask(before)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert b"PRIVATE" in private.read_bytes() and b"PRIVATE" not in public.read_bytes()
    assert private.read_bytes() != keys[0].read_bytes()


@pytest.mark.parametrize("taken", ["mine", "mine.pub"])
def test_keys_are_never_overwritten(tmp_path, one_line, taken) -> None:
    (tmp_path / taken).write_text("precious")
    with pytest.raises(KitSignatureError, match="not overwritten") as caught:
        generate_key(tmp_path / "mine")
    one_line(str(caught.value))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {taken: "precious"}


def test_a_full_disk_leaves_no_key(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(OSError, match="No space"):
        generate_key(tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


def test_without_the_library(refused, kit_path, keys, signed, monkeypatch, one_line) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    open_kit(kit_path).close()
    assert "pip install 'rs-toolkit[sign]'" in refused()
    for needs in (lambda: sign(kit_path, keys[0]), lambda: generate_key(kit_path)):
        with pytest.raises(KitSignatureError, match="cryptography") as caught:
            needs()
        one_line(str(caught.value))


def test_which_key_is_used(monkeypatch) -> None:
    monkeypatch.delenv("RS_PUBLIC_KEY", raising=False)
    assert find_public_key() is None
    assert find_public_key(Path("mine.pub")) == Path("mine.pub")
    for named in ("team.pub", ""):
        monkeypatch.setenv("RS_PUBLIC_KEY", named)
        assert find_public_key() == Path(named)
        assert find_public_key(Path("mine.pub")) == Path("mine.pub")


def test_an_empty_variable_does_not_turn_the_check_off(refused, signed, monkeypatch) -> None:
    monkeypatch.setenv("RS_PUBLIC_KEY", "")
    assert "public key '.'" in refused(find_public_key())
