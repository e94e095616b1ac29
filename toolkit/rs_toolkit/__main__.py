"""Entry point of ``rs-toolkit`` and ``python -m rs_toolkit``."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]

# The first version that the training packages know, and the first that they do not: pyproject.toml.
_FIRST, _AFTER = (3, 11), (3, 13)


def main() -> None:
    """Run the command line; where Python or the ``[toolkit]`` extra is missing, say so and exit."""
    if not _FIRST <= sys.version_info[:2] < _AFTER:
        here = ".".join(map(str, sys.version_info[:3]))
        _leave(
            f"needs Python 3.11 or 3.12, this is {here}; make an environment with one of them "
            "(rs-classify runs with this one)"
        )
    try:
        from rs_toolkit.cli.main import main as run
    except ModuleNotFoundError as error:
        _leave(
            f"{error.name} is not installed; run: pip install 'rs-toolkit[toolkit]' "
            "(rs-classify works without it)"
        )
    run()


def _leave(problem: str) -> NoReturn:
    print(f"rs-toolkit: {problem}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
