"""The page: what the camera sees with the cells' numbers and heights on it, in a browser."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from fgaf.model.live.message import LiveFrame
from fgaf.model.live.publisher import port_error

_WIDEST: Final = 960
_QUALITY: Final = 80
_WAIT_S: Final = 2.0
_MOST_BYTES: Final = 1000

Choose = Callable[[int | None], None]


class Page:
    """A small web server that shows the newest frame; pictures are made only while one looks.

    Parameters
    ----------
    port
        To listen on; 0 for any that is free.
    title
        Of the page.
    bit_depth
        Significant bits of the frames.
    half_range_um
        Of the model's depth classes: colours the heights.
    choose
        Called with the id of a cell that was clicked, or None for the one in the middle; None when
        the drive follows no cell.
    host
        Address to listen on; by default only this computer can look.

    Attributes
    ----------
    host, port
        Where it listens.

    Raises
    ------
    FgafError
        The port is taken, or the address is not this computer's.
    """

    def __init__(
        self,
        port: int,
        title: str,
        bit_depth: int,
        half_range_um: float,
        choose: Choose | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._about = {
            "title": title,
            "half_range_um": half_range_um,
            "chooses": choose is not None,
        }
        self._bit_depth, self._choose = bit_depth, choose
        self._frame: LiveFrame | None = None
        self._news = threading.Condition()
        self._ended = False
        page = self

        class Handler(_Handler):
            owner = page

        try:
            self._server = _Server((host, port), Handler)
        except OSError as error:
            raise port_error("--page", host, port, error) from error
        self.host, self.port = str(self._server.server_address[0]), self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="page", daemon=True
        )

    @property
    def address(self) -> str:
        """What to type into a browser."""
        return f"http://{self.host}:{self.port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._news:
            self._ended = True
            self._news.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def show(self, frame: LiveFrame) -> None:
        """Show a frame from now on; returns at once."""
        with self._news:
            self._frame = frame
            self._news.notify_all()

    def choose(self, number: int | None) -> bool:
        """Follow another cell; returns whether the drive follows cells at all."""
        if self._choose is None:
            return False
        self._choose(number)
        return True

    def snapshot(self, after: int | None) -> dict[str, Any]:
        """Wait for a frame other than number `after`, and give it with its picture.

        Returns
        -------
        What `LiveFrame.to_dict` gives, under "frame", with "jpeg" in base64, "step" (frame pixels
        to one of the picture), "shape" of the frame; "frame" is None when no new one came.
        """

        def fresh() -> bool:
            return self._ended or (self._frame is not None and self._frame.frame_id != after)

        with self._news:
            self._news.wait_for(fresh, _WAIT_S)
            frame = self._frame
        if self._ended or frame is None or frame.frame_id == after:
            return {**self._about, "frame": None, "ended": self._ended}
        step = max(1, -(-frame.pixels.shape[1] // _WIDEST))
        picture = _jpeg(frame.pixels[::step, ::step], self._bit_depth)
        return {
            **self._about,
            "frame": frame.to_dict(),
            "shape": list(frame.pixels.shape),
            "step": step,
            "jpeg": base64.b64encode(picture).decode(),
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


class _Handler(BaseHTTPRequestHandler):
    """Answers the browser: the page, snapshots, and clicks."""

    owner: Page
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        if not self._own():
            return
        path, _, query = self.path.partition("?")
        if path == "/":
            self._answer(
                resources.files("fgaf.model.live").joinpath("page.html").read_bytes(),
                "text/html; charset=utf-8",
            )
        elif path == "/snapshot":
            word = query.removeprefix("after=")
            after = int(word) if word.isdigit() else None
            self._answer(json.dumps(self.owner.snapshot(after)).encode(), "application/json")
        else:
            self._answer(b"there is nothing here", "text/plain", HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        if not self._own():
            return
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(int(length)) if _few(length) else b""
        try:
            number = json.loads(body)["id"]
        except (ValueError, KeyError, TypeError):
            number = ""
        # JSON only: a page from elsewhere cannot send it without being asked first.
        json_sent = self.headers.get("Content-Type", "").startswith("application/json")
        known = number is None or (type(number) is int and number > 0)
        if self.path != "/track" or not json_sent or not known:
            self.close_connection = True
            self._answer(b'send {"id": NUMBER or null}', "text/plain", HTTPStatus.BAD_REQUEST)
        elif self.owner.choose(number):
            self._answer(b"{}", "application/json")
        else:
            self._answer(b"start with --track", "text/plain", HTTPStatus.CONFLICT)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Stay silent: the terminal belongs to the loop."""

    def _own(self) -> bool:
        """Refuse what a foreign name was led here for (DNS rebinding)."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0].strip("[]")
        if host in ("localhost", self.owner.host) or self.owner.host in ("0.0.0.0", "::"):  # noqa: S104
            return True
        self.close_connection = True
        self._answer(b"ask by this computer's address", "text/plain", HTTPStatus.FORBIDDEN)
        return False

    def _answer(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        with suppress(OSError):  # the browser left
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)


def _few(length: str) -> bool:
    return length.isdigit() and int(length) <= _MOST_BYTES


def _jpeg(pixels: npt.NDArray[Any], bit_depth: int) -> bytes:
    from PIL import Image

    grey = pixels if bit_depth <= 8 else (pixels >> (bit_depth - 8)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey)).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
