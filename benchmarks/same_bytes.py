"""Compare the model files of two exports of one run, byte for byte.

    python benchmarks/same_bytes.py BEFORE AFTER [--filter] [--publish]

BEFORE and AFTER are export folders.  Their ``models/*.tflite`` and ``models/*.onnx`` are compared
by SHA-256, ONNX also without its metadata properties.  The exit code is 1 if a network differs or
is in one folder only.  A filter's models are left out unless ``--filter`` is given.  ``--publish``
writes ``results/same-bytes.*``.  To see what a change of the code does, export one run before and
after it, without mending, with the same versions of TensorFlow and ONNX Runtime:

    rs-toolkit export RUN --int8 --no-mend --out /tmp/before
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

from common import grid, on, options, publish

SUFFIXES = (".tflite", ".onnx")


def digests(export: Path, filters: bool) -> dict[str, tuple[str, str]]:
    """Return the SHA-256 of each model file, and of its network alone, by file name."""
    return {
        path.name: (_digest(path.read_bytes()), _digest(_network(path)))
        for path in sorted((export / "models").iterdir())
        if path.suffix in SUFFIXES and (filters or not path.stem.startswith("filter_"))
    }


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _network(path: Path) -> bytes:
    if path.suffix != ".onnx":
        return path.read_bytes()
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:]
    return bytes(model.SerializeToString(deterministic=True))


def compared(before: Path, after: Path, filters: bool) -> list[dict[str, Any]]:
    """Return a row per file: whether it, or only its network, is the same."""
    old, new = (digests(folder, filters) for folder in (before, after))
    rows = []
    for name in sorted({*old, *new}):
        one, other = old.get(name, ("", "")), new.get(name, ("", ""))
        same = "file" if one == other else "network" if one[1] == other[1] else "nothing"
        rows.append({"file": name, "same": same, "before": one[0], "after": other[0]})
    return rows


def table(result: dict[str, Any]) -> str:
    """Return the rows as Markdown."""
    rows = [[row["file"], row["same"], row["before"][:16]] for row in result["files"]]
    return (
        f"# One run, exported before and after a change\n\n{on(result['machine'])}. What is the "
        "same: the file, or its network without the metadata beside it.\n\n"
        + grid(["file", "same", "SHA-256 before"], rows)
        + "\n"
    )


def main() -> int:
    """Print a line per file; return 0 if all networks are equal, else 1."""
    parser = options(__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--filter", action="store_true", help="compare a filter's models too")
    parser.add_argument("--publish", action="store_true", help="write results/same-bytes.*")
    given = parser.parse_args()
    rows = compared(given.before, given.after, given.filter)
    for row in rows:
        print(f"{row['same']:8} {row['before'][:16]:16} {row['after'][:16]:16} {row['file']}")
    if given.publish:
        publish("same-bytes", {"files": rows}, table)
    return int(not rows or any(row["same"] == "nothing" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
