"""Every command works where there is no network, and none opens a socket (docs/offline.md).

Each command is run twice.  In a network namespace of Linux without interfaces even a library that
is written in C reaches nobody.  With an audit hook of Python (PEP 578) each use of a socket raises,
and is written down, so that code which catches the error is found too.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

# Python imports a module of this name at its start, from the first folder that has one.
HOOK = """
import os, sys
def refuse(event, arguments):
    if event.startswith("socket."):
        with open(os.environ["RS_SOCKETS"], "a") as file:
            file.write(event + "\\n")
        raise OSError(event + " is refused")
sys.addaudithook(refuse)
"""
CALL = """
import socket, sys
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5).close()
    print("connected")
except OSError:
    pass
"""
NETWORK = {
    *("asyncio", "ftplib", "http", "imaplib", "multiprocessing", "nntplib", "poplib", "smtplib"),
    *("socket", "socketserver", "ssl", "telnetlib", "urllib.request", "webbrowser", "xmlrpc"),
}
RUNTIME = Path(importlib.util.find_spec("rs_runtime").origin).parent
CLASSIFY, PROBE = ("-m", "rs_runtime"), ("-m", "rs_runtime.probe")
TOOLKIT = ("-m", "rs_toolkit")
COMMANDS = {
    "table": (CLASSIFY, "--kit", "KIT", "--engine", "litert", "PHOTOS"),
    "json": (CLASSIFY, "--kit", "KIT", "--engine", "onnxruntime", "--json", "PHOTOS"),
    "journal": (CLASSIFY, "--kit", "KIT", "--filter", "on", "--journal", "NEW", "PHOTOS"),
    "page": (CLASSIFY, "--kit", "KIT", "--page", "NEW", "--explain", "FOLDER", "PHOTOS"),
    "sort": (CLASSIFY, "--kit", "KIT", "--sort-into", "FOLDER", "PHOTOS"),
    **{
        name: (CLASSIFY, "--kit", "KIT", "--format", name, "-o", "NEW", "PHOTOS")
        for name in ("csv", "speciesnet", "megadetector", "camtrap-dp", "darwin-core")
    },
    "help": (CLASSIFY, "--help"),
    "version": (CLASSIFY, "--version"),
    "wrong kit": (CLASSIFY, "--kit", "PHOTOS/notes.txt", "PHOTOS"),
    "probe": (PROBE, "KIT", "--repeat", "1"),
    "toolkit help": (TOOLKIT, "--help"),
    "inspect": (TOOLKIT, "kit", "inspect", "KIT"),
    "verify": (TOOLKIT, "kit", "verify", "KIT"),
}
# The photos do not say where the cameras stood, which Camtrap DP wants to know.
REFUSED = ("wrong kit", "camtrap-dp")
SAYS = {
    "camtrap-dp": "3 photos in 2 deployments",
    "page": "wrote ",
    "table": "family red",
    "json": '"red"',
    "journal": "not an organism",
    "help": "--kit",
    "version": "rs-classify ",
    "wrong kit": "no kit",
    "probe": '"cold_start_s"',
    "toolkit help": "kit",
    "inspect": '"colours"',
    "verify": "sound",
}


@dataclass(frozen=True)
class Offline:
    """How to run Python offline: words before the command, and variables of the environment."""

    before: tuple[str, ...]
    variables: dict[str, str]
    log: Path

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run Python; standard error goes into standard output."""
        command = [*self.before, sys.executable, *map(str, arguments)]
        environment = {**os.environ, **self.variables}
        return subprocess.run(
            command,
            env=environment,
            timeout=120,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def sockets(self) -> list[str]:
        """Return the uses of sockets that the hook has seen."""
        return self.log.read_text().splitlines() if self.log.exists() else []


def namespace() -> tuple[str, ...]:
    """Return the words that start a command in a network namespace of its own, or skip."""
    for command in (("unshare", "-rn"), ("unshare", "-n")):
        if shutil.which("unshare"):
            tried = subprocess.run([*command, "true"], stderr=subprocess.DEVNULL)
            if tried.returncode == 0:
                return command
    pytest.skip("this system lets tests make no network namespace (unshare -rn)")


@pytest.fixture(params=["no interfaces", "sockets raise"])
def offline(request, tmp_path) -> Offline:
    """Both ways to be offline."""
    if request.param == "no interfaces":
        return Offline(namespace(), {}, tmp_path / "none")
    folder = tmp_path / "hook"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOOK)
    log = tmp_path / "sockets"
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return Offline((), {"PYTHONPATH": path, "RS_SOCKETS": str(log)}, log)


