from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fgaf.model.bench.compare import COMPARED, best_method, judge_against, judge_pairs
from fgaf.model.bench.preset import Preset
from fgaf.model.bench.report.pareto import pareto_front

CELL = np.repeat(np.arange(12), 3)


def score(value: float) -> dict[str, np.ndarray]:
    return {key: np.full(CELL.size, value) for key in COMPARED}


def row(name: str, fgaf: bool, top1: float) -> dict[str, Any]:
    paper = {"top1": top1, "mae_um": 0.2 if fgaf else None}
    return {"label": name.upper(), "settings": {"fgaf": fgaf}, "paper": paper}


PRESET = Preset.model_validate(
    {
        "name": "p",
        "reference": "a",
        "methods": [{"id": name, "kind": "classifier"} for name in ("a", "bare-a", "b", "bare-b")],
        "pairs": {"a": "bare-a", "b": "bare-b"},
    }
)
ROWS = {
    "a": row("a", True, 0.8),
    "bare-a": row("bare-a", False, 0.7),
    "b": row("b", True, 0.9),
    "bare-b": row("bare-b", False, 0.6),
}
SCORES = {
    "a": {0: score(0.8), 1: score(0.6)},
    "bare-a": {0: score(0.5), 1: score(0.5)},
    "b": {0: score(0.9), 1: score(0.9), 2: score(0.9)},
    "bare-b": {0: score(1.0), 1: score(0.9)},
}


def test_gains_are_paired_seed_by_seed_and_averaged_over_networks() -> None:
    found = judge_pairs(PRESET, ROWS, SCORES, CELL)
    assert found is not None
    first, second = (pair["gain"]["top1"] for pair in found["listed"])
    assert first["value"] == pytest.approx(0.2)
    assert first["seed_spread"] == pytest.approx(
        {"std": 0.1414, "least": 0.1, "most": 0.3, "n": 2}, rel=1e-3
    )
    assert second["value"] == pytest.approx(-0.05)
    assert second["seed_spread"]["n"] == 2
    assert found["n_fgaf"] == 2
    mean = found["mean"]["top1"]
    assert mean["value"] == pytest.approx((0.7 + 0.9 - 0.5 - 0.95 - 0.0) / 2)
    assert first["p_holm"] == 2 * first["p"]
    assert mean["p_holm"] == mean["p"]


def test_the_paper_s_gain_stands_beside_where_it_has_both() -> None:
    found = judge_pairs(PRESET, ROWS, SCORES, CELL)
    assert found is not None
    assert found["listed"][0]["paper"]["top1"] == pytest.approx(0.1)
    assert found["listed"][0]["paper"]["mae_um"] is None
    other = ROWS | {"bare-a": ROWS["bare-a"] | {"paper": None}}
    again = judge_pairs(PRESET, other, SCORES, CELL)
    assert again is not None
    assert again["listed"][0]["paper"] is None


def test_pairs_of_other_things_have_no_mean() -> None:
    same = {name: one | {"settings": {"fgaf": True}} for name, one in ROWS.items()}
    found = judge_pairs(PRESET, same, SCORES, CELL)
    assert found is not None
    assert (found["n_fgaf"], found["mean"]) == (0, None)
    trained = SCORES | {"a": {None: score(0.8)}}
    found = judge_pairs(PRESET, ROWS, trained, CELL)
    assert found is not None
    assert found["mean"] is None
    assert judge_pairs(PRESET.model_copy(update={"pairs": {}}), ROWS, SCORES, CELL) is None


def errors(*values: float) -> dict[int, dict[str, np.ndarray]]:
    """Scores of a method with one seed whose error is the same in every cell; NaN: no answer."""
    return {0: {key: np.resize(np.repeat(values, 3), CELL.size) for key in COMPARED}}


@dataclass(frozen=True)
class Best:
    name: str
    errors: dict[str, tuple[float, ...]]
    best: str


BESTS = [
    Best("the smallest error", {"a": (0.2,), "b": (0.1,), "c": (0.3,)}, "b"),
    Best("of equals the reference", {"b": (0.1,), "a": (0.1,)}, "a"),
    Best("not who answered some cells", {"a": (0.2,), "b": (0.1, np.nan)}, "a"),
    Best("unless nobody answered all", {"b": (0.1, np.nan), "a": (0.2, np.nan)}, "a"),
]


@pytest.mark.parametrize("case", BESTS, ids=lambda case: case.name)
def test_the_best_has_the_smallest_mean_error(case: Best) -> None:
    scores = {name: errors(*values) for name, values in case.errors.items()}
    assert best_method(scores, "a") == case.best


def test_all_methods_are_compared_with_one_and_corrected_for_their_number() -> None:
    scores = {"a": errors(0.1), "b": errors(0.3), "c": errors(0.2)}
    found = judge_against("a", scores, CELL)
    assert found["a"] is None
    for name, value in (("b", 0.2), ("c", 0.1)):
        test = found[name]["mae_um"]
        assert test["value"] == pytest.approx(value)
        assert test["p_holm"] == pytest.approx(2 * test["p"])


@dataclass(frozen=True)
class Front:
    name: str
    points: list[tuple[float, float]]
    front: list[int]


FRONTS = [
    Front("one", [(1, 1)], [0]),
    Front("all", [(1, 3), (2, 2), (3, 1)], [0, 1, 2]),
    Front("slower and worse", [(1, 1), (2, 2), (3, 0.5)], [0, 2]),
    Front("as fast and worse", [(1, 2), (1, 1)], [1]),
    Front("twins", [(1, 1), (1, 1)], [0, 1]),
]


@pytest.mark.parametrize("case", FRONTS, ids=lambda case: case.name)
def test_the_front_holds_what_nothing_beats(case: Front) -> None:
    assert pareto_front(case.points) == case.front
