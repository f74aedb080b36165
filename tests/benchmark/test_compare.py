from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fgaf.model.bench.compare import COMPARED, judge_pairs
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
