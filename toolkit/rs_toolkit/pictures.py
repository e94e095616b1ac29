"""Pictures for people: drawn so that no label breaks them, and left out where that fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rs_runtime.errors import reason
from rs_toolkit.files import atomic_write

__all__ = ["draw_picture", "short"]

_LONGEST = 40
# "$" begins no formula; and a user's matplotlibrc must not ask for TeX, which cannot set any label.
_PLAIN: Any = {"text.parse_math": False, "text.usetex": False, "axes.formatter.use_mathtext": False}


def draw_picture(path: Path, draw: Callable[[], Any], note: Callable[[str], None]) -> None:
    """Write the figure of matplotlib that ``draw`` returns as a PNG file, atomically.

    Results must not be lost because of a picture of them: any error becomes a ``note``, and the
    file is then absent.
    """
    try:
        import matplotlib

        # Matplotlib warns where a name has letters that the font lacks.
        with matplotlib.rc_context(_PLAIN), warnings.catch_warnings(action="ignore"):
            figure = draw()
            with atomic_write(path) as temporary:
                figure.savefig(temporary, format="png")
    except Exception as error:
        with suppress(OSError):
            path.unlink()
        note(f"{path}: not drawn ({reason(error)})")


def short(name: str) -> str:
    """Return a name as a picture shows it: at most 40 characters."""
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
