"""One interface to LiteRT and ONNX Runtime: float32 inputs in, float32 logits out."""

from __future__ import annotations

import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.engines.limits import cores
from rs_runtime.errors import EngineError, EngineMissingError, reason
from rs_runtime.stderr import quiet_libraries

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Engine", "default_threads", "load_engine"]

_MAX_BATCH = 64
_MAX_DEFAULT_THREADS = 4


@dataclass(frozen=True)
class _Port:
    """The number format of a model's input or output.

    For integers, ``real = (stored - zero_point) * scale``.

    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks", equation 1.
    """

    dtype: np.dtype[Any]
    scale: float = 1.0
    zero_point: int = 0

    def encode(self, real: NDArray[np.float32]) -> NDArray[Any]:
        """Convert float32 values to the model's number format, rounded and clipped to it."""
        if self.dtype.kind == "f":
            return np.ascontiguousarray(real, self.dtype)
        limits = np.iinfo(self.dtype)
        levels = np.round(real / np.float32(self.scale)) + self.zero_point
        return np.clip(levels, limits.min, limits.max).astype(self.dtype)

    def decode(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Convert the model's output to float32."""
        if self.dtype.kind == "f":
            return stored.astype(np.float32)
        shifted = stored.astype(np.float32) - np.float32(self.zero_point)
        return shifted * np.float32(self.scale)


class Engine(ABC):
    """A loaded model, which several threads may use.

    Attributes
    ----------
    name
        ``litert``, ``onnxruntime``, or what else runs the model.
    size
        Side of the square input in pixels; None for an ONNX model that takes any.  A LiteRT model
        must have a fixed size, because only the batch size of its tensors is changed here.
    """

    name: str
    size: int | None
    _input: _Port = _Port(np.dtype(np.float32))
    _output: _Port = _Port(np.dtype(np.float32))
    _batch: int | None = None
    """The only batch size the model takes; None if it takes any."""

    @abstractmethod
    def _run(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Run one batch in the model's own number format."""

    def logits(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits, float32 (n, classes), of any number of inputs.

        ``inputs`` are float32, (n, size, size, 3), from :meth:`Preprocessing.model_input`.  If the
        model's input or output holds integers, this method converts from and to float32.

        Raises
        ------
        EngineError
            The shape is wrong, the engine failed, or a logit is not finite.
        """
        if inputs.ndim != 4 or self.size not in (None, inputs.shape[1]) or len(inputs) == 0:
            side = self.size or "S"
            raise EngineError(
                f"{self.name} model wants inputs (n >= 1, {side}, {side}, 3), got {inputs.shape}"
            )
        step = self._batch or _MAX_BATCH
        starts = range(0, len(inputs), step)
        return np.concatenate([self._logits(inputs[at : at + step]) for at in starts])

    def _logits(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        stored = self._input.encode(inputs)
        if self._batch and len(stored) < self._batch:
            padding = ((0, self._batch - len(stored)), (0, 0), (0, 0), (0, 0))
            stored = np.pad(stored, padding)
        try:
            output = self._run(stored)
        except Exception as error:
            raise EngineError(f"{self.name} failed to run the model: {reason(error)}") from error
        if output.ndim != 2 or len(output) != len(stored):
            raise EngineError(
                f"{self.name} model gave shape {output.shape}, wanted ({len(stored)}, classes)"
            )
        logits = self._output.decode(output)[: len(inputs)]
        if not np.isfinite(logits).all():
            raise EngineError(f"{self.name} model gave logits that are not finite")
        return logits


class _LiteRt(Engine):
    name = "litert"

    def __init__(self, model: bytes, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        # XNNPACK writes a line about itself to standard error.
        with quiet_libraries():
            self._interpreter = Interpreter(model_content=model, num_threads=threads)
            self._interpreter.allocate_tensors()
        source = _only(self._interpreter.get_input_details(), "input")
        target = _only(self._interpreter.get_output_details(), "output")
        self._source, self._target = source["index"], target["index"]
        self._lock = threading.Lock()
        self._allocated = int(source["shape"][0])
        self.size, self._batch = _check_shape(source["shape_signature"].tolist())
        self._input, self._output = _litert_port(source), _litert_port(target)

    def _run(self, stored: NDArray[Any]) -> NDArray[Any]:
        # The input and the output are in the interpreter, which several threads may share.
        with self._lock:
            if len(stored) != self._allocated:
                self._interpreter.resize_tensor_input(self._source, stored.shape)
                self._interpreter.allocate_tensors()
                self._allocated = len(stored)
            self._interpreter.set_tensor(self._source, stored)
            self._interpreter.invoke()
            return np.asarray(self._interpreter.get_tensor(self._target))


class _OnnxRuntime(Engine):
    name = "onnxruntime"

    def __init__(self, model: bytes, threads: int) -> None:
        import onnxruntime

        _refuse_both_packages()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(model, options, providers=providers)
        source = _only(self._session.get_inputs(), "input")
        target = _only(self._session.get_outputs(), "output")
        self._source, self._target = source.name, target.name
        self.size, self._batch = _check_shape(source.shape)
        notes = self._session.get_modelmeta().custom_metadata_map
        self._input = _onnx_port(source.type, notes, "input")
        self._output = _onnx_port(target.type, notes, "output")

    def _run(self, stored: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self._session.run([self._target], {self._source: stored})[0])


def default_threads() -> int:
    """Return the number of cores this process may use, at most 4."""
    return min(cores(), _MAX_DEFAULT_THREADS)


def load_engine(engine: str, model: bytes | Path, threads: int | None = None) -> Engine:
    """Load a model.

    Parameters
    ----------
    engine
        ``litert`` for a .tflite model, ``onnxruntime`` for an .onnx one.
    model
        The model's bytes, or its file.  One input (n, S, S, 3) and one output (n, classes), in
        float32, float16, or 8-bit integers with one scale and zero point per tensor.  LiteRT
        models carry these; ONNX models with integer inputs or outputs carry them as metadata
        properties ``rs.input_scale``, ``rs.input_zero_point``, ``rs.output_scale``,
        ``rs.output_zero_point``.
    threads
        CPU threads, at least 1; None means :func:`default_threads`.

    Raises
    ------
    EngineMissingError
        The engine is not installed; the message names the pip extra.
    EngineError
        The engine refused the model.
    """
    threads = threads or default_threads()
    data = model if isinstance(model, bytes) else model.read_bytes()
    kinds: dict[str, Callable[[bytes, int], Engine]]
    kinds = {"litert": _LiteRt, "onnxruntime": _OnnxRuntime}
    if engine not in kinds:
        raise EngineError(f"engine must be {' or '.join(kinds)}, got {engine!r}")
    try:
        return kinds[engine](data, threads)
    except EngineError:
        raise
    except ImportError as error:
        package = "rs-toolkit" if engine == "litert" else "rs-toolkit[onnx]"
        raise EngineMissingError(
            f"engine {engine} is not usable here ({reason(error)}); pip install '{package}'"
        ) from error
    except Exception as error:
        raise EngineError(f"{engine} refused the model: {reason(error)}") from error


def _litert_port(details: dict[str, Any]) -> _Port:
    """Return the number format of an input or output, from LiteRT's tensor details."""
    dtype = np.dtype(details["dtype"])
    if dtype.kind == "f":
        return _Port(dtype)
    scales = details["quantization_parameters"]["scales"]
    zero_points = details["quantization_parameters"]["zero_points"]
    if len(scales) != 1 or len(zero_points) != 1:
        raise EngineError(
            f"litert model's {dtype} tensor must have one scale and zero point, got {len(scales)}"
        )
    return _Port(dtype, float(scales[0]), int(zero_points[0]))


def _onnx_port(kind: str, notes: dict[str, str], which: str) -> _Port:
    """Return the number format of ``input`` or ``output``, from its type and the metadata."""
    names = {"float": "f4", "float16": "f2", "uint8": "u1", "int8": "i1"}
    name = kind.removeprefix("tensor(").removesuffix(")")
    if name not in names:
        raise EngineError(
            f"onnxruntime model's {which} must be one of {', '.join(names)}; got {name}"
        )
    dtype = np.dtype(names[name])
    if dtype.kind == "f":
        return _Port(dtype)
    try:
        return _Port(dtype, float(notes[f"rs.{which}_scale"]), int(notes[f"rs.{which}_zero_point"]))
    except (KeyError, ValueError) as error:
        raise EngineError(
            f"onnxruntime model's {name} {which} needs the metadata properties "
            f"rs.{which}_scale and rs.{which}_zero_point; export it again"
        ) from error


def _only(tensors: Sequence[Any], kind: str) -> Any:
    if len(tensors) != 1:
        raise EngineError(f"model must have one {kind}, got {len(tensors)}")
    return tensors[0]


def _check_shape(shape: Sequence[Any]) -> tuple[int | None, int | None]:
    """Return (size, batch), None for a free one: LiteRT has -1 there, ONNX None or a name."""
    sides = [side if isinstance(side, int) and side > 0 else None for side in shape]
    if len(sides) != 4 or sides[1] != sides[2] or sides[3] not in (None, 3):
        raise EngineError(f"model input must be (n, S, S, 3), got {list(shape)}")
    return sides[1], sides[0]


def _refuse_both_packages() -> None:
    # Not importlib.metadata, whose import would be a tenth of a cold start.
    folders = [Path(folder) for folder in sys.path if os.path.isdir(folder)]
    both = ("onnxruntime-*.dist-info", "onnxruntime_gpu-*.dist-info")
    if all(any(any(folder.glob(name)) for folder in folders) for name in both):
        raise EngineError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; "
            "pip uninstall both, then install the one you want"
        )
