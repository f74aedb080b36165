"""A dish with one cell, a pipette, a pump and a stage in a few lines, for the procedure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fgaf.model.aspirate.command import Command, Outcome, State
from fgaf.model.aspirate.observation import Observation, Setup, Tip
from fgaf.model.aspirate.procedure import Procedure
from fgaf.model.aspirate.settings import AspirationSettings
from fgaf.model.live.message import LiveCell

SETUP = Setup(pixel_um=0.1465, refraction=1.335, pipette_limits_um=(0.0, 500.0))
FRAME_S = 1 / 41
TIP_PX = (300.0, 400.0)
SOFT = AspirationSettings(
    heading_deg=30,
    near_um=3,
    flow_nl_s=1.2,
    prime_s=1,
    retain="reverse",
    bore_um=5,
    view_um=100,
    judge_s=2,
    aspirate_s=15,
)
"""A narrow bore on a soft line, which is given back what was drawn."""


@dataclass
class Dish:
    """Places are px of the frame, heights µm of the drive; the bore opens to the left.

    At the tip flows an eighth of what the pump displaces, and nothing while it gives back. Inside
    the bore a cell goes with `bore_um_s` while the pump draws.
    """

    y: float = 340.0
    x: float = 220.0
    z: float = -2.0
    swim: tuple[float, float] = (0.0, 0.0)
    number: int = 7
    age_s: float = 5.0
    seen: bool = True
    adheres: bool = False
    bore_um_s: float = 20.0
    stage_um_s: float = 200.0
    pipette_um_s: float = 200.0
    pipette_um: float = 100.0
    goal_um: float = 100.0
    flow: float = 0.0
    time_ns: int = 10**9
    released_s: float = 0.0
    drawn_nl: float = 0.0
    glass_known: bool = True
    others: tuple[LiveCell, ...] = ()
    commands: list[Command] = field(default_factory=list)

    @property
    def tip_z(self) -> float:
        """The tip is in focus at z = 0 where the manipulator stands at 60 µm."""
        return (self.pipette_um - 60.0) / SETUP.refraction

    @property
    def along_um(self) -> float:
        return (self.x - TIP_PX[1]) * SETUP.pixel_um

    @property
    def distance_um(self) -> float:
        return math.dist((self.y, self.x), TIP_PX) * SETUP.pixel_um

    def cell(self, **more: Any) -> LiveCell:
        """The cell, or one that differs from it."""
        cell = LiveCell(
            *(self.number, self.seen, self.y, self.x, *self.swim, 0.9, self.age_s),
            z_um=self.z,
            z_error_um=0.1,
        )
        return replace(cell, **more)

    def observe(self) -> Observation:
        cell = self.cell()
        tip = Tip(*TIP_PX, self.tip_z, 0.0, 1.0)
        moving = abs(self.pipette_um - self.goal_um) > 1e-6
        return Observation(
            *(self.time_ns, (cell, *self.others), tip, self.pipette_um, moving, self.flow),
            glass_known=self.glass_known,
        )

    def advance(self, command: Command) -> None:
        self.commands.append(command)
        self.flow = command.flow_nl_s
        self.drawn_nl += self.flow * FRAME_S
        self.time_ns += round(FRAME_S * 1e9)
        self.released_s += FRAME_S if command.state is State.WATCH else 0.0
        if command.pipette_z_um is not None:
            low, high = SETUP.pipette_limits_um
            assert low <= command.pipette_z_um <= high
            self.goal_um = command.pipette_z_um
        step = self.pipette_um_s * FRAME_S
        self.pipette_um += min(max(self.goal_um - self.pipette_um, -step), step)
        vy, vx = self._velocity()
        self.y += vy * FRAME_S / SETUP.pixel_um
        self.x += vx * FRAME_S / SETUP.pixel_um
        if command.goal_y_px is not None and command.goal_x_px is not None:
            off = (command.goal_y_px - self.y, command.goal_x_px - self.x)
            far = math.hypot(*off)
            part = min(1.0, self.stage_um_s * FRAME_S / SETUP.pixel_um / far) if far else 0.0
            self.y, self.x = self.y + part * off[0], self.x + part * off[1]

    def _velocity(self) -> tuple[float, float]:
        if self.adheres:
            return 0.0, 0.0
        off = (TIP_PX[0] - self.y, TIP_PX[1] - self.x)
        if self.along_um > 0 and abs(off[0]) * SETUP.pixel_um < 2.5:
            return 0.0, self.bore_um_s if self.flow > 0 else 0.0
        r = max(self.distance_um, 1.0)
        speed = max(self.flow, 0.0) / 8 * 1e6 / (4 * math.pi * r**2)
        reach = min(speed, 200.0) * SETUP.pixel_um / r
        return self.swim[0] + reach * off[0], self.swim[1] + reach * off[1]


def run(
    dish: Dish,
    procedure: Procedure,
    each: Callable[[Dish, Command], None] = lambda _dish, _command: None,
    most_s: float = 300.0,
) -> list[Outcome]:
    """Run until the procedure is over; returns how the trials ended."""
    for _ in range(round(most_s / FRAME_S)):
        command = procedure.step(dish.observe())
        each(dish, command)
        if command.ended:
            assert command.flow_nl_s == 0
            assert command.goal_y_px is None
            return [result.outcome for result in procedure.results]
        dish.advance(command)
    raise AssertionError(f"still in {procedure.state} after {most_s:g} s")
