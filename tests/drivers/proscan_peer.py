"""A ProScan controller (or a NanoScanZ) that speaks the wire protocol on a loopback TCP port.

Written from the manual (ProScan III, V 1.16) and from what was seen in the field, not from the
driver. The axis moves by the peer's clock; nothing here waits but for bytes.
"""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from dataclasses import dataclass, field

MICROSTEPS_PER_UM = 500


@dataclass(frozen=True)
class Personality:
    """What a controller is like.

    Attributes
    ----------
    early_reply_s
        None: `R` at the end of the move (manual 4.1). Else `R` this long after the command.
    other_axes
        Bits other than Z's that `$` shows all the time (a filter wheel that turns).
    refusal, unknown
        The error code for commands the controller does not know, and some more of those.
    delay_s, pieces
        Every reply comes this late, cut in this many pieces with half as long between them.
    answers
        Raw replies to whole command lines, in place of the right ones; b"" is silence.
    idle_early
        `$` never shows the axis moving.
    stalls_after_um
        The axis stops this far into every move.
    joystick
        After this many answers to `PZ` a hand moves the axis by so many µm.
    display_zero_um
        Where the display of a NanoScanZ, and with it `PZ`, has been set to zero.
    off_after
        After this many answers to `PZ` the power fails.
    """

    model: str = "proscan"
    early_reply_s: float | None = None
    other_axes: int = 0
    refusal: int = 5
    unknown: frozenset[str] = frozenset()
    delay_s: float = 0.0
    pieces: int = 1
    focus: str = "NORMAL"
    unit_um: float = 0.1
    backlash: tuple[int, int] = (0, 2500)
    compatibility: int = 0
    readable_errors: int = 0
    answers: dict[str, bytes] = field(default_factory=dict)
    idle_early: bool = False
    stalls_after_um: float = float("inf")
    joystick: tuple[int, float] = (0, 0.0)
    off_after: int = 0
    display_zero_um: float = 0.0
    start_um: float = 10.0
    travel_um: tuple[float, float] = (-1000.0, 1000.0)
    speed_um_per_s: float = 200.0


MANUAL = Personality()
FIELD = Personality(
    early_reply_s=0.02,
    other_axes=8,
    refusal=128,
    unknown=frozenset({"SERIAL"}),
    delay_s=0.002,
    pieces=3,
    backlash=(1, 2500),
    compatibility=1,
    readable_errors=1,
)
NANOSCANZ = Personality(model="nanoscanz", start_um=50.0, travel_um=(0.0, 100.0), delay_s=0.002)


@dataclass
class _Leg:
    """One straight piece of a move."""

    begin_s: float
    end_s: float
    from_um: float
    to_um: float


