"""Shapes and ways of cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fgaf.acquire.simulation.population import draw_sperm
from fgaf.acquire.simulation.settings import MicroscopeSettings
from fgaf.acquire.simulation.sperm import Sperm
from fgaf.acquire.simulation.swimming import Pose, Swimming, draw_swimming

SETTINGS = MicroscopeSettings()
LEVEL = Pose(0.0, 0.0, 0.0)


def draw(seed: int, motile: bool = True) -> Swimming:
    rng = np.random.default_rng(seed)
    return draw_swimming(rng, Pose(5.0, 7.0, 1.0, yaw=0.4), motile)


@pytest.mark.parametrize("seed", range(4))
def test_the_head_travels_at_the_set_speed(seed: int) -> None:
    way = draw(seed)
    beats = np.arange(200) / way.beat_hz / 8
    track = np.array([(way.pose(t).y_um, way.pose(t).x_um) for t in beats])
    smooth = track[8:] + track[:-8]
    steps = np.hypot(*np.diff(smooth[::8] / 2, axis=0).T)
    assert steps.sum() / (len(steps) / way.beat_hz) == pytest.approx(way.speed_um_s, rel=0.03)
    assert 30 <= way.speed_um_s <= 100


@pytest.mark.parametrize("seed", range(4))
def test_the_head_yaws_at_the_beat_frequency(seed: int) -> None:
    way = replace(draw(seed), turn_rad_s=0.0)
    duration = 8.0
    times = np.arange(0, duration, 1 / 128)
    yaw = np.array([way.pose(t).yaw for t in times])
    spectrum = np.abs(np.fft.rfft((yaw - yaw.mean()) * np.hanning(len(yaw))))
    peak = np.fft.rfftfreq(len(times), 1 / 128)[spectrum.argmax()]
    assert peak == pytest.approx(way.beat_hz, abs=1 / duration)
    assert 8 <= way.beat_hz <= 20


@pytest.mark.parametrize("seed", range(6))
def test_z_changes_by_microns_per_second_at_most(seed: int) -> None:
    way = replace(draw(seed), z_swing_um=0.0)
    z = np.array([way.pose(t).z_um for t in np.arange(0, 10, 0.02)])
    assert np.ptp(z) > 0.1
    assert np.abs(np.diff(z)).max() / 0.02 < 4.0


def test_a_frozen_cell_stays_as_it_is() -> None:
    way = draw(1, motile=False)
    assert way.pose(0.0) == way.pose(12.3)
    assert way.beat(0.0) == way.beat(12.3)


def test_the_flagellum_is_as_long_as_set_and_starts_at_the_neck() -> None:
    body = draw_sperm(np.random.default_rng(0), motile=True)
    line = body.flagellum(replace(LEVEL, yaw=0.3, pitch=0.2), 1.0)
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    assert steps.sum() == pytest.approx(body.tail_length, abs=1.0)
    neck = np.linalg.norm(line[0])
    assert neck == pytest.approx(body.length / 2 + body.centre[0], abs=0.2)


def test_the_wave_travels_from_the_head_to_the_tip() -> None:
    body = Sperm()
    lines = [body.flagellum(LEVEL, beat) for beat in np.linspace(0, 1.5, 12)]
    crests = [20 + int(np.argmax(np.gradient(line[20:110, 1]))) for line in lines]
    assert crests == sorted(crests)
    assert crests[-1] > crests[0] + 10


def test_the_wave_leaves_the_plane() -> None:
    depth = Sperm(out_of_plane=0.3).flagellum(LEVEL, 0.5)[:, 2]
    assert np.ptp(depth) > 1.0
    assert np.ptp(Sperm(out_of_plane=0.0).flagellum(LEVEL, 0.5)[:, 2]) < 1e-9


@pytest.mark.parametrize("pose", [LEVEL, Pose(0, 0, 0, 1.1, 0.3, 0.5)], ids=["level", "tilted"])
def test_the_phase_of_a_head_is_centred_where_the_pose_says(pose: Pose) -> None:
    body = Sperm(midpiece=0.0, marks=((0.9, 0.5, 0.0, 0.45, -0.05),))
    slices = body.slices(pose, body.flagellum(pose, 0.0), SETTINGS, points=0)
    level, y, x = np.indices(slices.phase.shape)
    total = slices.phase.sum()
    centre = [float((slices.phase * axis).sum() / total) for axis in (level, y, x)]
    assert slices.top_um - centre[0] * slices.step_um == pytest.approx(0, abs=0.03)
    assert slices.y_um + centre[1] * slices.pitch_um == pytest.approx(0, abs=0.03)
    assert slices.x_um + centre[2] * slices.pitch_um == pytest.approx(0, abs=0.03)


def test_a_head_has_the_size_and_the_phase_it_should() -> None:
    body = Sperm(marks=(), acrosome=0.075, taper=0.0, wedge=0.0)
    slices = body.slices(LEVEL, body.flagellum(LEVEL, 0.0), SETTINGS, points=0)
    phase = slices.phase.sum(axis=0)
    inside = phase > 0.15 * phase.max()
    along, across = (np.ptp(np.nonzero(inside)[axis]) * slices.pitch_um for axis in (1, 0))
    assert along == pytest.approx(4.7, abs=0.35)
    assert across == pytest.approx(3.0, abs=0.3)
    assert phase.max() == pytest.approx(2 * np.pi / 0.55 * 0.075 * 1.1, rel=0.05)


def test_turning_a_head_keeps_its_optical_volume() -> None:
    body = Sperm()
    volumes = []
    for pose in (LEVEL, Pose(0, 0, 0, 0.5, 0.4, 0.6), Pose(0, 0, 0, 2.0, -0.4, 1.4)):
        slices = body.slices(pose, body.flagellum(pose, 0.0), SETTINGS, points=0)
        volumes.append(float(slices.phase.sum()))
    assert volumes == pytest.approx([volumes[0]] * 3, rel=0.02)


def test_cells_differ() -> None:
    rng = np.random.default_rng(3)
    bodies = [draw_sperm(rng, motile=True) for _ in range(50)]
    assert np.std([b.length for b in bodies]) > 0.2
    assert np.std([b.thickness for b in bodies]) > 0.08
    assert np.std([b.nucleus for b in bodies]) > 0.006
    assert len({len(b.marks) for b in bodies}) > 1
