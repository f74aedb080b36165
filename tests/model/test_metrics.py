"""Metrics against hand-computed values."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fgaf.base.errors import FgafError
from fgaf.model.metrics.depth import evaluate, nearest_class, top_k_credit

GRID = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])


def one_hot(classes: list[int]) -> np.ndarray:
    return np.eye(GRID.size)[classes]


def test_classes_are_nearest_and_clipped() -> None:
    found = nearest_class([-9.0, -0.8, -0.7, 0.1, 0.3, 9.0], GRID)
    assert found.tolist() == [0, 0, 1, 2, 3, 4]


def test_top_k_credit_shares_ties() -> None:
    p = np.array([[0.5, 0.3, 0.2, 0.0, 0.0], [0.2] * 5, [1.0, 0.0, 0.0, 0.0, 0.0]])
    assert top_k_credit(p, np.array([2, 0, 3]), 3).tolist() == pytest.approx([1.0, 0.6, 0.5])


def test_perfect_predictions() -> None:
    truth = [0, 1, 2, 3, 4] * 2
    result = evaluate(one_hot(truth), GRID[truth], GRID, [0] * 5 + [1] * 5, 1.5)
    assert (result["top1"], result["top3"], result["mae_um"]) == (1.0, 1.0, 0.0)
    assert result["intervals"]["top1"] == [1.0, 1.0]
    assert result["calibration_error"] == 0.0
    assert result["n_cells"] == 2


def test_errors_of_a_known_table() -> None:
    """Signed errors 0, +0.5, -1, 0 by hand."""
    result = evaluate(one_hot([0, 2, 2, 4]), [-1.0, -0.5, 1.0, 1.0], GRID, [0, 0, 1, 1], 0.5)
    assert result["top1"] == 0.5
    assert result["within_one"] == 0.75
    assert result["mae_um"] == pytest.approx(0.375)
    assert result["bias_um"] == pytest.approx(-0.125)
    assert result["rmse_um"] == pytest.approx(np.sqrt(1.25 / 4))
    assert result["var_um2"] == pytest.approx(1.25 / 4 - 0.375**2)
    assert result["std_um"] ** 2 == pytest.approx(result["var_um2"])
    assert result["mae_dof"] == pytest.approx(0.75)
    assert result["intervals"]["mae_um"] == pytest.approx([0.25, 0.5])
    assert result["confusion"][4] == [0, 0, 1, 0, 1]
    assert result["per_class"][2] == {"depth_um": 0.0, "n_patches": 0}
    assert result["per_class"][4]["bias_um"] == pytest.approx(-0.5)


def test_expected_depth_is_the_mean_unless_given() -> None:
    p = np.array([[0.0, 0.0, 0.5, 0.5, 0.0]] * 2)
    assert evaluate(p, [0.25, 0.25], GRID, [0, 1])["expected_mae_um"] == pytest.approx(0.0)
    given = evaluate(p, [0.25, 0.25], GRID, [0, 1], expected_um=[0.5, 0.5])
    assert given["expected_mae_um"] == pytest.approx(0.25)


def test_calibration_error_of_overconfidence() -> None:
    p = np.full((10, 5), 0.05)
    p[:, 0] = 0.8
    truth = GRID[[0] * 6 + [1] * 4]
    result = evaluate(p, truth, GRID, np.arange(10))
    assert result["calibration_error"] == pytest.approx(0.2)


def test_intervals_follow_cells_not_patches() -> None:
    """Ten patches of each cell, all right or all wrong: as uncertain as one patch each."""
    right = np.repeat(np.random.default_rng(0).random(20) < 0.5, 10)
    cell = np.repeat(np.arange(20), 10)
    by_cell = evaluate(one_hot(list(right * 1)), GRID[[1] * 200], GRID, cell)
    by_patch = evaluate(one_hot(list(right * 1)), GRID[[1] * 200], GRID, np.arange(200))
    width = [np.ptp(r["intervals"]["top1"]) for r in (by_cell, by_patch)]
    assert width[0] == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 20), rel=0.2)
    assert width[1] < width[0] / 2.5


def test_p95_interval_brackets_the_value() -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(-1, 1, 400)
    p = one_hot(list(nearest_class(truth + rng.normal(0, 0.3, 400), GRID)))
    result = evaluate(p, truth, GRID, np.repeat(np.arange(40), 10))
    low, high = result["intervals"]["p95_um"]
    assert low <= result["p95_um"] <= high


def test_result_is_json_and_repeatable() -> None:
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.ones(5), 50)
    arguments = (p, rng.uniform(-1, 1, 50), GRID, np.repeat(np.arange(10), 5), 1.5)
    assert json.dumps(evaluate(*arguments)) == json.dumps(evaluate(*arguments))


def test_one_cell_has_no_interval() -> None:
    assert evaluate(one_hot([0, 1]), GRID[:2], GRID, [3, 3])["intervals"]["top1"] is None


@pytest.mark.parametrize(
    ("p", "depths", "needle"),
    [
        (np.zeros((0, 5)), [], "no patches"),
        (np.zeros((2, 4)), [0.0, 0.0], "do not fit"),
        (np.full((2, 5), np.nan), [0.0, 0.0], "not finite"),
    ],
)
def test_refuses(p: np.ndarray, depths: list[float], needle: str) -> None:
    with pytest.raises(FgafError, match=needle):
        evaluate(p, depths, GRID, np.zeros(len(depths)))
