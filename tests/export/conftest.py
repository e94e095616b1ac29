"""A real run, small enough to be fine-tuned in seconds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rs_toolkit.config.training import TrainConfig
from rs_train.classifier.train import train

# For onnx_nets.py.
sys.path.insert(0, str(Path(__file__).parent))

CONFIG = TrainConfig(
    backbone="tiny", weights="none", imgsz=32, epochs=12, patience=12, batch_size=16,
    learning_rate=1e-2, val=0.2, test=0.3,
)  # fmt: skip


@pytest.fixture(scope="session")
def trained(shapes, tmp_path_factory) -> Path:
    """The folder of a finished run on the shapes."""
    return train(shapes, CONFIG, tmp_path_factory.mktemp("runs") / "shapes")
