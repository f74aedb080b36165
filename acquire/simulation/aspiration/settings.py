"""Settings of the micropipette, its hydraulics, and how cells respond to the flow."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, model_validator

from fgaf.acquire.simulation.aspiration.hydraulics import Bore, Hydraulics
from fgaf.base.bounds import Bound, Share

DiameterUm = Annotated[float, Bound(0.5, 200, "µm")]
SlopeDeg = Annotated[float, Bound(0, 20, "°")]
AngleDeg = Annotated[float, Bound(-180, 180, "°")]
TiltDeg = Annotated[float, Bound(0, 80, "°")]
DriftUmS = Annotated[float, Bound(-1000, 1000, "µm/s")]


class AspirationSettings(BaseModel):
    """A micropipette that draws sperm in.

    Attributes
    ----------
    inner_diameter_um, outer_diameter_um
        At the tip. Pipettes for injection have 3 to 7 µm inside (H. Yavas et al., Hum. Reprod. 16,
        2001), and walls of about 1 µm.
    taper_deg
        Half angle of the cone of the bore, and of the glass, behind the tip.
    bore_length_um
        Length of the narrow part of the bore, which resists the flow.
    shaft_angle_deg, bend_deg
        Angle of the shaft in its holder against the dish, usually 30 to 35°, and the angle by which
        the tip is bent back: the tip points down by their difference.
    straight_um
        Length of the bent tip.
    lean_deg
        Angle in the image between the tip's axis and the rows: 0 is a pipette from the right.
    viscosity_mpa_s
        Of the liquid: 0.955 is water at 22 °C, media with polyvinylpyrrolidone have ten times that.
    compliance_nl_kpa
        Volume that the line between pump and tip takes up for each kPa. 1 mL of oil has 0.7, 1.3 m
        of PTFE tube 9 (C. Shan et al., IEEE Robot. Autom. Lett. 5, 2020).
    dish_um
        Height of the cells' centre over the dish, µm in the specimen.
    head_length_um, head_width_um
        The head as a body in contact with glass and dish, a spheroid.
    tail_length_um, tail_weight
        Length of the tail, and its share of the drag of the whole cell. A head of 5 x 3 µm and a
        slender tail of 45 µm have 35 and 65 % by resistive-force theory.
    jeffery
        Jeffery's factor (r^2 - 1)/(r^2 + 1) of a body of the aspect ratio r: 1 a line, 0 a ball.
    adhesion_share, adhesion_pn
        Share of immotile cells that stick to the dish, and the drag on the head, in pN, that tears
        them off.
    drift_um_s
        Velocity (y, x) of the liquid where no pipette draws.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inner_diameter_um: DiameterUm = 5.0
    outer_diameter_um: DiameterUm = 7.0
    taper_deg: SlopeDeg = 0.0
    bore_length_um: Annotated[float, Bound(1, 1e5, "µm")] = 200.0
    shaft_angle_deg: TiltDeg = 35.0
    bend_deg: TiltDeg = 35.0
    straight_um: Annotated[float, Bound(10, 1e5, "µm")] = 1000.0
    lean_deg: AngleDeg = 0.0
    viscosity_mpa_s: Annotated[float, Bound(0.1, 1e4, "mPa s")] = 0.955
    compliance_nl_kpa: Annotated[float, Bound(1e-6, 1e6, "nL/kPa")] = 9.7
    dish_um: Annotated[float, Bound(1, 1e4, "µm")] = 5.0
    head_length_um: Annotated[float, Bound(0.5, 50, "µm")] = 5.0
    head_width_um: Annotated[float, Bound(0.5, 50, "µm")] = 3.0
    tail_length_um: Annotated[float, Bound(1, 500, "µm")] = 45.0
    tail_weight: Annotated[float, Bound(0, 0.99)] = 0.65
    jeffery: Annotated[float, Bound(-1, 1)] = 0.95
    adhesion_share: Share = 0.0
    adhesion_pn: Annotated[float, Bound(0, 1e6, "pN")] = 10.0
    drift_um_s: tuple[DriftUmS, DriftUmS] = (0.0, 0.0)

    @model_validator(mode="after")
    def _body_possible(self) -> Self:
        if self.inner_diameter_um >= self.outer_diameter_um:
            raise ValueError("inner_diameter_um must be below outer_diameter_um")
        if self.head_width_um > self.head_length_um:
            raise ValueError("head_width_um must not exceed head_length_um")
        if self.bend_deg > self.shaft_angle_deg + 60:
            raise ValueError("bend_deg must not exceed shaft_angle_deg by more than 60°")
        return self

    @property
    def slope(self) -> float:
        """Growth of the radii per length."""
        return math.tan(math.radians(self.taper_deg))

    @property
    def direction(self) -> tuple[float, float, float]:
        """Unit vector (y, x, z) along the axis out of the mouth."""
        down = math.radians(self.shaft_angle_deg - self.bend_deg)
        yaw = math.pi + math.radians(self.lean_deg)
        return (math.cos(down) * math.sin(yaw), math.cos(down) * math.cos(yaw), -math.sin(down))

    @cached_property
    def bore(self) -> Bore:
        """The narrow end."""
        return Bore(self.inner_diameter_um / 2, self.bore_length_um, self.slope)

    def hydraulics(self) -> Hydraulics:
        """A line at rest."""
        return Hydraulics(self.bore, self.viscosity_mpa_s, self.compliance_nl_kpa)
