"""Do memory and time of ``rs-toolkit check`` grow with the number of photos?

    python benchmarks/scale_check.py [--many 100000] [--work FOLDER]

Checks ``--many`` generated small photos and a tenth of them, each with an empty cache, which takes
150 KB a photo.  Writes the key ``check`` of ``results/scale.json``: seconds, CPU seconds, which
other jobs slow less, and the largest memory of the process.  Nothing else should run.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from pathlib import Path
from typing import Any

from common import RESULTS, options
from scale_classify import draw, run

from rs_toolkit.environment import machine, versions
from rs_toolkit.files import read_json, write_json


def check(count: int, above: Path | None) -> dict[str, Any]:
    """Return a row of results for so many photos, which are drawn into a folder in ``above``."""
    with tempfile.TemporaryDirectory(dir=above) as name:
        # As fine as the hash is, or photos that have nothing in common would be near each other.
        photos = draw(Path(name) / "photos", count, 96, 72, (12, 16))
        os.environ["RS_CACHE"] = f"{name}/cache"
        command = ["-m", "rs_toolkit", "check", photos, "--out", f"{name}/out"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds, peak = run(command)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    times = {"seconds": round(seconds, 1), "cpu_seconds": round(worked, 1)}
    load = round(os.getloadavg()[1], 1)
    return {"photos": count, **times, "peak_gb": round(peak, 3), "load_average": load}


def main() -> None:
    """Check a tenth of the photos and all of them, and keep other results."""
    parser = argparse.ArgumentParser(parents=[options(__doc__)], add_help=False)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--work", type=Path, help="a folder with room; else that of the system")
    chosen = parser.parse_args()
    file = RESULTS / "scale.json"
    known = read_json(file) if file.is_file() else {}
    known["check"] = [check(count, chosen.work) for count in (chosen.many // 10, chosen.many)]
    write_json(file, {**known, "machine": machine(), "versions": versions()})
    print(known["check"])


if __name__ == "__main__":
    main()
