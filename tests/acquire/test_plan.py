from dataclasses import dataclass

import pytest
from hypothesis import given, strategies as st

from fgaf import SettingError
from fgaf.acquire import StackPlan


@dataclass(frozen=True)
class Bad:
    step: float
    half_range: float
    says: str
    center: float = 0.0


BAD = [
    Bad(0.5, 2.2, "±2 and ±2.5 µm"),
    Bad(0.5, 0.2, "±0 and ±0.5 µm"),
    Bad(0.3, 2.0, "±1.8 and ±2.1 µm"),
    Bad(0.0, 2.0, "step_um: 0 is out of bounds; give 0.001 to 1000 µm"),
    Bad(-0.5, 2.0, "step_um: -0.5 is out"),
    Bad(0.5, -2.0, "half_range_um: -2 is out"),
    Bad(float("nan"), 2.0, "step_um: nan is out"),
    Bad(0.5, float("inf"), "half_range_um: inf is out"),
    Bad(0.5, 2.0, "center_um: nan is out", center=float("nan")),
    Bad(0.001, 1000.0, "planes: 2000001 is out"),
]


@pytest.mark.parametrize("case", BAD, ids=str)
def test_impossible_plans_are_refused_with_what_would_work(case: Bad) -> None:
    with pytest.raises(SettingError, match=case.says):
        StackPlan(case.step, case.half_range, case.center)


@given(
    step=st.integers(1, 5000).map(lambda nm: nm / 1000),
    n_side=st.integers(0, 400),
    center=st.floats(-1e4, 1e4),
)
def test_planes_are_symmetric_and_do_not_drift(step: float, n_side: int, center: float) -> None:
    plan = StackPlan(step, n_side * step, center)
    planes = list(plan)
    assert len(plan) == len(planes) == 2 * n_side + 1
    assert planes[n_side] == center
    for plane, z in enumerate(planes):
        assert z == pytest.approx(center + (plane - n_side) * step, abs=1e-9)


def test_step_that_divides_only_nearly_by_float_is_accepted() -> None:
    assert list(StackPlan(0.1, 0.3)) == pytest.approx([-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3])


@dataclass(frozen=True)
class Limits:
    center: float
    approach: float
    fits: bool


LIMITS = [
    Limits(0, 2, True),
    Limits(8, 2, True),
    Limits(8.1, 2, False),
    Limits(-6, 2, True),
    Limits(-6.1, 2, False),
    Limits(-8, 0, True),
]


@pytest.mark.parametrize("case", LIMITS, ids=str)
def test_limits_hold_for_every_plane_and_the_approach(case: Limits) -> None:
    plan = StackPlan(0.5, 2.0, case.center)
    if case.fits:
        plan.check_limits((-10, 10), case.approach)
    else:
        with pytest.raises(SettingError, match=r"choose a centre from -6 to 8 µm"):
            plan.check_limits((-10, 10), case.approach)


def test_a_range_beyond_the_travel_asks_for_a_smaller_one() -> None:
    with pytest.raises(SettingError, match="choose a smaller range"):
        StackPlan(0.5, 20.0).check_limits((-10, 10))


def test_description_tells_half_from_total() -> None:
    text = StackPlan(0.5, 1.0, 10.0).describe()
    assert text == ("5 planes, 0.5 µm apart, ±1 µm (2 µm in total): z = 9, 9.5, 10, 10.5, 11 µm")


def test_description_of_many_planes_stays_short() -> None:
    text = StackPlan(0.5, 60.0).describe()
    assert text.startswith("241 planes, ")
    assert text.endswith("z = -60, -59.5, -59, ..., 60 µm")


@dataclass(frozen=True)
class Unit:
    plan: StackPlan
    unit_um: float
    says: str = ""


UNITS = [
    Unit(StackPlan(0.5, 2.0, 10.0), 0.1),
    Unit(StackPlan(0.5, 2.0, 10.05), 0.1),
    Unit(StackPlan(0.5, 2.0, -3.15), 0.1),
    Unit(StackPlan(0.1, 2.0, 1.037), 0.0333),
    Unit(StackPlan(0.25, 1.0, 10.0), 0.1, "planes would lie 0.2 and 0.3 µm apart; .*: 0.2 and 0.3"),
    Unit(StackPlan(0.25, 1.0), 1.0, "0 and 1 µm apart; the nearest that fit: 1 µm; or so"),
    Unit(StackPlan(0.25, 0.25, 10.0), 0.1, "not a multiple of the drive's unit of 0.1 µm"),
]


@pytest.mark.parametrize("case", UNITS, ids=str)
def test_planes_that_a_drive_would_set_unevenly_are_refused(case: Unit) -> None:
    if case.says:
        with pytest.raises(SettingError, match=case.says):
            case.plan.check_unit(case.unit_um, "; or so")
    else:
        case.plan.check_unit(case.unit_um, "; or so")


@dataclass(frozen=True)
class Span:
    step: float
    low: float
    high: float
    says: str = ""


SPANS = [
    Span(0.5, 10.0, 12.0),
    Span(0.5, 10.0, 12.5),
    Span(0.1, -0.3, 0.4),
    Span(0.5, 3.0, 3.0),
    Span(0.5, 10.0, 12.2, "the nearest that fit: from 10 to 12 and to 12.5 µm"),
    Span(0.5, 12.0, 10.0, "give the lower end first, and --downwards"),
    Span(0.0, 1.0, 2.0, "step_um: 0 is out"),
    Span(0.5, float("nan"), 2.0, "low_um: nan is out"),
]


@pytest.mark.parametrize("case", SPANS, ids=str)
def test_planes_from_one_z_to_another(case: Span) -> None:
    if case.says:
        with pytest.raises(SettingError, match=case.says):
            StackPlan.spanning(case.step, case.low, case.high)
        return
    plan = StackPlan.spanning(case.step, case.low, case.high)
    planes = list(plan)
    assert len(planes) == len(plan) == round((case.high - case.low) / case.step) + 1
    assert planes == pytest.approx([case.low + case.step * k for k in range(len(plan))])
    assert 2 * plan.half_range_um == pytest.approx((len(plan) - 1) * case.step)
    moved = plan.about(plan.center_um + 1)
    assert list(moved) == pytest.approx([z + 1 for z in planes])


def test_downwards_the_planes_keep_their_numbers() -> None:
    plan = StackPlan.spanning(0.5, 10.0, 11.5, downwards=True)
    assert list(plan) == [10.0, 10.5, 11.0, 11.5]
    assert list(plan.order) == [3, 2, 1, 0]
    assert plan.describe().endswith("z = 10, 10.5, 11, 11.5 µm, the highest first")
