from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image

from rs_toolkit.data.index import read_index
from rs_toolkit.errors import ConfigError
from rs_toolkit.review import journal
from rs_toolkit.review.journal import JOURNAL, read_decisions
from rs_toolkit.review.server import ReviewServer
from rs_toolkit.review.session import Session

_SAMPLE = runpy.run_path(str(Path(__file__).with_name("review_folder.py")))
clean_folder = _SAMPLE["clean_folder"]
DISC = 2  # an item of one photo


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    """A clean folder that no test changes."""
    return clean_folder(tmp_path_factory.mktemp("review"))


@pytest.fixture
def folder(tmp_path, sample) -> Path:
    """A clean folder of photos that no test changes."""
    return Path(shutil.copytree(sample, tmp_path / "clean"))


class Client:
    """Talks to one server, by default as its page does."""

    def __init__(self, server: ReviewServer) -> None:
        self.port, self.token = server.server_port, server.secrets.token
        self.ticket, self.session = server.secrets.ticket, server.secrets.session

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str | None):
        """Return (status, headers, body); keywords are headers, None leaves one out."""
        usual = {"X-Review-Token": self.token, "Host": f"127.0.0.1:{self.port}"}
        if body is not None:
            usual["Content-Type"] = "application/json"
        usual |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            sent = {name: value for name, value in usual.items() if value is not None}
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def post(self, path: str, value: object, **headers: str | None):
        status, _, body = self.ask("POST", path, json.dumps(value).encode(), **headers)
        return status, body

    def get_json(self, path: str):
        status, _, body = self.ask("GET", path)
        assert status == 200
        return json.loads(body)


