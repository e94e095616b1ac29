"""Fixtures around CLIP: torch where it is installed, and small models of open_clip's own kind."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rs_toolkit.errors import MissingPackageError
from rs_toolkit.files import write_json
from rs_train.teacher.torch_setup import ready_torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs torch, so that it can be run alone where torch has just been installed."""
    for item in items:
        if "torch" in getattr(item, "fixturenames", ()):
            item.add_marker("torch")


@pytest.fixture(scope="module", autouse=True)
def _eager() -> Iterator[None]:
    """Call TensorFlow's functions without compiling them: the trainings here take few steps."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def torch() -> Any:
    """The module torch, after which open_clip and timm can be imported; skips without them."""
    try:
        return ready_torch()
    except MissingPackageError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def clip_tools(repository: Path) -> dict[str, Any]:
    """What tiny_clip.py defines."""
    return runpy.run_path(str(repository / "tests" / "train" / "tiny_clip.py"))


@pytest.fixture(scope="session")
def tiny_clip(torch, clip_tools, tmp_path_factory) -> tuple[Path, Path]:
    """Configuration and checkpoint of a CLIP that knows the sample; takes half a minute once."""
    folder = tmp_path_factory.mktemp("tiny-clip")
    return clip_tools["train_tiny_clip"](folder, steps=60, count=300)


@pytest.fixture(scope="session")
def raw_clip(torch, clip_tools, tmp_path_factory) -> tuple[Path, Path]:
    """The same with random weights, for tests that do not ask what it sees."""
    import open_clip
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("raw-clip")
    torch.manual_seed(0)
    write_json(folder / "raw.json", clip_tools["CONFIG"])
    state = open_clip.CLIP(**clip_tools["CONFIG"]).state_dict()
    save_file(
        {name: value.contiguous() for name, value in state.items()}, folder / "raw.safetensors"
    )
    return folder / "raw.json", folder / "raw.safetensors"


@pytest.fixture
def state(raw_clip) -> dict[str, Any]:
    """The tensors of that checkpoint."""
    from safetensors.torch import load_file

    return load_file(raw_clip[1])
