"""Results kept by the content of what they were computed from."""

from __future__ import annotations

import ast
import io

import numpy as np
import pytest

from rs_toolkit.data.remembered import read_array, remembered, write_array


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


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
        np.array([[1.5], [np.inf]], np.float32),
        np.array([True, False]),
        np.array(7),
        np.empty((0, 4), np.int64),
        np.arange(6.0).reshape(2, 3).T,
        np.arange(4, dtype=">i2"),
    ],
)
def test_arrays_are_read_as_written_and_can_be_changed(array, tmp_path, monkeypatch) -> None:
    write_array(tmp_path / "a.npy", array)
    # numpy's own reader parses the header as Python, which fails at times in threads.
    monkeypatch.delattr(ast, "literal_eval")
    found = read_array(tmp_path / "a.npy")
    assert found is not None
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)
    found[...] = 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data.replace(b"(3,)", b"(4,)"),
        lambda data: data.replace(b"<f8", b"|O8"),
        lambda data: data.replace(b"<f8", b"<f9"),
        lambda data: data.replace(b"False", b"True "),
        lambda data: data.replace(b"NUMPY\x01", b"NUMPY\x02"),
    ],
)
def test_another_header_or_length_is_no_array(damage, tmp_path) -> None:
    file = tmp_path / "a.npy"
    write_array(file, np.ones(3))
    whole = file.read_bytes()
    assert damage(whole) != whole
    file.write_bytes(damage(whole))
    assert read_array(file) is None
