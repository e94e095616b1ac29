"""Damaged photos for ``runtime.py``: each must end as an answer or a reason, soon.

    python benchmarks/runtime_fuzz.py KIT FIRST LAST    (a worker, which runtime.py starts)

Drawn photos of every format and kind that the runtime reads are damaged at random: bits and bytes
changed, parts cut out, doubled, moved or put in from another photo, the end cut off; half of the
damage is among the first 2,000 bytes, where headers, EXIF data and tables are.  Half of the PNG
files get right checksums again.  Which damage
number N gets depends on N alone.  A worker that dies or takes too long at one photo is a failure
of that photo, and another worker goes on after it.
"""

from __future__ import annotations

import io
import os
import selectors
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

LIMIT_S = 5.0
_HEAD = 2000
_START_S = 60.0


def seeds() -> list[bytes]:
    """Return a whole photo of each kind."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    image = Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif.update({0x010F: "Reconyx", 0x0112: 6, 0x0132: "2025:03:09 06:30:12"})
    for tag, inner in (
        (0x8769, {0x9003: "2025:03:09 06:30:12", 0x9291: "25", 0xA431: "H7"}),
        (0x8825, {1: "S", 2: (1.0, 30.0, 36.0), 3: "E", 4: (36.0, 45.0, 0.0)}),
    ):
        exif.get_ifd(tag).update(inner)
        exif[tag] = exif.get_ifd(tag)
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 250)
    kinds: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (image, "JPEG", {"exif": exif}),
        (image, "JPEG", {"progressive": True, "quality": 80}),
        (image, "MPO", {"save_all": True, "append_images": [image]}),
        (image.convert("CMYK"), "JPEG", {}),
        (image.convert("L"), "JPEG", {"exif": exif}),
        (image, "PNG", {"exif": exif}),
        (image.quantize(16), "PNG", {}),
        (image.convert("RGBA"), "PNG", {}),
        (deep, "PNG", {}),
        *((image, "TIFF", {"compression": kind}) for kind in ("tiff_lzw", "tiff_deflate", "jpeg")),
        (image, "TIFF", {"exif": exif}),
        (deep, "TIFF", {}),
        (image, "WEBP", {"exif": exif}),
        (image, "WEBP", {"lossless": True}),
        (image.quantize(64), "GIF", {}),
        (image, "BMP", {}),
    ]
    if features.check("avif"):
        kinds.append((image, "AVIF", {"exif": exif}))
    try:
        from pillow_heif import register_heif_opener

        register_heif_opener()
        kinds.append((image, "HEIF", {"exif": exif.tobytes()}))
    except ImportError:
        pass
    return [_saved(*kind) for kind in kinds]


def _saved(image: Image.Image, kind: str, settings: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def damaged(photos: list[bytes], number: int) -> bytes:
    """Return the photo number ``number``, damaged in one to four ways."""
    generator = np.random.default_rng(number)
    data = bytearray(photos[number % len(photos)])
    for _ in range(int(generator.choice([1, 1, 1, 2, 4]))):
        place = _place(generator, len(data))
        length = int(generator.integers(1, 200))
        part = data[place : place + length]
        match generator.integers(0, 8):
            case 0:
                data[place] ^= 1 << int(generator.integers(0, 8))
            case 1:
                data[place] = int(generator.choice([0, 1, 127, 128, 254, 255]))
            case 2:
                data[place : place + 4] = generator.bytes(4)
            case 3:
                del data[place : place + length]
            case 4:
                data[place:place] = part
            case 5:
                other = _place(generator, len(data))
                data[other : other + len(part)] = part
            case 6:
                other = photos[int(generator.integers(len(photos)))]
                data[place : place + length] = other[place : place + length]
            case 7:
                del data[max(1, place) :]
        if not data:
            break
    # Else the checksums of PNG would refuse nearly all of the damage.
    return _with_checksums(bytes(data)) if number % 2 else bytes(data)


def _with_checksums(data: bytes) -> bytes:
    """Return a PNG file whose chunks have right checksums; other files as they are."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    found, place = data[:8], 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunk = data[place + 4 : place + 8 + length]
        found += data[place : place + 4] + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        place += 12 + length
    return found


def _place(generator: np.random.Generator, length: int) -> int:
    end = min(length, _HEAD) if generator.random() < 0.5 else length
    return int(generator.integers(end))


def work(kit: Path, first: int, last: int) -> None:
    """Classify damaged photos; print a line before and after each."""
    from rs_runtime.classify import Classifier
    from rs_runtime.errors import RuntimeKitError
    from rs_runtime.probe import _peak

    photos = seeds()
    with Classifier.open(kit, engine="onnxruntime", warn=lambda problem: None) as classifier:
        for number in range(first, last):
            print("at", number, flush=True)
            try:
                classifier.classify(damaged(photos, number))
                ended = "answer"
            except RuntimeKitError as error:
                ended = "reason" if len(str(error).splitlines()) == 1 else "reason of many lines"
            except Exception as error:
                ended = f"traceback: {error!r}"
            print("end", ended.replace("\n", " "), flush=True)
    print("peak", _peak(), flush=True)


def fuzz(kit: Path, count: int, tell: Callable[[str], object]) -> dict[str, Any]:
    """Return how ``count`` damaged photos ended, and what went wrong."""
    ended: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    slowest, peak, first = 0.0, 0, 0
    while first < count:
        at, lines, begun = first, _lines(kit, first, count), time.monotonic()
        problem = "crash"
        for line in lines:
            word, _, rest = (line or "slow").partition(" ")
            now = time.monotonic()
            if word == "at":
                at, begun, problem = int(rest), now, "crash"
            elif word == "end":
                slowest = max(slowest, now - begun)
                ended[rest if rest in ("answer", "reason") else "failure"] += 1
                if rest not in ("answer", "reason"):
                    failures.append({"number": at, "problem": rest})
                first = at + 1
            elif word == "peak":
                peak, problem = max(peak, int(rest)), ""
            else:
                problem = f"took more than {LIMIT_S:g} s"
        if problem:
            failures.append({"number": at, "problem": problem})
            first = at + 1
        tell(f"{first} of {count}: {dict(ended)}, {len(failures)} failures")
    return {
        "inputs": count,
        "kinds": len(seeds()),
        "answers": ended["answer"],
        "reasons": ended["reason"],
        "failures": failures,
        "slowest_s": round(slowest, 2),
        "peak_mb": round(peak / 1e6),
    }


def _lines(kit: Path, first: int, last: int) -> Any:
    """Yield a worker's lines; None, then its end, when one takes too long."""
    command = [sys.executable, __file__, str(kit), str(first), str(last)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    waiting, limit = b"", _START_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(limit):
                process.kill()
                process.wait()
                yield None
                return
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                process.wait()
                return
            limit = LIMIT_S
            *whole, waiting = (waiting + part).split(b"\n")
            yield from (line.decode() for line in whole)


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
