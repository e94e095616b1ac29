"""Fixtures that several packages' tests share; all data is made here."""

from __future__ import annotations

import importlib.util
import os
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

# Torch's threads wait by spinning: two processes of them take four times as long.  It reads this
# when it is imported, which test modules do before any fixture.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Test processes side by side compute in one thread each: more threads than cores slow all of them.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(_name, "1")


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests out of the user's cache, TensorFlow quiet, and output plain."""
    # Test processes side by side share what each has decoded and fine-tuned.
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["RS_CACHE"] = str(base / "cache")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # With these, rich takes a pipe for a terminal, of a width of theirs.
    for name in ("COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "TTY_COMPATIBLE"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session", autouse=True)
def _tiny_backbone(repository: Path) -> None:
    # The runtime's tests run without the toolkit too, under Pythons that TensorFlow does not know.
    if importlib.util.find_spec("keras"):
        runpy.run_path(str(repository / "tests" / "tiny_backbone.py"))


@pytest.fixture(scope="session")
def repository(pytestconfig: pytest.Config) -> Path:
    """The repository's root."""
    return pytestconfig.rootpath


@pytest.fixture(scope="session")
def shared(repository: Path) -> Path:
    """The folder of real photos and weights; tests that need it skip without it."""
    folder = Path(os.environ.get("RS_SHARED", repository.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"{folder} is absent (real photos are not part of the repository)")
    return folder


@pytest.fixture(scope="session")
def one_line() -> Callable[..., str]:
    """A function that fails unless an error is one printable line, and returns that line."""

    def check(text: str, program: str | None = None, *, notes: bool = False) -> str:
        """Check a program's standard error, or without ``program`` an exception's message.

        ``notes`` allows lines of progress before the error's line.
        """
        assert "Traceback" not in text
        if program is not None:
            assert text.endswith("\n"), repr(text)
            text = text[:-1]
        *before, line = text.split("\n")
        start = "" if program is None else f"{program}: "
        assert line.startswith(start) and line[len(start) :].strip() and line.isprintable(), text
        assert not before or (notes and not any(note.startswith(start) for note in before)), text
        return line

    return check


def draw_shape(kind: int, generator: np.random.Generator, side: int = 48) -> Image.Image:
    """Draw class 0 (red disc), 1 (green square) or 2 (blue triangle) on noise."""
    image = Image.fromarray(generator.integers(60, 160, (side, side, 3), dtype=np.uint8))
    pen = ImageDraw.Draw(image)
    x, y = generator.integers(4, 16, 2)
    box = (int(x), int(y), int(x) + 24, int(y) + 24)
    if kind == 0:
        pen.ellipse(box, fill=(220, 40, 40))
    elif kind == 1:
        pen.rectangle(box, fill=(40, 200, 60))
    else:
        pen.polygon([(box[0], box[3]), (box[2], box[3]), (box[0] + 12, box[1])], fill=(40, 60, 220))
    return image


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder-per-class data set of 60 photos in three easy classes, 30, 20 and 10."""
    root = tmp_path_factory.mktemp("shapes")
    generator = np.random.default_rng(0)
    for kind, (name, count) in enumerate((("discidae", 30), ("quadridae", 20), ("trigonidae", 10))):
        (root / name).mkdir()
        for number in range(count):
            draw_shape(kind, generator).save(root / name / f"{number:02d}.png")
    return root


@pytest.fixture(scope="session")
def trained(shapes, tmp_path_factory) -> Path:
    """The folder of a finished run on the shapes, small enough to be fine-tuned in seconds."""
    from rs_toolkit.config.training import TrainConfig
    from rs_train.classifier.train import train

    config = TrainConfig(
        backbone="tiny", weights="none", imgsz=32, epochs=12, patience=12, batch_size=16,
        learning_rate=1e-2, val=0.2, test=0.3,
    )  # fmt: skip
    return train(shapes, config, tmp_path_factory.mktemp("runs") / "shapes")
