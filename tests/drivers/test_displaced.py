"""Drives that are not where they were last read: nothing moves them any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import TIMEOUT_S
from ms2000_peer import ASI_FIELD, ASI_MANUAL
from proscan_peer import FIELD, MANUAL
from serial_peer import SerialPeer, SerialPersonality

from fgaf import FgafError
from fgaf.acquire import Rig, StackPlan, load_rig, open_rig, record_stacks, stack_paths
from fgaf.acquire.commissioning.check_plan import Bounds, CheckPlan
from fgaf.acquire.commissioning.checkup import check_rig
from fgaf.dataset import RawStack, recover

StartPeer = Callable[[SerialPersonality], SerialPeer]

PLAN = StackPlan(0.5, 2.0, 40.0)
EMPTY = (
    "simulation.shape=[32, 48]",
    "simulation.cells=0",
    "simulation.debris=0",
    "simulation.round_cells=0",
)
MOVES = ("GZ", "V ", "M Z")
CONTROLLERS = {
    "asi": ("asi", replace(ASI_MANUAL, start_um=40.0)),
    "asi field": ("asi", replace(ASI_FIELD, idle_early=False, start_um=40.0)),
    "prior": ("prior", replace(MANUAL, start_um=40.0)),
    "prior field": ("prior", replace(FIELD, start_um=40.0)),
}
# In the field replies and speeds differ from the manual, but not where a drive stands.
FAST = ("asi", "prior field")
EACH = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, id=name, marks=[] if name in FAST else pytest.mark.slow)
        for name, kind in CONTROLLERS.items()
    ],
)


def rig_of(driver: str, peer: SerialPeer, *more: str) -> Rig:
    """A rig of a real driver, and the simulated camera."""
    settings = (
        f"stage.driver={driver}",
        "stage.limits_um=[-200, 200]",
        "stage.settle_ms=0",
        "stage.timeout_s=1",
        f"stage.options.port={peer.url}",
        f"stage.options.timeout_s={TIMEOUT_S}",
    )
    return load_rig("sim", (*EMPTY, *settings, *more))


def moves_of(peer: SerialPeer) -> int:
    return sum(line.startswith(MOVES) for line in peer.commands)


@dataclass
class After:
    """Lets something happen between two planes, or two stacks: the progress of a run."""

    number: int
    deed: Callable[[], None]
    moves: int = field(default=-1, init=False)
    peer: SerialPeer

    def __call__(self, items: Iterable[Any], _label: str, _length: int | None) -> Iterator[Any]:
        for number, item in enumerate(items, 1):
            yield item
            if number == self.number:
                self.deed()
                self.moves = moves_of(self.peer)


@dataclass(frozen=True)
class Jump:
    """What happens to a drive that stands at 39.0 µm, and where its counter is then."""

    name: str
    deed: Callable[[SerialPeer], None]
    counter_um: float


JUMPS = [
    Jump("counter set to zero", lambda peer: peer.recount(0.0), 0.0),
    Jump("counter shifted a little", lambda peer: peer.recount(39.3), 39.3),
    Jump("switched off and on", lambda peer: peer.power_cycle(), 0.0),
    Jump("hand on the joystick", lambda peer: peer.push(-1.5), 37.5),
]


@EACH
@pytest.mark.parametrize("jump", JUMPS, ids=lambda jump: jump.name)
def test_a_drive_that_is_elsewhere_between_two_planes_stops_and_is_not_moved(
    kind: tuple[str, SerialPersonality], jump: Jump, start_peer: StartPeer, tmp_path: Path
) -> None:
    driver, personality = kind
    peer = start_peer(personality)
    rig = rig_of(driver, peer)
    after = After(3, lambda: jump.deed(peer), peer)
    paths = stack_paths(tmp_path, name="x")
    says = (
        rf"^plane 4 of 9 \(z = 39.5 µm\): the drive stands at {jump.counter_um:.3f} µm, but 39.000 "
        r"µm was last read: its controller was restarted, .*; 3 planes are kept.*; the drive was "
        r"not brought back to 40.000 µm; check its real position before anything moves$"
    )
    with open_rig(rig) as devices, pytest.raises(FgafError, match=says):
        record_stacks(devices, rig, PLAN, paths, progress=after)
    assert moves_of(peer) == after.moves
    assert recover(paths[0].with_name("x.stack.h5.part")).planes == 3


@EACH
def test_a_drive_that_is_elsewhere_between_two_stacks_stops_the_series(
    kind: tuple[str, SerialPersonality], start_peer: StartPeer, tmp_path: Path
) -> None:
    driver, personality = kind
    peer = start_peer(personality)
    rig = rig_of(driver, peer)
    after = After(1, lambda: peer.push(3.0), peer)
    says = r"the drive stands at 43.000 µm, but 40.000 .*no plane was kept; 1 of 2 stacks were done"
    with open_rig(rig) as devices, pytest.raises(FgafError, match=says):
        record_stacks(
            devices, rig, PLAN, stack_paths(tmp_path, 2, "x"), every_s=0.01, progress=after
        )
    assert moves_of(peer) == after.moves
    assert peer.position_um == pytest.approx(43.0)
    with RawStack.open(tmp_path / "x_r001.stack.h5") as stack:
        assert stack.header.complete


@dataclass(frozen=True)
class Break:
    """How a link breaks between two planes, and what the error's end says."""

    name: str
    deed: Callable[[SerialPeer], None]
    says: str
    returns: bool = False


