"""Agreement of two people on the same cells: first labels against the blind second pass."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

import numpy as np
import numpy.typing as npt

from fgaf.base.console import count
from fgaf.curate.session.state import AUTO, CellState, Decision, State


@dataclass(frozen=True)
class Agreement:
    """Agreement of first and second labels; NaN if there is nothing to compare.

    Attributes
    ----------
    cells
        Cells that have both.
    same_verdict
        Share of cells that both keep or both do not keep.
    both_kept
        Cells that both keep; the numbers below are for these.
    exact, within_one
        Share with the same focus plane, and with planes at most one apart.
    mean_um
        Mean distance of the two focus positions, µm.
    kappa
        Cohen's kappa of the focus planes with quadratic weights (J. Cohen, Psychological
        Bulletin 70, 1968): 1 is perfect, 0 is chance level.
    bias_um
        Mean difference, second minus first, µm.
    """

    cells: int
    same_verdict: float
    both_kept: int
    exact: float
    within_one: float
    mean_um: float
    kappa: float
    bias_um: float

    def as_dict(self) -> dict[str, float | None]:
        """The numbers for a script; None if there is nothing to compare."""
        return {name: None if isnan(value) else value for name, value in vars(self).items()}

    def lines(self) -> list[str]:
        """Format it as lines."""
        if not self.cells:
            return [
                "no cell was labelled twice; label cells again with `fgaf-curate open --task "
                "second`"
            ]
        lines = [
            f"{count(self.cells, 'cell')} labelled twice, {_percent(self.same_verdict)} with the "
            "same decision whether to keep it"
        ]
        if self.both_kept:
            lines.append(
                f"{self.both_kept} kept by both: focus plane {_percent(self.exact)} exact, "
                f"{_percent(self.within_one)} within one, {self.mean_um:.3f} µm apart in the mean "
                f"({self.bias_um:+.3f} µm second minus first), weighted kappa {self.kappa:.3f}"
            )
        return lines


def agreement(state: State) -> Agreement:
    """Compare the labels of all cells that were labelled twice."""
    pairs = _pairs(state)
    both = [(cell, a, b) for cell, a, b in pairs if a.kept and b.kept]
    planes = np.array([_planes(state, *triple) for triple in both], dtype=np.float64).reshape(-1, 2)
    apart = np.abs(planes[:, 0] - planes[:, 1])
    focus = np.array([(a.focus_um, b.focus_um) for _, a, b in both], dtype=np.float64)
    shift = np.diff(focus.reshape(-1, 2), axis=1)
    return Agreement(
        cells=len(pairs),
        same_verdict=_mean(np.array([a.kept == b.kept for _, a, b in pairs], dtype=np.float64)),
        both_kept=len(both),
        exact=_mean(apart == 0),
        within_one=_mean(apart <= 1),
        mean_um=_mean(np.abs(shift)),
        kappa=weighted_kappa(planes[:, 0], planes[:, 1]),
        bias_um=_mean(shift),
    )


def disagreements(state: State, apart: int = 1) -> list[str]:
    """Names of cells that only one keeps, or whose planes differ by more than `apart`.

    Those that a review settled are among them, see `CellState.reviewed`.

    Parameters
    ----------
    state
        State of the session.
    apart
        Allowed difference in planes.
    """
    names = []
    for cell, a, b in _pairs(state):
        if a.kept != b.kept:
            names.append(cell.id)
        elif a.kept:
            first, second = _planes(state, cell, a, b)
            if abs(first - second) > apart:
                names.append(cell.id)
    return names


def weighted_kappa(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Cohen's kappa with quadratic weights of two ratings (N,) of the same things.

    NaN for fewer than two things; 1 where all ratings are the same.

    Parameters
    ----------
    first, second
        (N,) ratings of the same things.
    """
    if len(first) < 2:
        return float("nan")
    expected = float(((first[:, None] - second[None, :]) ** 2).mean())
    observed = float(((first - second) ** 2).mean())
    return 1.0 if expected == 0 else 1 - observed / expected


def _pairs(state: State) -> list[tuple[CellState, Decision, Decision]]:
    return [
        (cell, cell.label, cell.second)
        for cell in state.cells.values()
        if cell.label is not None and cell.second is not None and cell.label.annotator != AUTO
    ]


def _planes(state: State, cell: CellState, first: Decision, second: Decision) -> tuple[int, int]:
    return (
        state.plane_of(cell, first.focus_um or 0.0),
        state.plane_of(cell, second.focus_um or 0.0),
    )


def _mean(values: npt.NDArray[np.float64] | npt.NDArray[np.bool_]) -> float:
    return float(np.mean(values)) if values.size else float("nan")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
