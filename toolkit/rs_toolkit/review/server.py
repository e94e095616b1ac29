"""The web server of the review page, on 127.0.0.1, and the requests that it answers."""

from __future__ import annotations

import errno
import functools
import json
import socketserver
import sys
import threading
import webbrowser
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from rs_toolkit.errors import ConfigError
from rs_toolkit.progress import Progress
from rs_toolkit.review import guard
from rs_toolkit.review.images import SIDES, render
from rs_toolkit.review.journal import JOURNAL
from rs_toolkit.review.session import Refused, Session

__all__ = ["ReviewServer", "serve"]

_FILES = ("review.css", "review.js", "relabel.js", "dom.js")
_NO_TOKEN = '<meta name="review-token" content="">'
# A decoded photo can take 600 MB.
_DECODERS = threading.Semaphore(2)


def serve(folder: Path, *, port: int = 0, open_browser: bool, progress: Progress) -> None:
    """Show the review page of a clean folder until Ctrl-C; then return.

    ``progress`` shows the page's address, what cannot be used and, at the end, what is left.

    Raises
    ------
    ConfigError
        ``port`` of 127.0.0.1 (0: any free one) is taken or not allowed.
    DataError, OSError
        See :class:`rs_toolkit.review.session.Session`.
    """
    session = Session(folder, progress.note)
    with ReviewServer(session, port) as server:
        total = len(session.folder.items)
        progress.note(f"{total} to review, {session.left} not decided yet; Ctrl-C ends")
        progress.note(server.url)
        if open_browser:
            # With some browsers, the call returns only when the browser is closed.
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            # Wait until a decision that is being written is on the disk.
            with session.lock:
                progress.note(f"{session.left} of {total} left; see {folder / JOURNAL}")


class ReviewServer(socketserver.ThreadingMixIn, WSGIServer):
    """A server of one session on 127.0.0.1; each request has its own thread.

    ``port`` and errors are those of :func:`serve`; requests must have the ``secrets``.
    """

    daemon_threads = True

    def __init__(self, session: Session, port: int = 0) -> None:
        try:
            super().__init__((guard.HOST, port), _Handler)
        except OSError as error:
            known = {errno.EADDRINUSE: "in use", errno.EACCES: "not allowed"}
            reason = known.get(error.errno or 0) or error.strerror
            raise ConfigError(
                f"port {port} of {guard.HOST} is {reason}; choose another, or leave --port out"
            ) from None
        self.secrets = guard.Secrets.new()
        app = _application(session, self.secrets.token)
        self.set_app(guard.guarded(app, self.secrets, self.server_port))

    @property
    def url(self) -> str:
        """The page's address, which can be opened only once."""
        return f"http://{guard.HOST}:{self.server_port}/?ticket={self.secrets.ticket}"

    def server_bind(self) -> None:
        """Bind without asking the network for this machine's name, as the base class would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = guard.HOST, int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print no traceback for connections that the browser closed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(WSGIRequestHandler):
    timeout = 30

    def log_message(self, *arguments: Any) -> None:
        """Log nothing, because the address of the page holds a secret."""


def _application(session: Session, token: str) -> guard.Application:
    """Return the web application, which answers requests that passed the access control."""
    from bottle import Bottle, HTTPError, response

    class App(Bottle):  # type: ignore[misc]
        def default_error_handler(self, res: Any) -> str:
            response.content_type = "application/json"
            return json.dumps({"error": str(res.body)})

    app = App()
    _add_files(app, token)

    @functools.lru_cache(maxsize=64)
    def photo(n: int, size: str) -> bytes:
        with _DECODERS:
            return render(session.folder.photos[n], session.folder.root, SIDES[size])

    @app.get("/photos/<n:re:[0-9]{1,9}>/<size:re:large|small>")  # type: ignore[untyped-decorator]
    def show(n: str, size: str) -> bytes:
        if int(n) >= len(session.folder.photos):
            raise HTTPError(404, "no such photo")
        response.content_type = "image/jpeg"
        return photo(int(n), size)

    @app.get("/api/items/<number:re:[0-9]{1,9}>")  # type: ignore[untyped-decorator]
    def item(number: str) -> dict[str, Any]:
        return _answer(session.item, int(number))

    @app.post("/api/decide")  # type: ignore[untyped-decorator]
    def decide() -> dict[str, Any]:
        row = _sent()
        names = ("item", "photo", "action", "label", "note")
        return _answer(session.decide, *(row.get(name) for name in names))

    @app.post("/api/undo")  # type: ignore[untyped-decorator]
    def undo() -> dict[str, Any]:
        _sent()
        return _answer(session.undo)

    app.get("/api/queue", callback=session.queue)
    return app


def _add_files(app: Any, token: str) -> None:
    from bottle import HTTPResponse, request, response

    def read(name: str) -> str:
        return files("rs_toolkit.review").joinpath(name).read_text("utf-8")

    @app.get("/")  # type: ignore[untyped-decorator]
    def page() -> str:
        # Only the first opening gets the token.
        own = _NO_TOKEN.replace('""', f'"{token}"') if guard.FIRST in request.environ else _NO_TOKEN
        return read("page.html").replace(_NO_TOKEN, own)

    @app.get(f"/<name:re:{'|'.join(_FILES)}>")  # type: ignore[untyped-decorator]
    def file(name: str) -> str:
        kind = "css" if name.endswith(".css") else "javascript"
        response.content_type = f"text/{kind}; charset=utf-8"
        return read(name)

    # Browsers request an icon, although the page has none.
    app.get("/favicon.ico", callback=lambda: HTTPResponse(status=204))


def _sent() -> dict[str, Any]:
    """Return the JSON object in the body of the request."""
    from bottle import HTTPError, request

    data = guard.read_body(request.environ)
    if data is None:
        raise HTTPError(413, f"wanted a Content-Length of at most {guard.MAX_BODY}")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise HTTPError(400, "wanted one JSON object")
    return value


def _answer(ask: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Call a method of the session; turn its errors into HTTP errors."""
    from bottle import HTTPError

    try:
        return ask(*arguments)
    except Refused as error:
        raise HTTPError(400, str(error)) from None
    except OSError as error:
        raise HTTPError(500, f"not saved: {error.strerror or error}") from None