class ProScanPeer:
    """A controller that is switched on when it is made.

    Attributes
    ----------
    url
        Where pyserial finds it.
    commands
        Every line received, in order.
    lowest_um
        Lowest point that any move has touched.
    """

    def __init__(self, personality: Personality) -> None:
        self.commands: list[str] = []
        self.model = personality.model
        self.backlash = personality.backlash
        self.compatibility = personality.compatibility
        self.readable_errors = personality.readable_errors
        self.lowest_um = personality.start_um
        self._is = personality
        self._rest_um = personality.start_um
        self._legs: list[_Leg] = []
        self._reads = 0
        self._outbox: list[tuple[float, bytes]] = []
        self._wire: list[tuple[float, bytes]] = []
        self._mute = False
        self._lock = threading.RLock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._client: socket.socket | None = None
        self._bell, self._ear = socket.socketpair()
        self.url = f"socket://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def position_um(self) -> float:
        """Where the axis really is."""
        with self._lock:
            return self._position(time.monotonic())

    def push(self, by_um: float) -> None:
        """Move the axis by hand."""
        with self._lock:
            self._halt()
            self._rest_um += by_um

    def unplug(self) -> None:
        """End the stream of replies, as a pulled adapter does, and hear nothing more."""
        with self._lock:
            self._mute = True
            self._outbox, self._wire = [], []
            if self._client is not None:
                self._client.shutdown(socket.SHUT_WR)

    def chatter(self, raw: bytes) -> None:
        """Send bytes that nobody asked for."""
        with self._lock:
            self._outbox.append((time.monotonic(), raw))
        self._bell.send(b"!")

    def switch_off(self) -> None:
        """End the thread and close every socket."""
        self._bell.close()
        self._thread.join(5)
        for used in (self._client, self._server, self._ear):
            if used is not None:
                used.close()

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
            if self._client in ready:
                try:
                    chunk = self._client.recv(4096)
                except ConnectionError:
                    chunk = b""
                if not chunk:
                    self._client.close()
                    self._client, received = None, b""
                    self._outbox, self._wire = [], []
                    continue
                *lines, received = (received + chunk).split(b"\r")
                with self._lock:
                    for line in lines:
                        self._hear(line.decode("ascii"))
            with self._lock:
                self._speak()

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
            size = -(-len(raw) // self._is.pieces)
            for number, begin in enumerate(range(0, len(raw), size or 1)):
                self._wire.append((now + number * self._is.delay_s / 2, raw[begin : begin + size]))

    def _say(self, *lines: str, after_s: float = 0.0) -> None:
        self._send("".join(f"{line}\r" for line in lines).encode("ascii"), after_s)

    def _send(self, raw: bytes, after_s: float = 0.0) -> None:
        self._outbox.append((time.monotonic() + after_s + self._is.delay_s, raw))
        self._outbox.sort(key=lambda reply: reply[0])

    def _error(self, code: int) -> None:
        self._say(f"ERROR {code}" if self.readable_errors else f"E,{code}")

    def _hear(self, line: str) -> None:
        if self._mute:
            return
        self.commands.append(line)
        if line in self._is.answers:
            self._send(self._is.answers[line])
            return
        name, *arguments = [part for part in re.split(r"[,;:\s]+", line) if part] or ["P"]
        name = name.upper()
        verbs = {
            "?": self._information,
            "$": self._status,
            "P": self._all_positions,
            "PZ": self._position_z,
            "I": self._stop,
            "K": self._stop,
            "COMP": self._compatibility,
            "SERIAL": lambda _: self._say("1216304"),
        }
        if self._is.model == "proscan":
            verbs |= {
                "ERROR": self._errors,
                "FOCUS": self._focus,
                "RES": self._resolution,
                "BLZH": self._backlash,
                "GZ": self._go,
                "V": self._go,
                "VERSION": lambda _: self._say("116"),
            }
        else:
            verbs |= {"V": self._go}
        verb = verbs.get(name)
        if verb is None or name in self._is.unknown:
            self._error(self._is.refusal)
            return
        verb(arguments)

    def _information(self, _: list[str]) -> None:
        self._say(
            "PROSCAN INFORMATION",
            "DSP_1 IS 3-AXIS STEPPER VERSION 0.0",
            "DRIVE CHIPS 000111",
            "JOYSTICK ACTIVE",
            "STAGE = NONE",
            f"FOCUS = {self._is.focus}",
            "END",
        )

    def _focus(self, _: list[str]) -> None:
        self._say(f"FOCUS = {self._is.focus}", "TYPE = 0", "MICRONS/REV = 100", "END")

    def _resolution(self, _: list[str]) -> None:
        self._say("0" if self._is.focus == "NONE" else f"{self._is.unit_um:g}")

    def _compatibility(self, arguments: list[str]) -> None:
        if arguments:
            self.compatibility = int(arguments[0])
            self._say("0")
        else:
            self._say(str(self.compatibility))

    def _errors(self, arguments: list[str]) -> None:
        if arguments:
            self.readable_errors = int(arguments[0])
            self._say("0")
        else:
            self._say(str(self.readable_errors))

    def _backlash(self, arguments: list[str]) -> None:
        if arguments:
            on, size = int(arguments[0]), int(arguments[1])
            self.backlash = (on, size)
            self._say("0")
        else:
            self._say(f"{self.backlash[0]},{self.backlash[1]}")

    def _status(self, arguments: list[str]) -> None:
        moving = bool(self._legs) and time.monotonic() < self._legs[-1].end_s
        shown = moving and not self._is.idle_early
        if arguments:
            self._say(str(int(shown)))
        elif self._is.model == "nanoscanz":
            self._say("4" if shown else "00000")
        else:
            self._say(str(self._is.other_axes | (4 if shown else 0)))

    def _all_positions(self, _: list[str]) -> None:
        self._say(f"0,0,{self._units()}")

    def _position_z(self, arguments: list[str]) -> None:
        if arguments:
            raise AssertionError("PZ,n redefines the position")
        self._say(self._units())
        self._reads += 1
        number, by_um = self._is.joystick
        if self._reads == number:
            self.push(by_um)
        if self._reads == self._is.off_after:
            self._mute = True

    def _units(self) -> str:
        here = self._position(time.monotonic()) - self._is.display_zero_um
        return f"{here:.3f}" if self._is.model == "nanoscanz" else str(round(here / self._unit()))

    def _unit(self) -> float:
        return 1.0 if self._is.model == "nanoscanz" else self._is.unit_um

    def _stop(self, _: list[str]) -> None:
        owed = bool(self._legs) and time.monotonic() < self._legs[-1].end_s
        self._outbox = [reply for reply in self._outbox if reply[1] != b"R\r"]
        self._halt()
        self._say(*(["R", "R"] if owed and self._is.early_reply_s is None else ["R"]))

    def _halt(self) -> None:
        self._rest_um = self._position(time.monotonic())
        self._legs = []

    def _go(self, arguments: list[str]) -> None:
        target = float(arguments[0]) * self._unit()
        low, high = self._is.travel_um
        if not low <= target <= high:
            self._error(8)
            return
        now = time.monotonic()
        here = self._position(now)
        if not self._legs or self._legs[-1].end_s <= now:
            self._rest_um, self._legs = here, []
        else:
            here = self._legs[-1].to_um
        on, microsteps = self.backlash
        if on and target < here:
            here = self._add_leg(now, here, target - microsteps / MICROSTEPS_PER_UM)
        self._add_leg(now, here, target)
        end = self._legs[-1].end_s
        early = self._is.early_reply_s
        self._say("R", after_s=end - now if early is None else early)

    def _add_leg(self, now: float, here: float, target: float) -> float:
        begin = max(now, self._legs[-1].end_s) if self._legs else now
        way = target - here
        reached = here + way * min(1.0, self._is.stalls_after_um / abs(way)) if way else here
        end = begin + abs(reached - here) / self._is.speed_um_per_s
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
