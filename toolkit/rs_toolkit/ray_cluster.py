"""A Ray cluster, or Ray on this machine for the time of a command (extra ``[ray]``)."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from typing import Any

from rs_runtime.engines.limits import cores
from rs_runtime.errors import EngineMissingError, RuntimeKitError
from rs_runtime.stderr import quiet_libraries

__all__ = ["LOCAL", "RETRIES", "connected", "rows_of"]

LOCAL = "local"
"""The address that starts Ray on this machine."""

RETRIES = 3
"""How often a worker that died is started again for the same photos."""

_STORE_BYTES = 256 * 2**20
_CONNECT_S = 10.0


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
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
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
