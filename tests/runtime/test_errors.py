from __future__ import annotations

import pytest

from rs_runtime.errors import reason


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\n  two"), "one two"),
        (ValueError(), "ValueError"),
        (OSError("esc\x1b[2J"), "esc?[2J"),
        (ValueError("x" * 999), "x" * 200),
    ],
)
def test_another_librarys_error_becomes_one_printable_line(error, line) -> None:
    assert reason(error) == line
