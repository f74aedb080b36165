"""A network of Sensapex devices on a loopback address: manipulators and pressure controllers.

Written from Sensapex's public header of the protocol (`smcp1.h`) and from what its library sends,
not from the driver. Axes move by the clock; nothing here waits but for messages.
"""

from __future__ import annotations

import math
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

HOST = "127.0.0.77"
PORT = 55555
FRAME = struct.Struct(">BBHHHIHH")
BLOCK = struct.Struct(">HH")
VERSION, INT32, UNDEFINED = 0x10, 6, 2**31 - 1
REQUEST, ACK, NOTIFY, ERROR = 1, 2, 4, 8
WANT_ACK, WANT_REPLY = 0x10, 0x20
EVERY_DEVICE, EVERY_COMPUTER = 0xFF, 0x2FF
PING, STOP, POSITIONS, PARAMETER, VERSIONS, GOTO, STEP, ANGLE = 0, 1, 14, 16, 23, 33, 34, 44
SET_PRESSURE, GET_PRESSURE, SET_VALVE, GET_VALVE, MEASURE = 88, 89, 92, 93, 94
AXIS_COUNT = 0x105
MOVED, STATUS, ARRIVED = 101, 102, 104
BUSY = 1


@dataclass(frozen=True)
class UmpPersonality:
    """What a network and its devices are like.

    Attributes
    ----------
    manipulators, controllers
        Numbers of the devices.
    delay_s
        Every message comes this late.
    lost_every
        Of the messages to the devices, and of those from them, every one of this number is lost.
    doubled
        Every message comes twice.
    out_of_order
        The reply comes before its acknowledgement, and what was said last once more before both.
    notifies
        Whether motion and its end are reported.
    ends_unreported
        The end of a move is not reported.
    chatter
        Every answer comes behind a message to another computer, which is nobody's answer.
    deaf_within_um
        An axis as near to its target as this is not moved.
    stalls_after_um
        Every axis stops this far into every move, which is reported as failed.
    off_at
        In the middle of the move of this number the power fails, and the device counts from 0 when
        it is back `back_s` later.
    tilt_deg
        Angle of the x axis; None is a firmware that does not tell.
    pressure_share
        Measured pressure divided by its setting.
    highest_pa
        The controller cuts settings to this.
    stuck_valve
        No valve turns.
    """

    manipulators: tuple[int, ...] = (4,)
    controllers: tuple[int, ...] = (30,)
    axes: int = 4
    start_um: tuple[float, ...] = (5000.0, 6000.0, 7000.0, 10000.0)
    delay_s: float = 0.0
    lost_every: int = 0
    doubled: bool = False
    out_of_order: bool = False
    notifies: bool = True
    ends_unreported: bool = False
    chatter: bool = False
    deaf_within_um: float = 0.0
    stalls_after_um: float = math.inf
    off_at: int = 0
    back_s: float = 0.0
    tilt_deg: float | None = 0.0
    pressure_share: float = 1.0
    highest_pa: int = 70_000
    stuck_valve: bool = False


@dataclass
class Axis:
    """One axis: where it is at any time of a move."""

    rest_um: float
    target_um: float = 0.0
    begin_s: float = 0.0
    speed_um_s: float = 0.0
    lowest_um: float = math.inf
    highest_um: float = -math.inf

    def at(self, now: float) -> float:
        if not self.speed_um_s:
            return self.rest_um
        way = self.target_um - self.rest_um
        gone = min(abs(way), self.speed_um_s * (now - self.begin_s))
        return self.rest_um + math.copysign(gone, way)

    def end_s(self) -> float:
        if not self.speed_um_s:
            return -math.inf
        return self.begin_s + abs(self.target_um - self.rest_um) / self.speed_um_s

    def halt(self, now: float) -> None:
        self.rest_um, self.speed_um_s = self.at(now), 0.0
        self.lowest_um = min(self.lowest_um, self.rest_um)
        self.highest_um = max(self.highest_um, self.rest_um)

    def go(self, target_um: float, speed_um_s: float, now: float) -> None:
        self.halt(now)
        self.target_um, self.begin_s, self.speed_um_s = target_um, now, speed_um_s


