"""Forged and damaged kits: each is one clean error, or opens as what it was.

A thousand of them here; ``RS_MUTANTS=10000`` in the environment asks for more.

A mutant follows from its attack's name and a number, so that a failure can be had again alone.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import re
import resource
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import kit_attacks  # noqa: F401 (it registers its attacks, as does the next)
import manifest_attacks  # noqa: F401
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit_forge import ATTACKS, MANIFEST, Target, nodes, replaced, seal

import rs_runtime.kit.archive
import rs_runtime.kit.json_node
import rs_runtime.kit.kit
import rs_runtime.kit.manifest
from rs_runtime.errors import KitError, KitSignatureError
from rs_runtime.kit.kit import Kit, open_kit, write_kit
from rs_runtime.kit.manifest import Manifest
from rs_runtime.kit.sets import SetSpec, UnknownSpec
from rs_runtime.kit.signature import generate_key, write_signature
from rs_toolkit.folders.kit import extract

MUTANTS = int(os.environ.get("RS_MUTANTS", 1000))
ENOUGH = 300  # of one attack, for any check that is off to be found
SECONDS = 5.0  # for one kit; the slowest takes a fiftieth
MEMORY = 512 * 2**20
MOST_BYTES = 2**18  # in place of a kit's 2 GiB, so that bombs are quickly made and cut


@pytest.fixture
def target(
    kit_path, manifest, contents, filter_spec, filter_contents, tmp_path, monkeypatch
) -> Target:
    """A signed kit with a filter, in a folder that holds whatever an attack could write."""
    fitted = replace(
        manifest.variants[0],
        sets=SetSpec((0.5, 0.25, 0.25), (0.8, 0.9), (1.5, 0.25)),
        unknown=UnknownSpec("energy", (-1.0, 0.5, 3.0)),
    )
    manifest = replace(manifest, filter=filter_spec, variants=(fitted, manifest.variants[1]))
    write_kit(kit_path, manifest, contents | filter_contents)
    monkeypatch.setattr(rs_runtime.kit.kit, "MAX_KIT_BYTES", MOST_BYTES)
    key, public = generate_key(tmp_path / "key")
    with open_kit(kit_path) as kit:
        write_signature(kit_path, kit.manifest_digest(), key)
        manifest = kit.manifest
    raw = kit_path.read_bytes()
    members = unzipped(raw)
    for name in ("1/2/3/4", "here", "temporary"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(os, "fsync", lambda _: None)  # slow, and of no use here
    head, files = json.loads(members[MANIFEST]), tree(tmp_path)
    return Target(tmp_path, kit_path, public, raw, members, head, manifest, files)


@pytest.fixture
def bounded_memory() -> Iterator[None]:
    """Fail what asks the system for more than MEMORY, used or not."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    unit = 1024 if sys.platform == "linux" else 1
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < MEMORY


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def mutants(name: str, target: Target) -> Iterator[bytes]:
    """Yield an attack's mutants, each of them once."""
    seen = {target.raw}
    for number in range(10 * MUTANTS):
        mutant = ATTACKS[name][0](target, Random(f"{name} {number}"))
        if mutant not in seen:
            seen.add(mutant)
            yield mutant


def tree(folder: Path) -> dict[str, bytes]:
    """Return the bytes of the files below a folder; an empty folder ends in a slash."""
    found = {}
    for place, folders, files in os.walk(folder):
        below = place[len(str(folder)) + 1 :]
        found |= {os.path.join(below, name): Path(place, name).read_bytes() for name in files}
        if not folders and not files:
            found[f"{below}/"] = b""
    return found


def judge(target: Target, mutant: bytes, one_line) -> str:
    """Open a kit and extract it; return the error's line, or nothing if it is the original."""
    target.path.write_bytes(mutant)
    out, start, line = target.root / "1/2/3/4/out", time.perf_counter(), ""
    try:
        with open_kit(target.path) as kit:
            read = {name: kit.read(name) for name in kit.members}
            manifest = kit.manifest
        extract(target.path, out)
    except KitError as error:
        line = one_line(str(error))
        assert len(line) < 1000 and not out.exists()
    else:
        assert tree(out) == read
        shutil.rmtree(out)
    assert time.perf_counter() - start < SECONDS
    assert tree(target.root) == {**target.files, target.path.name: mutant}, "written outside"
    judge_use(target, one_line)
    if not line:
        assert manifest == target.manifest
        assert {**read, MANIFEST: target.members[MANIFEST]} == target.members
        judge_bytes(target, mutant, one_line)
    return line


def judge_use(target: Target, one_line) -> None:
    """Use a kit of which only the used members are hashed: each is what the manifest says."""
    for key in (None, target.key):
        try:
            kit = open_kit(target.path, key, every_member=False)
        except KitError as error:
            one_line(str(error))
            continue
        with kit:
            assert key is None or kit.manifest == target.manifest
            for name in kit.members:
                try:
                    data = kit.read(name)
                except KitError as error:
                    one_line(str(error))
                else:
                    assert sha256(data).hexdigest() == kit.manifest.members[name].sha256


