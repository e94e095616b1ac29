"""``python -m rs_toolkit`` is ``rs-toolkit``; says what is missing in a field kit's environment."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, which needs the ``[toolkit]`` extra."""
    try:
        from rs_toolkit.cli.main import main as run
    except ModuleNotFoundError as error:
        print(
            f"rs-toolkit: {error.name} is not installed; pip install 'rs-toolkit[toolkit]' "
            "(rs-classify works without)",
            file=sys.stderr,
        )
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
