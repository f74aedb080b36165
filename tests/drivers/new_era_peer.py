"""A New Era syringe pump that speaks the wire protocol, in its basic and in its safe mode.

Written from the NE-1000 manual (firmware 3.9, section 10) and from what was seen in the field.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from serial_peer import SerialPeer, SerialPersonality

STX, ETX = b"\x02", b"\x03"
UL_H = {"UH": 1.0, "UM": 60.0, "MH": 1e3, "MM": 6e4}


@dataclass(frozen=True)
class NewEraPersonality(SerialPersonality):
    """What a pump is like.

    Attributes
    ----------
    version, address
        Who it is.
    least_mm_h, most_mm_h
        Speeds that its plunger can have.
    safe_s
        Time-out of the safe mode in which it was left; 0 is the basic mode.
    alarm
        Letter of the alarm that stands when it is met.
    saf_answer
        Whether the answer to SAF comes in the mode before or after it.
    keeps
        Settings that it does not take, though it says that it did.
    unknown
        Commands that this firmware does not have.
    stalls_at_nl
        Its plunger is stuck when it has drawn so much.
    deaf_to
        A command that is lost on its way, so often.
    runs
        It was left pumping.
    """

    version: str = "NE1000V3.928"
    address: int = 0
    least_mm_h: float = 0.04205
    most_mm_h: float = 3060.3
    safe_s: int = 0
    alarm: str = ""
    saf_answer: str = "after"
    keeps: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    stalls_at_nl: float = math.inf
    deaf_to: tuple[str, int] = ("", 0)
    runs: bool = False


PUMP = NewEraPersonality()
LEFT_SAFE = NewEraPersonality(safe_s=2, alarm="T")
SWITCHED_ON = NewEraPersonality(alarm="R", delay_s=0.002, pieces=3, saf_answer="before")


class NewEraPeer(SerialPeer):
    """A pump that is switched on when it is made.

    Attributes
    ----------
    memory
        What it holds when it is switched off: settings by command.
    status
        Letter of its state.
    alarm
        Letter of the alarm that stands; empty without one.
    rate
        Digits and unit of the flow, of which the memory may hold an older one.
    counters
        Volumes of both directions, in µL.
    drawn_nl
        What its plunger has drawn, less what it pushed, since it was made.
    flips
        So many of its answers to come have a wrong letter.
    """

    def __init__(self, personality: NewEraPersonality) -> None:
        self._is = personality
        self.memory: dict[str, Any] = {
            "DIA": "26.59",
            "PHN": "1",
            "FUN": "RAT",
            "RAT": ("100.0", "MH"),
            "VOL": ("1.000", "ML"),
            "DIR": "INF",
            "PF": "1",
            "SAF": personality.safe_s,
        }
        self.rate = self.memory["RAT"]
        self.alarm = personality.alarm
        self.status = "I" if personality.runs else "S"
        self.counters = {"INF": 0.0, "WDR": 0.0}
        self.drawn_nl = 0.0
        self._last_s = time.monotonic()
        self._deadline_s = math.inf
        self._lost = personality.deaf_to[1]
        self.flips = 0
        self._packet = False
        super().__init__(personality)

    @property
    def flow_nl_s(self) -> float:
        """Flow of its plunger now; above 0 it withdraws."""
        with self._lock:
            self._pump_on()
            sign = {"W": 1.0, "I": -1.0}.get(self.status, 0.0)
            return sign * float(self.rate[0]) * UL_H[self.rate[1]] / 3.6

    def fail(self, letter: str) -> None:
        """Stop with an alarm, which is also told unasked in the safe mode."""
        with self._lock:
            self._pump_on()
            self.status, self.alarm = "S", letter
            if self.memory["SAF"]:
                self._send(self._framed(f"{self._is.address:02d}A?{letter}", True))
        self._bell.send(b"!")

    def switch_off_and_on(self) -> None:
        """Fail in power, and come back."""
        with self._lock:
            self._pump_on()
            self.rate = self.memory["RAT"]
            running = self.status in "IW" and self.memory["PF"] == "1"
            self.status = self.status if running else "S"
            self._outbox = []
        self.fail("R")
        self.status = {"INF": "I", "WDR": "W"}[self.memory["DIR"]] if running else "S"

    def cut(self, received: bytes) -> tuple[list[str], bytes]:
        """Cut into lines of the basic mode and packets of the safe mode."""
        commands: list[str] = []
        while received:
            if not self.memory["SAF"]:
                line, end, received = received.partition(b"\r")
                if not end:
                    return commands, line
                text = line.decode("ascii")
                self._packet = False
                commands.append("".join(sign for sign in text if sign > " ").upper())
            else:
                begin = received.find(STX)
                if begin < 0:
                    return commands, b""
                received = received[begin:]
                if len(received) < 2 or len(received) < received[1] + 1:
                    return commands, received
                packet, received = received[: received[1] + 1], received[received[1] + 1 :]
                self._packet = True
                whole = packet[-1:] == ETX and packet[-3:-1] == _checksum(packet[2:-3])
                commands.append(packet[2:-3].decode("ascii") if whole else "\x15")
            if commands[-1].lstrip("0123456789").startswith("SAF"):
                break  # what follows is in the new mode
        return commands, received

    def obey(self, line: str) -> None:
        """Carry out one command and answer it."""
        digits = line[: len(line) - len(line.lstrip("0123456789"))]
        if int(digits or 0) != self._is.address:
            return
        command = line[len(digits) :]
        if self._lost and command == self._is.deaf_to[0]:
            self._lost -= 1
            return
        self._pump_on()
        if self.memory["SAF"]:
            self._expect_packet()
        packet = bool(self.memory["SAF"])
        alarm, self.alarm = self.alarm, ""
        answer = f"A?{alarm}" if alarm else self._carry_out(command)
        if command.startswith("SAF") and self._is.saf_answer == "after":
            packet = bool(self.memory["SAF"])
        raw = self._framed(f"{self._is.address:02d}{answer}", packet)
        if self.flips:
            self.flips -= 1
            raw = raw.replace(answer[:1].encode("ascii"), b"Q", 1)
        self._send(raw)

    def _carry_out(self, command: str) -> str:
        """Do what a command says, and return status and data."""
        name, value = command[:3], command[3:]
        if command.startswith("PF"):
            name, value = "PF", command[2:]
        verbs = {
            "": lambda _: "",
            "VER": lambda _: self._is.version,
            "DIS": lambda _: (
                f"I{self.counters['INF'] / 1e3:.3f}W{self.counters['WDR'] / 1e3:.3f}UL"
            ),
            "CLD": self._clear,
            "RUN": self._run,
            "STP": self._stop,
            "RAT": self._set_rate,
            "VOL": self._set_volume,
            "DIA": self._set_diameter,
            "SAF": self._set_safe,
        }
        if command == "\x15":
            data = "?COM"
        elif name in self._is.unknown:
            data = "?"
        elif name in verbs:
            data = verbs[name](value)
        elif name in self.memory:
            data = self._set(name, value)
        else:
            data = "?"
        return f"{self.status}{data}"

    def _set(self, name: str, value: str) -> str:
        if not value:
            return str(self.memory[name])
        if name != "DIR" and self.status != "S":
            return "?NA"
        if name not in self._is.keeps:
            self.memory[name] = value
        if name == "DIR" and self.status in "IW":
            self.status = {"INF": "I", "WDR": "W"}[value]
        return ""

    def _set_diameter(self, value: str) -> str:
        if value and not 0.1 <= float(value) <= 80:
            return "?OOR"
        if value and self.status == "S" and "DIA" not in self._is.keeps:
            self.memory["VOL"] = ("1.000", "UL" if float(value) <= 14 else "ML")
        return self._set("DIA", f"{float(value):.5g}"[:5] if value else "")

    def _set_rate(self, value: str) -> str:
        if not value:
            return "".join(self.rate)
        digits = value.rstrip("UMH")
        unit = value[len(digits) :] or self.rate[1]
        assert len(digits.replace(".", "")) <= 4
        assert len(digits.partition(".")[2]) <= 3
        section_mm2 = math.pi / 4 * float(self.memory["DIA"]) ** 2
        mm_h = float(digits) * UL_H[unit] / section_mm2
        if not self._is.least_mm_h <= mm_h <= self._is.most_mm_h:
            return "?OOR"
        if self.status in "IW" and len(value) > len(digits):
            return "?NA"
        if "RAT" not in self._is.keeps:
            self.rate = (digits, unit)
        if self.status == "S":
            self.memory["RAT"] = self.rate
        return ""

    def _set_volume(self, value: str) -> str:
        if not value:
            return "".join(self.memory["VOL"])
        if self.status != "S":
            return "?NA"
        self.memory["VOL"] = (f"{float(value):.3f}", self.memory["VOL"][1])
        return ""

    def _set_safe(self, value: str) -> str:
        if not value:
            return str(self.memory["SAF"])
        self.memory["SAF"] = int(value)
        self._expect_packet()
        return ""

    def _run(self, _: str) -> str:
        if self.status in "IW":
            return "?NA"
        self.status = {"INF": "I", "WDR": "W"}[self.memory["DIR"]]
        return ""

    def _stop(self, _: str) -> str:
        if self.status == "S":
            return "?NA"
        self.status = "P" if self.status in "IW" else "S"
        return ""

    def _clear(self, direction: str) -> str:
        if self.status in "IW":
            return "?NA"
        self.counters[direction] = 0.0
        return ""

    def _pump_on(self) -> None:
        """Move the plunger as far as it has come by now, and stop it when it must."""
        now_s = time.monotonic()
        end_s = min(now_s, max(self._deadline_s, self._last_s))
        seconds, self._last_s = end_s - self._last_s, now_s
        if self.status in "IW":
            nl = seconds * float(self.rate[0]) * UL_H[self.rate[1]] / 3.6
            self.counters["INF" if self.status == "I" else "WDR"] += nl / 1e3
            self.drawn_nl += nl if self.status == "W" else -nl
            if self.drawn_nl > self._is.stalls_at_nl:
                self.status, self.alarm = "S", "S"
        if now_s > self._deadline_s:
            self.status, self.alarm, self._deadline_s = "S", "T", math.inf

    def _expect_packet(self) -> None:
        """Count the time-out of the safe mode from now on; its alarm is told unasked."""
        late = self._framed(f"{self._is.address:02d}A?T", True)
        self.take_back(late)
        self._deadline_s = math.inf
        if self.memory["SAF"]:
            self._deadline_s = time.monotonic() + self.memory["SAF"]
            self._outbox.append((self._deadline_s, late))
            self._outbox.sort(key=lambda reply: reply[0])

    def _framed(self, text: str, packet: bool) -> bytes:
        raw = text.encode("ascii")
        if not packet:
            return STX + raw + ETX
        return STX + bytes([len(raw) + 4]) + raw + _checksum(raw) + ETX


def _checksum(raw: bytes) -> bytes:
    """CRC-16 of the CCITT, bit by bit: x^16 + x^12 + x^5 + 1 from 0, high byte first."""
    register = 0
    for byte in raw:
        register ^= byte << 8
        for _ in range(8):
            register = (register << 1) ^ (0x1021 if register & 0x8000 else 0)
            register &= 0xFFFF
    return register.to_bytes(2, "big")
