"""The eyes and the stage of a trial: images come late and a little wrong, the stage follows them.

The servo and the filter of the cell's motion are those of `fgaf-live`. Places are (y, x) in µm of
the specimen, on the dish: when the stage moves, the tip moves over the dish the other way. Images,
results and commands come at ticks, three to a frame.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.model.bench.aspiration.cell import MICROSCOPE, PLACING_UM
from fgaf.model.bench.aspiration.depths import FRAME_S
from fgaf.model.live.motion import Motion
from fgaf.model.live.servo import Course, Servo

Array = npt.NDArray[Any]

TICKS: Final = 3
TICK_S: Final = FRAME_S / TICKS
"""Time from tick to tick."""
LATE: Final = 5
"""Ticks from an exposure to its result, 41 ms."""
DELAY: Final = 2
"""Ticks from a command to its effect, 16 ms."""
SMEAR_UM: Final = 5.0
"""A head that moves farther during an exposure is not found: its own length."""

_FAR_UM: Final = 1e6
_GATE: Final = 3.5
_CONFIRMATIONS: Final = 3


@dataclass(frozen=True)
class Seen:
    """Result of a frame.

    Attributes
    ----------
    tick
        Of its exposure.
    number
        Of the cell: another one after it was lost and found anew.
    found
        Whether the cell is in the image, and the track found it there.
    place_um, velocity_um_s
        Where it was found, or is expected, and how fast it goes over the dish.
    tip_um
        Place of the tip on the dish at the time of the exposure.
    age_s
        Time since it was found first under this number.
    """

    tick: int
    number: int
    found: bool
    place_um: Array
    velocity_um_s: Array
    tip_um: Array
    age_s: float


class Following:
    """Follows a cell in images, and moves the tip over the dish after it.

    Parameters
    ----------
    tip_um
        Place of the tip on the dish.
    rng
        Draws errors of the head's place.
    fastest_um_s
        Highest speed of the stage along each axis.

    Attributes
    ----------
    tip_um
        Place of the tip on the dish now.
    goal_um
        Place of the cell relative to the tip at which it is held; None: the stage stands.
    """

    def __init__(self, tip_um: Array, rng: np.random.Generator, fastest_um_s: float) -> None:
        self.tip_um = np.array(tip_um, float)
        self.goal_um: Array | None = None
        self._rng = rng
        limits = (-_FAR_UM, _FAR_UM)
        self._servo = Servo((limits, limits), fastest_um_s)
        self._motion: Motion | None = None
        self._other: tuple[Motion, int] | None = None
        self._number, self._born = 1, 0
        self._commands = deque([np.zeros(2)] * DELAY)
        self._images: deque[tuple[Array | None, Array]] = deque()
        self._tick = 0

    @property
    def exposes(self) -> bool:
        """Whether an image is taken at the next tick."""
        return self._tick % TICKS == 0

    def tick(self, head_um: Array, speed_um_s: float, in_view: bool) -> Seen | None:
        """Let a tick pass.

        Parameters
        ----------
        head_um
            Place of the head on the dish now.
        speed_um_s
            Its speed relative to the tip.
        in_view
            Whether it lies in the frame.

        Returns
        -------
        The result that comes now; None when none does.
        """
        if self.exposes:
            blurred = speed_um_s * MICROSCOPE.reference_exposure_s > SMEAR_UM
            place = head_um + self._rng.normal(0, PLACING_UM, 2)
            self._images.append((place if in_view and not blurred else None, self.tip_um))
        exposed = self._tick - LATE
        seen = None
        if exposed >= 0 and exposed % TICKS == 0:
            seen = self._look(exposed, *self._images.popleft())
        self._commands.append(self._command(seen))
        self.tip_um = self.tip_um + TICK_S * self._commands.popleft()
        self._tick += 1
        return seen

    def _look(self, tick: int, place_um: Array | None, tip_um: Array) -> Seen | None:
        """Track the head in an image."""
        found = place_um is not None and self._found(tick, place_um)
        motion = self._motion
        if motion is None:
            return None
        pixel = MICROSCOPE.pixel_size_um
        expected = np.array([motion.y, motion.x]) * pixel
        return Seen(
            tick,
            self._number,
            found,
            place_um if found and place_um is not None else expected,
            np.array([motion.vy, motion.vx]) * pixel,
            tip_um,
            (tick - self._born) * TICK_S,
        )

    def _found(self, tick: int, place_um: Array) -> bool:
        """Whether a head is the one that is followed; another one is after three frames."""
        y, x = place_um / MICROSCOPE.pixel_size_um
        if self._motion is None:
            self._motion = _begun(y, x, tick)
            return True
        self._motion.predict(_ns(tick))
        if _takes(self._motion, y, x):
            self._other = None
            return True
        if self._other is not None:
            motion, finds = self._other
            motion.predict(_ns(tick))
            if _takes(motion, y, x):
                self._other = motion, finds + 1
                if finds + 1 >= _CONFIRMATIONS:
                    self._motion, self._other = motion, None
                    self._number, self._born = self._number + 1, tick
                    return True
                return False
        self._other = _begun(y, x, tick), 1
        return False

    def _command(self, seen: Seen | None) -> Array:
        """Velocity of the tip over the dish from now on."""
        now_ns = _ns(self._tick)
        if self.goal_um is None or self._motion is None:
            self._servo.rest(now_ns)
            return np.zeros(2)
        if seen is None or not seen.found:
            return self._commands[-1]
        motion, pixel = self._motion, MICROSCOPE.pixel_size_um
        y, x = pixel * motion.y - self.goal_um[0], pixel * motion.x - self.goal_um[1]
        course = Course(motion.time_ns, (y, x), (pixel * motion.vy, pixel * motion.vx))
        here = float(self.tip_um[0]), float(self.tip_um[1])
        return np.array(self._servo.velocity(course, here, now_ns))


def _begun(y: float, x: float, tick: int) -> Motion:
    return Motion.begin(y, x, _ns(tick), MICROSCOPE.pixel_size_um)


def _takes(motion: Motion, y: float, x: float) -> bool:
    """Correct a motion by a head near enough to its place; whether it is."""
    if np.hypot(y - motion.y, x - motion.x) >= _GATE * motion.error_px:
        return False
    motion.correct(y, x)
    return True


def _ns(tick: int) -> int:
    return round(tick * TICK_S * 1e9)
