"""The Prior driver, unmodified, against controllers that speak the wire protocol."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from proscan_peer import FIELD, MANUAL, NANOSCANZ, Personality, ProScanPeer

from fgaf.acquire.devices import DeviceError, Stage, WallClock
from fgaf.acquire.drivers.prior import PriorStage, open_stage
from fgaf.acquire.rig import CameraTable, Opening, Rig, StageTable
from fgaf.base.errors import SettingError

StartPeer = Callable[[Personality], ProScanPeer]
OpenPrior = Callable[..., PriorStage]

PERSONALITIES = pytest.mark.parametrize(
    "personality", [MANUAL, FIELD, NANOSCANZ], ids=["manual", "field", "nanoscanz"]
)


def arrive(stage: Stage, z_um: float) -> float:
    """Do what the engine does: move, ask until the drive stands, read the position back."""
    stage.move_to(z_um)
    deadline = time.monotonic() + 5
    while stage.moving():
        assert time.monotonic() < deadline
    return stage.position_um()


@PERSONALITIES
def test_goes_where_it_is_told_and_reads_back_where_it_is(
    personality: Personality, start_peer: StartPeer, open_prior: OpenPrior
) -> None:
    peer = start_peer(personality)
    stage = open_prior(peer)
    assert isinstance(stage, Stage)
    for z_um in (8.0, 8.5, 14.0, 13.9):
        assert arrive(stage, z_um) == pytest.approx(z_um, abs=1e-6)
        assert peer.position_um == pytest.approx(z_um, abs=1e-6)


@PERSONALITIES
def test_never_sends_what_moves_zeroes_or_shifts(
    personality: Personality, start_peer: StartPeer, open_prior: OpenPrior
) -> None:
    peer = start_peer(personality)
    stage = open_prior(peer)
    arrive(stage, 12)
    stage.stop()
    stage.close()
    forbidden = ("", "Z", "SIZ", "SIS", "RIS", "H")
    assert not [line for line in peer.commands if line.strip().upper() in forbidden]
    assert not [line for line in peer.commands if line.upper().startswith(("PZ,", "PZ ", "P,"))]


def test_leaves_the_controller_as_found(start_peer: StartPeer, open_prior: OpenPrior) -> None:
    peer = start_peer(FIELD)
    stage = open_prior(peer)
    assert (peer.backlash, peer.compatibility, peer.readable_errors) == ((0, 2500), 0, 0)
    assert stage.backlash == (True, 2500)
    stage.close()
    stage.close()
    assert (peer.backlash, peer.compatibility, peer.readable_errors) == ((1, 2500), 1, 1)


def test_an_opening_that_fails_restores_too(start_peer: StartPeer, open_prior: OpenPrior) -> None:
    peer = start_peer(replace(FIELD, focus="NONE"))
    with pytest.raises(DeviceError, match="no focus drive"):
        open_prior(peer)
    assert (peer.compatibility, peer.readable_errors) == (1, 1)


@pytest.mark.parametrize(("policy", "lowest_um"), [("off", 5.0), ("keep", 0.0)])
def test_backlash_correction_is_off_unless_kept(
    policy: str, lowest_um: float, start_peer: StartPeer, open_prior: OpenPrior
) -> None:
    peer = start_peer(FIELD)
    stage = open_prior(peer, backlash=policy)
    assert arrive(stage, 5.0) == pytest.approx(5.0)
    assert peer.lowest_um == pytest.approx(lowest_um)
    assert "2500 microsteps" in stage.name


def test_counts_in_the_unit_the_controller_reports(
    start_peer: StartPeer, open_prior: OpenPrior
) -> None:
    peer = start_peer(replace(MANUAL, unit_um=0.05))
    stage = open_prior(peer)
    arrive(stage, 12.0)
    assert "GZ,240" in peer.commands
    assert peer.position_um == pytest.approx(12.0)


def test_planes_lie_evenly_about_a_centre_between_two_units(
    start_peer: StartPeer, open_prior: OpenPrior
) -> None:
    peer = start_peer(MANUAL)
    stage = open_prior(peer)
    assert stage.unit_um == 0.1
    for k in range(4):
        arrive(stage, 10.05 + 0.5 * k)
    assert [line for line in peer.commands if line[:2] == "GZ"] == [
        *("GZ,101", "GZ,106", "GZ,111", "GZ,116"),
    ]
    assert open_prior(start_peer(NANOSCANZ)).unit_um is None


def test_the_direction_can_be_turned(start_peer: StartPeer, open_prior: OpenPrior) -> None:
    peer = start_peer(MANUAL)
    stage = open_prior(peer, direction=-1)
    assert stage.position_um() == pytest.approx(-10)
    arrive(stage, -12)
    assert peer.position_um == pytest.approx(12)


@dataclass(frozen=True)
class Misfit:
    """A controller that cannot be opened, and what its error says."""

    name: str
    personality: Personality
    says: str
    options: dict[str, Any] = field(default_factory=dict)


MISFITS = [
    Misfit("no focus motor", replace(MANUAL, focus="NONE"), "no focus drive"),
    Misfit("refuses FOCUS", replace(MANUAL, answers={"FOCUS": b"E,7\r"}), "no focus drive is fi"),
    Misfit("another device", replace(MANUAL, answers={"?": b"ASI MS-2000\r"}), "answered 'ASI"),
    Misfit("no END", replace(MANUAL, answers={"?": b"PROSCAN INFORMATION\r"}), "did not answer"),
    Misfit("silent", replace(MANUAL, answers={"ERROR": b""}), "did not answer within 0.15 s"),
    Misfit("torn", replace(MANUAL, answers={"ERROR": b"0"}), "answered only '0'"),
    Misfit("other baud", replace(MANUAL, answers={"ERROR": b"\xf8\x00\xf1\r"}), "garbage"),
    Misfit("endless", replace(MANUAL, answers={"ERROR": b"x" * 999}), "garbage"),
    Misfit("refuses modes", replace(MANUAL, answers={"COMP,0": b"E,128\r"}), "not in the manual"),
    Misfit("no unit", replace(MANUAL, answers={"RES,Z": b"E,5\r"}), "give unit_um"),
    Misfit("unit zero", replace(MANUAL, answers={"RES,Z": b"0\r"}), "give unit_um"),
    Misfit("other unit", MANUAL, "counts in 0.1 µm, not in 1 µm", {"unit_um": 1.0}),
    Misfit("odd backlash", replace(MANUAL, answers={"BLZH": b"yes\r"}), "answered 'yes' to BLZH"),
    Misfit("not a piezo", replace(NANOSCANZ, answers={"PZ": b"?\r"}), r"answered '\?' to PZ"),
]


@pytest.mark.parametrize("misfit", MISFITS, ids=lambda misfit: misfit.name)
def test_a_misfit_is_one_line_and_not_for_ever(
    misfit: Misfit, start_peer: StartPeer, open_prior: OpenPrior
) -> None:
    peer = start_peer(misfit.personality)
    begun = time.monotonic()
    with pytest.raises(DeviceError, match=misfit.says) as caught:
        open_prior(peer, **misfit.options)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - begun < 2


def test_a_unit_given_helps_where_the_controller_does_not_say(
    start_peer: StartPeer, open_prior: OpenPrior
) -> None:
    peer = start_peer(replace(FIELD, unknown=frozenset({"RES", "BLZH", "SERIAL"})))
    stage = open_prior(peer, unit_um=0.1)
    assert arrive(stage, 11.0) == pytest.approx(11.0)
    assert stage.backlash is None
    assert "not reported" in stage.name


@pytest.mark.parametrize(
    ("answer", "says"),
    [(b"E,8\r", r"out of range \(E,8\)"), (b"E18\r", r"queue .* full \(E18\)")],
    ids=["E,8", "E18"],
)
def test_a_refused_move_is_told_in_words_and_the_link_recovers(
    answer: bytes, says: str, start_peer: StartPeer, open_prior: OpenPrior
) -> None:
    peer = start_peer(replace(FIELD, answers={"GZ,200": answer}))
    stage = open_prior(peer)
    stage.move_to(20)
    with pytest.raises(DeviceError, match=f"refused GZ,200: .*{says}"):
        stage.moving()
    assert stage.position_um() == pytest.approx(10)
    assert arrive(stage, 11) == pytest.approx(11)


def test_other_axes_do_not_hide_that_z_moves(start_peer: StartPeer, open_prior: OpenPrior) -> None:
    stage = open_prior(start_peer(replace(FIELD, early_reply_s=0.0, speed_um_per_s=20)))
    stage.move_to(14)
    assert stage.moving()
    assert stage.position_um() < 14
    assert arrive(stage, 14) == pytest.approx(14)
    assert not stage.moving()


def test_idle_is_not_believed_before_the_move_is_acknowledged(
    start_peer: StartPeer, open_prior: OpenPrior
) -> None:
    stage = open_prior(start_peer(replace(MANUAL, idle_early=True, speed_um_per_s=20)))
    assert arrive(stage, 12) == pytest.approx(12)


@PERSONALITIES
def test_stop_halts_on_the_way_and_the_next_move_works(
    personality: Personality, start_peer: StartPeer, open_prior: OpenPrior
) -> None:
    peer = start_peer(replace(personality, speed_um_per_s=40))
    stage = open_prior(peer)
    begin_um = peer.position_um
    stage.move_to(90)
    assert stage.moving()
    stage.stop()
    stands_um = peer.position_um
    assert begin_um <= stands_um < 90
    assert stage.position_um() == pytest.approx(stands_um, abs=0.06)
    assert arrive(stage, begin_um) == pytest.approx(begin_um)


@dataclass(frozen=True)
class Wrong:
    """Stage options that make no sense."""

    options: dict[str, Any]
    says: str


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong({"port": "COM3", "buad": 9600}, "did you mean baud"),
        Wrong({}, "the key port is missing"),
        Wrong({"port": "COM3", "baud": 9601}, "baud = 9601"),
        Wrong({"port": "COM3", "timeout_s": 0}, "timeout_s: 0 is out of bounds"),
        Wrong({"port": "COM3", "model": "nanoscanz", "unit_um": 0.1}, "remove the key"),
    ],
    ids=lambda wrong: wrong.says,
)
def test_wrong_options_are_told_before_any_port_is_opened(wrong: Wrong) -> None:
    rig = Rig(
        camera=CameraTable(driver="basler"), stage=StageTable(driver="prior", limits_um=(0, 1))
    )
    with pytest.raises(SettingError, match=wrong.says):
        open_stage(wrong.options, Opening(rig, WallClock()))


def test_limits_are_asked_for() -> None:
    rig = Rig(camera=CameraTable(driver="basler"), stage=StageTable(driver="prior"))
    with pytest.raises(SettingError, match=r"stage\.limits_um"):
        open_stage({"port": "COM3"}, Opening(rig, WallClock()))


@dataclass(frozen=True)
class Named:
    """Enough of a peer to be opened: a port's name."""

    url: str
    model: str = "proscan"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("socket://127.0.0.1:1", "cannot open socket://127.0.0.1:1"),
        ("nonsense://x", "is not a port"),
        ("/dev/ttyNONE", "there is no port /dev/ttyNONE"),
    ],
)
def test_a_port_that_does_not_open_says_why(url: str, says: str, open_prior: OpenPrior) -> None:
    if url.startswith("/dev") and sys.platform == "win32":
        pytest.skip("ports are named otherwise")
    with pytest.raises(DeviceError, match=says):
        open_prior(Named(url))


