"""A recorded stack played again: the same pixels at the same heights, or one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fgaf import FgafError
from fgaf.acquire import Devices, Rig, StackPlan, load_rig, open_rig, record_stacks
from fgaf.acquire.commands.main import main
from fgaf.acquire.devices import Camera, Stage
from fgaf.dataset import RawStack, read_truth

PLAN = StackPlan(0.5, 1.0, 3.0)
RIG = """
name = "yesterday"

[camera]
driver = "replay"

[stage]
driver = "replay"

[stage.options]
stack = '{stack}'
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack of five planes from the simulated microscope, with its truth."""
    target = tmp_path_factory.mktemp("recorded") / "once.stack.h5"
    settings = ["simulation={shape=[64, 96], cells=2, debris=0}", "camera.exposure_ms=3"]
    rig = load_rig("sim", settings)
    with open_rig(rig) as devices:
        record_stacks(devices, rig, PLAN, [target])
    return target


def replay_rig(stack: Path, **more: Any) -> Rig:
    return Rig.model_validate(
        {
            "camera": {"driver": "replay"},
            "stage": {"driver": "replay", "options": {"stack": stack}} | more,
        }
    )


def replay(stack: Path, plan: StackPlan, target: Path, **more: Any) -> None:
    rig = replay_rig(stack, **more)
    with open_rig(rig) as devices:
        record_stacks(devices, rig, plan, [target])


def opened(stack: Path) -> Devices:
    return open_rig(replay_rig(stack))


def test_recording_a_replay_gives_the_same_stack(recorded: Path, tmp_path: Path) -> None:
    target = tmp_path / "again.stack.h5"
    replay(recorded, PLAN, target)
    with RawStack.open(recorded) as first, RawStack.open(target) as second:
        second.verify()
        np.testing.assert_array_equal(second.frames[:], first.frames[:])
        np.testing.assert_array_equal(second.z_um, first.z_um)
        np.testing.assert_array_equal(second.planes["exposure_us"], first.planes["exposure_us"])
        assert second.header.bit_depth == first.header.bit_depth
        assert "once.stack.h5" in second.header.camera
        assert second.header.uuid != first.header.uuid
        stamps = second.planes["time_host_ns"]
    before, after = read_truth(recorded), read_truth(target)
    assert before is not None
    assert after is not None
    assert [frame.cells for frame in after.frames] == [frame.cells for frame in before.frames]
    assert [frame.time_ns for frame in after.frames] == list(stamps)


def test_the_command_plays_a_rig_file(recorded: Path, tmp_path: Path) -> None:
    rig = tmp_path / "replay.toml"
    rig.write_text(RIG.format(stack=recorded), encoding="utf-8")
    arguments = ["stack", "--rig", str(rig), "--out", str(tmp_path), "--name", "again"]
    result = CliRunner().invoke(main, [*arguments, "--range", "1", "--step", "0.5"])
    assert result.exit_code == 0, result.output
    with RawStack.open(tmp_path / "again.stack.h5") as stack:
        assert stack.n_planes == len(PLAN)


def test_devices_are_what_the_engine_takes(recorded: Path) -> None:
    with opened(recorded) as devices:
        assert isinstance(devices.camera, Camera)
        assert isinstance(devices.stage, Stage)
        assert devices.stage.position_um() == pytest.approx(3.0, abs=0.05)


def test_a_coarser_plan_takes_some_of_the_planes(recorded: Path, tmp_path: Path) -> None:
    target = tmp_path / "coarse.stack.h5"
    replay(recorded, StackPlan(1.0, 1.0, 3.0), target)
    with RawStack.open(recorded) as first, RawStack.open(target) as second:
        np.testing.assert_array_equal(second.frames[:], first.frames[::2])


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (StackPlan(0.25, 1.0, 3.0), r"no plane at 2\.250 µm, the nearest is at "),
        (StackPlan(0.5, 1.0, 3.2), r"no plane at 2\.200 µm"),
        (StackPlan(0.5, 2.0, 3.0), "limits"),
    ],
    ids=["finer", "between", "wider"],
)
def test_what_was_not_recorded_is_an_error(
    plan: StackPlan, says: str, recorded: Path, tmp_path: Path
) -> None:
    target = tmp_path / "other.stack.h5"
    with pytest.raises(FgafError, match=says) as caught:
        replay(recorded, plan, target, tolerance_um=0.1)
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_a_plane_reaches_no_farther_than_half_a_step(recorded: Path) -> None:
    rig = replay_rig(recorded, tolerance_um=0.4)
    with open_rig(rig) as devices:
        devices.stage.move_to(3.2)
        assert devices.stage.position_um() == pytest.approx(3.0, abs=0.05)
        devices.stage.move_to(0.5)
        with pytest.raises(FgafError, match="outside its limits"):
            devices.stage.move_to(4.4)
        devices.camera.start()
        with pytest.raises(FgafError, match=r"no plane at 0\.500 µm"):
            devices.camera.trigger(1.0)


def test_a_stack_without_truth_plays_without(recorded: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.stack.h5"
    alone.write_bytes(recorded.read_bytes())
    replay(alone, PLAN, tmp_path / "again.stack.h5")
    assert read_truth(tmp_path / "again.stack.h5") is None


def test_a_simulated_drive_can_carry_a_recorded_camera(recorded: Path, tmp_path: Path) -> None:
    rig = Rig.model_validate(
        {
            "camera": {"driver": "replay", "options": {"stack": recorded}},
            "stage": {"driver": "simulated", "options": {"start_um": 3.0}},
        }
    )
    with open_rig(rig) as devices:
        record_stacks(devices, rig, PLAN, [tmp_path / "again.stack.h5"])
    with RawStack.open(recorded) as first, RawStack.open(tmp_path / "again.stack.h5") as second:
        np.testing.assert_array_equal(second.frames[:], first.frames[:])


@pytest.mark.parametrize(
    ("rig", "says"),
    [
        ({"stage": {"driver": "replay", "options": {}}}, "the key stack is missing"),
        ({"stage": {"driver": "replay", "options": {"stac": "x"}}}, "did you mean stack"),
        ({"stage": {"driver": "replay", "options": {"stack": "none.stack.h5"}}}, "none.stack.h5"),
        ({"stage": {"driver": "simulated"}}, r"nothing to replay: give camera\.options\.stack"),
    ],
    ids=["missing", "misspelt", "absent", "nothing"],
)
def test_a_wrong_rig_is_one_line(rig: dict[str, Any], says: str) -> None:
    with pytest.raises(FgafError, match=says) as caught:
        open_rig(Rig.model_validate({"camera": {"driver": "replay"}} | rig))
    assert "\n" not in str(caught.value)


def test_a_damaged_stack_is_refused(recorded: Path, tmp_path: Path) -> None:
    raw = bytearray(recorded.read_bytes())
    with RawStack.open(recorded) as stack:
        offset = stack.frames.id.get_chunk_info(2).byte_offset
    raw[offset + 100] ^= 1
    (tmp_path / "bad.stack.h5").write_bytes(raw)
    with pytest.raises(FgafError, match=r"bad\.stack\.h5"):
        opened(tmp_path / "bad.stack.h5")
