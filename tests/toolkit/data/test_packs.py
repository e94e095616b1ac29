"""Records in packs: several writers, deleted packs, and what a kill or a full disk leaves."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rs_toolkit.data import packs as module
from rs_toolkit.data.packs import KEY_BYTES, Packs
from rs_toolkit.files import sha256_bytes


def key(number: int) -> bytes:
    return bytes.fromhex(sha256_bytes(str(number).encode()))[:KEY_BYTES]


def record(number: int) -> bytes:
    return bytes([number % 251]) * (30 + number)


def opened(folder: Path) -> Packs:
    """The packs as another process finds them."""
    packs = Packs(str(folder))
    packs.refresh()
    return packs


def read(packs: Packs, number: int) -> bytes | None:
    found = packs.read(key(number))
    return None if found is None else found.tobytes()


def sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def test_each_process_has_a_pack_and_reads_those_of_all(tmp_path) -> None:
    one, other = opened(tmp_path / "new"), opened(tmp_path / "new")
    for number in range(100):
        (one, other)[number % 2].write(key(number), record(number)[:7], record(number)[7:])
    assert len(sizes(tmp_path / "new")) == 4
    for packs in (opened(tmp_path / "new"), one, other):
        packs.refresh()
        assert [read(packs, number) for number in range(100)] == list(map(record, range(100)))
        assert read(packs, 100) is None and not packs.holds(key(100))


def test_new_records_of_others_are_looked_for_now_and_then(tmp_path, monkeypatch) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    other.write(key(1), record(1))
    assert not one.holds(key(1)) and read(one, 1) is None
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + 60)
    assert one.holds(key(1)) and read(one, 1) == record(1)


def test_threads_write_one_pack_and_a_fork_another(tmp_path, monkeypatch) -> None:
    packs = opened(tmp_path)

    def slowly(count: int, draw=os.urandom) -> bytes:
        time.sleep(0.02)  # other threads come here meanwhile, unless they wait
        return draw(count)

    monkeypatch.setattr(os, "urandom", slowly)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: packs.write(key(number), record(number)), range(200)))
    assert len(sizes(tmp_path)) == 2
    monkeypatch.setattr(os, "getpid", lambda: 1)
    packs.write(key(200), record(200))
    assert len(sizes(tmp_path)) == 4
    assert all(read(opened(tmp_path), number) == record(number) for number in range(201))


def test_a_large_pack_is_followed_by_another(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "_PACK_BYTES", 100)
    packs = opened(tmp_path)
    for number in range(6):
        packs.write(key(number), record(number))
    assert len(list(tmp_path.glob("*.pack"))) == 2
    assert read(opened(tmp_path), 5) == record(5)


@pytest.mark.parametrize("suffix", [".pack", ".index"])
@pytest.mark.parametrize("lost", [1, 31])
def test_a_torn_end_costs_one_record(tmp_path, suffix, lost) -> None:
    packs = opened(tmp_path)
    for number in range(5):
        packs.write(key(number), record(number))
    (file,) = tmp_path.glob(f"*{suffix}")
    file.write_bytes(file.read_bytes()[:-lost])
    later = opened(tmp_path)
    assert [read(later, number) for number in range(5)] == [*map(record, range(4)), None]
    later.write(key(4), record(4))
    assert read(later, 4) == read(opened(tmp_path), 4) == record(4)


@pytest.mark.parametrize("field", range(16, 32))
def test_a_damaged_entry_is_absent(tmp_path, field) -> None:
    packs = opened(tmp_path)
    for number in range(3):
        packs.write(key(number), record(number))
    (file,) = tmp_path.glob("*.index")
    data = bytearray(file.read_bytes())
    data[32 + field] ^= 0x81
    file.write_bytes(data)
    assert [read(opened(tmp_path), number) for number in range(3)] == [record(0), None, record(2)]


@pytest.mark.parametrize(("sizes", "limit"), [((9, 10_000, 9), 100), ((1, 1, 1), 40)])
def test_a_full_disk_is_told_and_spoils_no_later_record(tmp_path, sizes, limit) -> None:
    """Of the second record, only a part fits on the disk, or only a part of its entry."""
    resource = pytest.importorskip("resource", reason="needs limits of file sizes")
    packs, (first, second, third) = opened(tmp_path), map(bytes, sizes)
    packs.write(key(0), first)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        with pytest.raises(OSError, match="large") as caught:
            packs.write(key(1), second)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(tmp_path)
    packs.write(key(2), third)
    assert [read(opened(tmp_path), n) for n in range(3)] == [first, None, third]


def test_a_deleted_pack_is_made_again(tmp_path) -> None:
    packs = opened(tmp_path / "a")
    packs.write(key(0), record(0))
    for file in (tmp_path / "a").iterdir():
        file.unlink()
    (tmp_path / "a").rmdir()
    assert read(packs, 0) is None
    packs.write(key(0), record(0))
    assert read(packs, 0) == read(opened(tmp_path / "a"), 0) == record(0)
    (file,) = (tmp_path / "a").glob("*.index")
    file.unlink()
    packs.refresh()
    assert not packs.holds(key(0))
