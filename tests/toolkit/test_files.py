from __future__ import annotations

import errno
import hashlib

import pytest

from rs_toolkit.files import atomic_write, read_json, sha256_bytes, sha256_file, write_json


def test_a_file_appears_whole_with_its_suffix(tmp_path) -> None:
    with atomic_write(tmp_path / "deep" / "x.weights.h5") as temporary:
        assert temporary.name.endswith(".weights.h5")
        temporary.write_bytes(b"new")
        assert not (tmp_path / "deep" / "x.weights.h5").exists()
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["x.weights.h5"]


@pytest.mark.parametrize("name", ["x.rskit", "x.rskit.xz", "x.v1.2.rskit"])
def test_an_unfinished_kit_is_not_found_as_a_kit(tmp_path, name) -> None:
    with atomic_write(tmp_path / name) as temporary:
        assert not list(tmp_path.glob("*.rskit*"))
        temporary.write_bytes(b"whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_alone(tmp_path, error) -> None:
    target = tmp_path / "x.json"
    write_json(target, {"a": 1})
    with pytest.raises(type(error)), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise error
    assert read_json(target) == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_hashes(tmp_path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_file(tmp_path / "x") == sha256_bytes(b"abc") == hashlib.sha256(b"abc").hexdigest()