def judge_bytes(target: Target, mutant: bytes, one_line) -> None:
    """Check that a kit that opens is canonical, and passes for signed only if it is what was."""
    plain = lzma.decompress(mutant) if mutant.startswith(b"\xfd7zXZ\0") else mutant
    assert seal(unzipped(plain).items()) == plain
    try:
        open_kit(target.path, target.key).close()
    except KitSignatureError as error:
        one_line(str(error))
        assert plain != target.raw
    else:
        assert plain == target.raw


@pytest.mark.timeout(max(120, MUTANTS // 50))
@pytest.mark.parametrize("name", ATTACKS)
def test_mutants_are_one_clean_error_or_the_original(
    name, target, one_line, bounded_memory
) -> None:
    judged = 0
    reached = False
    for mutant in islice(mutants(name, target), -(-MUTANTS // len(ATTACKS))):
        try:
            line = judge(target, mutant, one_line)
        except BaseException as error:
            error.add_note(f"attack {name}, mutant {judged}: {target.path}")
            raise
        judged += 1
        reached = reached or re.search(ATTACKS[name][1], line) is not None
    assert judged * len(ATTACKS) >= MUTANTS
    assert reached, "no mutant got as far as this attack must"


def test_the_sealer_writes_canonical_kits(target, one_line) -> None:
    assert seal(target.members.items()) == target.reseal(target.members[MANIFEST]) == target.raw
    assert judge(target, target.raw, one_line) == ""
    assert judge(target, lzma.compress(target.raw), one_line) == ""


def unverified(kit: Kit, member: str) -> bytes:
    kit._file.seek(kit._entries[member].start)
    return kit._file.read(kit._entries[member].size)


def unchecked(data: bytes, _: int) -> Any:
    return json.loads(data)


@pytest.mark.parametrize(
    ("name", "off", "seen"),
    [
        ("path_escapes", {"archive._LIMITS": [(re.compile(r"(?s).*"), 2**31)]}, AssertionError),
        (
            "wrong_hashes",
            {"kit._verify_member": lambda *_: None, "kit.Kit.read": unverified},
            AssertionError,
        ),
        ("wrong_hashes", {"kit.Kit.read": unverified}, AssertionError),
        ("wrong_values", {"json_node.MAX_TEXT": 2**31}, AssertionError),
        ("wrong_references", {"manifest._check_references": lambda _: None}, AssertionError),
        ("wrong_filters", {"manifest._check_references": lambda _: None}, AssertionError),
        ("repeated_keys", {"manifest.parse_json": unchecked}, AssertionError),
        ("depth_bombs", {"manifest.parse_json": unchecked}, RecursionError),
        pytest.param(
            "xz_windows",
            {"kit._XZ_MEMORY": None},
            MemoryError,
            marks=pytest.mark.skipif(sys.platform != "linux", reason="memory is not limited here"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_check_that_is_off_is_found(
    name, off, seen, target, one_line, bounded_memory, monkeypatch
) -> None:
    for check, instead in off.items():
        monkeypatch.setattr(f"rs_runtime.kit.{check}", instead)
    with pytest.raises(seen):
        for mutant in islice(mutants(name, target), ENOUGH):
            judge(target, mutant, one_line)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)


def agrees(read: Any, written: Any) -> bool:
    """Return whether what was read is what was written, but for keys that readers leave out."""
    if isinstance(read, dict) and isinstance(written, dict):
        return all(agrees(value, written.get(key)) for key, value in read.items())
    if isinstance(read, list) and isinstance(written, list):
        return len(read) == len(written) and all(map(agrees, read, written))
    return read == written and isinstance(read, bool) == isinstance(written, bool)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_resealed_manifest_is_refused_or_read_as_written(target, one_line, data) -> None:
    head: Any = target.head
    for _ in range(data.draw(st.integers(1, 3))):
        path, old = data.draw(st.sampled_from([*nodes(head)]))
        new = data.draw(VALUES | st.sampled_from([value for _, value in nodes(target.head)]))
        if isinstance(old, dict) and data.draw(st.booleans()):
            new = {**old, data.draw(st.text(max_size=9) | st.sampled_from([*old, "name"])): new}
        head = replaced(head, path, new)
    target.path.write_bytes(target.reseal(head))
    try:
        with open_kit(target.path) as kit:
            manifest = kit.manifest
    except KitError as error:
        one_line(str(error))
        return
    # The key means nothing to a schema before 1.3.
    known = head if manifest.filter else {**head, "filter": None}
    assert agrees(json.loads(manifest.to_json()), known)
    assert Manifest.from_json(manifest.to_json()) == manifest
    judge_bytes(target, target.path.read_bytes(), one_line)
