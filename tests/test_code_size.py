"""What ``benchmarks/code_size.py`` counts, and which commands it sees."""

from __future__ import annotations

import runpy


def test_lines_below_parameters_and_docstring_are_counted(repository, tmp_path) -> None:
    script = runpy.run_path(str(repository / "benchmarks" / "code_size.py"))
    file = tmp_path / "some.py"
    file.write_text('def f(\n    a,\n):\n    """Say\n    more."""\n    x = a\n    return x\n')
    assert list(script["functions"](str(file))) == [(2, f"{file}:1 f")]


def test_commands_and_options_are_found(repository) -> None:
    script = runpy.run_path(str(repository / "benchmarks" / "code_size.py"))
    found = script["commands"](repository)
    assert {"rs-toolkit", "rs-toolkit kit sign", "rs-toolkit export --int8"} <= found
    assert {"rs-classify --kit", "python -m rs_runtime.probe --threads"} <= found
