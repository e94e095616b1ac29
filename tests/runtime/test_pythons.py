"""The Pythons that the runtime runs under, and what the toolkit says under those it does not know.

``.ci/pythons`` runs the runtime's tests under the oldest and the newest (docs/decisions/0031).
"""

from __future__ import annotations

import subprocess
import sys

import pytest

TOOLKIT = """
import sys
sys.version_info = {version}
from rs_toolkit.__main__ import main
main()
"""


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 13, 0), tuple(sys.version_info[:3])])
def test_the_toolkit_says_which_python_it_needs(one_line, version) -> None:
    code = TOOLKIT.format(version=version)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    if (3, 11) <= version < (3, 13):
        assert "needs Python" not in done.stderr
        return
    assert (done.returncode, done.stdout) == (2, "")
    said = one_line(done.stderr, "rs-toolkit")
    assert f"needs Python 3.11 or 3.12, this is {'.'.join(map(str, version))}" in said