@dataclass
class Manipulator:
    """One uMp: its axes, and by how much its counters differ from where they are."""

    axes: list[Axis]
    zeros_um: list[float]
    moves: int = 0
    driving: bool = False
    reported_s: float = 0.0
    deaf_until_s: float = -math.inf
    crashed: bool = False
    asked_speeds: list[int] = field(default_factory=list)

    @property
    def mute(self) -> bool:
        return self.crashed or time.monotonic() < self.deaf_until_s

    def counters_nm(self, now: float) -> list[int]:
        pairs = zip(self.axes, self.zeros_um, strict=True)
        return [round(1e3 * (axis.at(now) - zero)) for axis, zero in pairs]

    def moving(self, now: float) -> bool:
        return any(now < axis.end_s() for axis in self.axes)


@dataclass
class Channels:
    """The outputs of one uMc."""

    pascals: list[int] = field(default_factory=lambda: [0] * 8)
    valves: list[int] = field(default_factory=lambda: [0] * 8)


class UmpPeer:
    """A network that is switched on when it is made.

    Its port is bound for itself alone, so that every peer on a computer has a group of its own.

    Attributes
    ----------
    group
        Group of its devices, which is free on this computer.
    commands
        Type of every request that was heard, with its receiver.
    delay_s
        Every message comes this late from now on.
    """

    def __init__(self, personality: UmpPersonality) -> None:
        self._is = personality
        self.delay_s = personality.delay_s
        now = time.monotonic()
        self.commands: list[tuple[int, int]] = []
        self.manipulators = {
            number: Manipulator(
                [Axis(at, at, now) for at in personality.start_um[: personality.axes]],
                [0.0] * personality.axes,
            )
            for number in personality.manipulators
        }
        self.controllers = {number: Channels() for number in personality.controllers}
        self._lock = threading.RLock()
        self._received = self._sent = 0
        self._outbox: list[tuple[float, bytes]] = []
        self._previous: list[bytes] = []
        self._client: tuple[str, int] | None = None
        self._number = 1000
        self._socket, self.group = _bind()
        self._bell, self._ear = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def manipulator(self) -> Manipulator:
        """The first manipulator."""
        return next(iter(self.manipulators.values()))

    @property
    def place_um(self) -> tuple[float, ...]:
        """Where the axes of the first manipulator really are."""
        with self._lock:
            now = time.monotonic()
            return tuple(axis.at(now) for axis in self.manipulator.axes)

    @property
    def channels(self) -> Channels:
        """The first pressure controller."""
        return next(iter(self.controllers.values()))

    def sent(self, command: int) -> int:
        """Count the requests of a type."""
        return sum(heard == command for heard, _ in self.commands)

    def fall_silent(self) -> None:
        """Let the manipulators hear and report nothing; axes go on."""
        with self._lock:
            for each in self.manipulators.values():
                each.deaf_until_s = math.inf

    def wake(self) -> None:
        """Let the manipulators hear again."""
        with self._lock:
            for each in self.manipulators.values():
                each.deaf_until_s = -math.inf

    def deliver(self) -> None:
        """Send all that is late before what comes next, which is not late."""
        with self._lock:
            self.delay_s = 0.0
            self._outbox = [(time.monotonic(), raw) for _, raw in self._outbox]

    def power_cycle(self) -> None:
        """Switch the first manipulator off and on: it stands, and counts from 0."""
        with self._lock:
            self._cut_power(self.manipulator, time.monotonic())

    def push(self, axis: int, by_um: float) -> None:
        """Move an axis of the first manipulator by hand."""
        with self._lock:
            pushed = self.manipulator.axes[axis]
            pushed.halt(time.monotonic())
            pushed.rest_um += by_um

    def switch_off(self) -> None:
        """End the thread and close every socket."""
        self._bell.close()
        self._thread.join(5)
        self._socket.close()
        self._ear.close()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._ear, self._socket], [], [], self._wait_s())
            if self._ear in ready:
                return
            with self._lock:
                if self._socket in ready:
                    raw, self._client = self._socket.recvfrom(2048)
                    self._hear(raw)
                self._watch(time.monotonic())
                self._speak()

    def _wait_s(self) -> float | None:
        """How long until something is to be said."""
        with self._lock:
            dues = [due for due, _ in self._outbox if due < math.inf]
            dues += [each.reported_s + 0.02 for each in self.manipulators.values() if each.driving]
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _hear(self, raw: bytes) -> None:
        _, _, receiver, sender, number, options, kind, blocks = FRAME.unpack_from(raw)
        self._received += 1
        if self._is_lost(self._received) or not options & REQUEST:
            return
        arguments = _blocks(raw, blocks)
        for device in (*self.manipulators, *self.controllers):
            if receiver not in (device, EVERY_DEVICE):
                continue
            if device in self.manipulators and self.manipulators[device].mute:
                continue
            self.commands.append((kind, device))
            reply = self._obey(device, kind, arguments)
            answers = []
            if options & WANT_ACK:
                answers.append(_message(device, sender, number, ACK, kind))
            if options & WANT_REPLY and reply is not None:
                flags, data = (0, [reply]) if reply else (ERROR, [])
                answers.append(_message(device, sender, number, flags, kind, *data))
            if self._is.out_of_order:
                answers, self._previous = [*self._previous, *reversed(answers)], answers
            for answer in answers:
                self._send(answer)

    def _obey(
        self, device: int, kind: int, arguments: Sequence[Sequence[int]]
    ) -> Sequence[int] | None:
        """Carry out a request; returns what is replied, None for nothing, empty for an error."""
        if kind in (PING, STOP) and device in self.controllers:
            return []
        own: dict[int, Callable[[int, Sequence[Sequence[int]]], Sequence[int] | None]] = (
            {
                PING: lambda *_: [],
                STOP: self._stop,
                POSITIONS: self._positions,
                PARAMETER: self._parameter,
                VERSIONS: lambda *_: [1, 5, 2, 7],
                GOTO: self._goto,
                STEP: self._step,
                ANGLE: self._angle,
            }
            if device in self.manipulators
            else {
                VERSIONS: lambda *_: [2, 1, 0, 0],
                SET_PRESSURE: self._set_pressure,
                GET_PRESSURE: self._get_pressure,
                SET_VALVE: self._set_valve,
                GET_VALVE: self._get_valve,
                MEASURE: self._measure,
            }
        )
        return own[kind](device, arguments) if kind in own else []

    def _stop(self, device: int, _: object) -> Sequence[int]:
        for axis in self.manipulators[device].axes:
            axis.halt(time.monotonic())
        return []

    def _positions(self, device: int, _: object) -> Sequence[int]:
        return self.manipulators[device].counters_nm(time.monotonic())

    def _parameter(self, _: int, arguments: Sequence[Sequence[int]]) -> Sequence[int]:
        return [AXIS_COUNT, self._is.axes] if arguments[0][0] == AXIS_COUNT else []

    def _angle(self, *_: object) -> Sequence[int] | None:
        return None if self._is.tilt_deg is None else [round(10 * self._is.tilt_deg)]

    def _goto(self, device: int, arguments: Sequence[Sequence[int]]) -> Sequence[int]:
        places, speeds = arguments[0][:4], [*arguments[1], 0, 0, 0][:4]
        assert arguments[0][5] == 1, "one axis after the other"
        targets = [None if place == UNDEFINED else place / 1e3 for place in places[: self._is.axes]]
        self._begin(device, targets, speeds)
        return []

    def _step(self, device: int, arguments: Sequence[Sequence[int]]) -> Sequence[int]:
        steps, speeds = arguments[0][:4], arguments[0][4:8]
        here = self.manipulators[device].counters_nm(time.monotonic())
        targets = [
            (at + step) / 1e3 if step else None for at, step in zip(here, steps, strict=False)
        ]
        self._begin(device, targets, speeds)
        return []

    def _begin(self, device: int, targets: Sequence[float | None], speeds: Sequence[int]) -> None:
        moved, now = self.manipulators[device], time.monotonic()
        moved.moves += 1
        for number, (target, speed) in enumerate(zip(targets, speeds, strict=False)):
            if target is None:
                continue
            moved.asked_speeds.append(speed)
            moved.crashed |= speed < 1
            axis, to_um = moved.axes[number], target + moved.zeros_um[number]
            way = to_um - axis.at(now)
            if abs(way) <= self._is.deaf_within_um:
                continue
            if moved.moves == self._is.off_at:
                to_um = axis.at(now) + way / 2
            gone = min(abs(to_um - axis.at(now)), self._is.stalls_after_um)
            axis.go(axis.at(now) + math.copysign(gone, way), max(speed, 1), now)
        moved.driving, moved.reported_s = True, now
        self._notify(device, STATUS, [BUSY])

    def _watch(self, now: float) -> None:
        """Report the motion of every manipulator, and its end."""
        for device, each in self.manipulators.items():
            if not each.driving or now < each.reported_s + 0.02:
                continue
            each.reported_s = now
            self._notify(device, MOVED, each.counters_nm(now))
            if each.moving(now):
                continue
            each.driving = False
            for axis in each.axes:
                axis.halt(now)
            if each.moves == self._is.off_at:
                self._cut_power(each, now)
                each.deaf_until_s = now + self._is.back_s
                continue
            if not self._is.ends_unreported:
                self._notify(device, STATUS, [0])
                self._notify(device, ARRIVED, [int(math.isfinite(self._is.stalls_after_um))])

    def _cut_power(self, cut: Manipulator, now: float) -> None:
        for number, axis in enumerate(cut.axes):
            axis.halt(now)
            cut.zeros_um[number] = axis.at(now)
        cut.driving = False

    def _set_pressure(self, device: int, arguments: Sequence[Sequence[int]]) -> Sequence[int]:
        channel, pascals = arguments[0]
        most = self._is.highest_pa
        self.controllers[device].pascals[channel] = max(-most, min(most, pascals))
        return []

    def _get_pressure(self, device: int, arguments: Sequence[Sequence[int]]) -> Sequence[int]:
        channel = arguments[0][0]
        return [channel, self.controllers[device].pascals[channel]]

    def _measure(self, device: int, arguments: Sequence[Sequence[int]]) -> Sequence[int]:
        channel, pascals = self._get_pressure(device, arguments)
        return [channel, round(pascals * self._is.pressure_share)]

    def _set_valve(self, device: int, arguments: Sequence[Sequence[int]]) -> Sequence[int]:
        channel, valve = arguments[0]
        if not self._is.stuck_valve:
            self.controllers[device].valves[channel] = valve
        return []

    def _get_valve(self, device: int, arguments: Sequence[Sequence[int]]) -> Sequence[int]:
        channel = arguments[0][0]
        return [channel, self.controllers[device].valves[channel]]

    def _notify(self, device: int, kind: int, values: Sequence[int]) -> None:
        self._number += 1
        if self._is.notifies:
            self._send(_message(device, EVERY_COMPUTER, self._number, NOTIFY, kind, values))

    def _send(self, raw: bytes) -> None:
        self._sent += 1
        if self._is_lost(self._sent):
            return
        due = time.monotonic() + self.delay_s
        if self._is.chatter:
            self._outbox.append((due, _message(9, 0x250, 1, 0, POSITIONS, [1, 2, 3, 4])))
        self._outbox += [(due, raw)] * (2 if self._is.doubled else 1)
        self._outbox.sort(key=lambda message: message[0])

    def _is_lost(self, number: int) -> bool:
        return bool(self._is.lost_every) and number % self._is.lost_every == 0

    def _speak(self) -> None:
        now = time.monotonic()
        while self._outbox and self._outbox[0][0] <= now:
            _, raw = self._outbox.pop(0)
            if self._client is not None:
                self._socket.sendto(raw, self._client)


def _bind() -> tuple[socket.socket, int]:
    """Take the port of the first group that no other process has."""
    for group in range(11):
        own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            own.bind((HOST, PORT + group))
        except OSError:
            own.close()
        else:
            return own, group
    raise RuntimeError("other processes have all groups of Sensapex devices")


def _blocks(raw: bytes, count: int) -> list[tuple[int, ...]]:
    found, begin = [], FRAME.size
    for _ in range(count):
        kind, size = BLOCK.unpack_from(raw, begin)
        assert kind == INT32
        begin += BLOCK.size
        found.append(struct.unpack_from(f">{size}i", raw, begin))
        begin += 4 * size
    return found


def _message(
    sender: int, receiver: int, number: int, options: int, kind: int, *blocks: Sequence[int]
) -> bytes:
    raw = FRAME.pack(VERSION, 0, receiver, sender, number & 0xFFFF, options, kind, len(blocks))
    for block in blocks:
        raw += BLOCK.pack(INT32, len(block)) + struct.pack(f">{len(block)}i", *block)
    return raw
