"""The driver of New Era pumps, unmodified, against pumps that speak the wire protocol."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import TIMEOUT_S
from new_era_peer import LEFT_SAFE, PUMP, SWITCHED_ON, NewEraPeer, NewEraPersonality
from proscan_peer import MANUAL

from fgaf.acquire import load_rig, open_rig
from fgaf.acquire.commands.main import main
from fgaf.acquire.commissioning.pipette_checkup import check_pump
from fgaf.acquire.commissioning.report import Report
from fgaf.acquire.device_tables import CameraTable, PumpTable, StageTable
from fgaf.acquire.devices import DeviceError, Devices, Pump, WallClock
from fgaf.acquire.drivers.new_era import NewEraPump, find_on, open_pump
from fgaf.acquire.rig import Opening, Rig
from fgaf.base.errors import SettingError

SYRINGE_MM = 0.485
"""Of 10 µL."""

StartPeer = Callable[[Any], NewEraPeer]
OpenPump = Callable[..., NewEraPump]


def rig_with(table: PumpTable) -> Rig:
    return Rig(camera=CameraTable(driver="x"), stage=StageTable(driver="x"), pump=table)


@pytest.fixture
def opened() -> Iterator[OpenPump]:
    """Open the driver on a pump as a rig would; all are closed after the test."""
    pumps: list[NewEraPump] = []

    def open_on(peer: NewEraPeer, highest_flow_nl_s: float = 5.0, **more: Any) -> NewEraPump:
        options = {"port": peer.url, "syringe_mm": SYRINGE_MM, "timeout_s": TIMEOUT_S} | more
        table = PumpTable(
            driver="new-era",
            highest_flow_nl_s=highest_flow_nl_s,
            timeout_s=0.4,
            options=options,
        )
        pumps.append(open_pump(table, Opening(rig_with(table), WallClock())))
        return pumps[-1]

    yield open_on
    for pump in pumps:
        with suppress(DeviceError):
            pump.close()


MADE = pytest.mark.parametrize(
    "personality",
    [PUMP, LEFT_SAFE, SWITCHED_ON, replace(PUMP, address=7), replace(PUMP, runs=True)],
    ids=["basic", "left in safe mode", "switched on", "address 7", "left running"],
)
MODES = pytest.mark.parametrize("safe_timeout_s", [2, 0], ids=["safe", "basic"])


@MODES
@MADE
def test_draws_and_pushes_what_it_is_told(
    personality: NewEraPersonality, safe_timeout_s: int, start_peer: StartPeer, opened: OpenPump
) -> None:
    peer = start_peer(personality)
    pump = opened(peer, address=personality.address, safe_timeout_s=safe_timeout_s)
    before_nl = peer.drawn_nl
    assert isinstance(pump, Pump)
    assert (pump.flow_nl_s(), peer.flow_nl_s) == (0, 0)
    assert peer.memory["SAF"] == safe_timeout_s
    for flow in (1.2, 0.5, -0.5, -4.9999, 0.01, 5.0):
        pump.start(flow)
        assert peer.flow_nl_s == pytest.approx(flow, rel=2e-3)
        assert pump.flow_nl_s() == pytest.approx(peer.flow_nl_s)
    pump.stop()
    pump.stop()
    assert (pump.flow_nl_s(), peer.status) == (0, "S")
    assert pump.drawn_nl() == pytest.approx(peer.drawn_nl - before_nl, abs=2)
    pump.close()
    pump.close()
    assert (peer.status, peer.memory["SAF"]) == ("S", 0)


def test_all_that_matters_is_set_and_nothing_is_set_twice(
    start_peer: StartPeer, opened: OpenPump
) -> None:
    peer = start_peer(PUMP)
    opened(peer).close()
    memory = {name: peer.memory[name] for name in ("DIA", "PHN", "FUN", "VOL", "PF")}
    assert memory == {"DIA": "0.485", "PHN": "1", "FUN": "RAT", "VOL": ("0.000", "UL"), "PF": "0"}
    peer.commands.clear()
    pump = opened(peer)
    set_again = [line for line in peer.commands if re.match(r"(DIA|VOL|PF|PHN|FUN).+\d", line)]
    assert set_again == []
    assert "New Era NE1000, firmware 3.928" in pump.name
    assert "syringe of 0.485 mm" in pump.name


def test_a_flow_that_changes_does_not_pause(start_peer: StartPeer, opened: OpenPump) -> None:
    peer = start_peer(PUMP)
    pump = opened(peer)
    pump.start(1.2)
    peer.commands.clear()
    pump.start(1.5)
    assert [line for line in peer.commands if line.startswith(("STP", "RUN"))] == []
    assert peer.flow_nl_s == pytest.approx(1.5)


@dataclass(frozen=True)
class Syringe:
    """A syringe, the flows that can be set with it, and what is said of one that does not do."""

    mm: float
    least: float
    most: float
    says: str = ""
    pump: NewEraPersonality = PUMP
    highest: float = 5.0


SYRINGES = [
    Syringe(0.485, 0.00222, 5.0),
    Syringe(0.485, 0.00222, 157.05, highest=500.0),
    Syringe(1.46, 0.0195, 5.0),
    Syringe(4.61, 0.195, 5.0),
    Syringe(0.485, 0.0221, 5.0, pump=replace(PUMP, least_mm_h=0.4205)),
    Syringe(26.59, 0, 0, "6.49 nL/s at least, .* take a thinner syringe"),
    Syringe(0.485, 0, 0, "takes neither .* correct pump.options.syringe_mm", replace(
        PUMP, least_mm_h=1e5, most_mm_h=1e6)),
]  # fmt: skip


@pytest.mark.parametrize("case", SYRINGES, ids=lambda case: f"{case.mm} mm to {case.most}")
def test_the_flows_are_those_that_the_pump_takes_with_its_syringe(
    case: Syringe, start_peer: StartPeer, opened: OpenPump
) -> None:
    peer = start_peer(case.pump)
    settings = {"syringe_mm": case.mm, "highest_flow_nl_s": case.highest}
    if case.says:
        with pytest.raises(DeviceError, match=case.says):
            opened(peer, **settings)
        return
    pump = opened(peer, **settings)
    least, most = pump.flow_limits_nl_s
    assert (least, most) == (
        pytest.approx(case.least, rel=0.02),
        pytest.approx(case.most, rel=0.02),
    )
    for flow in (least, most):
        pump.start(flow)
        assert abs(peer.flow_nl_s) == pytest.approx(flow, rel=2e-3)
    for flow in (0, 0.9 * least, 1.1 * most):
        with pytest.raises(DeviceError, match=r"pumps .* nL/s, not"):
            pump.start(flow)


@dataclass(frozen=True)
class Misfit:
    """A pump that cannot be opened, and what its error says."""

    name: str
    says: str
    personality: Any = PUMP
    options: dict[str, Any] = field(default_factory=dict)


BASIC = {"safe_timeout_s": 0}


def told(command: str, text: str) -> NewEraPersonality:
    """A pump with a raw answer to a command."""
    return replace(PUMP, answers={command: text.encode("latin-1")})


def keeping(name: str) -> NewEraPersonality:
    return replace(PUMP, keeps=frozenset({name}))


MISFITS = [
    Misfit("silent", "did not answer .* and its address 0", replace(PUMP, address=3)),
    Misfit("another address", "and its address 4", PUMP, {"address": 4}),
    Misfit("another device", "did not answer|answered|unreadable", MANUAL),
    Misfit("torn", "answered only", told("VER", "\x0200SNE"), BASIC),
    Misfit("noise", "unreadable|did not", told("", "\xf8" * 80)),
    Misfit("odd version", "answered '00Shello' to VER", told("VER", "\x0200Shello\x03"), BASIC),
    Misfit("no safe mode", "safe_timeout_s = 0", replace(PUMP, unknown=frozenset({"SAF"}))),
    Misfit("keeps its diameter", "has DIA 26.59 after DIA0.485 was set", keeping("DIA")),
    Misfit("keeps its rate", r"has RAT 100\.0MH after", keeping("RAT")),
    Misfit("keeps its program", "has FUN LPS after FUNRAT", told("FUN", "\x0200SLPS\x03"), BASIC),
    Misfit("never stops", "switch it off", replace(PUMP, runs=True, answers={"STP": b""}), BASIC),
]


@pytest.mark.parametrize("case", MISFITS, ids=lambda case: case.name)
def test_a_pump_that_does_not_do_is_one_line(
    case: Misfit, start_peer: StartPeer, opened: OpenPump
) -> None:
    peer = start_peer(case.personality)
    begun_s = time.monotonic()
    with pytest.raises(DeviceError, match=case.says) as caught:
        opened(peer, **case.options)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - begun_s < 60


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"port": "COM3"}, "the key syringe_mm is missing"),
        ({"syringe_mm": 1.0}, "the key port is missing"),
        ({"port": "COM3", "syringe_mm": 0}, "0 is out of bounds; give 0.1 to 80 mm"),
        ({"port": "COM3", "syringe_mm": 1, "adress": 2}, "did you mean address"),
        ({"port": "COM3", "syringe_mm": 1, "safe_timeout_s": 300}, "give 0 to 255 s"),
        ({"port": "COM3", "syringe_mm": 1, "baud": 115200}, "baud = 115200"),
    ],
)
def test_wrong_options_are_told_before_any_port_is_opened(
    options: dict[str, Any], says: str
) -> None:
    table = PumpTable(driver="new-era", options=options)
    with pytest.raises(SettingError, match=says):
        open_pump(table, Opening(rig_with(table), WallClock()))


ALARMS = {
    "R": "was switched off and on",
    "S": "stalled .*: check syringe, plunger and tube",
    "E": "error in its pumping program",
    "O": "out of range",
}


@MODES
@pytest.mark.parametrize("letter", ALARMS)
def test_an_alarm_is_kept_until_the_pump_is_opened_again(
    letter: str, safe_timeout_s: int, start_peer: StartPeer, opened: OpenPump
) -> None:
    peer = start_peer(PUMP)
    pump = opened(peer, safe_timeout_s=safe_timeout_s)
    pump.start(1.2)
    peer.fail(letter)
    peer.commands.clear()
    for act in (pump.flow_nl_s, lambda: pump.start(1.2), pump.flow_nl_s, pump.drawn_nl):
        with pytest.raises(DeviceError, match=rf"{ALARMS[letter]}.* then open it again"):
            act()
    assert peer.flow_nl_s == 0
    assert [line for line in peer.commands if re.match(r"RUN|DI[AR].|RAT.", line)] == []
    pump.stop()
    pump.close()
    again = opened(peer, safe_timeout_s=safe_timeout_s)
    again.start(1.2)
    assert peer.flow_nl_s == pytest.approx(1.2)


@pytest.mark.parametrize("personality", [LEFT_SAFE, SWITCHED_ON, replace(PUMP, runs=True)])
def test_what_stood_before_it_was_opened_is_told(
    personality: NewEraPersonality, start_peer: StartPeer, opened: OpenPump
) -> None:
    says = {"T": "time-out of its safe mode", "R": "switched off and on", "": "was stopped"}
    (note,) = opened(start_peer(personality)).effective.notes
    assert says[personality.alarm] in note


def test_after_a_power_cycle_nothing_runs_and_nothing_is_set(
    start_peer: StartPeer, opened: OpenPump
) -> None:
    peer = start_peer(PUMP)
    pump = opened(peer)
    pump.start(1.2)
    pump.start(3.0)
    peer.switch_off_and_on()
    assert peer.flow_nl_s == 0
    with pytest.raises(DeviceError, match="switched off and on"):
        pump.start(3.0)
    assert peer.flow_nl_s == 0


def test_a_plunger_that_is_stuck_is_told(start_peer: StartPeer, opened: OpenPump) -> None:
    pump = opened(start_peer(replace(PUMP, stalls_at_nl=0.05)))
    pump.start(5.0)

    def watch() -> None:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            pump.flow_nl_s()

    with pytest.raises(DeviceError, match="stalled"):
        watch()


def test_a_pump_that_is_purged_by_hand_has_no_known_flow(
    start_peer: StartPeer, opened: OpenPump
) -> None:
    peer = start_peer(PUMP)
    pump = opened(peer)
    peer.status = "X"
    with pytest.raises(DeviceError, match="purged at its keys"):
        pump.flow_nl_s()


def test_a_pump_that_is_stopped_at_its_keys_reports_no_flow(
    start_peer: StartPeer, opened: OpenPump
) -> None:
    peer = start_peer(PUMP)
    pump = opened(peer)
    pump.start(1.2)
    peer.status = "P"
    assert pump.flow_nl_s() == 0
    pump.start(1.2)
    assert peer.flow_nl_s == pytest.approx(1.2)


PROGRAM = """
import sys, time
from fgaf.acquire.device_tables import CameraTable, PumpTable, StageTable
from fgaf.acquire.devices import WallClock
from fgaf.acquire.drivers.new_era import open_pump
from fgaf.acquire.rig import Opening, Rig

