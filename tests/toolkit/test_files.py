from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys

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


def test_json_nested_beyond_measure_is_damaged_like_any_other(tmp_path) -> None:
    (tmp_path / "x.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_file_has_the_rights_of_the_umask_at_that_time(tmp_path, mask, mode) -> None:
    before = os.umask(mask)
    try:
        write_json(tmp_path / "x.json", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.json").stat().st_mode) == mode


def test_importing_the_runtime_never_sets_the_umask() -> None:
    # It belongs to the whole process: another thread would make its files with the wrong rights.
    code = (
        "import os\n"
        "def refuse(mask): raise AssertionError('the umask was set')\n"
        "os.umask = refuse\n"
        "import rs_runtime.files, rs_toolkit.files\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_hashes(tmp_path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_file(tmp_path / "x") == sha256_bytes(b"abc") == hashlib.sha256(b"abc").hexdigest()
