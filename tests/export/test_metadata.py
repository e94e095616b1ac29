"""Models that say what they are: read back by independent means, computing what they computed."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flatbuffers import number_types
from flatbuffers.table import Table

from rs_export.metadata import ModelInfo
from rs_export.onnx.metadata import onnx_with_metadata
from rs_export.tflite.converter import save_for_tflite
from rs_export.tflite.metadata import tflite_with_metadata
from rs_runtime.engines.engine import load_engine
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.errors import ExportError

SIDE = 16
LABELS = ("Ara ararauna", "Gypaëtus barbatus", "Pica pica")
INFO = ModelInfo(
    name="toy",
    description="Names the species of the bird in a photo.",
    rank="species",
    labels=LABELS,
    common_names=("blue-and-yellow macaw", None, "カササギ"),
    # Exact in binary: pixels are input levels of a uint8 model, without rounding.
    preprocessing=Preprocessing(SIDE, scale=1 / 128, offset=-1.0),
    temperature=1.5,
    data_fingerprint="ab" * 32,
    created_by="rs-toolkit 1.2.3",
)
OTHER = dataclasses.replace(INFO, name="other", labels=("a", "b", "c"), common_names=(None,) * 3)


class Node:
    """A table of a flatbuffer, fields by their place in the schema."""

    def __init__(self, data: bytes, position: int) -> None:
        self._table = Table(data, position)

    @classmethod
    def root(cls, data: bytes) -> Node:
        return cls(data, int.from_bytes(data[:4], "little"))

    def _field(self, slot: int) -> int:
        return self._table.Offset(4 + 2 * slot)

    def has(self, slot: int) -> bool:
        return self._field(slot) != 0

    def text(self, slot: int) -> str:
        return self._table.String(self._field(slot) + self._table.Pos).decode()

    def number(self, slot: int, kind: str = "Uint8") -> int:
        flags = getattr(number_types, f"{kind}Flags")
        return self._table.Get(flags, self._field(slot) + self._table.Pos)

    def floats(self, slot: int) -> list[float]:
        flags = number_types.Float32Flags
        return self._table.GetVectorAsNumpy(flags, self._field(slot)).tolist()

    def node(self, slot: int) -> Node:
        place = self._table.Indirect(self._field(slot) + self._table.Pos)
        return Node(self._table.Bytes, place)

    def nodes(self, slot: int) -> list[Node]:
        start = self._table.Vector(self._field(slot))
        count = self._table.VectorLen(self._field(slot))
        places = (self._table.Indirect(start + 4 * i) for i in range(count))
        return [Node(self._table.Bytes, place) for place in places]


def buffers(model: bytes) -> list[tuple[int, bytes]]:
    """Where each buffer's data begins in the file (-1: it has none), and its bytes."""
    found = []
    for buffer in Node.root(model).nodes(4):
        field = buffer._field(0)
        if not field:
            found.append((-1, b""))
            continue
        start, size = buffer._table.Vector(field), buffer._table.VectorLen(field)
        found.append((start, model[start : start + size]))
    return found


def entries(model: bytes) -> list[tuple[str, bytes]]:
    data = buffers(model)
    metadata = Node.root(model).nodes(6)
    return [(item.text(0), data[item.number(1, "Uint32")][1]) for item in metadata]


def described(model: bytes) -> Node:
    (data,) = [data for name, data in entries(model) if name == "TFLITE_METADATA"]
    assert data[4:8] == b"M001"
    return Node.root(data)


def ends(model: bytes) -> tuple[Node, Node]:
    (graph,) = described(model).nodes(3)
    (source,), (target,) = graph.nodes(2), graph.nodes(3)
    return source, target


