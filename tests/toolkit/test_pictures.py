"""No name breaks a picture or a terminal, and no picture takes a result with it."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

from rs_toolkit.pictures import draw_picture, short
from rs_toolkit.progress import ConsoleProgress, duration
from rs_train.classifier.results import _confusion

ODD = (
    *("ca$$in finch", "$x$", r"$\frac{1$", r"\textbf{", "100 % #1 & ~ ^ _ { }", "_hidden"),
    *(
        "<b>bold</b>",
        "大熊猫",
        "أسد",
        "🦊 fox",
        "a" * 500,
        "\u200b",
        "line\nbreak",
        "x" * 39 + "$$",
    ),
)


@pytest.mark.parametrize("tex", [False, True])
def test_every_name_can_be_drawn(tmp_path, tex) -> None:
    import matplotlib

    path = tmp_path / "confusion.png"
    table = np.eye(len(ODD), dtype=np.int64)
    with matplotlib.rc_context({"text.usetex": tex, "axes.formatter.use_mathtext": True}):
        draw_picture(path, lambda: _confusion(table, list(ODD)), pytest.fail)
    assert Image.open(path).size == (600, 500)


def test_names_are_drawn_as_they_are(tmp_path) -> None:
    drawn = []

    def draw() -> object:
        drawn.append(_confusion(np.eye(2, dtype=np.int64), ["ca$$in", "$x$"]))
        return drawn[0]

    draw_picture(tmp_path / "a.png", draw, pytest.fail)
    labels = drawn[0].axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == ["ca$$in", "$x$"]
    assert not any(label.get_parse_math() or label.get_usetex() for label in labels)


@pytest.mark.parametrize("error", [ValueError("no such\nfont"), MemoryError(), OSError(28, "full")])
def test_a_picture_that_cannot_be_drawn_is_left_out(tmp_path, error, one_line) -> None:
    path, notes = tmp_path / "a.png", []
    path.write_text("of an earlier result")

    def draw() -> object:
        raise error

    draw_picture(path, draw, notes.append)
    assert str(path) in one_line(notes[0]) and "not drawn" in notes[0]
    assert list(tmp_path.iterdir()) == []


def test_long_names_are_cut() -> None:
    assert short("a" * 40) == "a" * 40
    assert short("a" * 41) == "a" * 39 + "…"


def test_without_a_terminal_a_line_now_and_then_says_what_time_is_left(monkeypatch) -> None:
    errors, now = io.StringIO(), [0.0]
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setattr("rs_toolkit.progress.time.monotonic", lambda: now[0])
    progress = ConsoleProgress()
    for step in range(101):
        now[0] = 2.0 * step
        progress.update("epoch 1", step, 100, "loss 0.500")
    # It ended, and another title begins.
    now[0] = 300.0
    progress.update("epoch 2", 1, 100)
    lines = errors.getvalue().splitlines()
    assert lines == [
        "epoch 1: 30/100, about 2 min left  loss 0.500",
        "epoch 1: 60/100, about 80 s left  loss 0.500",
        "epoch 1: 90/100, about 20 s left  loss 0.500",
    ]


def test_durations_are_as_people_say_them() -> None:
    assert [duration(s) for s in (0.4, 89, 91, 5399, 11100)] == [
        *("0 s", "89 s", "2 min", "1 h 30 min", "3 h 05 min"),
    ]


def test_a_note_cannot_steer_the_terminal(monkeypatch) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    ConsoleProgress().note("left out: \x1b[2J\x1b]0;title\x07\r[red]Löwe.jpg\n")
    assert errors.getvalue() == "left out: \\x1b[2J\\x1b]0;title\\x07\\r[red]Löwe.jpg\\n\n"
