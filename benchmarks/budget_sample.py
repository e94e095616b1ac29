"""Renew the budgets of ``tests/regression/`` from exports of the committed reference model.

    python benchmarks/budget_sample.py [--write] [--setting NAME …]

Makes the export of the regression tests under each setting of ``processor_settings.py``, two at a
time, each in a new process.  Prints the range of each figure, and the difference to the committed
budgets; ``--write`` replaces the budgets and ``results/budget-spread.*``.
"""

from __future__ import annotations

import argparse
import difflib
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common import ROOT, grid, options, publish
from processor_settings import SETTINGS, environment

from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import read_json, write_json

sys.path.insert(0, str(ROOT / "tests" / "regression"))

from budget import BUDGETS, figures, propose, reference_report

_SCORES = ("accuracy", "macro_f1", "agreement", "drop", "class_drop")


def main() -> None:
    """Print what would change, and write it if asked."""
    parser = options(__doc__)
    parser.add_argument("--write", action="store_true", help="replace the committed budgets")
    parser.add_argument("--setting", action="append", choices=list(SETTINGS))
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    old = read_json(BUDGETS)
    if chosen.report:
        quiet_tensorflow()
        with tempfile.TemporaryDirectory(prefix="rs-budget-") as folder:
            write_json(chosen.report, reference_report(old["reference"], Path(folder)))
        return
    settings = chosen.setting or list(SETTINGS)
    with ThreadPoolExecutor(2) as pool:
        reports = dict(zip(settings, pool.map(_in_own_process, settings), strict=True))
    new = {**old, "variants": propose(list(reports.values()))}
    texts = [json.dumps(budget, indent=2).splitlines() for budget in (old, new)]
    print("\n".join(difflib.unified_diff(*texts, "committed", "measured", lineterm="")))
    result = {"settings": {setting: figures(report) for setting, report in reports.items()}}
    if chosen.write:
        write_json(BUDGETS, new)
        publish("budget-spread", result, table)
    else:
        print(_spread(result["settings"]))


def _in_own_process(setting: str) -> dict[str, Any]:
    """Return the report of an export in a new process, as libraries read settings on import."""
    print(f"{setting} …", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="rs-budget-") as folder:
        path = Path(folder) / "report.json"
        command = [sys.executable, __file__, "--report", str(path)]
        subprocess.run(command, env=environment(setting), check=True)
        return dict(read_json(path))


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    settings = result["settings"]
    return f"""# The reference model's variants under {len(settings)} settings

{result["machine"]["cpu"]}. Least and largest figure of these settings: {"; ".join(settings)}.

{_spread(settings)}
"""


def _spread(settings: dict[str, Any]) -> str:
    """Return a table of each variant's figures: the least and the largest of all settings."""
    keys, found, rows = ("mb", *_SCORES), list(settings.values()), []
    for name in found[0]:
        values = [[figure[name][key] for figure in found] for key in keys]
        rows.append([name, *(f"{min(item):.3f} to {max(item):.3f}" for item in values)])
    return grid(["variant", *keys], rows)


if __name__ == "__main__":
    main()
