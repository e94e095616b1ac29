"""A check in several parts, or on Ray, is the check of one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import rs_toolkit.data.photos as photos_module


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photos of two classes, a copy and a damaged one among them."""
    for number in range(12):
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        colour = (20 * number, 90, 200 - 10 * number)
        Image.new("RGB", (240, 230), colour).save(folder / f"{number}.png")
    (folder / "9.png").write_bytes((folder / "7.png").read_bytes())
    (folder / "11.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return tmp_path / "photos"


@pytest.fixture
def check(photos: Path, tmp_path: Path, monkeypatch, run):
    """Check the photos with a cache of its own; return what was found and printed."""

    def check_(cache: str, *options: str) -> tuple[bytes, str]:
        monkeypatch.setenv("RS_CACHE", str(tmp_path / cache))
        code, out, err = run("check", photos, "--out", tmp_path / f"of-{cache}", *options)
        assert code == 0, err
        audit = tmp_path / f"of-{cache}" / "audit.json"
        return audit.read_bytes() if audit.exists() else b"", out

    return check_


def test_parts_fill_the_cache_from_which_the_check_is_made(check, tmp_path, monkeypatch) -> None:
    wanted, _ = check("alone")
    counts = []
    for part in ("1/3", "2/3", "3/3"):
        nothing, said = check("parts", "--shard", part)
        assert nothing == b"" and said.startswith(f"part {part}: ")
        counts.append(int(said.split()[2]))
    assert sum(counts) == 12 and max(counts) < 12
    decoded, real = [], photos_module.load_together
    monkeypatch.setattr(
        photos_module,
        "load_together",
        lambda data, *rest: decoded.append(data) or real(data, *rest),
    )
    assert check("parts")[0] == wanted
    # Only the damaged one was tried again.
    assert len(decoded) == 1 and decoded[0].endswith(b"and no more")


def keys_of(index: Path) -> list[bytes]:
    """The keys of the records of a pack."""
    data = index.read_bytes()
    return [data[start : start + 16] for start in range(0, len(data), 32)]


def test_ray_fills_the_cache_too(check, tmp_path, monkeypatch) -> None:
    pytest.importorskip("ray", reason="needs the [ray] extra")
    wanted, _ = check("alone")
    assert check("ray", "--address", "local")[0] == wanted
    keys = [
        {key for path in (tmp_path / cache).rglob("*.index") for key in keys_of(path)}
        for cache in ("alone", "ray")
    ]
    assert keys[0] == keys[1] and len(keys[0]) == 10


def test_a_part_that_is_none_is_refused(photos, run) -> None:
    code, _, err = run("check", photos, "--shard", "4/3")
    assert code == 2 and "--shard: must be a part and their number, as 3/20, got '4/3'" in err
