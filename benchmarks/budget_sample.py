"""Renew the budgets of ``tests/regression/`` from a fresh run on the synthetic sample.

    python benchmarks/budget_sample.py [--write]

Trains and exports what the regression tests train and export, and prints the difference to the
committed budgets; ``--write`` replaces them.
"""

from __future__ import annotations

import argparse
import difflib
import json
import tempfile
from pathlib import Path
from typing import Any

from rs_export import ExportSettings, export_run
from rs_export.measure.budget import propose
from rs_toolkit.config.base import load_settings
from rs_toolkit.config.training import TrainConfig, sample_preset
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import read_json, write_json
from rs_toolkit.sample import generate_sample
from rs_train.classifier.train import train

BUDGETS = Path(__file__).resolve().parent.parent / "tests" / "regression" / "budgets.json"


def reference_report(reference: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make the reference run of a budget file in ``folder`` and return its export report."""
    data = folder / "sample"
    generate_sample(data, seed=reference["seed"], photos=reference["photos"])
    config = load_settings(TrainConfig, sample_preset(), reference["settings"])
    run = train(data, config, folder / "reference")
    # The budget itself limits what each variant may lose, some more than the gate allows.
    settings = ExportSettings(
        recipes=tuple(reference["recipes"]), mend=False, max_drop=100, max_decile_drop=100
    )
    export_run(run, settings)
    return dict(read_json(run / "export" / "report.json"))


def main() -> None:
    """Print what would change, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the committed budgets")
    write = parser.parse_args().write
    quiet_tensorflow()
    old = read_json(BUDGETS)
    with tempfile.TemporaryDirectory(prefix="rs-budget-") as folder:
        report = reference_report(old["reference"], Path(folder))
    new = {**old, "variants": propose(report)}
    texts = [json.dumps(budget, indent=2).splitlines() for budget in (old, new)]
    print("\n".join(difflib.unified_diff(*texts, "committed", "measured", lineterm="")))
    print(json.dumps(report["table"], indent=2))
    if write:
        write_json(BUDGETS, new)


if __name__ == "__main__":
    main()
