"""Which of a kit's models is the fastest on this machine: measured once, and remembered.

Which one it is depends on the processor: 8-bit models are the fastest where it multiplies 8-bit
numbers (VNNI), and may be slower than 32-bit ones where it does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_runtime.installed import cache_folder
from rs_runtime.kit.verdict import KEPT

if TYPE_CHECKING:
    from rs_runtime.kit.kit import Kit
    from rs_runtime.kit.manifest import Variant

__all__ = ["fastest_variant", "milliseconds"]

_RUNS = 3
_LONGEST_S = 60.0
_MOST_KITS = 100
# The engines' packages; another version may be faster or slower.
_PACKAGES = ("ai_edge_litert", "onnxruntime")
# Unlike -m, this imports nothing from the current folder, which may be a card of photos.
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from pathlib import Path; "
    "from rs_runtime.fastest import milliseconds; "
    "print(milliseconds(Path(sys.argv[1]), *sys.argv[2:]))"
)


def fastest_variant(
    kit: Kit, measure: bool, tell: Callable[[str], object] = lambda text: None
) -> str | None:
    """Return the name of the fastest model that is to be trusted; None if that is not known.

    Trusted is a model without a warning, of which the export found that it lost no more than it
    may, or made no comparison.

    Parameters
    ----------
    measure
        Measure the models if that was not done on this machine with this kit and these versions
        of the engines: the least of three times on one thread, as many photos are classified.
    tell
        Called with a line of text before models are measured, and with what was found.
    """
    offers = [
        item
        for item in kit.manifest.variants
        if item.warning is None and (item.verdict is None or item.verdict.verdict == KEPT)
    ]
    if len(offers) < 2:
        return None
    file = _file()
    known = _read(file)
    if not known and not measure:
        return None
    key = _key(kit)
    times = known.get(key)
    if times is None and measure:
        tell(f"measuring which of {len(offers)} models is the fastest here, once")
        times = {name: round(ms, 2) for name, ms in _times(kit, offers)}
        _remember(file, {**known, key: times})
        tell(", ".join(f"{name} {ms:g} ms" for name, ms in times.items()) or "none can be used")
    names = {item.name for item in offers}
    usable = {name: ms for name, ms in (times or {}).items() if name in names}
    return min(usable, key=lambda name: usable[name]) if usable else None


def _times(kit: Kit, offers: Sequence[Variant]) -> Iterator[tuple[str, float]]:
    """Yield the name and the milliseconds of each model that runs here."""
    import subprocess
    import sys

    # In processes of their own: this one needs one engine, and the memory of one model.
    for offer in offers:
        arguments = (str(kit.path), offer.name, kit.manifest_digest().hex())
        command = [sys.executable, "-c", _PROGRAM.format(path=sys.path), *arguments]
        with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, check=True, timeout=_LONGEST_S)
            yield offer.name, float(done.stdout)


def milliseconds(path: Path, name: str, manifest_digest: str) -> float:
    """Return how long one photo takes a model of a kit, on one thread: the least of three times.

    Raises
    ------
    KitError, EngineError
        The kit or the model cannot be used, or its manifest has another SHA-256: then it is not the
        kit whose signature was checked.
    """
    import numpy as np

    from rs_runtime.engines.engine import load_engine
    from rs_runtime.errors import KitIntegrityError
    from rs_runtime.kit.kit import open_kit
    from rs_runtime.kit.variants import choose

    with open_kit(path, every_member=False) as kit:
        if kit.manifest_digest().hex() != manifest_digest:
            raise KitIntegrityError(f"kit {str(path)!r} has changed since it was opened")
        manifest = kit.manifest
        offer = choose(manifest.variants, {}, f"kit {manifest.name!r}", name=name)
        engine = load_engine(offer.engine, kit.read(offer.member), 1)
    side = manifest.preprocessing.size
    noise = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    inputs = manifest.preprocessing.model_input(noise)
    engine.logits(inputs)
    seconds = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        engine.logits(inputs)
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds)


def _key(kit: Kit) -> str:
    """Return a text that changes with the kit, the machine and the engines."""
    from importlib.util import find_spec

    parts = [kit.manifest_digest().hex(), _processor()]
    for package in _PACKAGES:
        spec = find_spec(package)
        if spec and spec.origin:
            # The version would take importlib.metadata, whose import takes longer than all of this.
            parts.append(f"{package} {spec.origin} {os.stat(spec.origin).st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _processor() -> str:
    """Return what the system says of the processor's model and instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        import platform

        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _file() -> Path | None:
    """Return where times are remembered; None if no home folder is known."""
    folder = cache_folder()
    return None if folder is None else folder / "fastest.json"


def _read(file: Path | None) -> dict[str, dict[str, float]]:
    try:
        saved: Any = json.loads(file.read_bytes()) if file else {}
        return {
            str(key): {str(name): float(ms) for name, ms in times.items()}
            for key, times in saved.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _remember(file: Path | None, known: dict[str, dict[str, float]]) -> None:
    if file is None:
        return
    from rs_runtime.files import atomic_write

    kept = dict(list(known.items())[-_MOST_KITS:])
    # On a disk that cannot be written, the next run measures again.
    with contextlib.suppress(OSError), atomic_write(file) as temporary:
        temporary.write_text(json.dumps(kept, indent=1), "utf-8")
