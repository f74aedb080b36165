"""The Prior driver, unmodified, against controllers that speak the wire protocol."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
from proscan_peer import FIELD, MANUAL, NANOSCANZ, Personality, ProScanPeer
from serial_peer import arrive

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.drivers.prior import PriorStage

StartPeer = Callable[[Personality], ProScanPeer]
OpenPrior = Callable[..., PriorStage]

PERSONALITIES = pytest.mark.parametrize(
    "personality", [MANUAL, FIELD, NANOSCANZ], ids=["manual", "field", "nanoscanz"]
)


def test_leaves_the_controller_as_found(start_peer: StartPeer, open_prior: OpenPrior) -> None:
    peer = start_peer(FIELD)
    stage = open_prior(peer)
    assert (peer.backlash, peer.compatibility, peer.readable_errors) == ((0, 2500), 0, 0)
    assert stage.backlash == (True, 2500)
    stage.close()
    stage.close()
    assert (peer.backlash, peer.compatibility, peer.readable_errors) == ((1, 2500), 1, 1)


@pytest.mark.parametrize(("policy", "lowest_um"), [("off", 5.0), ("keep", 0.0)])
def test_backlash_correction_is_off_unless_kept(
    policy: str, lowest_um: float, start_peer: StartPeer, open_prior: OpenPrior
) -> None:
    peer = start_peer(FIELD)
    stage = open_prior(peer, backlash=policy)
    assert arrive(stage, 5.0) == pytest.approx(5.0)
    assert peer.lowest_um == pytest.approx(lowest_um)
    assert "2500 microsteps" in stage.name


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


def test_a_unit_given_helps_where_the_controller_does_not_say(
    start_peer: StartPeer, open_prior: OpenPrior
) -> None:
    peer = start_peer(replace(FIELD, unknown=frozenset({"RES", "BLZH", "SERIAL"})))
    stage = open_prior(peer, unit_um=0.1)
    assert arrive(stage, 11.0) == pytest.approx(11.0)
    assert stage.backlash is None
    assert "not reported" in stage.name


def test_other_axes_do_not_hide_that_z_moves(start_peer: StartPeer, open_prior: OpenPrior) -> None:
    peer = start_peer(replace(FIELD, early_reply_s=0.0, speed_um_per_s=0.1))
    stage = open_prior(peer)
    stage.move_to(14)
    assert stage.moving()
    assert stage.position_um() < 14
    stage.stop()
    peer.speed_um_per_s = 20
    assert arrive(stage, 14) == pytest.approx(14)
    assert not stage.moving()


def test_idle_is_not_believed_before_the_move_is_acknowledged(
    start_peer: StartPeer, open_prior: OpenPrior
) -> None:
    stage = open_prior(start_peer(replace(MANUAL, idle_early=True, speed_um_per_s=20)))
    assert arrive(stage, 12) == pytest.approx(12)


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
        stage = open_prior(peer, port=port, stop_bits=stop_bits, timeout_s=2)
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
