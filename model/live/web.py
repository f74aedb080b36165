"""A web server that bad requests cannot stop or block, and that logs nothing."""

from __future__ import annotations

import io
import socket
import socketserver
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from fgaf.model.live.access import Access

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MOST_CONNECTIONS: Final = 64
_MOST_BODY_BYTES: Final = 1000
_PATIENCE_S: Final = 30.0
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Server(ThreadingHTTPServer):
    """Serves each request in its own thread; the number of threads is limited.

    Parameters
    ----------
    address
        Host and port.
    handler
        Answers the requests.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = _MOST_CONNECTIONS

    def __init__(self, address: tuple[str, int], handler: type[Handler]) -> None:
        self._free = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind without a network look-up of this computer's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread; close it when too many are open.

        Parameters
        ----------
        request
            The connection's socket.
        client_address
            Host and port of the client.
        """
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, then release its slot.

        Parameters
        ----------
        request
            The connection's socket.
        client_address
            Host and port of the client.
        """
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about a client's error; the terminal belongs to the loop.

        Parameters
        ----------
        request
            The connection's socket.
        client_address
            Host and port of the client.
        """


class _Patient(io.RawIOBase):
    """Reads from a connection, with a deadline for the whole request."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.renew()

    def renew(self) -> None:
        self._deadline_s = time.monotonic() + _PATIENCE_S

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left_s)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(_PATIENCE_S)


class Handler(ABC, BaseHTTPRequestHandler):
    """Checks a request and passes it on; a subclass sets `access`, `policy` and the answers."""

    access: Access
    policy: str
    """Content-Security-Policy of every answer."""
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "fgaf", ""

    def setup(self) -> None:
        """Prepare the connection."""
        super().setup()
        self._patient = _Patient(self.connection)
        self.rfile = io.BufferedReader(self._patient)

    def handle_one_request(self) -> None:
        """Wait for a request and answer it; it is not an error when a client disconnects."""
        self._patient.renew()
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def finish(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            super().finish()

    @abstractmethod
    def get(self, path: str, query: str) -> None:
        """Answer a GET.

        Parameters
        ----------
        path
            Path of the address, without the query.
        query
            The part after the question mark.
        """

    @abstractmethod
    def post(self, path: str, body: bytes) -> None:
        """Answer a POST of JSON.

        Parameters
        ----------
        path
            Path of the address, without the query.
        body
            The JSON.
        """

    def do_GET(self) -> None:
        """Check and answer a GET."""
        if self._own():
            path, _, query = self.path.partition("?")
            self.get(path, query)

    def do_POST(self) -> None:
        """Check and answer a POST."""
        if not self._own():
            return
        length = self.headers.get("Content-Length", "")
        # JSON only: another site cannot send it without a preflight request.
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{self.headers['Host']}":
            self.refuse(HTTPStatus.FORBIDDEN, "requests from other pages are refused")
        elif kind != "application/json":
            self.refuse(HTTPStatus.BAD_REQUEST, "send application/json")
        elif "Transfer-Encoding" in self.headers or not is_number(length, _MOST_BODY_BYTES):
            self.refuse(HTTPStatus.BAD_REQUEST, f"give a length up to {_MOST_BODY_BYTES} bytes")
        elif not self.access.may_move(self.headers.get("X-Fgaf-Token", "")):
            self.refuse(HTTPStatus.FORBIDDEN, "open the printed address with its token")
        else:
            self.post(self.path, self.rfile.read(int(length)))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Print nothing: the terminal belongs to the loop.

        Parameters
        ----------
        format
            Format of the line.
        *args
            Its values.
        """

    def end_headers(self) -> None:
        """Add the headers that every answer has."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", self.policy)
        super().end_headers()

    def answer(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Send an answer.

        Parameters
        ----------
        body
            Content of the answer.
        kind
            Its media type.
        status
            Status of the answer.
        """
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: HTTPStatus, why: str) -> None:
        """Send an error, and close the connection, since the request's body may be unread.

        Parameters
        ----------
        status
            Status of the answer.
        why
            The reason, as plain text.
        """
        self.close_connection = True
        self.answer(why.encode(), "text/plain; charset=utf-8", status)

    def _own(self) -> bool:
        reached = str(self.connection.getsockname()[0])
        if self.access.allows(self.headers.get_all("Host", []), reached):
            return True
        self.refuse(
            HTTPStatus.FORBIDDEN,
            "use this computer's address, or start the program with --allow-host NAME",
        )
        return False


def is_number(text: str, most: int) -> bool:
    """Whether text is a whole number from 0 to `most`, written in digits.

    Parameters
    ----------
    text
        What a client sent.
    most
        The largest number taken.
    """
    return text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most
