"""Run the tests that train or export under several instruction sets and thread counts.

    python benchmarks/instruction_sets.py [--setting NAME …] [TEST …]

One pytest for each setting of ``processor_settings.py``; writes ``results/instruction-sets.*``.
Tests of files and of the command line alone are left out: they compute nothing that differs.
Settings of an earlier run on this machine are kept, unless they are named again.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from processor_settings import SETTINGS, environment
from publish import RESULTS, publish

from rs_toolkit.environment import machine, versions
from rs_toolkit.files import read_json

ROOT = Path(__file__).resolve().parent.parent
# What trains, fits, embeds, compares scores or exports.
TESTS = (
    *("tests/train", "tests/export", "tests/regression", "tests/test_main_job.py"),
    *("tests/toolkit/checks", "tests/toolkit/metrics", "tests/toolkit/batches"),
)
_COUNTS = ("passed", "failed", "errors", "skipped")


def main() -> None:
    """Run what was asked and write the table anew after every setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", nargs="*", default=TESTS)
    parser.add_argument("--setting", action="append", choices=list(SETTINGS))
    chosen = parser.parse_args()
    path, here = RESULTS / "instruction-sets.json", machine()
    old = read_json(path) if path.is_file() else {}
    runs = dict(old.get("settings", {})) if old.get("machine") == here else {}
    for name in chosen.setting or SETTINGS:
        print(f"{name} …", file=sys.stderr, flush=True)
        runs[name] = _run(name, list(chosen.tests))
        result = {"settings": runs, "machine": here, "versions": versions()}
        publish("instruction-sets", result, _table(result))
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


def _table(result: dict[str, Any]) -> str:
    lines = [
        "# The tests under other instruction sets",
        "",
        f"{result['machine']['cpu']}, {result['machine']['cores']} cores. What each setting means:"
        " `benchmarks/processor_settings.py`.",
        "",
        "| setting | " + " | ".join(_COUNTS) + " | s |",
        "|---" * (len(_COUNTS) + 2) + "|",
    ]
    for name, run in result["settings"].items():
        counts = " | ".join(str(run[key]) for key in _COUNTS)
        lines.append(f"| {name} | {counts} | {run['seconds']} |")
    failures = sorted({test for run in result["settings"].values() for test in run["failures"]})
    lines += ["", *(f"- failed: `{test}`" for test in failures)]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
