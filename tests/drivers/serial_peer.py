"""What every simulated controller is made of: a wire on a loopback TCP port, and an axis.

A peer is written from its maker's manual and from what was seen in the field, not from the driver.
The axis moves by the peer's clock; nothing here waits but for bytes.
"""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from xy_table import TABLE, TablePersonality, XYTable

from fgaf.acquire.devices import Stage


@dataclass(frozen=True)
class SerialPersonality:
    """What a controller is like.

    Attributes
    ----------
    delay_s, pieces
        Every reply comes this late, cut in this many pieces with half as long between them.
    answers
        Raw replies to whole command lines, in place of the right ones; b"" is silence.
    idle_early
        The axis is never reported to move.
    stalls_after_um
        The axis stops this far into every move.
    joystick
        Before the move of this number begins, a hand moves the axis by so many µm.
    table
        What moves the specimen.
    off_at, on_again_s, restart_um
        When the move of this number is asked for, the power fails. It comes back so long after,
        and the counter then begins at so many µm.
    """

    delay_s: float = 0.0
    pieces: int = 1
    unit_um: float = 0.1
    answers: dict[str, bytes] = field(default_factory=dict)
    idle_early: bool = False
    stalls_after_um: float = float("inf")
    joystick: tuple[int, float] = (0, 0.0)
    off_at: int = 0
    on_again_s: float = float("inf")
    restart_um: float = 0.0
    table: TablePersonality = TABLE
    start_um: float = 10.0
    travel_um: tuple[float, float] = (-1000.0, 1000.0)
    speed_um_per_s: float = 200.0


@dataclass
class _Leg:
    """One straight piece of a move."""

    begin_s: float
    end_s: float
    from_um: float
    to_um: float


