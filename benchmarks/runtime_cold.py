"""The cold start of ``rs-classify`` against a bare script, for ``runtime.py``.

The bare script imports the engine, NumPy and Pillow, loads the same model from a file of its own,
decodes the photo at a fraction of its size, scales it, infers, and prints the best class.  It
checks nothing, and knows neither kits nor calibration.  Whole processes are timed, in turns.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rs_runtime.classify import Classifier
from rs_runtime.kit.kit import open_kit

BARE = {
    "litert": """
import sys
import numpy as np
from PIL import Image
from ai_edge_litert.interpreter import Interpreter
model, photo, side = sys.argv[1], sys.argv[2], int(sys.argv[3])
engine = Interpreter(model_path=model, num_threads=int(sys.argv[4]))
engine.allocate_tensors()
source, target = engine.get_input_details()[0], engine.get_output_details()[0]
image = Image.open(photo)
image.draft("RGB", (2 * side, 2 * side))
pixels = np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))
values = pixels.astype(np.float32) / 127.5 - 1
if source["dtype"] != np.float32:
    scale, zero = source["quantization"]
    values = np.round(values / scale + zero)
engine.set_tensor(source["index"], values[None].astype(source["dtype"]))
engine.invoke()
print(engine.get_tensor(target["index"])[0].argmax())
""",
    "onnxruntime": """
import sys
import numpy as np
import onnxruntime
from PIL import Image
model, photo, side = sys.argv[1], sys.argv[2], int(sys.argv[3])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[4])
engine = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
image = Image.open(photo)
image.draft("RGB", (2 * side, 2 * side))
pixels = np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))
values = pixels.astype(np.float32) / 127.5 - 1
print(engine.run(None, {engine.get_inputs()[0].name: values[None]})[0].argmax())
""",
}


def cold(kit: Path, photo: Path, work: Path, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each model of the kit: medians in seconds, and of the ratio."""
    from rs_runtime.engines.engine import default_threads

    rows = []
    with open_kit(kit) as opened:
        for variant in opened.manifest.variants:
            with Classifier(opened, variant=variant.name) as classifier:
                if variant.engine == "onnxruntime" and classifier._engine._input.dtype.kind != "f":
                    continue
            model = work / Path(variant.member).name
            model.write_bytes(opened.read(variant.member))
            side, threads = opened.manifest.preprocessing.size, default_threads()
            bare = [sys.executable, "-c", BARE[variant.engine], model, photo, side, threads]
            ours = [sys.executable, "-m", "rs_runtime", "--kit", kit, "--variant", variant.name]
            times = _in_turns([*map(str, bare)], [*map(str, [*ours, photo])], rounds)
            rows.append({"variant": variant.name, **times})
    return rows


def _in_turns(bare: list[str], ours: list[str], rounds: int) -> dict[str, float]:
    pairs = [(_seconds(bare), _seconds(ours)) for _ in range(rounds + 1)][1:]
    return {
        "bare_s": statistics.median(pair[0] for pair in pairs),
        "rs_classify_s": statistics.median(pair[1] for pair in pairs),
        "ratio": statistics.median(pair[1] / pair[0] for pair in pairs),
    }


def help_ms(rounds: int) -> float:
    """Return by how many milliseconds ``rs-classify --help`` takes longer than bare Python."""
    times = _in_turns(
        [sys.executable, "-c", "pass"], [sys.executable, "-m", "rs_runtime", "--help"], rounds
    )
    return 1000 * (times["rs_classify_s"] - times["bare_s"])


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start
