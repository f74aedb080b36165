from dataclasses import dataclass

import numpy as np
import pytest

from fgaf.model.bench.statistics import correct, holm, paired, spread, verdict


def cells(n: int, planes: int = 9) -> np.ndarray:
    return np.repeat(np.arange(n), planes)


def test_what_two_methods_share_cancels() -> None:
    rng = np.random.default_rng(0)
    error = rng.uniform(0, 1, 90)
    found = paired(error + 0.25, error, cells(10))
    assert [found[key] for key in ("value", "low", "high")] == pytest.approx([0.25] * 3)
    loose = paired(rng.uniform(0, 1, 90), error, cells(10))
    assert loose["low"] < 0 < loose["high"]
    assert loose["p"] > 0.05


def test_few_cells_are_flipped_in_every_way() -> None:
    gain = np.repeat([0.1, 0.2, 0.3, 0.4, 0.5], 9)
    assert paired(gain, np.zeros(45), cells(5))["p"] == pytest.approx(2 / 2**5)


def test_equal_methods_and_single_cells_prove_nothing() -> None:
    same = np.ones(18)
    assert paired(same, same, cells(2))["p"] == 1.0
    alone = paired(same, np.zeros(18), np.zeros(18))
    assert (alone["low"], alone["high"], alone["p"]) == (None, None, None)


def test_images_of_a_cell_count_as_one() -> None:
    """Cells that differ, 9 images each alike: as uncertain as 12 images, not as 108."""
    rng = np.random.default_rng(3)
    each = rng.normal(0.3, 1, 12)
    once = paired(each, np.zeros(12), np.arange(12))
    nine = paired(np.repeat(each, 9), np.zeros(108), cells(12))
    assert nine == pytest.approx(once)


def test_false_findings_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(1)
    zero = np.zeros(40)
    found = [
        paired(rng.normal(0, 1, 40), zero, np.repeat(np.arange(10), 4))["p"] for _ in range(200)
    ]
    assert 0.01 <= np.mean(np.array(found) < 0.05) <= 0.09


@dataclass(frozen=True)
class Family:
    name: str
    p: list[float | None]
    corrected: list[float | None]


FAMILIES = [
    Family("one", [0.04], [0.04]),
    Family("in any order", [0.03, 0.01, 0.04], [0.06, 0.03, 0.06]),
    Family("never above one", [0.6, 0.7], [1.0, 1.0]),
    Family("without a test", [None, 0.01], [None, 0.01]),
    Family("none", [], []),
]


@pytest.mark.parametrize("case", FAMILIES, ids=lambda case: case.name)
def test_holm(case: Family) -> None:
    assert holm(case.p) == pytest.approx(case.corrected)


def test_a_verdict_follows_the_corrected_p_and_the_direction() -> None:
    tests = [{"value": 0.1, "p": 0.001}, {"value": -0.1, "p": 0.001}, {"value": 0.1, "p": 0.03}]
    correct([*tests, {"value": 0.0, "p": 0.9}])
    assert [verdict(test, True) for test in tests] == ["better", "worse", "not significant"]
    assert [verdict(test, False) for test in tests] == ["worse", "better", "not significant"]


def test_seeds_have_a_spread_of_their_own() -> None:
    assert spread([0.8]) is None
    assert spread([0.8, 0.9]) == pytest.approx(
        {"std": 0.0707107, "least": 0.8, "most": 0.9, "n": 2}, rel=1e-4
    )
