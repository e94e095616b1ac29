"""Compare the model files of two exports of one run, byte for byte.

    python benchmarks/same_bytes.py BEFORE AFTER [--filter]

BEFORE and AFTER are export folders.  Each ``models/*.tflite`` and ``models/*.onnx`` of both is
compared by SHA-256; one that differs, or is in one folder alone, is a failure.  A filter's models
are left out unless ``--filter`` is given.  To see what a change of the code does, export one run
before and after it with the same versions of TensorFlow and ONNX Runtime, without mending:

    rs-toolkit export RUN --int8 --no-mend --out /tmp/before
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

SUFFIXES = (".tflite", ".onnx")


def digests(export: Path, filters: bool) -> dict[str, str]:
    """Return SHA-256 by file name of an export's models."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((export / "models").iterdir())
        if path.suffix in SUFFIXES and (filters or not path.stem.startswith("filter_"))
    }


def main() -> int:
    """Print a line a file; 0 if all are equal, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--filter", action="store_true", help="compare a filter's models too")
    given = parser.parse_args()
    before, after = (digests(folder, given.filter) for folder in (given.before, given.after))
    for name in sorted({*before, *after}):
        one, other = (found.get(name, "-")[:16] for found in (before, after))
        print(f"{'same' if one == other else 'DIFFERS':8} {one:16} {other:16} {name}")
    return int(before != after or not before)


if __name__ == "__main__":
    sys.exit(main())
