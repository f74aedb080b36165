"""The page as a server: what it answers, to whom, and how it ends."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fgaf import FgafError
from fgaf.model.live import LiveFrame, web
from fgaf.model.live.page import About, Page
from tests.live.pursuit import Pursuit

PATIENCE_S = 60.0


def ask(page: Page, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    return answer.status, read


def test_a_snapshot_is_the_frame_and_its_picture(
    page: Page, result: Callable[..., LiveFrame]
) -> None:
    page.show(result(7))
    status, body = ask(page, "GET", "/snapshot")
    read = json.loads(body)
    assert status == 200
    assert read["frame"]["frame_id"] == 7
    assert read["shape"] == [128, 160]
    with Image.open(io.BytesIO(base64.b64decode(read["jpeg"]))) as picture:
        assert picture.size == (160, 128)
        assert abs(int(np.asarray(picture)[3, 3]) - 120) < 4


def test_wide_frames_and_16_bits_are_made_small(
    about: About, result: Callable[..., LiveFrame]
) -> None:
    with Page(0, replace(about, bit_depth=12)) as page:
        page.show(result(pixels=np.full((300, 2000), 2048, np.uint16)))
        read = page.snapshot(None)
    with Image.open(io.BytesIO(base64.b64decode(read["jpeg"]))) as picture:
        assert picture.size == (667, 100)
        assert abs(int(np.asarray(picture)[3, 3]) - 128) < 4


def test_a_request_moves_the_drive_and_nothing_else_does(page: Page, pursuit: Pursuit) -> None:
    kind = {"Content-Type": "application/json"}
    assert ask(page, "POST", "/track", '{"id": 2}', **kind)[0] == 200
    assert json.loads(ask(page, "GET", "/snapshot")[1])["follows"] == 2
    assert ask(page, "POST", "/track", '{"id": null}', **kind)[0] == 200
    assert ask(page, "POST", "/stop", "{}", **kind)[0] == 200
    assert json.loads(ask(page, "GET", "/snapshot")[1])["follows"] is None
    assert pursuit.asked == [2, None, "release"]
    for path in ("/track", "/stop"):
        assert ask(page, "POST", path, '{"id": 2}')[0] == 400
    for wrong in ('{"id": "2"}', '{"id": true}', "{}", "x", '{"id": -1}'):
        assert ask(page, "POST", "/track", wrong, **kind)[0] == 400
    assert ask(page, "GET", "/", Host="evil.example:80")[0] == 403
    assert ask(page, "GET", "/else")[0] == 404
    assert pursuit.asked == [2, None, "release"]


@pytest.mark.parametrize("path", ["/track", "/stop"])
def test_without_track_a_request_to_move_is_refused(path: str, about: About) -> None:
    with Page(0, about) as page:
        kind = {"Content-Type": "application/json"}
        assert ask(page, "POST", path, '{"id": 1}', **kind)[0] == 409


class Viewer(threading.Thread):
    """Asks a page for snapshots, as a browser does, until it is told the end."""

    def __init__(self, page: Page) -> None:
        super().__init__(daemon=True)
        self.ended: str | None = None
        self._asked = threading.Event()
        self._connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=PATIENCE_S)
        self.start()
        assert self._asked.wait(PATIENCE_S)

    def run(self) -> None:
        while self.ended is None:
            self._connection.request("GET", "/snapshot")
            self.ended = json.loads(self._connection.getresponse().read())["ended"]
            self._asked.set()
        self._connection.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that waits for good until all who look are told the end."""
    monkeypatch.setattr("fgaf.model.live.page._FAREWELL_S", 1e6)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("viewers", [0, 3])
def test_viewers_are_told_why_a_run_ended(viewers: int, about: About) -> None:
    with Page(0, about) as page:
        looking = [Viewer(page) for _ in range(viewers)]
        page.end("the limit of --frames was reached")
    for viewer in looking:
        viewer.join(PATIENCE_S)
        assert viewer.ended == "the limit of --frames was reached"


@pytest.mark.usefixtures("patient")
def test_viewers_are_told_the_error_that_ended_a_run(about: About) -> None:
    looking: list[Viewer] = []

    def run() -> None:
        with Page(0, about) as page:
            looking.append(Viewer(page))
            raise FgafError("the camera was unplugged")

    with pytest.raises(FgafError, match="was unplugged"):
        run()
    looking[0].join(PATIENCE_S)
    assert looking[0].ended == "error: the camera was unplugged"


def test_a_port_that_is_taken_is_one_line(page: Page, about: About) -> None:
    with pytest.raises(FgafError, match="choose another port with --page"):
        Page(page.port, about)


def talk(page: Page, data: bytes) -> bytes:
    """Send bytes as they are, and read until the other side closes."""
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as connection:
        connection.sendall(data)
        with suppress(OSError):  # the page may have closed already
            connection.shutdown(socket.SHUT_WR)
        found = b""
        while block := connection.recv(1 << 16):
            found += block
        return found


