"""Hydraulics: from the pump through a compliant line and the narrow bore to the flow at the tip."""

from __future__ import annotations

import math
from dataclasses import dataclass

UM3_PER_NL = 1e6
"""Cubic micrometres in a nanolitre."""


@dataclass(frozen=True)
class Bore:
    """The narrow end of a pipette, a cone that widens away from the tip; beyond it nothing resists.

    Attributes
    ----------
    radius_um
        Inner radius at the mouth.
    length_um
        Length of the narrow part.
    slope
        Growth of the radius per length, the tangent of the half angle; 0 is a cylinder.
    """

    radius_um: float
    length_um: float
    slope: float = 0.0

    def radius_at(self, depth_um: float) -> float:
        """Inner radius at a distance from the mouth, µm."""
        return self.radius_um + self.slope * depth_um

    def resistance(self, viscosity_mpa_s: float) -> float:
        """Pressure for each flow at the tip, in kPa s/nL.

        The law of Poiseuille integrated along the cone, and the entrance of Sampson (Philos. Trans.
        R. Soc. A 182, 1891; Happel and Brenner, Low Reynolds Number Hydrodynamics, 4-29):
        8 mu/pi times the integral of dx/a(x)^4, plus 3 mu/a^3.

        Parameters
        ----------
        viscosity_mpa_s
            Viscosity of the liquid in the bore, mPa s.
        """
        near, far = self.radius_um, self.radius_at(self.length_um)
        # the integral of a cone's 1/a^4 is L (far^2 + far near + near^2) / (3 near^3 far^3)
        integral = self.length_um * (far**2 + far * near + near**2) / (3 * (near * far) ** 3)
        per_um3 = 8 / math.pi * integral + 3 / near**3
        return viscosity_mpa_s * per_um3  # 1 mPa s/um^3 is 1 kPa s/nL

    def mean_speed_um_s(self, flow_nl_s: float) -> float:
        """Mean speed of the liquid at the mouth."""
        return flow_nl_s * UM3_PER_NL / (math.pi * self.radius_um**2)


class Hydraulics:
    """The line between pump and tip: what the pump displaces first loads the compliance.

    dP/dt = (Q_pump - P/R)/C and Q_tip = P/R, with P the suction (C. Shan et al., IEEE Robot. Autom.
    Lett. 5, 2020, doi 10.1109/lra.2019.2952998). The flow follows the pump with the time constant
    R C: seconds to minutes. When the pump stops, the flow does not: it decays with R C. To end it,
    reverse the pump until the suction is gone, or `set_pressure` to 0.

    Positive flows run into the pipette.

    Parameters
    ----------
    bore
        The narrow end.
    viscosity_mpa_s
        Viscosity of the liquid in it, mPa s.
    compliance_nl_kpa
        Volume that the line (oil, tube, syringe) takes up for each kPa, nL/kPa.
    """

    def __init__(self, bore: Bore, viscosity_mpa_s: float, compliance_nl_kpa: float) -> None:
        self.resistance = bore.resistance(viscosity_mpa_s)
        self.compliance = compliance_nl_kpa
        self.suction_kpa = 0.0

    @property
    def time_constant_s(self) -> float:
        """Time in which the flow approaches that of the pump to 1/e."""
        return self.resistance * self.compliance

    @property
    def flow_nl_s(self) -> float:
        """Flow into the tip now."""
        return self.suction_kpa / self.resistance

    def set_pressure(self, suction_kpa: float) -> None:
        """Set the suction at once, as a pressure controller does; negative blows out.

        Parameters
        ----------
        suction_kpa
            Pressure outside less that in the line, kPa.
        """
        self.suction_kpa = suction_kpa

    def flow_after(self, duration_s: float, pump_nl_s: float) -> float:
        """Flow into the tip after the pump has run at a constant rate; the state is not changed.

        Parameters
        ----------
        duration_s
            Time from now.
        pump_nl_s
            Displacement of the pump, nL/s; negative pushes.
        """
        left = math.exp(-duration_s / self.time_constant_s)
        return pump_nl_s + (self.flow_nl_s - pump_nl_s) * left

    def run(self, duration_s: float, pump_nl_s: float = 0.0) -> None:
        """Let the pump run at a constant rate; the step is exact, however long.

        Parameters
        ----------
        duration_s
            Time to run.
        pump_nl_s
            Displacement of the pump, nL/s; 0 is a pump at rest, which holds its volume.
        """
        self.suction_kpa = self.flow_after(duration_s, pump_nl_s) * self.resistance
