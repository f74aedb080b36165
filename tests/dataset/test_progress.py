"""What long work reports of itself, to a listener and from other processes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from fgaf.base.errors import FgafError
from fgaf.base.workers.processes import in_processes
from fgaf.base.workers.progress import advance, is_heard, part, reporting, steps


def flat() -> None:
    for _ in steps("abcd"):
        pass


def in_parts() -> None:
    with part(0.2):
        for _ in steps(range(2)):
            pass
    for _ in steps([1, 2]):
        pass


def nested() -> None:
    for _ in steps(range(2)):
        for _ in steps(range(2)):
            pass


def unsaid() -> None:
    with part(0.5):
        for _ in steps(iter({1: 1}.keys() | {2})):
            pass
    for _ in steps((k for k in range(2)), 2):
        pass


def by_shares() -> None:
    advance(0.1)
    with part(0.5):
        advance(0.5)


def stopped() -> None:
    for k in steps(range(4)):
        if k == 2:
            break


@dataclass(frozen=True)
class Case:
    """Work, and how far it is at each report."""

    work: Callable[[], None]
    done: tuple[float, ...]


CASES = [
    Case(flat, (0.25, 0.5, 0.75, 1.0)),
    Case(in_parts, (0.1, 0.2, 0.6, 1.0)),
    Case(nested, (0.25, 0.5, 0.75, 1.0)),
    Case(unsaid, (0.25, 0.5, 0.75, 1.0)),
    Case(by_shares, (0.1, 0.325, 0.55)),
    Case(stopped, (0.25, 0.5)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.work.__name__)
def test_work_says_how_far_it_is(case: Case) -> None:
    told = [0.0]
    with reporting(lambda share: told.append(told[-1] + share)):
        case.work()
        assert is_heard()
    assert not is_heard()
    moved = [after for before, after in itertools.pairwise(told) if after > before]
    assert moved == pytest.approx(case.done)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.work.__name__)
def test_nobody_needs_to_listen(case: Case) -> None:
    case.work()
    assert list(steps("abc")) == ["a", "b", "c"]


def work_of_two_steps(item: int) -> int:
    for _ in steps(range(2)):
        pass
    if item == 3:
        raise FgafError("three")
    return item * item if is_heard() else -1


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_report_to_their_parent(workers: int) -> None:
    told: list[float] = []
    with reporting(told.append):
        outcomes = dict(in_processes(work_of_two_steps, range(5), workers))
    assert [outcomes[k] for k in (0, 1, 2, 4)] == [0, 1, 4, 16]
    assert isinstance(outcomes[3], FgafError)
    if workers > 1:
        assert math.fsum(told) == pytest.approx(5)
        assert told.count(0.5) == 10


def test_workers_without_a_listener_report_nothing() -> None:
    assert dict(in_processes(work_of_two_steps, range(2), 2)) == {0: -1, 1: -1}