class SerialPeer:
    """A controller that is switched on when it is made; a subclass speaks (`obey`).

    Attributes
    ----------
    url
        Where pyserial finds it.
    commands
        Every line received, in order.
    lowest_um
        Lowest point that any move has touched.
    speed_um_per_s
        Of the moves to come.
    zero_um
        Where the axis really is when its counter reads 0.
    table
        What moves the specimen.
    """

    LINE_END = "\r"

    def __init__(self, personality: SerialPersonality) -> None:
        self.commands: list[str] = []
        self.lowest_um = personality.start_um
        self.speed_um_per_s = personality.speed_um_per_s
        self.zero_um = 0.0
        self.table = XYTable(personality.table)
        self._like = personality
        self._rest_um = personality.start_um
        self._legs: list[_Leg] = []
        self._moves = 0
        self._outbox: list[tuple[float, bytes]] = []
        self._wire: list[tuple[float, bytes]] = []
        self._mute_until_s = self._heard_s = 0.0
        self._cut = False
        self._lock = threading.RLock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._client: socket.socket | None = None
        self._bell, self._ear = socket.socketpair()
        self.url = f"socket://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def obey(self, line: str) -> None:
        """Carry out one command line and answer it."""
        raise NotImplementedError

    @property
    def position_um(self) -> float:
        """Where the axis really is."""
        with self._lock:
            return self._position(time.monotonic())

    def push(self, by_um: float) -> None:
        """Move the axis by hand."""
        with self._lock:
            self.halt()
            self._rest_um += by_um

    @property
    def counter_um(self) -> float:
        """Where the controller takes the axis to be."""
        return self.position_um - self.zero_um

    def recount(self, counter_um: float) -> None:
        """Let the counter read so many µm from now on; the axis does not move."""
        with self._lock:
            self.zero_um = self._position(time.monotonic()) - counter_um

    def power_cycle(self, counter_um: float = 0.0) -> None:
        """Switch off and on: the axis stands, settings and counter begin anew."""
        with self._lock:
            self.halt()
            self.recount(counter_um)
            self.table.power_cycle()
            self.restart()

    def restart(self) -> None:
        """Take the settings that hold when it is switched on."""

    def unplug(self) -> None:
        """End the stream of replies, as a pulled adapter does, and hear nothing more."""
        with self._lock:
            self._mute_until_s, self._cut = float("inf"), True
            self._outbox, self._wire = [], []
            if self._client is not None:
                self._client.shutdown(socket.SHUT_WR)

    def fall_silent(self, for_s: float) -> None:
        """Hear and answer nothing for a while."""
        with self._lock:
            self._mute_until_s = time.monotonic() + for_s

    def replug(self) -> None:
        """Hear whoever connects anew."""
        with self._lock:
            self._mute_until_s = 0.0

    def chatter(self, raw: bytes) -> None:
        """Send bytes that nobody asked for."""
        with self._lock:
            self._outbox.append((time.monotonic(), raw))
        self._bell.send(b"!")

    def behind(self, timeout_s: float) -> bool:
        """Whether it has not heard yet what was sent to it, or not said what is due in the time.

        The time-out counts from when it heard: it may have had no processor until then.
        """
        with self._lock:
            if not self._thread.is_alive():
                return False
            due = self._due()
            ears = [self._client or self._server]
            return bool(select.select(ears, [], [], 0)[0]) or (
                due is not None and due <= max(time.monotonic(), self._heard_s + timeout_s)
            )

    def switch_off(self) -> None:
        """End the thread and close every socket."""
        self._bell.close()
        self._thread.join(5)
        for used in (self._client, self._server, self._ear):
            if used is not None:
                used.close()

    def say(self, *lines: str, after_s: float = 0.0) -> None:
        """Answer with lines."""
        self._send("".join(f"{line}{self.LINE_END}" for line in lines).encode("ascii"), after_s)

    def take_back(self, raw: bytes) -> None:
        """Drop answers that are not sent yet."""
        self._outbox = [reply for reply in self._outbox if reply[1] != raw]

    @property
    def moving(self) -> bool:
        """Whether the axis moves."""
        return bool(self._legs) and time.monotonic() < self._legs[-1].end_s

    @property
    def shows_moving(self) -> bool:
        """Whether the controller says that the axis moves."""
        return self.moving and not self._like.idle_early

    def halt(self) -> None:
        """Stand still here."""
        self._rest_um = self._position(time.monotonic())
        self._legs = []

    def go(self, target_um: float, by_way_of_um: float | None = None) -> float:
        """Start a move, behind one that is under way; return how long it is until all have ended.

        With `by_way_of_um` the axis goes there first.
        """
        self._moves += 1
        number, by_um = self._like.joystick
        if self._moves == number:
            self.push(by_um)
        now = time.monotonic()
        if self._moves == self._like.off_at:
            self._mute_until_s = now + self._like.on_again_s
            self.power_cycle(self._like.restart_um)
            return 0.0
        here = self._position(now)
        if not self._legs or self._legs[-1].end_s <= now:
            self._rest_um, self._legs = here, []
        else:
            here = self._legs[-1].to_um
        if by_way_of_um is not None:
            here = self._add_leg(now, here, by_way_of_um)
        self._add_leg(now, here, target_um)
        return self._legs[-1].end_s - now

    @property
    def target_um(self) -> float:
        """Where the axis is after its last move."""
        return self._legs[-1].to_um if self._legs else self._rest_um

    def reaches(self, target_um: float) -> bool:
        """Whether the axis can go there."""
        low, high = self._like.travel_um
        return low <= target_um <= high

    def _serve(self) -> None:
        received = b""
        while True:
            ears = [self._ear, self._client or self._server]
            due = self._due()
            wait_s = None if due is None else max(due - time.monotonic(), 0)
            ready, _, _ = select.select(ears, [], [], wait_s)
            if self._ear in ready and not self._ear.recv(1):
                return
            if self._server in ready:
                self._client, _ = self._server.accept()
                self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                if self._client in ready:
                    received = self._listen(received)
                self._speak()

    def _listen(self, received: bytes) -> bytes:
        """Obey the lines that have come; return the line that is not whole yet."""
        assert self._client is not None
        try:
            chunk = self._client.recv(4096)
        except ConnectionError:
            chunk = b""
        if not chunk:
            self._client.close()
            self._client, self._cut = None, False
            self._outbox, self._wire = [], []
            return b""
        lines, rest = self.cut(received + chunk)
        for line in lines:
            self._hear(line)
        return rest

    def cut(self, received: bytes) -> tuple[list[str], bytes]:
        """Cut what was received into commands, and what is not whole yet."""
        *lines, rest = received.split(b"\r")
        return [line.decode("ascii") for line in lines], rest

    def _hear(self, line: str) -> None:
        if self._cut or time.monotonic() < self._mute_until_s:
            return
        self.commands.append(line)
        self._heard_s = time.monotonic()
        if line in self._like.answers:
            self._send(self._like.answers[line])
        else:
            self.obey(line)

    def _due(self) -> float | None:
        queue = self._wire or self._outbox
        return queue[0][0] if queue else None

    def _speak(self) -> None:
        """Send what is due; one reply ends before the next begins, as on any serial line."""
        now = time.monotonic()
        while (due := self._due()) is not None and due <= now:
            if self._wire:
                _, piece = self._wire.pop(0)
                if self._client is not None:
                    self._client.sendall(piece)
                continue
            _, raw = self._outbox.pop(0)
            size = -(-len(raw) // self._like.pieces)
            for number, begin in enumerate(range(0, len(raw), size or 1)):
                due = now + number * self._like.delay_s / 2
                self._wire.append((due, raw[begin : begin + size]))

    def _send(self, raw: bytes, after_s: float = 0.0) -> None:
        if self._cut or time.monotonic() < self._mute_until_s:
            return
        self._outbox.append((time.monotonic() + after_s + self._like.delay_s, raw))
        self._outbox.sort(key=lambda reply: reply[0])

    def _add_leg(self, now: float, here: float, target: float) -> float:
        begin = max(now, self._legs[-1].end_s) if self._legs else now
        way = target - here
        reached = here + way * min(1.0, self._like.stalls_after_um / abs(way)) if way else here
        end = begin + abs(reached - here) / self.speed_um_per_s
        self._legs.append(_Leg(begin, end, here, reached))
        self.lowest_um = min(self.lowest_um, reached)
        return reached

    def _position(self, now: float) -> float:
        here = self._rest_um
        for leg in self._legs:
            if now >= leg.end_s:
                here = leg.to_um
            elif now >= leg.begin_s:
                part = (now - leg.begin_s) / (leg.end_s - leg.begin_s)
                return leg.from_um + part * (leg.to_um - leg.from_um)
        return here


def patient_socket(peers: Sequence[SerialPeer]) -> dict[str, Any]:
    """What replaces names of pyserial's module of sockets, so that a time-out is silence.

    A peer that has no processor is waited for, and each piece of a reply has the whole time. A
    write does not end early, and the rest of 0.3 s after a port was closed, for the sake of
    servers, is left out.
    """
    from serial.serialutil import Timeout

    def wait(read: Any, write: Any, failed: Any, timeout_s: float) -> Any:
        ready = select.select(read, write, failed, timeout_s)
        behind = timeout_s > 0
        while behind and not any(ready):
            behind = any(peer.behind(timeout_s) for peer in peers)
            ready = select.select(read, write, failed, 0.01 if behind else 0)
        return ready

    class Unhurried(Timeout):
        def expired(self) -> bool:
            return False

        def time_left(self) -> float | None:
            return self.duration  # for each piece: the one before may have come late

    return {
        "select": SimpleNamespace(select=wait, error=select.error),
        "time": SimpleNamespace(sleep=lambda _: None),
        "Timeout": Unhurried,
    }


def arrive(stage: Stage, z_um: float, within_um: float = math.inf) -> float:
    """Do what the engine does: move, ask until the drive is there, read the position back.

    Parameters
    ----------
    stage, z_um
        What to move, and where to.
    within_um
        Not before it is so near is it believed to stand.
    """
    stage.move_to(z_um)
    deadline = time.monotonic() + 60
    while stage.moving() or abs(stage.position_um() - z_um) > within_um:
        assert time.monotonic() < deadline
    return stage.position_um()