def pulled(peer: SerialPeer) -> None:
    peer.unplug()


def pulled_and_in_again(peer: SerialPeer) -> None:
    peer.unplug()
    peer.replug()


def restarted(counter_um: float) -> Callable[[SerialPeer], None]:
    def deed(peer: SerialPeer) -> None:
        pulled_and_in_again(peer)
        peer.power_cycle(counter_um)

    return deed


BREAKS = [
    Break("in again", pulled_and_in_again, r"the drive is back at 40.000 µm$", returns=True),
    Break(
        "counts from zero",
        restarted(0.0),
        r"not brought back to 40.000 µm \(the drive stands at 0.000 µm, but 39.000 µm was last "
        r"read: its controller was restarted, .*\); check its real position",
    ),
    Break(
        "counts from a little off",
        restarted(37.5),
        r"not brought back to 40.000 µm \(the drive stands at 37.500 µm, but 39.000 µm was last",
    ),
    Break("for good", pulled, r"could not return to 40.000 µm .*; its position cannot be read$"),
]


@EACH
@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.name)
def test_after_a_broken_link_the_drive_goes_back_only_from_where_it_was_last_read(
    kind: tuple[str, SerialPersonality], broken: Break, start_peer: StartPeer, tmp_path: Path
) -> None:
    driver, personality = kind
    peer = start_peer(personality)
    rig = rig_of(driver, peer)
    after = After(3, lambda: broken.deed(peer), peer)
    stood_um = 40.0 if broken.returns else 39.0
    with pytest.raises(FgafError, match=broken.says) as caught, open_rig(rig) as devices:
        record_stacks(devices, rig, PLAN, stack_paths(tmp_path, name="x"), progress=after)
    assert "plane 4 of 9 (z = 39.5 µm): " in str(caught.value)
    assert "3 planes are kept" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert peer.position_um == pytest.approx(stood_um)
    assert (moves_of(peer) > after.moves) == broken.returns


@EACH
@pytest.mark.parametrize("restart_um", [0.0, 1.5, 38.5])
def test_a_controller_that_is_switched_off_during_a_move_is_not_moved_after_it(
    kind: tuple[str, SerialPersonality],
    restart_um: float,
    start_peer: StartPeer,
    tmp_path: Path,
) -> None:
    driver, personality = kind
    off = replace(personality, off_at=5, on_again_s=0.2, restart_um=restart_um)
    peer = start_peer(off)
    rig = rig_of(driver, peer)
    says = rf"did not answer .*the drive stands at {restart_um:.3f} µm, but 39.000 µm was last read"
    with open_rig(rig) as devices, pytest.raises(FgafError, match=says):
        record_stacks(devices, rig, PLAN, stack_paths(tmp_path, name="x"))
    assert peer.position_um == pytest.approx(39.0)
    assert moves_of(peer) == 5


@EACH
def test_a_check_moves_no_drive_that_was_restarted(
    kind: tuple[str, SerialPersonality], start_peer: StartPeer, tmp_path: Path
) -> None:
    driver, personality = kind
    peer = start_peer(replace(personality, off_at=4, on_again_s=0.2))
    rig = rig_of(driver, peer)
    plan = CheckPlan(half_range_um=2.0, seconds=0.1, folder=tmp_path, disk_megabytes=1)
    with open_rig(rig) as devices:
        report = check_rig(devices, rig, plan, Bounds.of(devices, rig, plan))
    (told,) = [verdict for verdict in report.verdicts if verdict.name == "return"]
    assert told.level == "bad"
    assert "the drive stands at 0.000 µm, but 40.500 µm was last read" in told.text
    assert moves_of(peer) == 4