class TestServer:
    @pytest.fixture
    def session(self, folder) -> Session:
        return Session(folder, pytest.fail)

    @pytest.fixture
    def client(self, session) -> Iterator[Client]:
        with ReviewServer(session) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            yield Client(server)
            server.shutdown()
            thread.join()

    def keep(self, session: Session) -> dict[str, object]:
        return {"item": DISC, "photo": session.folder.items[DISC].photos[0], "action": "keep"}

    PATHS = ("/", "/review.js", "/api/queue", "/api/items/0", "/photos/0/small", "/nowhere")

    @pytest.mark.parametrize("path", PATHS)
    def test_nothing_without_a_secret(self, client, path) -> None:
        others = (client.session, client.ticket)
        for wrong in (None, "", "x", client.token[:-1], client.token + "x", "\xe9", *others):
            assert client.ask("GET", path, X_Review_Token=wrong)[0] == 403
        for wrong in (client.session[:-1], client.token, client.ticket):
            cookie = f"review-{client.port}={wrong}"
            assert client.ask("GET", path, X_Review_Token=None, Cookie=cookie)[0] == 403
        for name in ("ticket", "token"):
            for secret in (client.token, client.session, client.ticket[:-1], ""):
                query = f"{path}?{name}={secret}"
                assert client.ask("GET", query, X_Review_Token=None)[0] == 403
        if path != "/":
            query = f"{path}?ticket={client.ticket}"
            assert client.ask("GET", query, X_Review_Token=None)[0] == 403

    def test_the_address_gives_the_cookie_and_the_cookie_lets_in(self, client) -> None:
        page = f"/?ticket={client.ticket}"
        # A server that ran on this port before left its cookie.
        stale = f"review-{client.port}=stale"
        status, headers, body = client.ask("GET", page, X_Review_Token=None, Cookie=stale)
        assert status == 200 and body.startswith(b"<!doctype html>")
        cookie, *flags = headers["Set-Cookie"].split("; ")
        assert set(flags) == {"HttpOnly", "SameSite=Strict", "Path=/"}
        others = f"a:b=1; odd; {cookie}; review-1=x"
        assert client.ask("GET", "/api/queue", X_Review_Token=None, Cookie=others)[0] == 200
        assert "Set-Cookie" not in client.ask("GET", "/")[1]

    def test_the_cookie_changes_nothing_and_does_not_lead_to_the_token(
        self, client, session, folder
    ) -> None:
        """Browsers send it to every other server on 127.0.0.1, of whatever port."""
        _, headers, first = client.ask("GET", f"/?ticket={client.ticket}", X_Review_Token=None)
        cookie = headers["Set-Cookie"].split("; ")[0]
        assert client.token in first.decode() and client.token not in cookie
        for path in (*self.PATHS, "/relabel.js", "/dom.js", f"/?ticket={client.ticket}"):
            _, headers, body = client.ask("GET", path, X_Review_Token=None, Cookie=cookie)
            assert client.token.encode() not in body + str(headers).encode(), path
        stolen = {"Cookie": cookie, "X_Review_Token": cookie.split("=")[1]}
        for sent in (stolen, {"Cookie": cookie, "X_Review_Token": None}):
            status, body = client.post("/api/decide", self.keep(session), **sent)
            assert status == 403 and b"may look, but not decide" in body
        assert not (folder / JOURNAL).exists()

    def test_the_address_opens_the_page_once(self, client) -> None:
        page = f"/?ticket={client.ticket}"

        def opened(**headers: str) -> tuple[int, bytes]:
            status, _, body = client.ask("GET", page, X_Review_Token=None, **headers)
            return status, body

        # Neither is an opening.
        assert client.ask("HEAD", page, X_Review_Token=None)[0] == 403
        assert opened(Host="evil.example")[0] == 403
        assert opened(Sec_Purpose="prefetch;prerender")[0] == 403
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: opened(), range(16)))
        assert [status for status, _ in answers].count(200) == 1
        (refused,) = {body.decode() for status, body in answers if status != 200}
        assert refused.startswith("This address opens the page only once, and was used.")
        assert "start it again and open the new address" in refused
        assert client.token not in refused

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "", None])
    def test_other_hosts_are_refused(self, client, host) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
        with contextlib.closing(connection):
            connection.putrequest("GET", "/api/queue", skip_host=True)
            connection.putheader("X-Review-Token", client.token)
            if host is not None:
                connection.putheader("Host", host)
            connection.endheaders()
            assert connection.getresponse().status == 403
        assert client.ask("GET", "/api/queue", Host=f"LOCALHOST:{client.port}")[0] == 200

    def test_a_change_needs_the_token_in_a_header_and_json(self, client, session, folder) -> None:
        row, cookie = self.keep(session), f"review-{client.port}={client.session}"
        assert client.post("/api/decide", row, X_Review_Token=None, Cookie=cookie)[0] == 403
        assert client.post(f"/?ticket={client.ticket}", row, X_Review_Token=None)[0] == 403
        for kind in ("text/plain", "application/x-www-form-urlencoded", None):
            assert client.post("/api/decide", row, Content_Type=kind)[0] == 403
        assert client.ask("GET", "/api/decide")[0] == 405
        assert client.ask("OPTIONS", "/api/decide")[0] == 403
        assert not (folder / JOURNAL).exists()
        assert client.post("/api/decide", row)[0] == 200

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", 400),
            (b"{", 400),
            (b"[1]", 400),
            (b"[" * 8000, 400),
            (b"\xff", 400),
            (b'{"item": 99}', 400),
            (b" " * 8193, 413),
        ],
    )
    def test_bad_bodies(self, client, folder, body, status) -> None:
        got, headers, answer = client.ask("POST", "/api/decide", body)
        assert got == status and headers["Content-Type"] == "application/json"
        assert json.loads(answer)["error"]
        assert not (folder / JOURNAL).exists()

    def test_a_body_of_unknown_length_is_refused(self, client) -> None:
        chunked = {"Transfer_Encoding": "chunked", "Content_Length": None}
        assert client.ask("POST", "/api/undo", b"0\r\n\r\n", **chunked)[0] in (400, 413)
        assert client.ask("POST", "/api/undo", b"{}", Content_Length="-1")[0] == 413

    @pytest.mark.parametrize("path", ["/", "/api/queue", "/photos/0/small", "/nowhere", "/wrong"])
    def test_every_answer_is_protected(self, client, path) -> None:
        token = "x" if path == "/wrong" else client.token
        _, headers, _ = client.ask("GET", path, X_Review_Token=token)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"

    def test_photos_by_number_only(self, client, session) -> None:
        count = len(session.folder.photos)
        for size, longest in (("small", 400), ("large", 1280)):
            status, headers, data = client.ask("GET", f"/photos/0/{size}")
            assert (status, headers["Content-Type"]) == (200, "image/jpeg")
            assert max(Image.open(io.BytesIO(data)).size) <= longest
        root = session.folder.root
        for path in (
            *(f"/photos/{count}/small", "/photos/-1/small", "/photos/0/huge", "/photos/0"),
            *("/photos/", "/photos/../clean.json", "/photos/%2e%2e/clean.json", "/clean.json"),
            *(f"/photos/{'9' * 5000}/small", f"/photos/{root}/discidae/0.jpg", "/review/"),
            *("/journal.py", "/api/items/99999", "/api/items/-1"),
        ):
            assert client.ask("GET", path)[0] in (400, 404), path

    def test_an_unreadable_photo_is_grey(self, client, session) -> None:
        (n,) = session.folder.items[0].photos
        status, _, data = client.ask("GET", f"/photos/{n}/small")
        assert status == 200
        assert all(abs(v - 128) < 4 for v in Image.open(io.BytesIO(data)).getpixel((1, 1)))

    def test_decide_and_undo(self, client, session, folder) -> None:
        row = self.keep(session) | {"note": " looks\nfine "}
        status, body = client.post("/api/decide", row)
        assert status == 200 and json.loads(body)["decided"] == {str(DISC): True}
        (line,) = (folder / JOURNAL).read_text().splitlines()
        written = json.loads(line)
        assert set(written) == {"time", "path", "sha256", "action", "note"}
        assert (written["path"], written["note"]) == ("discidae/0.jpg", "looks fine")
        assert [item["decided"] for item in client.get_json("/api/queue")["items"]].count(True) == 1
        assert client.post("/api/undo", {})[0] == 200
        assert read_decisions(folder / JOURNAL) == {}
        assert client.post("/api/undo", {}) == (400, b'{"error": "nothing to take back"}')

    def test_a_journal_that_cannot_be_written_is_said(self, client, session, monkeypatch) -> None:
        monkeypatch.setattr(session, "_journal", session.folder.root)
        status, body = client.post("/api/decide", self.keep(session))
        assert status == 500 and "not saved: Is a directory" in json.loads(body)["error"]

    def test_decisions_at_the_same_time_are_all_kept(self, client, session, folder) -> None:
        rows = [
            {"item": number, "photo": item.photos[0], "action": action}
            for number, item in enumerate(session.folder.items)
            for action in ("keep", "drop")
        ]
        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(lambda row: client.post("/api/decide", row)[0], rows * 4))
        assert set(done) == {200}
        assert len(journal.read_journal(folder / JOURNAL, pytest.fail)) == len(rows) * 4

    def test_only_this_machine_is_listened_to(self, session) -> None:
        with ReviewServer(session) as server:
            assert server.socket.getsockname()[0] == "127.0.0.1"

    def test_a_port_in_use(self, session, one_line) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(ConfigError) as caught:
                ReviewServer(session, port)
        assert f"port {port} of 127.0.0.1 is in use" in one_line(str(caught.value))


