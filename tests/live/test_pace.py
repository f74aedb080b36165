"""The rate that is shown: that of now, also when frames come slowly or stop."""

from __future__ import annotations

import pytest

from fgaf.model.live.pace import Rate


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def counted(interval_s: float, frames: int) -> tuple[Rate, Clock]:
    clock = Clock()
    rate = Rate(clock)
    for _ in range(frames):
        clock.now_s += interval_s
        rate.count()
    return rate, clock


@pytest.mark.parametrize("hz", [0.2, 1.1, 29.4, 164.0])
def test_a_steady_rate_is_itself(hz: float) -> None:
    rate, _ = counted(1 / hz, 300)
    assert rate.hz == pytest.approx(hz)


def test_a_change_shows_within_two_seconds() -> None:
    rate, clock = counted(1 / 29.4, 300)
    for _ in range(4):
        clock.now_s += 0.5
        rate.count()
    assert rate.hz == pytest.approx(2.0)


def test_it_falls_to_zero_when_frames_stop() -> None:
    rate, clock = counted(1 / 29.4, 300)
    falling = [rate.hz]
    for _ in range(11):
        clock.now_s += 1.0
        falling.append(rate.hz)
    assert falling == sorted(falling, reverse=True)
    assert falling[1] < 3
    assert falling[-1] == 0


def test_there_is_none_before_two_frames() -> None:
    assert [counted(1.0, frames)[0].hz for frames in (0, 1)] == [0, 0]
