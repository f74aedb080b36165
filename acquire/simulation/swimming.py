"""Motion of a sperm: position and orientation of its head, and the beat of its flagellum."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

_LEAST_TURN = 1e-6


@dataclass(frozen=True)
class Pose:
    """Position and orientation of a head; µm in the specimen, z along the axis in drive µm.

    Yaw turns from +x towards +y in the image plane, pitch lifts the tip of the head towards
    larger z, roll turns the head about its own long axis.
    """

    y_um: float
    x_um: float
    z_um: float
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0


@dataclass(frozen=True)
class Swimming:
    """A cell's path through the chamber: an arc, slow changes of z and pitch, and the beat.

    The head follows the flagellum: it swings sideways, yaws and rolls once per beat. Immotile cells
    have speed and beat 0.

    Attributes
    ----------
    start
        Mean pose at time 0.
    speed_um_s
        Speed along the mean path, in the specimen.
    turn_rad_s
        Rate at which the mean heading turns.
    beat_hz, beat_phase
        Frequency of the flagellum and its phase at time 0.
    swing_um, yaw_swing, roll_swing, pitch_swing, z_swing_um
        Amplitudes, once per beat.
    z_wander
        (amplitude in drive µm, frequency in Hz, phase) of each slow change of z.
    pitch_wander
        The same for the pitch, in rad.
    """

    start: Pose
    speed_um_s: float = 0.0
    turn_rad_s: float = 0.0
    beat_hz: float = 0.0
    beat_phase: float = 0.0
    swing_um: float = 0.0
    yaw_swing: float = 0.0
    roll_swing: float = 0.0
    pitch_swing: float = 0.0
    z_swing_um: float = 0.0
    z_wander: tuple[tuple[float, float, float], ...] = ()
    pitch_wander: tuple[tuple[float, float, float], ...] = ()

    def beat(self, time_s: float) -> float:
        """Phase of the beat in rad; a time known to 0.1 ns keeps it exact for hours."""
        return 2 * np.pi * ((self.beat_hz * time_s) % 1.0) + self.beat_phase

    def path(self, time_s: float) -> tuple[float, float]:
        """Mean path (y, x) in µm, without the beat."""
        start, turned = self.start, self.turn_rad_s * time_s
        chord = self.speed_um_s * time_s * np.sinc(turned / 2 / np.pi)
        course = start.yaw + turned / 2
        return start.y_um + chord * np.sin(course), start.x_um + chord * np.cos(course)

    def orbit(self) -> tuple[float, float, float]:
        """Circle of the mean path: y and x of its centre, and its radius, in µm.

        That of a straight path is too wide to tell from it.
        """
        start = self.start
        turn = np.copysign(max(abs(self.turn_rad_s), _LEAST_TURN), self.turn_rad_s)
        radius = self.speed_um_s / turn
        return (
            float(start.y_um + radius * np.cos(start.yaw)),
            float(start.x_um - radius * np.sin(start.yaw)),
            float(abs(radius)),
        )

    def level(self, time_s: float) -> float:
        """Mean height in drive µm, without the beat."""
        return self.start.z_um + _wander(self.z_wander, time_s)

    def heading(self, time_s: float) -> float:
        """Mean yaw, without the beat."""
        return self.start.yaw + self.turn_rad_s * time_s

    def lift(self, time_s: float) -> float:  # noqa: ARG002
        """Angle of the course above the image plane; cells swim along the glass."""
        return 0.0

    def pose(self, time_s: float) -> Pose:
        """Pose of the head at a time."""
        start, beat = self.start, self.beat(time_s)
        y, x = self.path(time_s)
        heading = self.heading(time_s)
        swing = self.swing_um * np.sin(beat)
        z = self.level(time_s) + self.z_swing_um * np.sin(beat + 1.0)
        return Pose(
            y_um=float(y + swing * np.cos(heading)),
            x_um=float(x - swing * np.sin(heading)),
            z_um=float(z),
            yaw=float(heading + self.yaw_swing * np.cos(beat)),
            pitch=float(
                start.pitch
                + _wander(self.pitch_wander, time_s)
                + self.pitch_swing * np.sin(beat + 2.0)
                + self.lift(time_s)
            ),
            roll=float(start.roll + self.roll_swing * np.cos(beat + 0.5)),
        )

    def at(self, y_um: float, x_um: float) -> Swimming:
        """The same path from another start.

        Parameters
        ----------
        y_um, x_um
            Start position, µm in the specimen.
        """
        return replace(self, start=replace(self.start, y_um=y_um, x_um=x_um))

    def along(self, course: Swimming) -> Swimming:
        """The same cell on the course of another one: its heading, its speed and its turns."""
        return replace(
            self,
            start=replace(self.start, yaw=course.start.yaw),
            speed_um_s=course.speed_um_s,
            turn_rad_s=course.turn_rad_s,
        )

    def held(self) -> Swimming:
        """The same beat of a cell that is held in its place."""
        return replace(self, speed_um_s=0.0, turn_rad_s=0.0, swing_um=0.0, z_wander=())

    def climbing(self, factor: float) -> Swimming:
        """The same path with slow changes of z that are `factor` times as large."""
        return replace(self, z_wander=tuple((factor * a, f, p) for a, f, p in self.z_wander))


def _wander(waves: tuple[tuple[float, float, float], ...], time_s: float) -> float:
    return sum(a * float(np.sin(2 * np.pi * f * time_s + p)) for a, f, p in waves)


def draw_swimming(
    rng: np.random.Generator,
    start: Pose,
    motile: bool,
    beat_hz: tuple[float, float] = (8.0, 20.0),
    speed_um_s: tuple[float, float] = (30.0, 100.0),
    rolled: float = 0.0,
) -> Swimming:
    """A random path of a cell, with random mean pitch and roll.

    Parameters
    ----------
    rng
        Random generator.
    start
        Place, depth and yaw at time 0; its pitch and roll are replaced.
    motile
        Whether it swims.
    beat_hz, speed_um_s
        Ranges to draw from.
    rolled
        Probability that the mean roll is any angle, so that the flat head may lie on its edge.
    """
    tilts = rng.normal(size=2)
    phase = float(rng.uniform(0, 2 * np.pi))
    pitch, roll = np.radians((12, 20) if motile else (8, 18)) * tilts
    (own,) = rng.spawn(1)
    if own.uniform() < rolled:
        roll = own.uniform(0, 2 * np.pi)
    start = replace(start, pitch=float(pitch), roll=float(roll))
    if not motile:
        return Swimming(start, beat_phase=phase)
    waves = []
    for amplitude, low, high in ((0.5, 0.1, 0.3), (0.15, 0.5, 1.5)):
        waves.append(
            (
                float(amplitude * rng.uniform(0.3, 1.0)),
                float(rng.uniform(low, high)),
                float(rng.uniform(0, 2 * np.pi)),
            )
        )
    return Swimming(
        start,
        speed_um_s=float(rng.uniform(*speed_um_s)),
        turn_rad_s=float(rng.normal(0, 0.35)),
        beat_hz=float(rng.uniform(*beat_hz)),
        beat_phase=phase,
        swing_um=float(rng.uniform(0.3, 1.2)),
        yaw_swing=float(np.radians(rng.uniform(3, 9))),
        roll_swing=float(np.radians(rng.uniform(8, 40))),
        pitch_swing=float(np.radians(rng.uniform(1.0, 5.0))),
        z_swing_um=float(rng.uniform(0.02, 0.12)),
        z_wander=tuple(waves),
        pitch_wander=(
            (
                float(np.radians(rng.uniform(0.5, 3.0))),
                float(rng.uniform(0.2, 0.6)),
                float(rng.uniform(0, 2 * np.pi)),
            ),
        ),
    )