@contextmanager
def wired_to_a_terminal(peer: ProScanPeer) -> Iterator[str]:
    """Put a pseudo terminal before a peer; yields the name of its serial port."""
    import pty
    import tty

    far, near = pty.openpty()
    tty.setraw(near)
    host, _, port = peer.url.removeprefix("socket://").partition(":")
    peer_side = socket.create_connection((host, int(port)))

    def carry() -> None:
        while True:
            ready, _, _ = select.select([far, peer_side], [], [])
            if far in ready:
                peer_side.sendall(os.read(far, 4096))
            if peer_side in ready:
                replies = peer_side.recv(4096)
                if not replies:
                    return
                os.write(far, replies)

    carrier = threading.Thread(target=carry, daemon=True)
    carrier.start()
    try:
        yield os.ttyname(near)
    finally:
        peer_side.shutdown(socket.SHUT_RDWR)
        carrier.join(5)
        peer_side.close()
        os.close(far)
        os.close(near)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
@pytest.mark.parametrize("stop_bits", [1, 2])
def test_a_serial_port_works_as_a_socket_does(
    stop_bits: int, start_peer: StartPeer, open_prior: OpenPrior
) -> None:
    peer = start_peer(FIELD)
    with wired_to_a_terminal(peer) as port:
        stage = open_prior(peer, port=port, stop_bits=stop_bits)
        assert arrive(stage, 12) == pytest.approx(12)
        stage.close()
    assert peer.backlash == (1, 2500)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_port_in_use_is_not_shared(open_prior: OpenPrior) -> None:
    import serial

    controller, terminal = os.openpty()
    port = os.ttyname(terminal)
    with (
        serial.Serial(port, exclusive=True),
        pytest.raises(DeviceError, match=f"{port} is in use by another program"),
    ):
        open_prior(Named(port))
    os.close(controller)
    os.close(terminal)


def test_a_missing_pyserial_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, open_prior: OpenPrior
) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(DeviceError, match=r"pip install .*fgaf"):
        open_prior(Named("COM3"))
