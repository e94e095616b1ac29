"""Run ``rs-classify`` as ``python -m rs_runtime``."""

from __future__ import annotations

from rs_runtime.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
