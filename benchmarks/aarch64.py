"""Run rs-classify under an emulated 64-bit ARM processor and compare its answers with those here.

    python benchmarks/aarch64.py KIT [--photos N]

``--work`` gets Debian's arm64 packages of Python (by debootstrap; nothing of them is installed
here) and the aarch64 wheels of the versions that are installed here, for qemu-aarch64-static.
Needs ``apt-get install qemu-user-static debootstrap``, and root for debootstrap.  Photos are those
of ``rs-toolkit sample`` that can be read.  Models ``*_fp32`` in ``models/`` beside the kit are
compared too, so that the effect of 8 bits is seen.

For each processor and model: photos that were decoded to the same pixels, that got the same first
class and the same answer, whose probabilities all differ by less than 1e-6, and the largest
difference of a probability.  The speed under emulation says nothing.

Writes ``results/aarch64.json`` and ``.md``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

from common import ROOT, grid, options, publish
from more_models import with_models

from rs_toolkit.files import atomic_write

# What the kernel of such a computer says: libraries choose their code by it, and qemu passes on the
# file of this machine, with which they crash.  A72: Raspberry Pi 4.  A76: Raspberry Pi 5.
PROCESSORS = {
    "cortex-a72": ("0xd08", "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"),
    "cortex-a76": (
        "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc "
        "dcpop asimddp",
    ),
}
CPUINFO = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 3

"""
PACKAGES = (
    *("numpy", "pillow", "ai-edge-litert", "onnxruntime", "flatbuffers", "protobuf", "packaging"),
    *("tqdm", "typing_extensions", "backports.strenum", "ml_dtypes"),
)
TINY = 1e-6
PLATFORMS = [f"manylinux{name}_aarch64" for name in ("2014", "_2_17", "_2_26", "_2_27", "_2_28")]
PYTHON = "python3.11"
PIXELS = """
import hashlib, json, sys
from pathlib import Path
from rs_runtime import PhotoError, open_kit
with open_kit(Path(sys.argv[1])) as kit:
    load = kit.manifest.preprocessing.load
found = {}
for photo in sys.argv[2:]:
    try:
        found[photo] = hashlib.sha256(load(Path(photo)).tobytes()).hexdigest()
    except PhotoError:
        pass
print(json.dumps(found))
"""


def system(folder: Path) -> Path:
    """Return the folder of an arm64 Debian with Python; made by the first call."""
    made = folder / "root"
    if not (made / "usr" / "bin" / PYTHON).exists():
        wanted = f"--include=python3,lib{PYTHON}-stdlib,libstdc++6"
        run(
            "debootstrap",
            "--arch=arm64",
            "--foreign",
            "--variant=minbase",
            wanted,
            "bookworm",
            made,
        )
        for package in sorted((made / "var/cache/apt/archives").glob("*.deb")):
            run("dpkg-deb", "-x", package, made)
    return made


def packages(folder: Path) -> Path:
    """Return the folder of the aarch64 packages; made by the first call."""
    site, wheels = folder / "site", folder / "wheels"
    if not site.exists():
        pinned = [f"{name}=={metadata.version(name)}" for name in PACKAGES]
        platforms = [f"--platform={name}" for name in PLATFORMS]
        options = ["-q", "--no-deps", "--only-binary=:all:", "--python-version=3.11", *platforms]
        run(sys.executable, "-m", "pip", "download", *options, "-d", wheels, *pinned)
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
    return site


def run(*command: object) -> str:
    """Run a program that must succeed and return its output."""
    done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