options = {"port": sys.argv[1], "syringe_mm": 0.485, "safe_timeout_s": 1}
table = PumpTable(driver="new-era", options=options)
rig = Rig(camera=CameraTable(driver="x"), stage=StageTable(driver="x"), pump=table)
open_pump(table, Opening(rig, WallClock())).start(1.2)
print("runs", flush=True)
time.sleep(60)
"""


def test_a_pump_whose_program_is_killed_stops_by_itself(
    start_peer: StartPeer, opened: OpenPump
) -> None:
    peer = start_peer(PUMP)
    words = [sys.executable, "-c", PROGRAM, peer.url]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "runs\n"
        peer.commands.clear()
        deadline_s = time.monotonic() + 60
        while len(peer.commands) < 6:  # longer than the time-out, as the program lives
            assert time.monotonic() < deadline_s
        assert peer.flow_nl_s == pytest.approx(1.2)
        program.kill()
    killed_s = time.monotonic()
    while peer.flow_nl_s:
        assert time.monotonic() < killed_s + 60
    assert peer.alarm == "T"
    (note,) = opened(peer).effective.notes
    assert "time-out of its safe mode" in note


@MODES
def test_a_check_of_the_rig_reads_it_and_starts_and_stops_it_with_consent(
    safe_timeout_s: int, start_peer: StartPeer, opened: OpenPump
) -> None:
    peer = start_peer(PUMP)
    pump = opened(peer, safe_timeout_s=safe_timeout_s)
    nothing: Any = None
    devices = Devices(nothing, nothing, WallClock(), pump=pump)
    rig = rig_with(PumpTable(driver="new-era"))
    for go in (False, True):
        peer.commands.clear()
        report = Report()
        check_pump(devices, rig, go, report)
        assert report.level == "ok"
        assert ("RUN" in peer.commands) == go
    assert peer.flow_nl_s == 0


GARBAGE = (b"\xff\xfe\xfd" * 30, b"\x02\xff\xfe\x03", b"\x02hello\x03", b"\x0200W1.2", b"")


@MODES
def test_garbage_is_an_error_and_no_flow(
    safe_timeout_s: int, start_peer: StartPeer, opened: OpenPump
) -> None:
    personality = replace(PUMP, answers={})
    peer = start_peer(personality)
    pump = opened(peer, safe_timeout_s=safe_timeout_s)
    pump.start(1.2)
    for garbage in (
        b"\xff\xfe\xfd" * 30,
        b"\x02\xff\xfe\x03",
        b"\x02hello\x03",
        b"\x0200W1.2",
        b"",
    ):
        personality.answers["RAT"] = garbage
        with pytest.raises(DeviceError, match=r"unreadable|answered|did not answer"):
            pump.flow_nl_s()
        personality.answers.clear()
        assert pump.flow_nl_s() == pytest.approx(1.2)


def test_a_packet_with_a_wrong_bit_is_no_answer(start_peer: StartPeer, opened: OpenPump) -> None:
    peer = start_peer(PUMP)
    pump = opened(peer)
    pump.start(1.2)
    peer.flips = 1
    with pytest.raises(DeviceError, match="unreadable"):
        pump.flow_nl_s()
    assert pump.flow_nl_s() == pytest.approx(1.2)


def test_a_reply_that_comes_too_late_is_not_taken_for_the_next(
    start_peer: StartPeer, opened: OpenPump
) -> None:
    personality = replace(PUMP, answers={})
    peer = start_peer(personality)
    pump = opened(peer, safe_timeout_s=0)
    pump.start(1.2)
    personality.answers["RAT"] = b""
    with pytest.raises(DeviceError, match="did not answer"):
        pump.flow_nl_s()
    personality.answers.clear()
    peer.chatter(b"\x0200W77.70UH\x03")
    assert pump.flow_nl_s() == pytest.approx(1.2)


@pytest.mark.parametrize("command", ["DIRWDR", "RAT4.320UH", "RUN", "RAT"])
def test_a_start_that_breaks_off_leaves_the_pump_at_rest(
    command: str, start_peer: StartPeer, opened: OpenPump
) -> None:
    personality = replace(PUMP, answers={})
    peer = start_peer(personality)
    pump = opened(peer)
    personality.answers[command] = b""
    with pytest.raises(DeviceError, match="did not answer"):
        pump.start(1.2)
    assert peer.flow_nl_s == 0
    personality.answers.clear()
    pump.start(1.2)
    assert peer.flow_nl_s == pytest.approx(1.2)


@pytest.mark.parametrize("losses", [1, 2])
def test_a_stop_that_is_lost_is_repeated(
    losses: int, start_peer: StartPeer, opened: OpenPump
) -> None:
    peer = start_peer(replace(PUMP, deaf_to=("STP", losses)))
    pump = opened(peer)
    pump.start(1.2)
    pump.stop()
    assert peer.flow_nl_s == 0
    pump.start(1.2)


def test_a_pump_that_does_not_confirm_its_stop_hears_nothing_more(
    start_peer: StartPeer, opened: OpenPump
) -> None:
    personality = replace(PUMP, answers={})
    peer = start_peer(personality)
    pump = opened(peer, safe_timeout_s=1)
    pump.start(1.2)
    personality.answers.update({"STP": b"", "": b""})
    with pytest.raises(DeviceError, match=r"stops by itself within 1 s"):
        pump.stop()
    with pytest.raises(DeviceError, match=r"stops by itself"):
        pump.start(1.2)
    deadline_s = time.monotonic() + 60
    while peer.flow_nl_s:
        assert time.monotonic() < deadline_s
    personality.answers.clear()


def test_a_pulled_cable_is_one_line(start_peer: StartPeer, opened: OpenPump) -> None:
    peer = start_peer(PUMP)
    pump = opened(peer)
    pump.start(1.2)
    peer.unplug()
    for act in (pump.flow_nl_s, pump.stop, pump.close):
        with pytest.raises(DeviceError, match="the connection was lost") as caught:
            act()
        assert "\n" not in str(caught.value)
    pump.close()


def test_a_pump_whose_cable_is_in_again_can_be_stopped(
    start_peer: StartPeer, opened: OpenPump
) -> None:
    peer = start_peer(PUMP)
    pump = opened(peer, safe_timeout_s=0)
    pump.start(1.2)
    peer.unplug()
    with pytest.raises(DeviceError, match="switch it off"):
        pump.stop()
    peer.replug()
    pump.reopen()
    pump.stop()
    assert peer.flow_nl_s == 0


@pytest.mark.parametrize("personality", [PUMP, SWITCHED_ON])
def test_is_found_on_its_port_and_only_asked_who_it_is(
    personality: NewEraPersonality, start_peer: StartPeer
) -> None:
    peer = start_peer(personality)
    (found,) = find_on(peer.url)
    assert (found.kind, found.address) == ("pump", f"new-era:{peer.url}")
    assert found.options == {"port": peer.url, "baud": 19200}
    assert found.name == "New Era NE1000, firmware 3.928"
    assert set(peer.commands) == {"VER"}
    assert find_on(start_peer(MANUAL).url) == []


def test_a_rig_opens_it_and_stops_it_at_the_end(start_peer: StartPeer) -> None:
    peer = start_peer(PUMP)
    options = f"{{port='{peer.url}', syringe_mm={SYRINGE_MM}, timeout_s={TIMEOUT_S}}}"
    settings = ["simulation.shape=[64, 64]", "pump.driver=new-era", f"pump.options={options}"]
    with open_rig(load_rig("sim", settings)) as devices:
        assert devices.pump is not None
        devices.pump.start(1.2)
        assert peer.flow_nl_s == pytest.approx(1.2)
    assert peer.flow_nl_s == 0


def test_a_rig_file_from_what_is_attached_leaves_the_syringe_blank(
    start_peer: StartPeer, tmp_path: Path
) -> None:
    peer = start_peer(PUMP)
    path = tmp_path / "mine.toml"
    words = ["rig", "new", str(path), "--port", peer.url, "--camera", "basler", "--stage", "prior"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    lines = path.read_text(encoding="utf-8").splitlines()
    number = next(n for n, line in enumerate(lines, 1) if line.startswith("syringe_mm"))
    assert f"pump.options.syringe_mm (line {number}) before the rig can be used" in done.output
    rig = load_rig(path)
    assert rig.pump is not None
    assert rig.pump.options["port"] == peer.url
    with pytest.raises(SettingError, match="syringe_mm: nan is out of bounds"):
        open_pump(rig.pump, Opening(rig, WallClock()))
    filled = load_rig(path, [f"pump.options.syringe_mm={SYRINGE_MM}"])
    assert filled.pump is not None
    open_pump(filled.pump, Opening(filled, WallClock())).close()
