"""The contract of every drive on a serial line; controllers and their words are data."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from conftest import OPENERS, TIMEOUT_S
from ms2000_peer import ASI_FIELD, ASI_MANUAL, ASI_TIGER
from proscan_peer import FIELD, MANUAL, NANOSCANZ
from serial_peer import SerialPeer, SerialPersonality, arrive

from fgaf.acquire.device_tables import CameraTable, StageTable
from fgaf.acquire.devices import DeviceError, Stage, WallClock
from fgaf.acquire.rig import Opening, Rig
from fgaf.base.errors import SettingError

StartPeer = Callable[[SerialPersonality], SerialPeer]
OpenSerial = Callable[..., Any]


@dataclass(frozen=True)
class Controller:
    """A driver, its controllers, and words of their language.

    Attributes
    ----------
    book, field, other
        Controllers: by the book, as met in the field, and of another make.
    may_send
        Commands that are harmless to a drive in place, as a regular expression.
    within_um
        Finite where the controllers may report to stand before a move has ended: see `arrive`.
    coarse, unit
        A controller that counts in another unit, and a move to 12 µm as it is told then.
    turned
        A move to 12 µm of the drive by the book.
    refused, refusals
        A move to 20 µm, and replies that refuse it, each with the words that tell it.
    unfit, restored
        A controller that fails while it is opened, and what its state is after that.
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
    other: SerialPersonality
    may_send: str
    within_um: float
    coarse: SerialPersonality
    unit: str
    turned: str
    refused: str
    refusals: dict[bytes, str]
    unfit: SerialPersonality
    restored: dict[str, Any]
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
        other=ASI_TIGER,
        may_send=r"(V|W|UM|B|M|/|HALT)( .*)?",
        within_um=0.06,
        coarse=replace(ASI_MANUAL, unit_um=0.01),
        unit="M Z=1200",
        turned="M Z=120",
        refused="M Z=200",
        refusals={
            b":N-4\r\n": r"the value is out of range \(:N-4\)",
            b":N-21\r\n": r"the move was halted \(:N-21\)",
            b":N-99\r\n": r"an error that is not in the manual \(:N-99\)",
        },
        unfit=replace(ASI_FIELD, answers={"B Z=0": b"?\r\n"}),
        restored={"backlash_mm": 0.04},
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
        other=NANOSCANZ,
        may_send=r"(?!(Z|SIZ|SIS|RIS|H)\s*$|PZ[, ]|P,).+",
        within_um=math.inf,
        coarse=replace(MANUAL, unit_um=0.05),
        unit="GZ,240",
        turned="GZ,120",
        refused="GZ,200",
        refusals={b"E,8\r": r".*out of range \(E,8\)", b"E18\r": r".*queue .* full \(E18\)"},
        unfit=replace(FIELD, focus="NONE"),
        restored={"compatibility": 1, "readable_errors": 1},
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
MAKES = pytest.mark.parametrize("make", ["book", "field", "other"])


@MAKES
@EACH
def test_goes_where_it_is_told_and_reads_back_where_it_is(
    kind: Controller, make: str, start_peer: StartPeer, open_serial: OpenSerial
) -> None:
    peer = start_peer(getattr(kind, make))
    stage = open_serial(kind.driver, peer)
    assert isinstance(stage, Stage)
    assert stage.position_um() == pytest.approx(peer.position_um)
    for z_um in (8.0, 8.5, 14.0, 13.9, 3.25):
        arrive(stage, z_um, kind.within_um)
        while kind.within_um < math.inf and peer.moving:
            pass
        assert stage.position_um() == pytest.approx(z_um, abs=0.06)
        assert peer.position_um == pytest.approx(stage.position_um(), abs=0.006)


@MAKES
@EACH
def test_never_sends_what_moves_zeroes_or_saves(
    kind: Controller, make: str, start_peer: StartPeer, open_serial: OpenSerial
) -> None:
    peer = start_peer(getattr(kind, make))
    stage = open_serial(kind.driver, peer)
    arrive(stage, 12, kind.within_um)
    stage.stop()
    stage.close()
    allowed = re.compile(kind.may_send, re.IGNORECASE)
    assert [line for line in peer.commands if not allowed.fullmatch(line)] == []


