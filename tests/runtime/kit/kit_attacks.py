"""Attacks on a kit's container: damaged bytes, forged headers, odd names, and the xz around it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import struct
import zlib
from random import Random

from kit_forge import ATTACKS, Target, attack, noise, replaced, seal, word


@attack("SHA-256 differs")
def flipped_bits(target: Target, random: Random) -> bytes:
    data = bytearray(target.raw)
    # The manifest, which comes first, is most of this kit; what follows it is to be hit too.
    start = random.choice((0, target.raw.index(b"PK\3\4", 4)))
    for _ in range(random.choice((1, 1, 2, 9))):
        data[random.randrange(start, len(data))] ^= 1 << random.randrange(8)
    return bytes(data)


@attack("end record")
def spliced_bytes(target: Target, random: Random) -> bytes:
    place, gone = random.randrange(len(target.raw)), random.choice((0, 0, 1, 9, 200))
    added = noise(random) if gone == 0 or random.random() < 0.5 else b""
    return target.raw[:place] + added + target.raw[place + gone :]


@attack("non-canonical")
def moved_bytes(target: Target, random: Random) -> bytes:
    a, b, c = sorted(random.randrange(len(target.raw)) for _ in range(3))
    raw = target.raw
    return raw[:a] + raw[b:c] + raw[a:b] + raw[c:]


@attack("cut short")
def truncated(target: Target, random: Random) -> bytes:
    seams = [found.start() for found in re.finditer(b"PK[\1\3\5][\2\4\6]", target.raw)]
    near = random.choice(seams) + random.randint(-20, 60)
    return target.raw[: random.choice((near, random.randrange(len(target.raw))))]


@attack("bytes added")
def extended(target: Target, random: Random) -> bytes:
    more = random.choice((noise(random), b"\0" * random.randint(1, 400), target.raw))
    comment = struct.pack("<H", len(more)) + more
    ways = (target.raw + more, more + target.raw, target.raw[:-2] + comment)
    return random.choice(ways) + noise(random, 3)


@attack("CRC-32 differs")
def forged_fields(target: Target, random: Random) -> bytes:
    parts = random.choice((("local",), ("central",), ("local", "central"), ("end",)))
    index, change = random.randrange(len(target.members)), random.choice((1, -1, 7, 256, 2**16))
    place, value = random.randrange(10), random.choice((0, 2**16 - 1, 2**30, 2**31, 2**32 - 1))

    def forge(part: str, number: int, fields: dict[str, int]) -> None:
        if part in parts and number == (0 if part == "end" else index):
            name = [*fields][(place + (part == "central")) % len(fields)]
            wide = name in ("crc", "packed", "size", "external", "offset")
            forged = fields[name] + change if value == 2**30 else value
            fields[name] = forged % (2**32 if wide else 2**16)

    return seal(target.members.items(), forge)


@attack("has .* bytes, more than")
def forged_sizes(target: Target, random: Random) -> bytes:
    index, size = random.randrange(len(target.members)), 2 ** random.randint(0, 31)
    size += random.randint(-99, 99)

    def forge(part: str, number: int, fields: dict[str, int]) -> None:
        if part != "end" and number == index:
            fields["size"] = fields["packed"] = size % 2**32

    return seal(target.members.items(), forge)


@attack("is compressed")
def compressed_members(target: Target, random: Random) -> bytes:
    members = list(target.members.items())
    index, where = random.randrange(len(members)), random.choice(("local", "central", ""))
    name, data = members[index]
    data = random.choice((data, b"\0" * random.randint(1, 2**20), noise(random)))
    method, pack = random.choice(((8, zlib.compress), (12, bz2.compress), (14, lzma.compress)))
    members[index] = (name, pack(data)[2:-4] if method == 8 else pack(data))

    def forge(part: str, number: int, fields: dict[str, int]) -> None:
        if part != "end" and part != where and number == index:
            fields |= {"method": method, "size": len(data), "crc": zlib.crc32(data)}

    return seal(members, forge)


@attack("non-canonical")
def overlapping_members(target: Target, random: Random) -> bytes:
    count, size = random.randint(1, 250), random.randint(1, 2**20)
    more = [(f"{word(random)}{number}.md", b"") for number in range(count)]

    def forge(part: str, number: int, fields: dict[str, int]) -> None:
        if part == "central" and number >= len(target.members):
            fields |= {"offset": 0, "size": size, "packed": size}

    return seal([*target.members.items(), *more], forge)


@attack("non-canonical")
def reordered_members(target: Target, random: Random) -> bytes:
    members = [*target.members.items(), (f"{word(random)}.md", b"")]
    random.shuffle(members)
    return seal(members)


@attack("same name")
def repeated_names(target: Target, random: Random) -> bytes:
    members = list(target.members.items())
    name, data = random.choice(members)
    again = random.choice((data, noise(random), b""))
    members.insert(random.randint(0, len(members)), (name, again))
    return seal(members)


@attack("not allowed")
def path_escapes(target: Target, random: Random) -> bytes:
    name = f"{word(random)}{random.choice(('.md', '.onnx', '.tflite', '.json', ''))}"
    start = (
        *("../" * random.randint(1, 4), f"models/{'../' * random.randint(1, 3)}", "models/./"),
        *(f"{target.root}/", "/", "//", "./", "C:/", f"{name}/../../", f"{name}/{name}/", "~/"),
    )
    return target.with_member(random.choice(start) + name, noise(random))


@attack("not allowed")
def odd_names(target: Target, random: Random) -> bytes:
    name, odd = word(random), random.choice('\0\n\r\x1b\\:*?|"<> \u202e\u200b\u0301\ud800．／оé')
    place = random.randint(0, len(name))
    names = (
        *(f"{name[:place]}{odd}{name[place:]}.md", f"models/{odd}{name}.onnx", f"{name}.md{odd}"),
        *(f"..\\{name}.md", f".{name}.md", f"-{name}.md", f"{name * 81}.md", f"{name}.pkl", name),
        *(f"{name}.md/", f"Models/{name}.onnx", f"models/{name}.ONNX", f"MANIFEST{name}.MD", odd),
    )
    if random.random() < 0.2:
        return seal([*target.members.items(), (noise(random, 300) + b".md", b"")])
    return target.with_member(random.choice(names), noise(random))


@attack("SHA-256 differs")
def wrong_hashes(target: Target, random: Random) -> bytes:
    name = random.choice(sorted(target.head["members"]))
    listed = target.head["members"][name]
    if random.random() < 0.4:
        data = random.choice((noise(random), random.randbytes(listed["size"])))
        return target.reseal(target.head, **{name: data})
    wrong = {"size": listed["size"] + random.randint(1, 2**20)}
    if random.random() < 0.8:
        wrong = {"sha256": random.choice((random.randbytes(32).hex(), listed["sha256"][1:]))}
    return target.reseal(replaced(target.head, ("members", name), {**listed, **wrong}))


@attack("in the manifest")
def unlisted_members(target: Target, random: Random) -> bytes:
    name = random.choice((f"{word(random)}.md", f"models/{word(random)}.onnx"))
    if random.random() < 0.5:
        return target.reseal(target.head, **{name: noise(random)})
    listed = {**target.head["members"], name: {"sha256": "0" * 64, "size": random.randrange(999)}}
    return target.reseal(replaced(target.head, ("members",), listed))


@attack("xz file is damaged")
def xz_damaged(target: Target, random: Random) -> bytes:
    check = random.choice((lzma.CHECK_NONE, lzma.CHECK_CRC32, lzma.CHECK_CRC64, lzma.CHECK_SHA256))
    data = bytearray(lzma.compress(target.raw, check=check))
    for _ in range(random.choice((1, 1, 3))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data[: random.choice((len(data), len(data), random.randrange(len(data))))])


@attack("bytes added")
def xz_joined(target: Target, random: Random) -> bytes:
    place = random.randrange(len(target.raw))
    parts = (target.raw[:place], target.raw[place:], target.raw, noise(random), b"")
    more = random.choice((b"\0" * 4 * random.randint(1, 99), noise(random), b""))
    return b"".join(lzma.compress(part) for part in random.choices(parts, k=2)) + more


@attack("unpacks to more")
def xz_bombs(target: Target, random: Random) -> bytes:
    bomb = random.choice((target.raw, noise(random))) + b"\0" * random.randint(2**10, 2**20)
    for _ in range(random.choice((1, 1, 2, 3))):
        bomb = lzma.compress(bomb, preset=0)
    return bomb


@attack("damaged .Memory")
def xz_windows(target: Target, random: Random) -> bytes:
    # A byte of the block's header asks for a dictionary of 4 KiB to 4 GiB; its CRC-32 is renewed.
    data = bytearray(lzma.compress(target.raw[: random.randint(9, 2 * len(target.raw))]))
    end = 12 + data[12] * 4
    data[16] = random.randint(0, 41)
    return bytes(data[:end] + struct.pack("<L", zlib.crc32(data[12:end])) + data[end + 4 :])


@attack("no kit")
def other_formats(target: Target, random: Random) -> bytes:
    magics = (
        b"\x1f\x8b",
        b"BZh9",
        b"7z\xbc\xaf\x27\x1c",
        b"\x28\xb5\x2f\xfd",
        b"%PDF-",
        b"\x7fELF",
    )
    packs = (gzip.compress, bz2.compress, lambda data: lzma.compress(data, lzma.FORMAT_ALONE))
    start = random.choice(magics) + noise(random)
    return random.choice((start + target.raw, random.choice(packs)(target.raw + noise(random))))


@attack("")
def wrapped_attacks(target: Target, random: Random) -> bytes:
    name = random.choice([name for name in ATTACKS if not name.startswith(("xz", "wrapped"))])
    return lzma.compress(ATTACKS[name][0](target, random), preset=0)
