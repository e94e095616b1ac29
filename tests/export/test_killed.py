"""kill -9 in the middle of an export: the kit is the old one or the new one, never half of one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from rs_export import ExportSettings, export_run
from rs_runtime.kit.kit import open_kit

# One process imports TensorFlow; each export is a fork of it that kills itself at the n-th time
# it flushes or renames a file, as a power cut would.
SCRIPT = """
import json, os, signal, sys, tempfile, shutil
from pathlib import Path
import keras, tensorflow, matplotlib.backends.backend_agg
from rs_export import ExportSettings, export_run
from rs_export.convert import Converter

run, folder = Path(sys.argv[1]), Path(sys.argv[2])
settings = ExportSettings(recipes=("tflite_fp32",), mend=False)
convert = Converter.convert

def convert_once(self, recipe, how=None):
    # Converting takes most of the time, and is over before the first file is written.
    file = folder / f"{recipe.name}.converted"
    if not file.exists():
        file.write_bytes(convert(self, recipe, how))
    return file.read_bytes()

Converter.convert = convert_once

def child(point, out):
    calls = [0]
    def deadly(function):
        def wrapper(*arguments, **named):
            calls[0] += 1
            if calls[0] == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)
        return wrapper
    os.fsync, os.replace = deadly(os.fsync), deadly(os.replace)
    export_run(run, settings, out=out)
    os._exit(0)

for point in range(1, 100):
    out = folder / str(point)
    if (folder / "0").exists():
        shutil.copytree(folder / "0", out)
    pid = os.fork()
    if pid == 0:
        try:
            child(point, out)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(3)
    status = os.waitpid(pid, 0)[1]
    print(json.dumps([point, os.waitstatus_to_exitcode(status)]), flush=True)
    if not os.WIFSIGNALED(status):
        break
"""


def killed_at_each_point(run: Path, folder: Path) -> list[tuple[int, int]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(run), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [tuple(json.loads(line)) for line in done.stdout.splitlines() if line.startswith("[")]


def test_a_killed_export_leaves_the_older_kit_as_it_was(trained, tmp_path) -> None:
    older = ExportSettings(recipes=("onnx_fp32",), mend=False)
    before = export_run(trained, older, out=tmp_path / "0").kit.read_bytes()
    *killed, (last, code) = killed_at_each_point(trained, tmp_path)
    assert code == 0
    assert len(killed) >= 10
    for point, code in killed:
        assert code == -signal.SIGKILL
        # Whatever a user, or rs-classify, could take for a kit.
        [kit] = (tmp_path / str(point)).rglob("*.rskit*")
        assert kit.read_bytes() == before, point
    [kit] = (tmp_path / str(last)).rglob("*.rskit*")
    with open_kit(kit) as opened:
        assert [variant.name for variant in opened.manifest.variants] == ["tflite_fp32"]