@EACH
def test_an_opening_that_fails_restores_too(
    kind: Controller, start_peer: StartPeer, open_serial: OpenSerial
) -> None:
    peer = start_peer(kind.unfit)
    with pytest.raises(DeviceError):
        open_serial(kind.driver, peer)
    assert {name: getattr(peer, name) for name in kind.restored} == kind.restored


@EACH
def test_counts_in_the_unit_the_controller_reports(
    kind: Controller, start_peer: StartPeer, open_serial: OpenSerial
) -> None:
    peer = start_peer(kind.coarse)
    arrive(open_serial(kind.driver, peer), 12.0, kind.within_um)
    assert kind.unit in peer.commands
    assert peer.position_um == pytest.approx(12.0)


@EACH
def test_the_direction_can_be_turned(
    kind: Controller, start_peer: StartPeer, open_serial: OpenSerial
) -> None:
    peer = start_peer(kind.book)
    stage = open_serial(kind.driver, peer, direction=-1)
    assert stage.position_um() == pytest.approx(-10)
    arrive(stage, -12, kind.within_um)
    assert kind.turned in peer.commands


@MAKES
@EACH
def test_stop_halts_on_the_way_and_the_next_move_works(
    kind: Controller, make: str, start_peer: StartPeer, open_serial: OpenSerial
) -> None:
    peer = start_peer(replace(getattr(kind, make), speed_um_per_s=40))
    stage = open_serial(kind.driver, peer)
    begin_um = peer.position_um
    stage.move_to(90)
    assert kind.within_um < math.inf or stage.moving()
    stage.stop()
    stands_um = peer.position_um
    assert begin_um <= stands_um < 90
    assert stage.position_um() == pytest.approx(stands_um, abs=0.06)
    assert arrive(stage, begin_um, kind.within_um) == pytest.approx(begin_um, abs=0.06)


@EACH
def test_a_refused_move_is_told_in_words_and_the_link_recovers(
    kind: Controller, start_peer: StartPeer, open_serial: OpenSerial
) -> None:
    for answer, says in kind.refusals.items():
        peer = start_peer(replace(kind.field, answers={kind.refused: answer}))
        stage = open_serial(kind.driver, peer)
        with pytest.raises(DeviceError, match=f"refused {kind.refused}: {says}"):
            arrive(stage, 20, kind.within_um)
        assert stage.position_um() == pytest.approx(10)
        assert arrive(stage, 11, kind.within_um) == pytest.approx(11, abs=0.06)


@dataclass(frozen=True)
class Misfit:
    """A controller that cannot be opened, and what its error says."""

    name: str
    driver: str
    personality: SerialPersonality
    says: str
    options: dict[str, Any] = field(default_factory=dict)


def asi(**values: Any) -> SerialPersonality:
    return replace(ASI_MANUAL, **values)


def prior(**values: Any) -> SerialPersonality:
    return replace(MANUAL, **values)


