"""A student as an ONNX file: traced, tidied, and compared with what it came from."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.errors import ExportError
from rs_toolkit.files import atomic_write

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["write_student_onnx"]

_OPSET = 17
_LEAST_COSINE = 0.9999
# Batch normalization is folded into the convolutions.
_OPERATORS = frozenset(
    (
        *("Transpose", "Conv", "Relu", "Clip", "HardSwish", "HardSigmoid", "Pad"),
        *("Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Max", "MatMul", "Gemm"),
        *("GlobalAveragePool", "ReduceMean", "ReduceSum", "ReduceL2"),
        *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Constant"),
    )
)


def write_student_onnx(student: Any, images: NDArray[np.float32], path: Path) -> dict[str, float]:
    """Write a student as float32 ONNX of opset 17, and check its logits against the student's.

    Input ``photos`` (n, S, S, 3), output ``logits`` (n, K), n free.

    Parameters
    ----------
    student
        As :func:`rs_train.student.student.build_student` makes it, in evaluation mode.
    images
        float32 (n, S, S, 3), n 2 or more: photos to compare the logits of.
    path
        File to write.

    Returns
    -------
    dict
        ``max_difference``, the largest absolute difference of a logit, and ``cosine``, the lowest
        of a photo's logits.

    Raises
    ------
    ExportError
        The file does not say what the student says (a cosine below 0.9999), or it holds an
        operator that the exporter of kits does not know.
    OSError
        The file cannot be written.
    """
    import onnx
    import onnxruntime
    import torch

    with torch.no_grad():
        wanted = student(torch.from_numpy(images)).numpy()
    with atomic_write(path) as temporary:
        traced = temporary.with_name(f"{temporary.name}.traced")
        try:
            _trace(student, torch.from_numpy(images[:2]), traced)
            _tidy(traced, temporary)
        finally:
            traced.unlink(missing_ok=True)
        model = onnx.load(temporary)
        # The optimizer lists every set of operators that it knows.
        for other in [entry for entry in model.opset_import if entry.domain]:
            model.opset_import.remove(other)
        onnx.save(model, temporary)
        onnx.checker.check_model(model)
        if unknown := {node.op_type for node in model.graph.node} - _OPERATORS:
            raise ExportError(
                f"{path}: holds {', '.join(sorted(unknown))}, which no kit can be made of; "
                "choose another --student"
            )
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        got = session.run(None, {"photos": images})[0]
        agreement = _agreement(wanted, got)
        if not agreement["cosine"] >= _LEAST_COSINE:
            raise ExportError(
                f"{path}: its logits have a cosine of {agreement['cosine']:.5f} to the student's, "
                f"wanted {_LEAST_COSINE}; try another version of torch"
            )
    return agreement


def _trace(student: Any, images: Any, path: Path) -> None:
    import torch

    free = {0: "n"}
    with warnings.catch_warnings():
        # The tracing exporter is called legacy; the other one needs onnxscript.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            student,
            (images,),
            str(path),
            opset_version=_OPSET,
            dynamo=False,
            input_names=["photos"],
            output_names=["logits"],
            dynamic_axes={"photos": free, "logits": free},
        )


def _tidy(source: Path, target: Path) -> None:
    """Fold constants, and paddings into their convolutions; only ONNX's own operators remain."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _agreement(wanted: NDArray[np.float32], got: NDArray[np.float32]) -> dict[str, float]:
    one, other = wanted.astype(np.float64), got.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines = (one * other).sum(1) / np.maximum(lengths, 1e-12)
    return {"max_difference": float(np.abs(one - other).max()), "cosine": float(cosines.min())}
