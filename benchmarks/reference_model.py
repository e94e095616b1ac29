"""Train the small float model whose exports the budgets of ``tests/regression/`` limit.

    python benchmarks/reference_model.py [--epochs 30] [--photos 2500]

Draws a sample, trains ``xception-mini`` on it (minutes on 2 cores) and replaces
``tests/regression/reference/``: ``model.keras`` (float32, below 2 MB) and ``reference.json`` (its
training data, classes and temperature).  The regression tests export these same weights on every
machine, and measure them on another sample, which the model has never seen.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from common import ROOT, options

from rs_toolkit.config.base import load_settings
from rs_toolkit.config.training import TrainConfig, read_preset
from rs_toolkit.environment import machine, quiet_tensorflow, versions
from rs_toolkit.files import read_json, sha256_file, write_json
from rs_toolkit.progress import ConsoleProgress
from rs_toolkit.sample import generate_sample
from rs_train.classifier.train import train

REFERENCE = ROOT / "tests" / "regression" / "reference"
# Another seed than that of the sample on which the budgets are measured.
_SEED = 100


def main() -> None:
    """Train, and replace the committed model."""
    parser = options(__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--photos", type=int, default=2500)
    chosen = parser.parse_args()
    quiet_tensorflow()
    changes = {
        "backbone": "xception-mini",
        "imgsz": 64,
        "epochs": chosen.epochs,
        "patience": chosen.epochs,
        "val": 0.1,
        "test": 0.1,
    }
    config = load_settings(TrainConfig, read_preset("sample"), changes)
    with tempfile.TemporaryDirectory(prefix="rs-reference-") as folder:
        data, run = Path(folder) / "sample", Path(folder) / "run"
        generate_sample(data, seed=_SEED, photos=chosen.photos)
        train(data, config, run, progress=ConsoleProgress())
        REFERENCE.mkdir(exist_ok=True)
        shutil.copy(run / "model.keras", REFERENCE / "model.keras")
        metrics = read_json(run / "metrics.json")["test"]
        write_json(
            REFERENCE / "reference.json",
            {
                "trained_on": {"seed": _SEED, "photos": chosen.photos},
                "settings": config.to_dict(),
                "classes": [item["name"] for item in read_json(run / "classes.json")["classes"]],
                "temperature": read_json(run / "calibration.json")["temperature"],
                "test": {key: metrics[key] for key in ("n", "accuracy", "macro_f1")},
                "model_sha256": sha256_file(REFERENCE / "model.keras"),
                "machine": machine(),
                "versions": versions(),
            },
        )
    print(f"{REFERENCE}: accuracy {metrics['accuracy']:.3f}, macro-F1 {metrics['macro_f1']:.3f}")


if __name__ == "__main__":
    main()