def test_the_page_has_all_it_needs_and_nothing_from_elsewhere() -> None:
    package = files("rs_toolkit.review")
    names = ("page.html", "review.css", "review.js", "relabel.js", "dom.js")
    texts = {name: package.joinpath(name).read_text("utf-8") for name in names}
    for name, text in texts.items():
        assert "http:" not in text and "https:" not in text, name
        assert "innerHTML" not in text and "style=" not in text and "onclick" not in text
    for name in names[1:]:
        assert f'"/{name}"' in texts["page.html"] + texts["review.js"]


_PROGRAM = """
import signal, sys
# A suite in the background ignores Ctrl-C, and so would its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from rs_toolkit.progress import Progress
from rs_toolkit.review.server import serve

class Plain(Progress):
    def note(self, text):
        print(text, flush=True)

serve(Path(sys.argv[1]), open_browser=False, progress=Plain())
print("returned", flush=True)
"""


class TestProcess:
    @pytest.fixture
    def process(self, folder) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(folder)], stdout=subprocess.PIPE, text=True
        ) as process:
            yield process
            process.kill()

    def client(self, process: subprocess.Popen[str]) -> Client:
        for line in process.stdout or ():
            if line.startswith("http://127.0.0.1:"):
                port, path = line.strip().removeprefix("http://127.0.0.1:").split("/", 1)
                client = Client.__new__(Client)
                client.port, client.token = int(port), ""
                page = client.ask("GET", f"/{path}")[2].decode()
                client.token = page.split('name="review-token" content="')[1].split('"')[0]
                return client
        raise AssertionError("no address")

    def test_a_decision_outlives_kill_9(self, process, folder) -> None:
        client = self.client(process)
        places = {item.path: n for n, item in enumerate(read_index(folder / "index.parquet"))}
        row = {"item": DISC, "photo": places["discidae/0.jpg"], "action": "drop"}
        assert client.post("/api/decide", row)[0] == 200
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL
        (found,) = read_decisions(folder / JOURNAL, read_index(folder / "index.parquet")).values()
        assert (found.path, found.action) == ("discidae/0.jpg", "drop")

    def test_ctrl_c_ends_it(self, process, folder) -> None:
        client = self.client(process)
        assert client.ask("GET", "/api/queue")[0] == 200
        process.send_signal(signal.SIGINT)
        output = (process.stdout or io.StringIO()).read()
        assert process.wait(20) == 0
        assert output == f"5 of 5 left; see {folder / JOURNAL}\nreturned\n"
