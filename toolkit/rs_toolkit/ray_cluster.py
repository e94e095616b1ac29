"""A Ray cluster, or Ray on this machine for the time of a command (extra ``[ray]``)."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from rs_runtime.engines.limits import cores
from rs_runtime.errors import EngineMissingError, RuntimeKitError
from rs_runtime.stderr import quiet_libraries

__all__ = [
    *("LOCAL", "RESTARTS", "RETRIES", "Workers", "connected", "one_core_each", "rows_of"),
    "whole_machines",
]

LOCAL = "local"
"""The address that starts Ray on this machine."""

RETRIES = 3
"""How often the same photos are tried again after the worker that had them died."""

RESTARTS = {"max_restarts": -1, "max_task_retries": RETRIES}
"""The same, as Ray's options of an actor.

Workers themselves are started again without a limit: Ray waits forever for one that is not.
"""

_STORE_BYTES = 256 * 2**20
_CONNECT_S = 10.0
# Importing TensorFlow from a busy network disk may take that long.
_START_S = 120.0


@contextlib.contextmanager
def connected(address: str, threads: int | None) -> Iterator[Any]:
    """Connect to a Ray cluster, or start one here, without usage statistics or a dashboard.

    What Ray prints in the block is dropped.

    Parameters
    ----------
    address
        Of a cluster; ``auto``: the one that this machine is part of; ``local``: start one here.
    threads
        Cores of this machine to use; None: all.

    Raises
    ------
    EngineMissingError
        Ray is not installed.
    RuntimeKitError
        The cluster cannot be reached.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise EngineMissingError(
            "Ray is not installed; pip install 'rs-toolkit[ray]', or leave out --address"
        ) from error
    with _silence():
        try:
            _require_server(address)
            # Its C++ says that it says nothing.
            with quiet_libraries():
                _connect(ray, address, threads)
        except Exception as error:
            # Ray documents no closed set; where it starts too slowly, it is a bare Exception.
            raise RuntimeKitError(
                f"--address {address}: no cluster there ({_reason(error)}); check the address, or "
                f"give {LOCAL}"
            ) from error
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # Photos of a block that fails are left to the command itself.
        context.max_errored_blocks = -1
        try:
            yield ray
        finally:
            ray.shutdown()


def _connect(ray: Any, address: str, threads: int | None) -> None:
    quiet = {"logging_level": "error", "log_to_driver": False}
    if address == LOCAL:
        own = {"num_cpus": threads or cores(), "object_store_memory": _STORE_BYTES}
        ray.init(**own, include_dashboard=False, **quiet)
    else:
        ray.init(address=address, **quiet)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Drop what Ray logs, warns of, and prints to standard output, which is for answers."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _require_server(address: str) -> None:
    """Raise OSError if nothing answers at an address, for which Ray would wait many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), _CONNECT_S).close()


class Workers(NamedTuple):
    """The ``most`` processes of Ray at a time, and what each gets: ``num_cpus``, ``num_gpus``.

    Both are whole numbers.
    """

    most: int
    each: dict[str, int]


def one_core_each(ray: Any) -> Workers:
    """Return a worker for each core of a cluster."""
    return Workers(max(1, int(ray.cluster_resources().get("CPU", 1))), {"num_cpus": 1})


def whole_machines(ray: Any) -> Workers:
    """Return the workers for TensorFlow, which uses all cores of a machine, or a GPU.

    One for each GPU, if the cluster has some and TensorFlow can use them there.  Otherwise each has
    as many cores as the smallest machine: larger ones get several.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    with_gpu = [(int(found.get("CPU", 0)), int(found.get("GPU", 0))) for found in machines]
    with_gpu = [(cores, gpus) for cores, gpus in with_gpu if cores and gpus]
    if with_gpu and _answer(ray, ray.remote(num_cpus=0, num_gpus=1)(_sees_gpu)):
        cores = min(max(1, cores // gpus) for cores, gpus in with_gpu)
        count = sum(min(gpus, total // cores) for total, gpus in with_gpu)
        return Workers(count, {"num_cpus": cores, "num_gpus": 1})
    cores_of = [int(found.get("CPU", 0)) for found in machines if found.get("CPU", 0) >= 1]
    cores = min(cores_of, default=1)
    return Workers(sum(found // cores for found in cores_of) or 1, {"num_cpus": cores})


def _answer(ray: Any, task: Any) -> bool:
    """Return what a task answers; False where it fails, or nothing is free to do it."""
    try:
        return bool(ray.get(task.remote(), timeout=_START_S))
    except ray.exceptions.RayError:
        return False


def _sees_gpu() -> bool:
    """Return whether TensorFlow can use a GPU in this process."""
    from rs_toolkit.environment import quiet_tensorflow

    quiet_tensorflow()
    import tensorflow

    return bool(tensorflow.config.list_physical_devices("GPU"))


def rows_of(ray: Any, dataset: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Ray data set; RuntimeKitError if Ray cannot go on."""
    try:
        yield from dataset.iter_rows()
    except ray.exceptions.RayError as error:
        raise RuntimeKitError(f"Ray could not go on: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return the last line of an error of Ray, which holds a worker's whole traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
