"""How the attacks on kits forge them: any member, manifest or header field, sealed anew."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from rs_runtime.kit.manifest import Manifest

MANIFEST = "manifest.json"

Attack = Callable[["Target", Random], bytes]
Forge = Callable[[str, int, dict[str, int]], None]
Members = Iterable[tuple[str | bytes, bytes]]

# By name: the function, and a pattern that one of its errors must match, so that it got so far.
ATTACKS: dict[str, tuple[Attack, str]] = {}


def attack(reached: str) -> Callable[[Attack], Attack]:
    """Register an attack and how far it must get."""

    def register(function: Attack) -> Attack:
        ATTACKS[function.__name__] = (function, reached)
        return function

    return register


@dataclass(frozen=True)
class Target:
    """The kit under attack, its key, and the folder whose files are not to change otherwise."""

    root: Path
    path: Path
    key: Path
    raw: bytes
    members: dict[str, bytes]
    head: dict[str, Any]
    manifest: Manifest
    files: dict[str, bytes]

    def reseal(self, head: Any, **changed: bytes) -> bytes:
        """Return the kit with another manifest, as text or as JSON values, and other members."""
        text = head if isinstance(head, bytes) else json.dumps(head).encode()
        members = {**self.members, **changed, MANIFEST: text}
        return seal(sorted(members.items(), key=lambda item: (item[0] != MANIFEST, item[0])))

    def with_member(self, name: str, data: bytes) -> bytes:
        """Return the kit with one more member, which the manifest lists."""
        listed = {"sha256": sha256(data).hexdigest(), "size": len(data)}
        head = replaced(self.head, ("members",), {**self.head["members"], name: listed})
        return self.reseal(head, **{name: data})


def seal(members: Members, forge: Forge = lambda *_: None) -> bytes:
    """Return the canonical archive of any members in any order, with any header field forged.

    Written apart from ``rs_runtime.kit.archive``, which refuses to write most of these.
    """
    body, directory, number = b"", b"", -1
    for number, (title, data) in enumerate(members):
        name = title if isinstance(title, bytes) else title.encode("utf-8", "surrogatepass")
        local = {"version": 20, "flags": 0, "method": 0, "time": 0, "date": 0x21}
        local |= {"crc": zlib.crc32(data), "packed": len(data), "size": len(data)}
        local |= {"name": len(name), "extra": 0}
        central = {"made": 3 << 8 | 20, **local, "comment": 0, "disk": 0, "internal": 0}
        central |= {"external": 0o100644 << 16, "offset": len(body)}
        forge("local", number, local)
        forge("central", number, central)
        body += b"PK\3\4" + struct.pack("<5H3L2H", *local.values()) + name + data
        directory += b"PK\1\2" + struct.pack("<6H3L5H2L", *central.values()) + name
    end = {"disk": 0, "first": 0, "here": number + 1, "all": number + 1}
    end |= {"size": len(directory), "offset": len(body), "comment": 0}
    forge("end", 0, end)
    return body + directory + b"PK\5\6" + struct.pack("<4H2LH", *end.values())


def nodes(value: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """Yield every value in a JSON value, itself first, with its path."""
    yield path, value
    items = value.items() if isinstance(value, dict) else ()
    for key, child in enumerate(value) if isinstance(value, list) else items:
        yield from nodes(child, (*path, key))


def replaced(value: Any, path: tuple, new: Any) -> Any:
    """Return a JSON value with the part at ``path`` replaced."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def word(random: Random) -> str:
    return "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(1, 9)))


def noise(random: Random, most: int = 40) -> bytes:
    return random.randbytes(random.randint(1, most))