@pytest.fixture(scope="module")
def tflite(tmp_path_factory) -> dict[str, bytes]:
    """The same tiny classifier with float32 and with uint8 ends."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((SIDE, SIDE, 3)),
            layers.Conv2D(5, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(len(LABELS)),
        ]
    )
    folder = tmp_path_factory.mktemp("toy")
    save_for_tflite(model, folder)

    def converter() -> Any:
        return tf.lite.TFLiteConverter.from_saved_model(str(folder))

    quantized = converter()
    quantized.optimizations = [tf.lite.Optimize.DEFAULT]
    quantized.representative_dataset = lambda: ([inputs(p[None])] for p in photos())
    quantized.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    quantized.inference_input_type = quantized.inference_output_type = tf.uint8
    return {"float32": bytes(converter().convert()), "uint8": bytes(quantized.convert())}


@pytest.fixture(scope="module")
def onnx_model() -> bytes:
    """The mean colour, times a matrix; with properties of its own."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).normal(size=(3, len(LABELS))).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["inputs"], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        ],
        "toy",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(LABELS)])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"rs.input_scale": "0.5", "maker": "me", "rs.name": "old"})
    return model.SerializeToString(deterministic=True)


def photos(count: int = 6) -> np.ndarray:
    """Noise that holds both extremes."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    pixels[:, 0, 0], pixels[:, 0, 1] = 0, 255
    return pixels


def inputs(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) * np.float32(INFO.preprocessing.scale) + np.float32(
        INFO.preprocessing.offset
    )


@pytest.mark.parametrize("ends_in", ["float32", "uint8"])
def test_tflite_computes_the_same_bits(tflite, ends_in) -> None:
    before = tflite[ends_in]
    after = tflite_with_metadata(before, INFO)
    wanted = load_engine("litert", before).logits(inputs(photos()))
    assert np.ptp(wanted) > 0
    np.testing.assert_array_equal(load_engine("litert", after).logits(inputs(photos())), wanted)


def test_tflite_keeps_weights_and_aligns_them(tflite) -> None:
    before = tflite["float32"]
    after = tflite_with_metadata(before, INFO)
    kept = [data for _, data in buffers(before)]
    assert sum(map(len, kept)) > 500
    assert [data for _, data in buffers(after)][: len(kept)] == kept
    assert {start % 16 for start, data in buffers(after) if data} == {0}
    assert entries(after)[:-1] == entries(before)
    assert Node.root(after).nodes(7), "signatures are lost"


def test_tflite_metadata_says_how_pixels_become_input(tflite) -> None:
    source, _ = ends(tflite_with_metadata(tflite["float32"], INFO))
    assert source.text(0) == "image"
    content = source.node(3)
    assert content.number(0) == 2, "ImageProperties"
    image = content.node(1)
    assert image.number(0) == 1, "RGB"
    assert [image.node(1).number(side, "Uint32") for side in (0, 1)] == [SIDE, SIDE]
    (unit,) = source.nodes(4)
    assert unit.number(0) == 1, "NormalizationOptions"
    assert (unit.node(1).floats(0), unit.node(1).floats(1)) == ([128.0], [128.0])
    highest, lowest = source.node(5).floats(0), source.node(5).floats(1)
    assert (lowest, highest) == ([-1.0], [255 / 128 - 1])


def test_tflite_metadata_of_integer_input_counts_its_levels(tflite) -> None:
    source, _ = ends(tflite_with_metadata(tflite["uint8"], INFO))
    (unit,) = source.nodes(4)
    assert (unit.node(1).floats(0), unit.node(1).floats(1)) == ([128.0], [128.0])
    assert (source.node(5).floats(1), source.node(5).floats(0)) == ([0.0], [255.0])
    assert source.text(1).endswith("input = round(pixel * 1 + 0)")


def test_tflite_metadata_names_model_and_label_files(tflite) -> None:
    model = tflite_with_metadata(tflite["float32"], INFO)
    about = described(model)
    assert (about.text(0), about.text(2), about.text(7)) == ("toy", "rs-toolkit 1.2.3", "1.0.0")
    assert INFO.description in about.text(1) and INFO.data_fingerprint in about.text(1)
    _, target = ends(model)
    assert (target.text(0), target.node(3).number(0)) == ("logits", 1)
    assert "softmax(logits / 1.5)" in target.text(1)
    names, common_names = target.nodes(6)
    assert (names.text(0), names.number(2), names.has(3)) == ("labels.txt", 2, False)
    assert (common_names.text(0), common_names.number(2)) == ("labels_en.txt", 2)
    assert common_names.text(3) == "en"


def test_tflite_label_files_are_a_plain_zip(tflite) -> None:
    model = tflite_with_metadata(tflite["float32"], INFO)
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        assert archive.testzip() is None
        members = archive.infolist()
        assert [item.filename for item in members] == ["labels.txt", "labels_en.txt"]
        assert {item.compress_type for item in members} == {zipfile.ZIP_STORED}
        assert {item.date_time for item in members} == {(1980, 1, 1, 0, 0, 0)}
        assert model[members[0].header_offset :].startswith(b"PK\3\4"), "offsets from the start"
        assert archive.read("labels.txt").decode() == "".join(f"{name}\n" for name in LABELS)
        lines = archive.read("labels_en.txt").decode().splitlines()
    assert lines == ["blue-and-yellow macaw", "Gypaëtus barbatus", "カササギ"]


def test_tflite_without_common_names_has_one_label_file(tflite) -> None:
    model = tflite_with_metadata(tflite["float32"], OTHER)
    assert zipfile.ZipFile(io.BytesIO(model)).namelist() == ["labels.txt"]
    assert len(ends(model)[1].nodes(6)) == 1


@pytest.mark.parametrize("ends_in", ["float32", "uint8"])
def test_tflite_metadata_is_replaced_not_stacked(tflite, ends_in) -> None:
    once = tflite_with_metadata(tflite[ends_in], INFO)
    assert tflite_with_metadata(tflite[ends_in], INFO) == once
    assert tflite_with_metadata(once, INFO) == once
    assert tflite_with_metadata(once, OTHER) == tflite_with_metadata(tflite[ends_in], OTHER)


def test_tflite_input_that_needs_a_formula_is_told_so(tflite) -> None:
    other = dataclasses.replace(INFO, preprocessing=Preprocessing(SIDE, scale=1 / 255, offset=0.0))
    source, _ = ends(tflite_with_metadata(tflite["uint8"], other))
    assert "round(pixel * 0.501961 + 128)" in source.text(1)


def test_onnx_says_what_it_is(onnx_model) -> None:
    import onnxruntime

    model = onnx_with_metadata(onnx_model, INFO)
    about = onnxruntime.InferenceSession(model).get_modelmeta()
    found = about.custom_metadata_map
    assert about.description == INFO.description
    assert json.loads(found["rs.labels"]) == list(LABELS)
    assert json.loads(found["rs.common_names"]) == list(INFO.common_names)
    numbers = {key: float(found[f"rs.{key}"]) for key in ("size", "scale", "offset", "temperature")}
    assert numbers == {"size": SIDE, "scale": 1 / 128, "offset": -1.0, "temperature": 1.5}
    texts = [found[f"rs.{key}"] for key in ("name", "rank", "resize", "created_by")]
    assert texts == ["toy", "species", "squash", "rs-toolkit 1.2.3"]
    assert found["rs.data_fingerprint"] == INFO.data_fingerprint
    assert (found["rs.input_scale"], found["maker"]) == ("0.5", "me")


def test_onnx_properties_are_sorted_and_replaced(onnx_model) -> None:
    import onnx

    once = onnx_with_metadata(onnx_model, INFO)
    assert onnx_with_metadata(onnx_model, INFO) == once
    assert onnx_with_metadata(once, INFO) == once
    assert onnx_with_metadata(once, OTHER) == onnx_with_metadata(onnx_model, OTHER)
    keys = [item.key for item in onnx.load_model_from_string(once).metadata_props]
    assert keys == sorted(set(keys))


def test_onnx_computes_the_same_bits(onnx_model) -> None:
    wanted = load_engine("onnxruntime", onnx_model).logits(inputs(photos()))
    after = load_engine("onnxruntime", onnx_with_metadata(onnx_model, INFO))
    np.testing.assert_array_equal(after.logits(inputs(photos())), wanted)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": ("a", "b\nc", "d")}, "label 1 must be printable"),
        ({"labels": ("a", "b", "c\r")}, "label 2 must be printable"),
        ({"labels": ("", "b", "c")}, "label 0 must be printable"),
        ({"labels": ("a", "b", "\ud800")}, "label 2 must be printable"),
        ({"common_names": ("a", "b\u2028", None)}, "common name 1 must be printable"),
        ({"common_names": (None,)}, "got 3 and 1"),
        ({"labels": (), "common_names": ()}, "at least one label"),
        ({"name": "x\x00"}, "name must be printable"),
        ({"description": ""}, "description must be printable"),
        ({"preprocessing": Preprocessing(scale=0.0)}, "scale not 0"),
        ({"temperature": float("nan")}, "finite temperature"),
        ({"temperature": float("inf")}, "finite temperature"),
        ({"temperature": 0.0}, "temperature > 0"),
    ],
)
def test_odd_values_are_refused(changes, told, one_line) -> None:
    with pytest.raises(ExportError, match=told) as caught:
        dataclasses.replace(INFO, **changes)
    one_line(str(caught.value))


@pytest.mark.parametrize("add", [tflite_with_metadata, onnx_with_metadata])
def test_metadata_of_another_model_is_refused(
    tflite, onnx_model, add: Callable[..., bytes], one_line
) -> None:
    model = tflite["float32"] if add is tflite_with_metadata else onnx_model
    four = dataclasses.replace(INFO, labels=tuple("abcd"), common_names=(None,) * 4)
    larger = dataclasses.replace(INFO.preprocessing, size=SIDE + 1)
    for wrong in (four, dataclasses.replace(INFO, preprocessing=larger)):
        with pytest.raises(ExportError, match="wanted a model from") as caught:
            add(model, wrong)
        one_line(str(caught.value))


@pytest.mark.parametrize("add", [tflite_with_metadata, onnx_with_metadata])
@pytest.mark.parametrize("data", [b"", b"hello, world", b"\x20\0\0\0TFL3" + b"\xff" * 40])
def test_no_model_is_refused(add: Callable[..., bytes], data, one_line) -> None:
    with pytest.raises(ExportError, match=r"convert it again|one input and one output") as caught:
        add(data, INFO)
    one_line(str(caught.value))


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
def test_half_a_model_is_refused(tflite, cut, one_line) -> None:
    model = tflite["float32"]
    with pytest.raises(ExportError, match="damaged") as caught:
        tflite_with_metadata(model[: int(cut * len(model))], INFO)
    one_line(str(caught.value))


@pytest.mark.parametrize("ends_in", ["float32", "uint8"])
def test_mediapipe_loads_the_file_alone(tflite, ends_in) -> None:
    mediapipe = pytest.importorskip(
        "mediapipe", reason="mediapipe is not installed (it is no dependency)"
    )
    from mediapipe.tasks.python import BaseOptions, vision

    model = tflite_with_metadata(tflite[ends_in], INFO)
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_buffer=model))
    wanted = load_engine("litert", model).logits(inputs(photos()))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for photo, logits in zip(photos(), wanted, strict=True):
            image = mediapipe.Image(mediapipe.ImageFormat.SRGB, photo)
            (head,) = classifier.classify(image).classifications
            assert len(head.categories) == len(LABELS)
            for item in head.categories:
                assert item.category_name == LABELS[item.index]
                assert item.display_name == (INFO.common_names[item.index] or item.category_name)
            scores = {item.index: item.score for item in head.categories}
            assert [scores[i] for i in range(len(LABELS))] == pytest.approx(logits, abs=1e-5)