SILENT = f"did not answer within {TIMEOUT_S} s"
PIEZO = replace(NANOSCANZ, answers={"PZ": b"?\r"})
MISFITS = [
    Misfit("no such axis", "asi", asi(axes="XY"), r"has no such axis \(:N-2\)"),
    Misfit("another axis", "asi", asi(), "has no such axis", {"axis": "F"}),
    Misfit("silent", "asi", asi(answers={"V": b""}), SILENT),
    Misfit("torn", "asi", asi(answers={"W Z": b":A 1"}), "answered only ':A 1'"),
    Misfit("other baud", "asi", asi(answers={"V": b"\xf8\x00\xf1\r"}), "unreadable bytes"),
    Misfit("another device", "asi", asi(answers={"V": b"116\r"}), "answered '116' to V"),
    Misfit("unit zero", "asi", asi(answers={"UM Z?": b":Z=0 A\r\n"}), "set UM to 10000"),
    Misfit("odd", "asi", asi(answers={"B Z?": b":X=1 A\r\n"}), "answered ':X=1 A' to B"),
    Misfit("refuses", "asi", CONTROLLERS["asi"].unfit, r"answered '\?' to B Z=0"),
    Misfit("no focus motor", "prior", prior(focus="NONE"), "no focus drive"),
    Misfit("refuses FOCUS", "prior", prior(answers={"FOCUS": b"E,7\r"}), "no focus drive is fi"),
    Misfit("another device", "prior", prior(answers={"?": b"ASI MS-2000\r"}), "answered 'ASI"),
    Misfit("no END", "prior", prior(answers={"?": b"PROSCAN INFORMATION\r"}), "did not answer"),
    Misfit("silent", "prior", prior(answers={"ERROR": b""}), SILENT),
    Misfit("torn", "prior", prior(answers={"ERROR": b"0"}), "answered only '0'"),
    Misfit("other baud", "prior", prior(answers={"ERROR": b"\xf8\x00\xf1\r"}), "unreadable bytes"),
    Misfit("endless", "prior", prior(answers={"ERROR": b"x" * 999}), "unreadable bytes"),
    Misfit("refuses modes", "prior", prior(answers={"COMP,0": b"E,128\r"}), "not in the manual"),
    Misfit("no unit", "prior", prior(answers={"RES,Z": b"E,5\r"}), "set unit_um"),
    Misfit("unit zero", "prior", prior(answers={"RES,Z": b"0\r"}), "set unit_um"),
    Misfit("other unit", "prior", prior(), "counts in 0.1 µm, not in 1 µm", {"unit_um": 1.0}),
    Misfit("odd backlash", "prior", prior(answers={"BLZH": b"yes\r"}), "answered 'yes' to BLZH"),
    Misfit("not a piezo", "prior", PIEZO, r"answered '\?' to PZ"),
]


@pytest.mark.parametrize("misfit", MISFITS, ids=lambda misfit: f"{misfit.driver} {misfit.name}")
def test_a_misfit_is_one_line_and_not_for_ever(
    misfit: Misfit, start_peer: StartPeer, open_serial: OpenSerial
) -> None:
    peer = start_peer(misfit.personality)
    begun = time.monotonic()
    with pytest.raises(DeviceError, match=misfit.says) as caught:
        open_serial(misfit.driver, peer, **misfit.options)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - begun < 60


@dataclass(frozen=True)
class Wrong:
    """Options of a stage that make no sense."""

    driver: str
    options: dict[str, Any]
    says: str
    limits_um: tuple[float, float] | None = (0, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong("asi", {"prt": "COM3"}, "unknown key prt; did you mean port"),
        Wrong("asi", {"port": "COM3", "axis": "z"}, "axis = 'z'"),
        Wrong("asi", {"port": "COM3"}, r"an ASI drive .* stage\.limits_um", None),
        Wrong("prior", {"port": "COM3", "buad": 9600}, "did you mean baud"),
        Wrong("prior", {}, "the key port is missing"),
        Wrong("prior", {"port": "COM3", "baud": 9601}, "baud = 9601"),
        Wrong("prior", {"port": "COM3", "timeout_s": 0}, "timeout_s: 0 is out of bounds"),
        Wrong("prior", {"port": "COM3", "model": "nanoscanz", "unit_um": 0.1}, "remove the key"),
        Wrong("prior", {"port": "COM3"}, r"stage\.limits_um", None),
    ],
    ids=lambda wrong: f"{wrong.driver} {wrong.says}",
)
def test_wrong_options_are_told_before_any_port_is_opened(wrong: Wrong) -> None:
    table = StageTable(driver=wrong.driver, limits_um=wrong.limits_um)
    rig = Rig(camera=CameraTable(driver="basler"), stage=table)
    with pytest.raises(SettingError, match=wrong.says):
        OPENERS[wrong.driver](wrong.options, Opening(rig, WallClock()))


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
            with pytest.raises(DeviceError, match=r"unreadable|answered .* to"):
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
