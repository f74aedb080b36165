"""Hydraulics of a pipette and the flow at its mouth, against theory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError
from scipy.integrate import quad, solve_ivp

from fgaf.acquire.simulation.aspiration.hydraulics import UM3_PER_NL, Bore, Hydraulics
from fgaf.acquire.simulation.aspiration.mouth import Mouth
from fgaf.acquire.simulation.aspiration.mouth_flow import MouthFlow
from fgaf.acquire.simulation.aspiration.settings import AspirationSettings

Array = npt.NDArray[Any]

WATER, COMPLIANCE = 0.955, 9.7  # mPa s at 22 °C; nL/kPa of 1 mL of oil and 1.3 m of PTFE tube
FLOW = 0.1
MOUTHS = {
    "horizontal": Mouth((3.0, -2.0, 6.0), (0.0, -1.0, 0.0), 2.5, 3.5),
    "low": Mouth((0.0, 0.0, 3.6), (1.0, 0.0, 0.0), 2.5, 3.5),
    "down": Mouth((0.0, 0.0, 9.0), (0.0, -math.cos(0.5), -math.sin(0.5)), 2.5, 3.2, 0.05),
    "wide": Mouth((0.0, 0.0, 14.0), (0.6, 0.8, 0.0), 10.0, 12.0),
}
each_mouth = pytest.mark.parametrize("mouth", MOUTHS.values(), ids=MOUTHS)


# The line


@pytest.mark.parametrize(
    ("diameter", "length", "time_s", "flow"), [(5, 200, 123, 0.05), (10, 1000, 38, 0.15)]
)
def test_a_compliant_line_lets_the_flow_rise_slowly(
    diameter: float, length: float, time_s: float, flow: float
) -> None:
    line = Hydraulics(Bore(diameter / 2, length), WATER, COMPLIANCE)
    assert line.time_constant_s == pytest.approx(time_s, rel=0.01)
    line.run(5.0, 1.2)
    assert line.flow_nl_s == pytest.approx(flow, abs=0.005)


def test_the_flow_goes_on_after_the_pump_has_stopped() -> None:
    line = Hydraulics(Bore(2.5, 200), WATER, COMPLIANCE)
    line.run(20.0, 1.2)
    before = line.flow_nl_s
    line.run(line.time_constant_s)
    assert line.flow_nl_s == pytest.approx(before / math.e)


def test_a_pump_that_goes_back_what_it_took_blows_out_what_has_entered() -> None:
    line = Hydraulics(Bore(2.5, 200), WATER, COMPLIANCE)
    line.run(10.0, 1.2)
    line.run(10.0, -1.2)
    assert line.flow_nl_s < 0
    line.set_pressure(0.0)
    assert line.flow_nl_s == 0.0


def test_the_steps_of_the_line_are_exact() -> None:
    """Against an ODE solver, for a pump that changes its rate."""
    line = Hydraulics(Bore(3.0, 300, 0.01), WATER, COMPLIANCE)
    rates = [(4.0, 1.2), (7.0, 0.0), (3.0, -2.0)]
    suction = 0.0
    for duration, rate in rates:
        line.run(duration, rate)
        solved = solve_ivp(
            lambda _, p, rate=rate: (rate - p / line.resistance) / COMPLIANCE,
            (0, duration),
            [suction],
            rtol=1e-10,
            atol=1e-12,
        )
        suction = float(solved.y[0, -1])
    assert line.suction_kpa == pytest.approx(suction, rel=1e-7)


@pytest.mark.parametrize("slope", [0.0, 0.02, 0.2])
def test_resistance_is_that_of_poiseuille_and_sampson(slope: float) -> None:
    bore = Bore(2.5, 150.0, slope)
    integral, _ = quad(lambda x: bore.radius_at(x) ** -4, 0, 150.0)
    metres = 8 * WATER * 1e-3 / math.pi * integral * 1e18 + 3 * WATER * 1e-3 / (2.5e-6) ** 3
    assert bore.resistance(WATER) == pytest.approx(metres * 1e-15, rel=1e-6)


def test_the_flow_of_the_paper_is_too_fast_to_keep_a_cell_in_view() -> None:
    speeds = [Bore(d / 2, 200).mean_speed_um_s(1.2) / 1e3 for d in (5, 10, 20, 30)]
    assert speeds == pytest.approx([61, 15, 3.8, 1.7], rel=0.03)


# The mouth


def directions(count: int = 120) -> tuple[Array, Array]:
    """Points on the unit sphere, and weights that integrate over it."""
    cos, weights = np.polynomial.legendre.leggauss(count)
    angles = (np.arange(2 * count) + 0.5) * math.pi / count
    sin = np.sqrt(1 - cos**2)[:, None]
    points = np.stack(
        [sin * np.sin(angles), sin * np.cos(angles), cos[:, None] + 0 * angles], axis=-1
    )
    return points.reshape(-1, 3), np.repeat(weights * math.pi / count, 2 * count)


def flux_in(velocity: Callable[[Array], Array], centre: Array, radius: float) -> float:
    """Flux into a sphere in nL/s, by quadrature."""
    normals, weights = directions()
    inward = -np.einsum("ni,ni->n", velocity(centre + radius * normals), normals)
    return float(inward @ weights) * radius**2 / UM3_PER_NL


def flux_along(flow: MouthFlow, depth_um: float) -> float:
    """Flux through the bore at a depth."""
    mouth = flow.mouth
    nodes, weights = np.polynomial.legendre.leggauss(200)
    a = mouth.inner_um + mouth.slope * depth_um
    rho = a * (nodes + 1) / 2
    side = np.cross(mouth.axis, (0.3, 0.5, 0.8))
    side /= np.linalg.norm(side)
    speed = flow.velocity(mouth.centre - depth_um * mouth.axis + rho[:, None] * side, FLOW)
    return float(-(speed @ mouth.axis) @ (weights * rho) * math.pi * a / UM3_PER_NL)


@each_mouth
def test_liquid_sticks_to_the_dish(mouth: Mouth) -> None:
    places = np.random.default_rng(1).uniform(-60, 60, (400, 3)) * (1, 1, 0) + mouth.centre
    places[:, 2] = 0.0
    assert np.abs(MouthFlow(mouth).velocity(places, FLOW)).max() < 1e-9


@each_mouth
def test_what_flows_into_any_volume_flows_out_again(mouth: Mouth) -> None:
    """Spheres in the liquid, across the joins of the solutions."""
    flow = MouthFlow(mouth)
    for ahead, radius in ((1.9, 1.5), (3.2, 2.5), (6.0, 4.0)):
        centre = mouth.centre + ahead * mouth.inner_um * mouth.axis + (0, 0, 3 * radius)
        through = flux_in(lambda at: flow.velocity(at, FLOW), centre, radius)
        assert through == pytest.approx(0, abs=1e-5 * FLOW)


@each_mouth
def test_all_that_enters_the_mouth_comes_from_outside(mouth: Mouth) -> None:
    flow = MouthFlow(mouth)
    for depth in (0.0, 0.4, 1.3, 9.0):
        assert flux_along(flow, depth) == pytest.approx(FLOW, rel=1e-5)


def test_the_flux_through_a_wide_dome_on_the_dish_is_that_of_the_mouth() -> None:
    flow = MouthFlow(MOUTHS["horizontal"])
    for radius in (100.0, 2000.0):
        normals, weights = directions()
        places = flow.mouth.centre * (1, 1, 0) + radius * normals
        ahead, _, aside = flow.mouth.along(places)
        liquid = (normals[:, 2] > 0) & ((ahead > 0) | (aside > flow.mouth.outer_um))
        inward = -np.einsum("ni,ni->n", flow.velocity(places, FLOW), normals)
        total = inward[liquid] @ weights[liquid] * radius**2
        assert total / UM3_PER_NL == pytest.approx(FLOW, rel=0.003)


@each_mouth
def test_at_the_mouth_the_flow_is_sampsons(mouth: Mouth) -> None:
    flow, a = MouthFlow(mouth), mouth.inner_um
    top = 3 * FLOW * UM3_PER_NL / (2 * math.pi * a**2)
    side = np.cross(mouth.axis, (0.3, 0.5, 0.8))
    side /= np.linalg.norm(side)
    rho = np.array([0.0, 0.3, 0.6, 0.9])
    within = flow.velocity(mouth.centre + a * rho[:, None] * side + 1e-9 * mouth.axis, FLOW)
    assert -within @ mouth.axis == pytest.approx(top * np.sqrt(1 - rho**2), rel=1e-6)
    assert within @ side == pytest.approx(0, abs=1e-6 * top)
    if mouth.centre[2] > mouth.inner_um + 3:
        ahead = np.array([0.2, 0.6, 1.0])
        before = flow.velocity(mouth.centre + a * ahead[:, None] * mouth.axis, FLOW)
        assert -before @ mouth.axis == pytest.approx(top / (1 + ahead**2), rel=1e-3)


@each_mouth
def test_in_the_bore_the_flow_is_poiseuilles(mouth: Mouth) -> None:
    depth = 30.0
    a = mouth.inner_um + mouth.slope * depth
    side = np.cross(mouth.axis, (0.3, 0.5, 0.8))
    side /= np.linalg.norm(side)
    rho = np.array([0.0, 0.5, 0.8, 0.99])
    speed = MouthFlow(mouth).velocity(
        mouth.centre - depth * mouth.axis + a * rho[:, None] * side, FLOW
    )
    mean = FLOW * UM3_PER_NL / (math.pi * a**2)
    assert -speed @ mouth.axis == pytest.approx(2 * mean * (1 - rho**2), rel=1e-6)


@each_mouth
def test_far_away_the_flow_is_that_of_a_sink_over_the_dish(mouth: Mouth) -> None:
    """Blake: (Q/4 pi) 6 z (z + 2 h)/x^4 along the dish, so that low cells feel little."""
    flow, far, h = MouthFlow(mouth), 1000.0, mouth.centre[2]
    for z in (0.5, 4.0, 40.0):
        speed = flow.velocity(mouth.centre * (1, 1, 0) + (far, 0, z), FLOW)
        expected = FLOW * UM3_PER_NL / (4 * math.pi) * 6 * z * (z + 2 * h) / far**4
        assert -speed[0] == pytest.approx(expected, rel=0.05)


def test_far_away_the_flow_obeys_stokes() -> None:
    """The vorticity of a Stokes flow is harmonic: that at a point is the mean around it."""
    flow, normals = MouthFlow(MOUTHS["horizontal"]), directions(12)

    def vorticity(places: Array) -> Array:
        g = flow.gradient(places, FLOW)
        return np.stack([g[..., i, j] - g[..., j, i] for i, j in ((0, 1), (1, 2), (2, 0))], -1)

    centre = np.array([30.0, 4.0, 12.0])
    mean = normals[1] @ vorticity(centre + 9.0 * normals[0]) / (4 * math.pi)
    assert mean == pytest.approx(vorticity(centre), rel=1e-4, abs=1e-6)


@each_mouth
def test_the_flow_has_no_jumps(mouth: Mouth) -> None:
    """At the plane of the mouth, in it and beside it; a cone begins with an edge."""
    flow, rng = MouthFlow(mouth), np.random.default_rng(2)
    places = mouth.centre + rng.normal(size=(3000, 3)) * mouth.inner_um * 2
    places -= mouth.along(places)[0][:, None] * mouth.axis
    _, _, radius = mouth.along(places)
    glass = (radius > 0.98 * mouth.inner_um) & (radius < 1.02 * mouth.outer_um)
    places = places[~glass & (places[:, 2] > 0)]
    step = 1e-8 * mouth.axis
    jump = flow.velocity(places + step, FLOW) - flow.velocity(places - step, FLOW)
    fastest = np.linalg.norm(flow.velocity(mouth.centre, FLOW))
    assert np.abs(jump).max() < (1e-5 + mouth.slope) * fastest


@each_mouth
def test_liquid_does_not_flow_through_the_glass_at_the_tip(mouth: Mouth) -> None:
    flow = MouthFlow(mouth)
    side = np.cross(mouth.axis, (0.3, 0.5, 0.8))
    side /= np.linalg.norm(side)
    rim = np.linspace(mouth.inner_um * 1.01, mouth.outer_um * 0.99, 5)[:, None] * side
    speed = flow.velocity(mouth.centre + 1e-6 * mouth.axis + rim, FLOW)
    assert np.abs(speed @ mouth.axis).max() < 1e-3 * np.abs(flow.velocity(mouth.centre, FLOW)).max()
    glass = flow.velocity(mouth.centre - 5 * mouth.axis + rim + 5 * mouth.slope * side, FLOW)
    assert not glass.any()


def test_the_gradient_is_that_of_the_velocity() -> None:
    flow, rng = MouthFlow(MOUTHS["down"]), np.random.default_rng(3)
    place = np.array([2.0, -8.0, 5.0])
    gradient, steps = flow.gradient(place, FLOW), 1e-2 * rng.normal(size=(5, 3))
    change = flow.velocity(place + steps, FLOW) - flow.velocity(place - steps, FLOW)
    assert change / 2 == pytest.approx(steps @ gradient.T, rel=0.01, abs=1e-4)
    assert np.trace(gradient) == pytest.approx(0, abs=1e-6 * np.abs(gradient).max())


def test_flows_are_in_proportion_and_can_be_reversed() -> None:
    flow = MouthFlow(MOUTHS["low"])
    places = np.array([[4.0, 1.0, 2.0], [-3.0, 0.5, 3.6], [20.0, 9.0, 1.0]])
    assert flow.velocity(places, -0.3) == pytest.approx(-3 * flow.velocity(places, 0.1))


# Settings


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"inner_diameter_um": 8.0}, "inner_diameter_um must be below outer_diameter_um"),
        ({"head_width_um": 6.0}, "head_width_um must not exceed head_length_um"),
        ({"compliance_nl_kpa": 0}, "0 is out of bounds; give 1e-06 to 1000000 nL/kPa"),
        ({"jeffery": 2}, "2 is out of bounds; give -1 to 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, float], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        AspirationSettings(**values)


def test_the_tip_of_a_bent_pipette_is_level_and_one_bent_less_points_down() -> None:
    assert AspirationSettings().direction == pytest.approx((0, -1, 0))
    down = AspirationSettings(bend_deg=25.0, lean_deg=90.0).direction
    assert np.linalg.norm(down) == pytest.approx(1)
    assert down[2] == pytest.approx(-math.sin(math.radians(10)))
    assert down[0] == pytest.approx(-math.cos(math.radians(10)))
