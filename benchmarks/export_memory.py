"""Time and peak memory of ``rs-toolkit export --int8`` of a full Xception at 299 px.

    python benchmarks/export_memory.py [--photos 600] [--imgsz 299]

The run is Xception with random weights on the synthetic sample: what an export costs does not
depend on what the weights are.  The command runs in a process of its own, which the kernel
measures.  Writes ``results/export-memory.json``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rs_toolkit.config.training import TrainConfig
from rs_toolkit.environment import machine, quiet_tensorflow, versions
from rs_toolkit.files import read_json, write_json
from rs_toolkit.progress import ConsoleProgress
from rs_toolkit.sample import generate_sample

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=600)
    parser.add_argument("--imgsz", type=int, default=299)
    arguments = parser.parse_args()
    from rs_train.classifier.train import train

    quiet_tensorflow()
    with tempfile.TemporaryDirectory(prefix="rs-memory-") as name, ConsoleProgress() as progress:
        folder = Path(name)
        generate_sample(folder / "sample", seed=0, photos=arguments.photos)
        config = TrainConfig(weights="none", imgsz=arguments.imgsz, epochs=0)
        run = train(folder / "sample", config, folder / "run", progress=progress)
        command = [sys.executable, "-m", "rs_toolkit", "export", str(run), "--int8"]
        begun = time.perf_counter()
        child = subprocess.Popen(command)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begun
        if status:
            raise SystemExit(f"{' '.join(command)}: status {status}")
        report = read_json(run / "export" / "report.json")
    result = {
        "seconds": round(seconds, 1),
        # Linux counts in KiB.
        "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "imgsz": arguments.imgsz,
        "counts": report["counts"],
        "ms": {variant: round(row["ms"], 1) for variant, row in report["table"].items()},
        "machine": machine(),
        "versions": versions(),
    }
    write_json(HERE / "results" / "export-memory.json", result)
    print(result)


if __name__ == "__main__":
    main()
