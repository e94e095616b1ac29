"""Renew the budgets of ``tests/regression/`` from exports of the committed reference model.

    python benchmarks/budget_sample.py [--write] [--setting NAME …]

Exports what the regression tests export, once under each setting of ``processor_settings.py``, two
at a time, each in a process of its own.  Prints how far the settings differ, and the difference to
the committed budgets; ``--write`` replaces them and ``results/budget-spread.*``.
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

from processor_settings import SETTINGS, environment
from publish import publish

from rs_toolkit.environment import machine, quiet_tensorflow, versions
from rs_toolkit.files import read_json, write_json

REGRESSION = Path(__file__).resolve().parent.parent / "tests" / "regression"
sys.path.insert(0, str(REGRESSION))

from budget import BUDGETS, figures, propose, reference_report  # noqa: E402


def main() -> None:
    """Print what would change, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
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
    result = _spread(reports)
    if chosen.write:
        write_json(BUDGETS, new)
        publish("budget-spread", result, _table(result))
    else:
        print(_table(result))


def _in_own_process(setting: str) -> dict[str, Any]:
    """Return the export report under a setting: libraries read theirs when they are loaded."""
    print(f"{setting} …", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="rs-budget-") as folder:
        path = Path(folder) / "report.json"
        command = [sys.executable, __file__, "--report", str(path)]
        subprocess.run(command, env=environment(setting), check=True)
        return dict(read_json(path))


def _spread(reports: dict[str, dict[str, Any]]) -> dict[str, Any]:
    measured = {setting: figures(report) for setting, report in reports.items()}
    return {"settings": measured, "machine": machine(), "versions": versions()}


def _table(result: dict[str, Any]) -> str:
    """Return the least and the largest figure of every variant as a Markdown table."""
    names, settings = "; ".join(result["settings"]), list(result["settings"].values())
    keys = ("mb", "accuracy", "macro_f1", "agreement", "drop", "class_drop")
    lines = [
        f"# The reference model's variants under {len(settings)} settings",
        "",
        f"{result['machine']['cpu']}. Least and largest figure of these settings: {names}.",
        "",
        "| variant | " + " | ".join(keys) + " |",
        "|---" * (len(keys) + 1) + "|",
    ]
    for name in settings[0]:
        cells = []
        for key in keys:
            values = [figure[name][key] for figure in settings]
            cells.append(f"{min(values):.3f} to {max(values):.3f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
