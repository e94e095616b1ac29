"""Entry point of ``rs-toolkit`` and ``python -m rs_toolkit``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; where the ``[toolkit]`` extra is not installed, say so and exit."""
    try:
        from rs_toolkit.cli.main import main as run
    except ModuleNotFoundError as error:
        print(
            f"rs-toolkit: {error.name} is not installed; run: pip install 'rs-toolkit[toolkit]' "
            "(rs-classify works without it)",
            file=sys.stderr,
        )
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
