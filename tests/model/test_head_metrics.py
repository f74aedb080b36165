"""Metrics of masks: regions, which heads are found, figures and intervals over cells."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from fgaf.base.errors import FgafError
from fgaf.model.metrics.heads import PatchResult, compare, evaluate, regions

Mask = npt.NDArray[np.uint8]


def drawn(*boxes: tuple[int, int, int, int, int], side: int = 20) -> Mask:
    """Boxes (value, top, left, height, width) on an empty mask."""
    mask = np.zeros((side, side), dtype=np.uint8)
    for value, top, left, height, width in boxes:
        mask[top : top + height, left : left + width] = value
    return mask


@dataclass(frozen=True)
class Case:
    """A predicted mask and its truth: errors of the centres, and false regions."""

    name: str
    mask: Mask
    truth: Mask
    off: tuple[float, ...]
    false: int
    least_px: int = 1


nan = float("nan")
HEAD = (1, 4, 4, 5, 5)
CASES = (
    Case("exact", drawn(HEAD), drawn(HEAD), (0.0,), 0),
    Case("off by (1, 2)", drawn((1, 5, 6, 5, 5)), drawn(HEAD), (5**0.5,), 0),
    Case("nothing", drawn(), drawn(HEAD), (nan,), 0),
    Case("beside it", drawn((1, 12, 12, 5, 5)), drawn(HEAD), (nan,), 1),
    Case("no head at all", drawn((1, 12, 12, 5, 5)), drawn(), (), 1),
    Case("two on one head", drawn((1, 4, 4, 1, 5), (1, 7, 4, 1, 5)), drawn(HEAD), (1.0,), 1),
    Case(
        "touching heads, told apart by value, as one region",
        drawn((1, 4, 4, 5, 9)), drawn(HEAD, (2, 4, 9, 5, 4)), (2.0, nan), 0,
    ),
    Case("a speck is no region", drawn(HEAD, (1, 0, 0, 1, 2)), drawn(HEAD), (0.0,), 0, least_px=3),
    Case(
        "a sliver at the border counts neither way",
        drawn(HEAD, (1, 0, 15, 3, 3)), drawn(HEAD, (2, 0, 15, 2, 3)), (0.0,), 0, least_px=8,
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_heads_and_false_regions(case: Case) -> None:
    result = compare(case.mask, case.truth, case.least_px)
    assert result.off_px == pytest.approx(case.off, nan_ok=True)
    assert result.false_regions == case.false


def test_pixels_are_counted() -> None:
    result = compare(drawn((1, 4, 4, 5, 4)), drawn((2, 4, 5, 5, 5)))
    assert (result.overlap_px, result.predicted_px, result.true_px, result.union_px) == (
        15, 20, 25, 30,
    )  # fmt: skip


def test_regions_are_ordered_by_area_and_numbered() -> None:
    found = regions(drawn((1, 0, 0, 2, 2), (1, 8, 8, 4, 5), (1, 18, 18, 1, 1)), least_px=2)
    assert found.area_px.tolist() == [20, 4]
    assert (found.y.tolist(), found.x.tolist()) == ([9.5, 0.5], [10.0, 0.5])
    assert np.unique(found.labels).tolist() == [0, 1, 2]
    assert (found.labels == 1).sum() == 20


def results(rng: np.random.Generator, n: int) -> list[PatchResult]:
    return [
        PatchResult(int(rng.integers(10, 20)), 20, 20, (float(rng.gamma(2)),), int(rng.integers(2)))
        for _ in range(n)
    ]


def test_figures_of_known_patches() -> None:
    found = evaluate(
        [
            PatchResult(10, 10, 20, (1.0,), 0),
            PatchResult(20, 20, 20, (3.0, nan), 1),
            PatchResult(0, 5, 0, (), 1),
        ],
        depth_um=[-0.5, 0.5, 0.0],
        cell=[0, 1, 1],
        pixel_um=0.1,
    )
    assert found["iou"] == pytest.approx((0.5 + 1) / 2)
    assert found["dice"] == pytest.approx((20 / 30 + 1) / 2)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["precision"] == pytest.approx(2 / 4)
    assert (found["centre_median_px"], found["centre_median_um"]) == pytest.approx((2.0, 0.2))
    assert (found["n_cells"], found["n_patches"], found["n_heads"]) == (2, 3, 3)
    assert [row["depth_um"] for row in found["per_depth"]] == [-0.5, 0.0, 0.5]
    assert [row["distance_um"] for row in found["per_distance"]] == [0.0, 0.5]
    focused, away = found["per_distance"]
    assert (focused["iou"], focused["centre_median_px"], focused["intervals"]["iou"]) == (None,) * 3
    assert away["n_heads"] == 3


def test_intervals_are_over_cells_and_contain_the_figure() -> None:
    """The patches of a cell are copies here, so that more of them say no more."""
    rng = np.random.default_rng(0)
    one = results(rng, 30)
    cell = np.arange(30)
    single = evaluate(one, np.zeros(30), cell, pixel_um=0.1)
    ninefold = evaluate(one * 9, np.zeros(270), np.tile(cell, 9), pixel_um=0.1)
    for key in ("iou", "dice", "recall", "centre_median_px", "centre_p95_um"):
        low, high = single["intervals"][key]
        assert low <= single[key] <= high
        assert ninefold["intervals"][key] == pytest.approx([low, high], rel=0.15)
    assert evaluate(one[:1], [0.0], [0])["intervals"]["iou"] is None


def test_no_patches_is_an_error() -> None:
    with pytest.raises(FgafError, match="no patches"):
        evaluate([], [], [])
