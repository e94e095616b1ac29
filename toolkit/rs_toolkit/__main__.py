"""``python -m rs_toolkit`` is ``rs-toolkit``."""

from rs_toolkit.cli import main

main()
