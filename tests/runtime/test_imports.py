"""What the field runtime loads."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FORBIDDEN = {
    *("tensorflow", "torch", "keras", "tf_keras", "onnx", "typer", "rich", "scipy", "matplotlib"),
    *("sklearn", "pyarrow", "cryptography", "rs_toolkit", "rs_train", "rs_export"),
}

RUN = """
import json, sys
from rs_runtime.cli import main
code = main(sys.argv[1:])
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})), file=sys.stderr)
raise SystemExit(code)
"""


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(params=["litert_kit", "onnx_kit", "filter_kit"])
def kit(request):
    """A kit per engine."""
    return request.getfixturevalue(request.param)


def test_classifying_loads_nothing_heavy(kit, colour_photos) -> None:
    done = run(RUN, "--kit", kit, "--json", colour_photos)
    assert done.returncode == 0, done.stderr
    # Only our own lines, the engines keep quiet; models are measured in other processes.
    *said, last = done.stderr.splitlines()
    assert all(line.startswith("rs-classify: ") for line in said)
    loaded = set(json.loads(last))
    assert not loaded & FORBIDDEN
    assert {"numpy", "PIL"} <= loaded
    assert len({"ai_edge_litert", "onnxruntime"} & loaded) == 1


def test_a_filter_is_loaded_only_where_it_is_used(kit, colour_photos) -> None:
    script = RUN.replace('name.split(".")[0]', "name")
    for option, used in (("off", False), ("report", "filter" in kit.name)):
        done = run(script, "--kit", kit, "--filter", option, colour_photos)
        assert done.returncode == 0, done.stderr
        assert ("rs_runtime.filter" in json.loads(done.stderr.splitlines()[-1])) == used


def test_help_loads_neither_numpy_nor_an_engine() -> None:
    done = run(RUN, "--help")
    assert done.returncode == 0
    assert not {"numpy", "PIL", "ai_edge_litert", "onnxruntime"} & set(json.loads(done.stderr))


@pytest.mark.parametrize("name", ["kit", "archive", "manifest", "json_node", "signature"])
def test_reading_a_kit_needs_neither_numpy_nor_pillow(name) -> None:
    code = f"import sys, rs_runtime.kit.{name}; print({{'numpy', 'PIL'}} & set(sys.modules))"
    done = run(code)
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr


def test_public_names_exist() -> None:
    import rs_runtime

    assert all(getattr(rs_runtime, name) is not None for name in rs_runtime.__all__)
    for name in ("nothing", "KitFormatError", "hashlib"):
        with pytest.raises(AttributeError):
            getattr(rs_runtime, name)


def test_a_kit_can_be_had_from_the_package_without_numpy() -> None:
    done = run("import sys, rs_runtime; rs_runtime.open_kit; print('numpy' in sys.modules)")
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
