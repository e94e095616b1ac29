"""The quickstart's train step: seconds and score with this code and with an earlier one, in turns.

``--old`` is a checkout of the code from before the work on training's speed:
``git worktree add FOLDER dafd353``.  Each turn runs ``rs-toolkit train --seed N`` as the quickstart
does: nothing is cached, so the sample is drawn and read too.
"""

from __future__ import annotations

import compileall
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import ROOT, grid, on, options, publish

from rs_toolkit.files import read_json

SEEDS = 3


def step(code: Path, work: Path, seed: int) -> dict[str, Any]:
    """Return seconds by the clock and of the processors, and the score, of one train step."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    parts = os.pathsep.join(str(code / name) for name in ("toolkit", "train", "export", "runtime"))
    env = {**os.environ, "PYTHONPATH": parts, "RS_CACHE": str(work / "cache")}
    command = [sys.executable, "-m", "rs_toolkit", "train", "--out", "run", "--seed", str(seed)]
    before, begun = os.times(), time.perf_counter()
    subprocess.run(command, cwd=work, env=env, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - begun, os.times()
    spent = sum(after[2:4]) - sum(before[2:4])
    test = read_json(work / "run" / "metrics.json")["test"]
    epochs = len(read_json(work / "run" / "history.json")["epochs"]) - 1
    return {"seconds": seconds, "cpu": spent, "macro_f1": test["macro_f1"], "epochs": epochs}


def table(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    keys = ("seconds", "cpu", "macro_f1", "epochs")
    rows = [
        [seed, *(turn[name][key] for key in keys for name in ("old", "new"))]
        for seed, turn in enumerate(result["turns"])
    ]
    rows.append(["median", *(result[f"{name}_{key}"] for key in keys for name in ("old", "new"))])
    found = grid(["seed", *(f"{name}: `{key}`" for key in keys for name in ("old", "new"))], rows)
    return f"""# The quickstart's train step

On {on(result["machine"])}.  `rs-toolkit train` on the synthetic sample, which it draws, with
nothing cached: by the clock, and processor time of all threads, in seconds; macro-F1 on test
photos.  `old` is the code of dafd353, `new` this one; they took turns, one seed of the training
after the other.  Other programs ran at the same time, so `cpu` says more.

{found}

Median of the seeds' ratios, new to old: {result["ratio"]:.2f} by the clock,
{result["cpu_ratio"]:.2f} of processor time.
"""


def main() -> None:
    parser = options(__doc__, work="quickstart")
    parser.add_argument("--old", type=Path, required=True, help="a checkout of dafd353")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    chosen = parser.parse_args()
    codes = {"old": chosen.old.resolve(), "new": ROOT}
    for code in codes.values():
        compileall.compile_dir(code, quiet=1)
    turns = [
        {name: step(code, chosen.work, seed) for name, code in codes.items()}
        for seed in range(chosen.seeds)
    ]
    shutil.rmtree(chosen.work)
    result: dict[str, Any] = {"turns": turns}
    for name in codes:
        for key in turns[0][name]:
            result[f"{name}_{key}"] = statistics.median(turn[name][key] for turn in turns)
    for name, key in (("ratio", "seconds"), ("cpu_ratio", "cpu")):
        result[name] = statistics.median(turn["new"][key] / turn["old"][key] for turn in turns)
    publish("quickstart", result, table)


if __name__ == "__main__":
    main()