HOST = b"Host: localhost\r\n"
TRACK = b"POST /track HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
MALFORMED = {
    "nothing": (b"", b""),
    "noise": (bytes(range(256)) * 8, b"400"),
    "half a request": (b"GET / HT", b"400"),
    "a long line": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", b"414"),
    "a long header": (b"GET / HTTP/1.1\r\nA: " + b"a" * 100_000 + b"\r\n\r\n", b"431"),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n", b"431"),
    "another method": (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", b"501"),
    "another version": (b"GET / HTTP/9.9\r\n" + HOST + b"\r\n", b"505"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", b"403"),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST * 2 + b"\r\n", b"403"),
    "a bad host": (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", b"403"),
    "a user as host": (b"GET / HTTP/1.1\r\nHost: a@localhost\r\n\r\n", b"403"),
    "an odd digit": (b"GET /snapshot?after=\xb2 HTTP/1.1\r\n" + HOST + b"\r\n", b"200"),
    "a long number": (
        b"GET /snapshot?after=" + b"9" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"200",
    ),
    "an odd length": (TRACK + b"Content-Length: \xb2\r\n\r\n{}", b"400"),
    "a negative length": (TRACK + b"Content-Length: -1\r\n\r\n{}", b"400"),
    "too much": (TRACK + b"Content-Length: 99999999999\r\n\r\n{}", b"400"),
    "less than said": (TRACK + b"Content-Length: 900\r\n\r\n{}", b"400"),
    "in pieces": (TRACK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", b"400"),
    "nested": (TRACK + b"Content-Length: 1000\r\n\r\n" + b"[" * 1000, b"400"),
    "no text": (TRACK + b"Content-Length: 2\r\n\r\n\xff\xfe", b"400"),
    "a huge cell": (TRACK + b'Content-Length: 400\r\n\r\n{"id": ' + b"9" * 392 + b"}", b"400"),
    "another page": (TRACK + b"Origin: http://evil.example\r\nContent-Length: 2\r\n\r\n{}", b"403"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_answered_in_silence(
    name: str, page: Page, pursuit: Pursuit, capfd: pytest.CaptureFixture[str]
) -> None:
    data, status = MALFORMED[name]
    answer = talk(page, data)
    if status:
        assert status in answer[:400]
    else:
        assert answer == b""
    assert ask(page, "GET", "/")[0] == 200
    assert pursuit.asked == []
    assert capfd.readouterr().err == ""


def test_clients_that_leave_are_no_error(
    page: Page, capfd: pytest.CaptureFixture[str], result: Callable[..., LiveFrame]
) -> None:
    """Before the request, within it, within the answer, and while the page waits for news."""
    page.show(result(7))
    reset = struct.pack("ii", 1, 0)
    whole = b"GET /snapshot HTTP/1.1\r\n" + HOST + b"\r\n"
    waits = whole.replace(b"snapshot", b"snapshot?after=7")
    for sent, read in ((b"", 0), (whole[:20], 0), (whole * 50, 1), (whole * 50, 0), (waits, 0)):
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", page.port), timeout=10) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                connection.sendall(sent)
                connection.recv(read)
    deadline = time.monotonic() + PATIENCE_S
    while any("process_request" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert ask(page, "GET", "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_a_request_that_never_ends_is_ended(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_PATIENCE_S", 0.3)
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as connection:
        begun = time.monotonic()
        connection.settimeout(0.02)
        while True:
            try:
                connection.sendall(b"G")
                if connection.recv(100) == b"":
                    break
            except TimeoutError:
                assert time.monotonic() - begun < PATIENCE_S
            except ConnectionError:
                break
    assert time.monotonic() - begun >= 0.25


def test_too_many_connections_are_closed_and_do_not_count_for_ever(page: Page) -> None:
    with ExitStack() as opened:
        held = [
            opened.enter_context(socket.create_connection(("127.0.0.1", page.port), timeout=10))
            for _ in range(65)
        ]
        with suppress(ConnectionError):
            assert held[-1].recv(1) == b""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with suppress(OSError, http.client.HTTPException):
            assert ask(page, "GET", "/")[0] == 200
            break
        assert time.monotonic() < deadline


def test_every_answer_keeps_other_pages_out(page: Page) -> None:
    for path, host in (("/", "localhost"), ("/snapshot", "localhost"), ("/", "evil"), ("/no", "")):
        connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
        connection.request("GET", path, headers={"Host": host})
        headers = connection.getresponse().headers
        connection.close()
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        policy = headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "Python" not in headers["Server"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1", 200),
        (f"{socket.gethostname().upper()}:8765", 200),
        ("scope.lab.example:1", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("203.0.113.7", 403),
    ],
)
def test_the_host_is_checked_when_open_to_others(host: str, status: int, open_page: Page) -> None:
    assert ask(open_page, "GET", "/", Host=host)[0] == status


def test_a_page_open_to_others_needs_its_token_to_move_the_drive(
    open_page: Page, page: Page, pursuit: Pursuit
) -> None:
    kind = {"Content-Type": "application/json"}
    assert len(open_page.token) > 20
    assert open_page.address.endswith(f"/?token={open_page.token}")
    for wrong in ({}, {"X-Fgaf-Token": ""}, {"X-Fgaf-Token": "x"}, {"X-Fgaf-Token": "\xe4"}):
        assert ask(open_page, "POST", "/track", '{"id": 2}', **kind, **wrong)[0] == 403
    assert pursuit.asked == []
    assert ask(open_page, "GET", "/snapshot")[0] == 200
    right = {"X-Fgaf-Token": open_page.token}
    assert ask(open_page, "POST", "/track", '{"id": 2}', **kind, **right)[0] == 200
    assert pursuit.asked == [2]
    assert (page.token, page.address) == ("", f"http://127.0.0.1:{page.port}/")
