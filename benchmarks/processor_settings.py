"""Environment variables that make numerical libraries compute as on other processors.

    python benchmarks/processor_settings.py SETTING COMMAND [ARGUMENT …]

runs a command under one of ``SETTINGS``.  Each library chooses its kernels by the instruction sets
of the processor.  Variables can restrict it to older ones:

- oneDNN, in TensorFlow and torch: ``ONEDNN_MAX_CPU_ISA``.  With ``TF_ENABLE_ONEDNN_OPTS=0``,
  TensorFlow uses Eigen instead.
- torch's own kernels: ``ATEN_CPU_CAPABILITY``.
- OpenBLAS, in NumPy and SciPy: ``OPENBLAS_CORETYPE``.
- NumPy's own loops: ``NPY_DISABLE_CPU_FEATURES`` (NumPy 2.4 groups them by x86-64 level).
- faiss: ``FAISS_OPT_LEVEL``.

XNNPACK and ONNX Runtime offer no such variable.  ``no_xnnpack/`` turns XNNPACK off in LiteRT, whose
own kernels then compute, with other rounding.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["SETTINGS", "environment"]

_THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}
_AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "FAISS_OPT_LEVEL": "avx2",
}
_SSE = {
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "ATEN_CPU_CAPABILITY": "default",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "FAISS_OPT_LEVEL": "generic",
}
_EIGEN = {"TF_ENABLE_ONEDNN_OPTS": "0"}
_NO_XNNPACK = {"RS_TEST_NO_XNNPACK": "1"}

#: Environment variables by the name of a setting; "native" changes nothing.
SETTINGS: dict[str, dict[str, str]] = {
    "native": {},
    "native, 1 thread": _THREADS,
    "AVX2": _AVX2,
    "SSE4.1": _SSE,
    "Eigen": _EIGEN,
    "SSE4.1, Eigen, no XNNPACK, 1 thread": {**_SSE, **_EIGEN, **_NO_XNNPACK, **_THREADS},
}


def environment(name: str) -> dict[str, str]:
    """Return this process's environment with a setting applied."""
    folder = str(Path(__file__).resolve().parent / "no_xnnpack")
    changes = dict(SETTINGS[name])
    if changes.pop("RS_TEST_NO_XNNPACK", ""):
        path = [folder, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        changes["PYTHONPATH"] = os.pathsep.join(part for part in path if part)
    return {**os.environ, **changes}


def main() -> None:
    """Replace this process by the command."""
    if len(sys.argv) < 3 or sys.argv[1] not in SETTINGS:
        sys.exit(f"{sys.argv[0]}: wanted SETTING COMMAND, the setting one of {list(SETTINGS)}")
    os.execvpe(sys.argv[2], sys.argv[2:], environment(sys.argv[1]))


if __name__ == "__main__":
    main()
