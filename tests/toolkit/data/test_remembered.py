"""Results kept by the content of what they were computed from."""

from __future__ import annotations

import io

import numpy as np
import pytest

from rs_toolkit.data.remembered import remembered


@pytest.fixture
def calls() -> list[int]:
    return []


def test_same_inputs_are_computed_once_and_others_anew(tmp_path, calls) -> None:
    table = np.arange(6.0).reshape(2, 3)

    def ask(*inputs, kind="sum-1"):
        def compute():
            calls.append(1)
            return np.array([len(calls)])

        return int(remembered(tmp_path, kind, inputs, compute)[0])

    assert [ask("a", table), ask("a", table.copy())] == [1, 1]
    # Another split of the same text, shape, type, order, kind: none may meet the first.
    others = [
        ask("a", table.reshape(3, 2)),
        ask("a", table.astype(np.float32)),
        ask(table, "a"),
        ask("a", table, None),
        ask("ab", "c"),
        ask("a", "bc"),
        ask("a", table, kind="sum-2"),
    ]
    assert others == list(range(2, 9))


def archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, np.ones(3))
    return file.getvalue()


@pytest.mark.parametrize("damaged", [b"", b"\x93NUMPY", b"text", archive()])
def test_a_damaged_result_is_made_again(damaged, tmp_path, calls) -> None:
    def ask():
        return remembered(tmp_path, "x-1", ["a"], lambda: calls.append(1) or np.ones(3))

    ask()
    (file,) = tmp_path.glob("results/x-1/*.npy")
    file.write_bytes(damaged)
    assert ask().tolist() == [1, 1, 1]
    assert len(calls) == 2
    assert np.load(file).tolist() == [1, 1, 1]