@pytest.fixture
def listener():
    """A port of this machine at which someone listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_call_reaches_the_listener(listener) -> None:
    done = subprocess.run([sys.executable, "-c", CALL, str(listener)], capture_output=True)
    assert done.stdout == b"connected\n", done.stderr


def test_a_program_that_calls_is_found(offline, listener) -> None:
    # It catches the error, as a library that sends statistics would.
    done = offline.run("-c", CALL, listener)
    assert (done.returncode, done.stdout) == (0, "")
    assert offline.before or offline.sockets()


def test_the_namespace_has_no_interface_that_is_up(tmp_path) -> None:
    here = Offline(namespace(), {}, tmp_path)
    code = "import socket; print([name for _, name in socket.if_nameindex()])"
    found = ast.literal_eval(here.run("-c", code).stdout)
    # The loopback interface exists in every namespace; unless somebody sets it up, it is down.
    assert set(found) <= {"lo"}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_work(offline, name, filter_kit, colour_photos, tmp_path) -> None:
    module, *arguments = COMMANDS[name]
    if module == TOOLKIT:
        pytest.importorskip("typer")
    places = {"KIT": filter_kit, "PHOTOS": colour_photos}
    places |= {"NEW": tmp_path / "new", "FOLDER": tmp_path / "made"}
    for word, place in places.items():
        arguments = [item.replace(word, str(place)) for item in arguments]
    done = offline.run(*module, *arguments)
    assert done.returncode == (2 if name in REFUSED else 0), done.stdout
    assert SAYS.get(name, "") in done.stdout
    assert offline.sockets() == []


@pytest.mark.parametrize("engine", ["auto", "onnxruntime", "litert"])
def test_a_classification_leaves_nothing_at_home(engine, filter_kit, colour_photos, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    # ONNX Runtime sends and keeps no statistics where it finds the variables of a CI service.
    kept = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
    plain = {name: os.environ[name] for name in kept if name in os.environ}
    command = [sys.executable, *CLASSIFY, "--kit", filter_kit, "--engine", engine, colour_photos]
    asked = {"HOME": str(home), "ORT_DISABLE_TELEMETRY": "0"}
    subprocess.run(command, env={**plain, **asked}, check=True, timeout=120)
    found = {file.relative_to(home).as_posix() for file in home.rglob("*") if file.is_file()}
    # Which model is the fastest is remembered.
    assert found == ({".cache/rs-toolkit/fastest.json"} if engine == "auto" else set())


def network_modules(text: str) -> set[str]:
    """Return the modules of NETWORK that a program imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {found for found in NETWORK for name in names if f"{name}.".startswith(f"{found}.")}


def test_the_runtime_imports_no_module_for_networks() -> None:
    files = sorted(RUNTIME.rglob("*.py"))
    assert len(files) > 20
    assert {file.name: network_modules(file.read_text("utf-8")) for file in files} == {
        file.name: set() for file in files
    }


@pytest.mark.parametrize(
    "text", ["import socket", "def f():\n    from urllib import request", "import http.client as c"]
)
def test_modules_for_networks_are_found(text) -> None:
    assert network_modules(text)
    assert not network_modules("import urllib.parse, json")
