"""Who may ask: every request to the review page is checked here first.

A request must name this server as its host (else a web site could reach it under a name of its
own: DNS rebinding) and carry the token: the page's address does so once, and the answer sets a
cookie for what follows.  A request that changes something must carry the token in a header, as
JSON, which no other site's page can send (cross-site request forgery).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["HOST", "MAX_BODY", "Application", "guarded", "read_body"]

HOST = "127.0.0.1"
MAX_BODY = 8192
"""Most bytes of a request."""

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

_POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "connect")),
        *(f"{name} 'none'" for name in ("base-uri", "form-action", "frame-ancestors")),
        "require-trusted-types-for 'script'",
    )
)
_HEADERS = [
    ("Content-Security-Policy", _POLICY),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]


def guarded(app: Application, token: str, port: int) -> Application:
    """Refuse what does not come from the page, and send the headers that protect it.

    Parameters
    ----------
    app
        Answers what may be answered.
    token
        Secret, of letters that need no escaping in a cookie or an address.
    port
        Of :data:`HOST`.
    """
    cookie = f"review-{port}"
    hosts = {f"{name}:{port}" for name in (HOST, "localhost")}

    def is_token(text: str) -> bool:
        return hmac.compare_digest(text.encode("utf-8", "replace"), token.encode())

    def refusal(environ: dict[str, Any]) -> str | None:
        if environ.get("HTTP_HOST", "").lower() not in hosts:
            return f"This server answers only as {HOST}:{port}."
        sent = environ.get("HTTP_X_REVIEW_TOKEN", "")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            if environ.get("CONTENT_TYPE", "").split(";")[0].strip().lower() != "application/json":
                return "Changes must be sent as application/json."
        else:
            sent = sent or _query_token(environ) or _cookie(environ, cookie)
        return None if is_token(sent) else "Open the address that rs-toolkit review printed."

    def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        problem = refusal(environ)
        headers = list(_HEADERS)
        if problem is None and is_token(_query_token(environ)):
            headers.append(("Set-Cookie", f"{cookie}={token}; HttpOnly; SameSite=Strict; Path=/"))

        def start(status: str, own: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [*own, *headers], exc_info)

        if problem is None:
            return app(environ, start)
        read_body(environ)
        start("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [problem.encode()]

    return wsgi


def _cookie(environ: dict[str, Any], name: str) -> str:
    # http.cookies gives up at the first odd cookie, and other servers here may have set some.
    pairs = (part.strip().partition("=") for part in environ.get("HTTP_COOKIE", "").split(";"))
    return next((value for key, _, value in pairs if key == name), "")


def _query_token(environ: dict[str, Any]) -> str:
    query: str = environ.get("QUERY_STRING", "")
    is_page = environ["PATH_INFO"] == "/" and query.startswith("token=")
    return query.removeprefix("token=") if is_page else ""


def read_body(environ: dict[str, Any]) -> bytes | None:
    """Return what was sent; None if that is longer than MAX_BODY or of no stated length."""
    length = environ.get("CONTENT_LENGTH") or ""
    if not (length.isascii() and length.isdigit() and len(length) < 9):
        return None
    data: bytes = environ["wsgi.input"].read(min(int(length), 8 * MAX_BODY))
    return data if len(data) <= MAX_BODY else None
