"""The page: the camera image with the cells' numbers and heights, in a browser."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import threading
from collections.abc import Callable, Sequence
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from fgaf.base.inputs import parse_json
from fgaf.model.live.access import Access, address_for_others
from fgaf.model.live.message import LiveFrame
from fgaf.model.live.publisher import port_error
from fgaf.model.live.web import Handler, Server, is_number

_WIDEST: Final = 960
_QUALITY: Final = 80
_WAIT_S: Final = 2.0
_MOST_NUMBER: Final = 2**53

Choose = Callable[[int | None], None]


class Page:
    """A small web server for the newest frame; pictures are made only while a browser is open.

    Parameters
    ----------
    port
        Port to listen on; 0 for any free port.
    title
        Of the page.
    bit_depth
        Bit depth of the frames.
    half_range_um
        Half range of the model's depth classes, for the colours of the heights.
    choose
        Called with the id of a clicked cell, or None for the one at the centre; None when the drive
        follows no cell.
    host
        Address to listen on; by default only this computer can connect.
    names
        Allowed host names of the page, besides those of this computer.

    Attributes
    ----------
    host, port
        Where it listens.
    token
        Needed in a request to follow a cell, when the page is open to other computers; else empty.

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
        names: Sequence[str] = (),
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
        self._made: tuple[LiveFrame, dict[str, Any]] | None = None
        self._making = threading.Lock()

        class Bound(_Handler):
            owner = self
            policy = _policy()

        try:
            self._server = Server((host, port), Bound)
        except OSError as error:
            raise port_error("--page", host, port, error) from error
        self.host, self.port = str(self._server.server_address[0]), self._server.server_address[1]
        Bound.access = Access.to(self.host, (host, *names), moves=choose is not None)
        self.token = Bound.access.token
        self._about["needs_token"] = bool(self.token)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="page", daemon=True
        )

    @property
    def address(self) -> str:
        """The page's address, with the token where one is needed."""
        query = f"?token={self.token}" if self.token else ""
        return f"http://{address_for_others(self.host)}:{self.port}/{query}"

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
        """Wait for a frame other than number `after`, and return it with its picture.

        Returns
        -------
        The result of `LiveFrame.to_dict` under "frame", with "jpeg" in base64, "step" (frame pixels
        per pixel of the picture), and "shape" of the frame; "frame" is None when no new one came.
        """

        def fresh() -> bool:
            return self._ended or (self._frame is not None and self._frame.frame_id != after)

        with self._news:
            self._news.wait_for(fresh, _WAIT_S)
            frame = self._frame
        if self._ended or frame is None or frame.frame_id == after:
            return {**self._about, "frame": None, "ended": self._ended}
        with self._making:  # all browsers share one picture
            if self._made is None or self._made[0] is not frame:
                self._made = frame, self._picture(frame)
            return self._made[1]

    def _picture(self, frame: LiveFrame) -> dict[str, Any]:
        step = max(1, -(-frame.pixels.shape[1] // _WIDEST))
        picture = _jpeg(frame.pixels[::step, ::step], self._bit_depth)
        return {
            **self._about,
            "frame": frame.to_dict(),
            "shape": list(frame.pixels.shape),
            "step": step,
            "jpeg": base64.b64encode(picture).decode(),
        }


class _Handler(Handler):
    """Answers the browser: the page, snapshots, and clicks."""

    owner: Page

    def get(self, path: str, query: str) -> None:
        if path == "/":
            self.answer(_html(), "text/html; charset=utf-8")
        elif path == "/snapshot":
            word = query.removeprefix("after=")
            after = int(word) if is_number(word, _MOST_NUMBER) else None
            self.answer(json.dumps(self.owner.snapshot(after)).encode(), "application/json")
        else:
            self.refuse(HTTPStatus.NOT_FOUND, "no such page; open / of this address")

    def post(self, path: str, body: bytes) -> None:
        try:
            number = parse_json(body)["id"]
        except (ValueError, KeyError, TypeError):
            number = ""
        known = number is None or (type(number) is int and 0 < number <= _MOST_NUMBER)
        if path != "/track" or not known:
            self.refuse(HTTPStatus.BAD_REQUEST, 'send {"id": NUMBER or null} to /track')
        elif self.owner.choose(number):
            self.answer(b"{}", "application/json")
        else:
            self.refuse(HTTPStatus.CONFLICT, "start fgaf-live with --track to follow cells")


@cache
def _html() -> bytes:
    return resources.files("fgaf.model.live").joinpath("page.html").read_bytes()


@cache
def _policy() -> str:
    """Only the page's own script may run, identified by its checksum."""

    def own(element: str) -> str:
        inside = re.search(f"<{element}>(.*?)</{element}>", _html().decode(), re.DOTALL)
        digest = hashlib.sha256(inside[1].encode() if inside else b"").digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {own('script')}",
            f"style-src {own('style')}",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _jpeg(pixels: npt.NDArray[Any], bit_depth: int) -> bytes:
    from PIL import Image

    grey = pixels if bit_depth <= 8 else (pixels >> (bit_depth - 8)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey)).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