class Machine:
    """Runs Python here, or under an emulated processor."""

    def __init__(self, processor: str | None = None, root: Path = Path(), site: Path = Path()):
        path = [str(ROOT / "runtime")]
        self.command = [sys.executable]
        if processor:
            part, features = PROCESSORS[processor]
            with atomic_write(root / "proc" / "cpuinfo") as temporary:
                temporary.write_text(CPUINFO.format(part=part, features=features))
            qemu = ["qemu-aarch64-static", "-cpu", processor, "-L", str(root)]
            self.command = [*qemu, str(root / "usr" / "bin" / PYTHON)]
            path.append(str(site))
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}

    def python(self, *arguments: object) -> str:
        """Run Python and return its output."""
        command = [*self.command, *map(str, arguments)]
        return subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def answers(self, kit: Path, variant: str, photos: list[Path]) -> list[dict[str, Any]]:
        """Return rs-classify's answers."""
        options = ("--json", "--top", 1000, "--kit", kit, "--variant", variant)
        lines = self.python("-m", "rs_runtime", *options, *photos).splitlines()
        assert len(lines) == len(photos)
        return [json.loads(line) for line in lines]


def compared(here: list[dict[str, Any]], there: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how far the answers of two machines agree."""
    pairs = list(zip(here, there, strict=True))

    def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
        found = {item["name"]: item["probability"] for item in other["top"]}
        return max(abs(item["probability"] - found[item["name"]]) for item in one["top"])

    def answer(row: dict[str, Any]) -> tuple[Any, ...]:
        return (row["answer"]["rank"], row["answer"]["name"])

    differences = [difference(*pair) for pair in pairs]
    return {
        "photos": len(pairs),
        "same_first": sum(a["top"][0]["name"] == b["top"][0]["name"] for a, b in pairs),
        "same_answer": sum(answer(a) == answer(b) for a, b in pairs),
        "same_to_1e_6": sum(found < TINY for found in differences),
        "largest_difference": max(differences),
    }


def table(result: dict[str, Any]) -> str:
    """Return the Markdown table."""
    keys = ("processor", "variant", "photos", "same_pixels", "same_first", "same_answer")
    keys = (*keys, "same_to_1e_6", "largest_difference")
    rows = [
        [f"{row[key]:.1e}" if key == "largest_difference" else row[key] for key in keys]
        for row in result["rows"]
    ]
    head = ("emulated", "model", "photos", "same pixels", "same first class", "same answer")
    head = (*head, "probabilities within 1e-6", "largest difference")
    return (
        "# rs-classify under emulated aarch64\n\nWritten by `python benchmarks/aarch64.py`, with "
        f"{result['qemu']}, Debian's Python and the aarch64 wheels of "
        + ", ".join(f"{name} {result['packages'][name]}" for name in PACKAGES[:4])
        + f". Compared with {result['machine']['cpu']}.\n\n"
        + grid(head, rows)
    )


def main() -> None:
    """Compare both processors and write the files."""
    parser = options(__doc__, work="aarch64")
    parser.add_argument("kit", type=Path)
    parser.add_argument("--photos", type=int, default=200)
    given = parser.parse_args()
    root, site = system(given.work), packages(given.work)
    sample = given.work / "sample"
    if not sample.exists():
        run("rs-toolkit", "sample", sample, "--photos", max(100, given.photos * 5 // 4))
    kit = given.work / "compared.rskit"
    variants = with_models(given.kit, kit, ("tflite_fp32", "onnx_fp32"))
    here, rows = Machine(), []
    drawn = sorted((sample / "photos").rglob("*.jpg"))
    pixels = json.loads(here.python("-c", PIXELS, kit, *drawn))
    photos = [Path(photo) for photo in pixels][: given.photos]
    answers = {name: here.answers(kit, name, photos) for name in variants}
    for processor in PROCESSORS:
        there = Machine(processor, root, site)
        decoded = json.loads(there.python("-c", PIXELS, kit, *photos))
        same = sum(pixels[photo] == decoded[photo] for photo in map(str, photos))
        for name in variants:
            found = compared(answers[name], there.answers(kit, name, photos))
            rows.append({"processor": processor, "variant": name, **found})
            rows[-1]["same_pixels"] = same
    about = {
        "qemu": run("qemu-aarch64-static", "--version").splitlines()[0],
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "kit": given.kit.name,
    }
    publish("aarch64", {**about, "rows": rows}, table)


if __name__ == "__main__":
    main()
