"""The probe as the field runs it: one fresh process, one JSON object."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime import probe
from rs_runtime.probe import MEASURES, PHOTO_SIZE, synthetic_photo

HEAVY = {
    *("tensorflow", "torch", "keras", "tf_keras", "onnx", "typer", "rich", "scipy", "matplotlib"),
    *("sklearn", "pyarrow", "cryptography", "rs_toolkit", "rs_train", "rs_export"),
}
MODULES = """
import json, sys
from rs_runtime.probe import main
code = main(sys.argv[1:])
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})), file=sys.stderr)
raise SystemExit(code)
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def measured(*arguments: object) -> dict[str, object]:
    done = run("-m", "rs_runtime.probe", *arguments, "--repeat", 3)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    return json.loads(line)


@pytest.fixture(params=["litert_kit", "onnx_kit"])
def kit(request):
    """A kit per engine."""
    return request.getfixturevalue(request.param)


def test_numbers_are_positive_and_agree(kit, colour_photos) -> None:
    found = measured(kit, "--photo", colour_photos / "a.jpg", "--threads", 1)
    assert {"kit": "colours", "threads": 1, "repeat": 3}.items() <= found.items()
    assert (found["engine"], found["variant"]) in {
        ("litert", "tflite_fp32"),
        ("onnxruntime", "onnx_fp32"),
    }
    numbers = {key: found[key] for key in MEASURES if found[key] is not None}
    assert all(value > 0 for value in numbers.values()), numbers
    assert found["cold_start_s"] >= found["load_s"] + found["first_answer_ms"] / 1000
    assert found["model_p50_ms"] <= found["model_p95_ms"]
    assert found["photo_p50_ms"] <= found["photo_p95_ms"]
    # Of three answers, the mean is below the longest, and their p95 above 0.9 of that.
    assert 1000 / found["photos_per_s"] <= found["photo_p95_ms"] / 0.9
    if sys.platform == "linux":
        assert found["cold_start_from"] == "process"
        assert found["peak_mb"] > found["model_mb"]


def test_without_a_photo_it_makes_one(onnx_kit) -> None:
    assert measured(onnx_kit)["photo"] == "synthetic, 1600 x 1200"


@pytest.mark.skipif(sys.platform != "linux", reason="others report peaks for each process")
def test_peak_is_not_that_of_the_starting_process(onnx_kit, colour_photos) -> None:
    ballast = b"x" * 400_000_000
    found = measured(onnx_kit, "--photo", colour_photos / "a.jpg")
    assert found["peak_mb"] < len(ballast) / 1e6


def test_it_loads_nothing_heavy(kit, colour_photos) -> None:
    done = run("-c", MODULES, kit, "--photo", colour_photos / "a.jpg", "--repeat", 1)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stderr))
    assert not loaded & HEAVY
    assert len({"ai_edge_litert", "onnxruntime"} & loaded) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: KIT"),
        (["none.rskit"], "does not exist"),
        (["KIT", "--variant", "tflite_int3"], "no variant 'tflite_int3'"),
        (["KIT", "--photo", "none.jpg"], "does not exist"),
        (["KIT", "--photo", "KIT"], "no JPEG"),
        (["KIT", "--threads", "0"], "1 to 9999"),
        (["KIT", "--repeat", "many"], "1 to 9999"),
        (["KIT", "--colour"], "--colour"),
    ],
)
def test_errors_are_one_line(onnx_kit, tmp_path, one_line, capfd, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    given = [str(onnx_kit) if item == "KIT" else item for item in arguments]
    assert probe.main(given) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert said in one_line(captured.err, "rs_runtime.probe")


def test_damaged_model_is_one_line(kit_path, one_line) -> None:
    done = run("-m", "rs_runtime.probe", kit_path, "--variant", "onnx_fp32")
    assert (done.returncode, done.stdout) == (2, "")
    assert "refused the model" in one_line(done.stderr, "rs_runtime.probe")


def test_ctrl_c_exits_130(onnx_kit, monkeypatch, capfd) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rs_runtime.classify.Classifier.classify", interrupted)
    assert probe.main([str(onnx_kit)]) == 130
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_full_disk_is_one_line(onnx_kit, colour_photos, one_line) -> None:
    command = f"{sys.executable} -m rs_runtime.probe {onnx_kit} --repeat 1 >/dev/full"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "No space left on device" in one_line(done.stderr, "rs_runtime.probe")


def test_closed_output_is_quiet(onnx_kit) -> None:
    command = [sys.executable, "-m", "rs_runtime.probe", str(onnx_kit), "--repeat", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 141
    process.stderr.close()


def test_cold_start_says_where_it_counts_from(monkeypatch) -> None:
    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr("os.sysconf", unknown)
    seconds, since = probe._age()
    assert since == "import"
    assert seconds > 0


def test_an_unlikely_start_is_not_believed(monkeypatch) -> None:
    monkeypatch.setattr("time.clock_gettime", lambda clock: 1e9)
    assert probe._age()[1] == "import"


def test_synthetic_photo() -> None:
    data = synthetic_photo()
    assert data == synthetic_photo()
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("JPEG", PHOTO_SIZE)
    # No flat picture, which would be decoded faster than any photo.
    assert np.asarray(image).std() > 20 and len(data) > 300_000
