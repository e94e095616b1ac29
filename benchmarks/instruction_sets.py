"""Run the tests that train or export under several instruction sets and thread counts.

    python benchmarks/instruction_sets.py [--setting NAME …] [TEST …]

Runs pytest for each setting of ``processor_settings.py``; writes ``results/instruction-sets.*``.
Tests that only handle files or the command line are left out: settings do not change their results.
Results of an earlier run on this machine are kept for settings that are not run again.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from typing import Any

from common import RESULTS, ROOT, grid, on, options, publish
from processor_settings import SETTINGS, environment

from rs_toolkit.environment import machine
from rs_toolkit.files import read_json

# The tests that train, fit, embed, compare scores or export.
TESTS = (
    *("tests/train", "tests/export", "tests/regression", "tests/test_main_job.py"),
    *("tests/toolkit/checks", "tests/toolkit/metrics", "tests/toolkit/batches"),
)
_COUNTS = ("passed", "failed", "errors", "skipped")


def main() -> None:
    """Run the tests under each setting, and write the results after each."""
    parser = options(__doc__)
    parser.add_argument("tests", nargs="*", default=TESTS)
    parser.add_argument("--setting", action="append", choices=list(SETTINGS))
    chosen = parser.parse_args()
    old = read_json(RESULTS / "instruction-sets.json")
    runs = old["settings"] if old["machine"] == machine() else {}
    for name in chosen.setting or SETTINGS:
        print(f"{name} …", file=sys.stderr, flush=True)
        runs[name] = _run(name, list(chosen.tests))
        publish("instruction-sets", {"settings": runs}, table)
    sys.exit(any(run["exit"] for run in runs.values()))


def _run(setting: str, tests: list[str]) -> dict[str, Any]:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--durations=15", *tests],
        cwd=ROOT,
        env=environment(setting),
        capture_output=True,
        text=True,
    )
    counts = dict.fromkeys(_COUNTS, 0)
    for number, word in re.findall(r"(\d+) (passed|failed|error|skipped)", done.stdout[-500:]):
        counts["errors" if word == "error" else word] = int(number)
    return {
        "environment": SETTINGS[setting],
        "exit": done.returncode,
        **counts,
        "failures": re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE),
        "seconds": round(time.monotonic() - start),
        "slowest": re.findall(r"^(\S+s (?:call|setup) +\S+)", done.stdout, re.MULTILINE),
        "tests": tests,
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    runs = result["settings"]
    rows = [[name, *(run[key] for key in (*_COUNTS, "seconds"))] for name, run in runs.items()]
    failures = sorted({test for run in runs.values() for test in run["failures"]})
    text = f"""# The tests under other instruction sets

{on(result["machine"])}. What each setting means: `benchmarks/processor_settings.py`.

{grid(["setting", *_COUNTS, "s"], rows)}
"""
    return "\n".join([text, *(f"- failed: `{test}`" for test in failures)]).rstrip() + "\n"


if __name__ == "__main__":
    main()
