"""Access control: every request to the review page is checked here first.

A request must name this server as its host; otherwise a web site could reach the server under the
site's own name (DNS rebinding).  Three secrets, new for every server, decide what it may do:

- The *ticket* is in the address that is printed, and opens the page once.  Whoever reads it later,
  in the browser's history or a list of processes, gets nothing.
- The *session* is a cookie that opening the page sets.  It allows reading only: cookies ignore
  ports, so the browser also sends it to every other server on 127.0.0.1.
- The *token* is in that first page only, and the page's script keeps it for its tab.  A change must
  carry it in a header, as JSON, which no other site's page can send (cross-site request forgery).
"""

from __future__ import annotations

import hmac
import itertools
import secrets as random
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

__all__ = ["FIRST", "HOST", "MAX_BODY", "Application", "Secrets", "guarded", "read_body"]

HOST = "127.0.0.1"
MAX_BODY = 8192
"""Most bytes in the body of a request."""

FIRST = "rs_toolkit.first_opening"
"""Key in the WSGI environ of the request that opens the page for the first time."""

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

_AGAIN = "end rs-toolkit review with Ctrl-C, start it again and open the new address"
_USED = (
    "This address opens the page only once, and was used. Go on in the tab it opened; if that is "
    f"closed, {_AGAIN} (with --no-browser to choose the browser yourself)."
)
_ONLY_LOOK = (
    "Not saved: this tab may look, but not decide. Go on in the tab that opened first; if that is "
    f"closed, {_AGAIN}."
)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
_HEADERS = [
    ("Content-Security-Policy", _POLICY),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]


class Secrets(NamedTuple):
    """The secrets of one server, explained in the module's docstring.

    Each has 43 characters, none of which needs escaping in a cookie, an address or a page.
    """

    ticket: str
    session: str
    token: str

    @classmethod
    def new(cls) -> Secrets:
        """Return new random secrets."""
        return cls(*(random.token_urlsafe(32) for _ in cls._fields))


def guarded(app: Application, secrets: Secrets, port: int) -> Application:
    """Return ``app`` with access control: refuse other requests with 403, add secure headers.

    For the first opening of the page, and for no other request, :data:`FIRST` is set in the
    environ that ``app`` gets.  ``secrets`` and ``port`` are those of the server.
    """
    cookie = f"review-{port}"
    hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
    lock, openings = threading.Lock(), itertools.count()

    def refusal(environ: dict[str, Any]) -> str | None:
        may_change = _same(environ.get("HTTP_X_REVIEW_TOKEN", ""), secrets.token)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            if environ.get("CONTENT_TYPE", "").split(";")[0].strip().lower() != "application/json":
                return "Changes must be sent as application/json."
            return None if may_change else _ONLY_LOOK
        if may_change or _same(_cookie(environ, cookie), secrets.session):
            return None
        return "Open the address that rs-toolkit review printed."

    def opening(environ: dict[str, Any]) -> str | None:
        # A browser that prefetches the page may never show it, and would use up the ticket.
        if environ.get("HTTP_SEC_PURPOSE", "").startswith("prefetch"):
            return "This address is not for prefetching. Open it in a tab."
        with lock:
            return _USED if next(openings) else None

    def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        headers = list(_HEADERS)
        is_opening = _same(_query_ticket(environ), secrets.ticket)
        problem: str | None = f"This server answers only as {HOST}:{port}."
        if environ.get("HTTP_HOST", "").lower() in hosts:
            problem = (opening if is_opening else refusal)(environ)
        if is_opening and problem is None:
            value = f"{cookie}={secrets.session}; HttpOnly; SameSite=Strict; Path=/"
            headers.append(("Set-Cookie", value))
            environ[FIRST] = True

        def start(status: str, own: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [*own, *headers], exc_info)

        if problem is None:
            return app(environ, start)
        read_body(environ)
        start("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [problem.encode()]

    return wsgi


def _same(text: str, secret: str) -> bool:
    return hmac.compare_digest(text.encode("utf-8", "replace"), secret.encode())


def _cookie(environ: dict[str, Any], name: str) -> str:
    # http.cookies stops at the first malformed cookie, and other servers here may have set some.
    pairs = (part.strip().partition("=") for part in environ.get("HTTP_COOKIE", "").split(";"))
    return next((value for key, _, value in pairs if key == name), "")


def _query_ticket(environ: dict[str, Any]) -> str:
    query: str = environ.get("QUERY_STRING", "")
    is_page = environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"] == "/"
    return query.removeprefix("ticket=") if is_page and query.startswith("ticket=") else ""


def read_body(environ: dict[str, Any]) -> bytes | None:
    """Return a request's body; None if it is longer than MAX_BODY or its length is not given."""
    length = environ.get("CONTENT_LENGTH") or ""
    if not (length.isascii() and length.isdigit() and len(length) < 9):
        return None
    data: bytes = environ["wsgi.input"].read(min(int(length), 8 * MAX_BODY))
    return data if len(data) <= MAX_BODY else None
