"""What every drive on a serial line must survive, one row for each controller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from ms2000_peer import ASI_FIELD, ASI_MANUAL
from proscan_peer import FIELD, MANUAL
from serial_peer import SerialPeer, SerialPersonality

from fgaf.acquire.devices import DeviceError

StartPeer = Callable[[SerialPersonality], SerialPeer]
OpenSerial = Callable[..., Any]


@dataclass(frozen=True)
class Controller:
    """A driver, its controller by the book and in the field, and words of its language.

    Attributes
    ----------
    position, status
        Questions for the position, and whether the axis moves.
    late
        A reply that belongs to an earlier question for the position.
    garbage
        Replies that are no position.
    move
        How a move begins.
    halt, halt_again
        Commands that stop, the second where the first is not acknowledged.
    """

    driver: str
    book: SerialPersonality
    field: SerialPersonality
    position: str
    status: str
    late: bytes
    garbage: tuple[bytes, ...]
    move: str
    halt: str
    halt_again: str


CONTROLLERS = {
    "asi": Controller(
        driver="asi",
        book=ASI_MANUAL,
        field=ASI_FIELD,
        position="W Z",
        status="/",
        late=b":A 7777\r\n",
        garbage=(b"\xff\xfe\r", b":A\r\n", b":A nan\r\n", b":A 1 2\r\n"),
        move="M Z",
        halt="HALT",
        halt_again="\\",
    ),
    "prior": Controller(
        driver="prior",
        book=MANUAL,
        field=FIELD,
        position="PZ",
        status="$",
        late=b"7777\r",
        garbage=(b"\xff\xfe\r", b"1O0\r", b"nan\r", b"1,2\r"),
        move="GZ",
        halt="I",
        halt_again="K",
    ),
}
EACH = pytest.mark.parametrize("kind", CONTROLLERS.values(), ids=CONTROLLERS)


@EACH
def test_a_hand_on_the_joystick_shows(
    kind: Controller, start_peer: StartPeer, open_serial: OpenSerial
) -> None:
    peer = start_peer(kind.field)
    stage = open_serial(kind.driver, peer)
    peer.push(1.5)
    assert stage.position_um() == pytest.approx(11.5, abs=0.06)
    stage.move_to(12.5)
    while stage.moving() or peer.moving:
        pass
    assert stage.position_um() == pytest.approx(12.5, abs=0.06)


@EACH
def test_garbage_is_an_error_and_no_position(
    kind: Controller, start_peer: StartPeer, open_serial: OpenSerial
) -> None:
    personality = replace(kind.field, answers={})
    stage = open_serial(kind.driver, start_peer(personality))
    for garbage in kind.garbage:
        personality.answers.update({kind.position: garbage, kind.status: garbage})
        for ask in (stage.position_um, stage.moving):
            with pytest.raises(DeviceError, match=r"garbage|answered .* to"):
                ask()
        personality.answers.clear()
        assert stage.position_um() == pytest.approx(10)


@EACH
def test_a_reply_that_comes_too_late_is_not_taken_for_the_next(
    kind: Controller, start_peer: StartPeer, open_serial: OpenSerial
) -> None:
    personality = replace(kind.book, answers={})
    peer = start_peer(personality)
    stage = open_serial(kind.driver, peer)
    personality.answers[kind.position] = b""
    with pytest.raises(DeviceError, match="did not answer"):
        stage.position_um()
    personality.answers.clear()
    peer.chatter(kind.late)
    assert stage.position_um() == pytest.approx(10)


@EACH
def test_a_pulled_cable_is_one_line(
    kind: Controller, start_peer: StartPeer, open_serial: OpenSerial
) -> None:
    peer = start_peer(kind.field)
    stage = open_serial(kind.driver, peer)
    peer.unplug()
    for act in (stage.position_um, stage.stop, stage.close):
        with pytest.raises(DeviceError, match="the connection was lost") as caught:
            act()
        assert "\n" not in str(caught.value)
    stage.close()


@EACH
def test_limits_are_kept_even_when_asked_directly(
    kind: Controller, start_peer: StartPeer, open_serial: OpenSerial
) -> None:
    peer = start_peer(kind.book)
    with pytest.raises(DeviceError, match="outside its limits -500 to 500"):
        open_serial(kind.driver, peer).move_to(500.1)
    assert not [line for line in peer.commands if line.startswith(kind.move)]


@EACH
def test_an_unacknowledged_stop_is_repeated_in_other_words(
    kind: Controller, start_peer: StartPeer, open_serial: OpenSerial
) -> None:
    peer = start_peer(replace(kind.book, answers={kind.halt: b""}, speed_um_per_s=20))
    stage = open_serial(kind.driver, peer)
    stage.move_to(90)
    stage.stop()
    assert peer.commands[-1] == kind.halt_again
    assert peer.position_um < 90
    assert stage.position_um() == pytest.approx(peer.position_um, abs=0.06)
