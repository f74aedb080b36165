"""The page: the camera image with the cells' numbers and heights, in a browser."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Protocol, Self

import numpy as np
import numpy.typing as npt

from fgaf.base.inputs import parse_json
from fgaf.model.live.access import Access, address_for_others
from fgaf.model.live.document import document, policy
from fgaf.model.live.message import LiveFrame
from fgaf.model.live.pace import Rate
from fgaf.model.live.publisher import port_error
from fgaf.model.live.web import Handler, Server, is_number

_WIDEST: Final = 960
_QUALITY: Final = 80
_WAIT_S: Final = 0.5
_FAREWELL_S: Final = 1.0
"""How long browsers that asked in the last such time are waited for, to be told the end."""
_MOST_NUMBER: Final = 2**53


class Follower(Protocol):
    """What moves the drive after a cell, such as `Autofocus`."""

    @property
    def wanted(self) -> int | str | None:
        """Id of the cell to follow, or "centre"; None where the drive stands still."""
        ...

    def choose(self, wanted: int | None) -> None:
        """Follow the cell with this id; None for the one nearest to the centre."""
        ...

    def release(self) -> None:
        """Follow nothing."""
        ...


@dataclass(frozen=True)
class About:
    """What a page says of its run.

    Attributes
    ----------
    title
        Of the page.
    bit_depth
        Bit depth of the frames.
    half_range_um
        Half range of the model's depth classes, for the colours of the heights.
    command
        The command line that starts the run again; empty where there is none.
    record
        Name of the recording; empty where there is none.
    stop
        Words of the only button, which stops the work; empty where cells can be chosen.
    """

    title: str
    bit_depth: int
    half_range_um: float
    command: str = ""
    record: str = ""
    stop: str = ""


class Page:
    """A small web server for the newest frame; pictures are made only while a browser is open.

    At its end it waits a moment, so that open browsers are told why.

    Parameters
    ----------
    port
        Port to listen on; 0 for any free port.
    about
        What it says of the run.
    follower
        Follows the cell that is chosen on the page; None when the drive follows no cell.
    host
        Address to listen on; by default only this computer can connect.
    names
        Allowed host names of the page, besides those of this computer.

    Attributes
    ----------
    follower
        As given.
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
        about: About,
        follower: Follower | None = None,
        host: str = "127.0.0.1",
        names: Sequence[str] = (),
    ) -> None:
        self._about, self.follower = about, follower
        self._frame: LiveFrame | None = None
        self._rate = Rate()
        self._news = threading.Condition()
        self._ended: str | None = None
        self._asked_s: dict[object, float] = {}
        self._made: tuple[LiveFrame, dict[str, Any]] | None = None
        self._making = threading.Lock()

        class Bound(_Handler):
            owner = self
            policy = policy()

        try:
            self._server = Server((host, port), Bound)
        except OSError as error:
            raise port_error("--page", host, port, error) from error
        self.host, self.port = str(self._server.server_address[0]), self._server.server_address[1]
        Bound.access = Access.to(self.host, (host, *names), moves=follower is not None)
        self.token = Bound.access.token
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="page", daemon=True
        )

    @property
    def only_stops(self) -> bool:
        """Whether cells cannot be chosen."""
        return bool(self._about.stop)

    @property
    def address(self) -> str:
        """The page's address, with the token where one is needed."""
        query = f"?token={self.token}" if self.token else ""
        return f"http://{address_for_others(self.host)}:{self.port}/{query}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end("" if error is None else f"error: {error}")
        with self._news:
            self._news.wait_for(self._all_told, _FAREWELL_S)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def show(self, frame: LiveFrame) -> None:
        """Show a frame from now on; returns at once."""
        with self._news:
            self._frame = frame
            self._rate.count()
            self._news.notify_all()

    def end(self, why: str) -> None:
        """Say that the run has ended; the first reason counts."""
        with self._news:
            if self._ended is None:
                self._ended = why
            self._news.notify_all()

    def snapshot(self, after: int | None) -> dict[str, Any]:
        """Wait a moment for a frame other than number `after`, and return it with its picture.

        Returns
        -------
        The result of `LiveFrame.to_dict` under "frame", with "jpeg" in base64, "step" (frame pixels
        per pixel of the picture), and "shape" of the frame; "frame" is None when no new one came.
        Beside it what is always known: "title", "half_range_um", "command", "record", "chooses"
        (whether the drive follows cells), "stop" (words of the only button), "needs_token",
        "follows" (`Follower.wanted`), "rate_hz" (frames per second now), and "ended", None or why
        the run has ended.
        """

        def fresh() -> bool:
            return self._ended is not None or (
                self._frame is not None and self._frame.frame_id != after
            )

        with self._news:
            self._news.wait_for(fresh, _WAIT_S)
            frame = self._frame
            state = self._state()
        if state["ended"] is not None or frame is None or frame.frame_id == after:
            return state
        with self._making:  # all browsers share one picture
            if self._made is None or self._made[0] is not frame:
                self._made = frame, self._picture(frame)
            return state | self._made[1]

    def told(self, browser: object, end: bool) -> None:
        """Note that a browser got an answer.

        Parameters
        ----------
        browser
            The connection that it uses.
        end
            Whether the answer said that the run has ended.
        """
        now_s = time.monotonic()
        with self._news:
            self._asked_s = {k: s for k, s in self._asked_s.items() if now_s - s < _FAREWELL_S}
            if end:
                self._asked_s.pop(browser, None)
            else:
                self._asked_s[browser] = now_s
            self._news.notify_all()

    def _all_told(self) -> bool:
        now_s = time.monotonic()
        return all(now_s - s > _FAREWELL_S for s in self._asked_s.values())

    def _state(self) -> dict[str, Any]:
        follower, about = self.follower, self._about
        return {
            "title": about.title,
            "half_range_um": about.half_range_um,
            "command": about.command,
            "record": about.record,
            "chooses": follower is not None,
            "stop": about.stop,
            "needs_token": bool(self.token),
            "follows": follower.wanted if follower is not None else None,
            "rate_hz": round(self._rate.hz, 2),
            "ended": self._ended,
            "frame": None,
        }

    def _picture(self, frame: LiveFrame) -> dict[str, Any]:
        step = max(1, -(-frame.pixels.shape[1] // _WIDEST))
        picture = _jpeg(frame.pixels[::step, ::step], self._about.bit_depth)
        return {
            "frame": frame.to_dict(),
            "shape": list(frame.pixels.shape),
            "step": step,
            "jpeg": base64.b64encode(picture).decode(),
        }


class _Handler(Handler):
    """Answers the browser: the page, snapshots, and what it asks of the drive."""

    owner: Page

    def get(self, path: str, query: str) -> None:
        if path == "/":
            self.answer(document(), "text/html; charset=utf-8")
        elif path == "/snapshot":
            word = query.removeprefix("after=")
            after = int(word) if is_number(word, _MOST_NUMBER) else None
            state = self.owner.snapshot(after)
            self.close_connection = state["ended"] is not None  # a new run takes the next one
            self.answer(json.dumps(state).encode(), "application/json")
            self.owner.told(self.client_address, self.close_connection)
        else:
            self.refuse(HTTPStatus.NOT_FOUND, "no such page; open / of this address")

    def post(self, path: str, body: bytes) -> None:
        follower = self.owner.follower
        number = _number(body)
        if path not in ("/track", "/stop") or (path == "/track" and number == 0):
            self.refuse(
                HTTPStatus.BAD_REQUEST, 'send {"id": NUMBER or null} to /track, or {} to /stop'
            )
        elif follower is None:
            self.refuse(
                HTTPStatus.CONFLICT, "start the program with --track or --follow to follow cells"
            )
        elif path == "/track" and self.owner.only_stops:
            self.refuse(HTTPStatus.CONFLICT, "cells are chosen by the program")
        else:
            if path == "/stop":
                follower.release()
            else:
                follower.choose(number)
            self.answer(b"{}", "application/json")


def _number(body: bytes) -> int | None:
    """The cell that a request names, None for the centre; 0 where it names none."""
    try:
        number = parse_json(body)["id"]
    except (ValueError, KeyError, TypeError):
        return 0
    if number is None or (type(number) is int and 0 < number <= _MOST_NUMBER):
        return number
    return 0


def _jpeg(pixels: npt.NDArray[Any], bit_depth: int) -> bytes:
    from PIL import Image

    grey = pixels if bit_depth <= 8 else (pixels >> (bit_depth - 8)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey)).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
