"""No cell, sample, or overlapping crop is ever on two sides of a split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from fgaf.base.errors import FgafError, SettingError
from fgaf.dataset.archive import Cells
from fgaf.dataset.splits.groups import fields_of, linked_cells
from fgaf.dataset.splits.split import (
    SIDES,
    TEST,
    TRAIN,
    VALIDATION,
    group_cells,
    make_folds,
    make_split,
)

PATCH = 32


@dataclass(frozen=True)
class Population:
    """Cells of several samples, fields and repeats, with one crop centre per row."""

    cells: Cells
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    cell: NDArray[np.intp]

    @property
    def arguments(self) -> tuple[Cells, NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
        return self.cells, self.y, self.x, self.cell


def table(source: list[str], sample: list[str], field: list[str]) -> Cells:
    """Cells that differ in where they come from alone."""
    n = len(source)
    text = np.array([""] * n, dtype=object)
    return Cells(
        id=np.array([f"cell-{i}" for i in range(n)], dtype=object),
        source=np.array(source, dtype=object),
        source_sha256=text,
        sample_id=np.array(sample, dtype=object),
        field=np.array(field, dtype=object),
        focus_um=np.zeros(n),
        focus_plane=np.zeros(n, np.int32),
        annotator=text,
        labelled_utc=text,
        method=np.array(["person"] * n, dtype=object),
        confidence=np.ones(n),
    )


def apart(n: int, sample: list[str] | None = None, source: list[str] | None = None) -> Population:
    """n cells that overlap nowhere, three planes each."""
    cells = table(source or ["stack"] * n, sample or [""] * n, [""] * n)
    rows = np.repeat(np.arange(n), 3)
    return Population(cells, rows * 2.0 * PATCH, rows * 0.0, rows)


@st.composite
def populations(draw: st.DrawFn) -> Population:
    n = draw(st.integers(1, 24))
    stacks = st.integers(0, 5)
    stack = [draw(stacks) for _ in range(n)]
    sample_of = draw(st.lists(st.sampled_from(["", "A", "B", "C", "D"]), min_size=6, max_size=6))
    field_of = draw(st.lists(st.sampled_from(["", "f1", "f2", "f3"]), min_size=6, max_size=6))
    cells = table(
        [f"stack{s}" for s in stack], [sample_of[s] for s in stack], [field_of[s] for s in stack]
    )
    planes = draw(st.integers(1, 4))
    rows = np.repeat(np.arange(n), planes)
    place = st.floats(-20, 300, allow_nan=False)
    start = np.array([[draw(place), draw(place)] for _ in range(n)])
    seed = draw(st.integers(0, 2**16))
    drift = np.random.default_rng(seed).uniform(-20, 20, (n * planes, 2))
    centers = start[rows] + drift
    return Population(cells, centers[:, 0], centers[:, 1], rows)


def overlapping_pairs(p: Population) -> list[tuple[int, int]]:
    """Pairs of cells of one field of which two crops share a pixel, by looking at every pair."""
    field = fields_of(p.cells)[p.cell]
    near = (np.abs(p.y[:, None] - p.y) < PATCH) & (np.abs(p.x[:, None] - p.x) < PATCH)
    i, j = np.nonzero(near & (field[:, None] == field))
    return list(zip(p.cell[i].tolist(), p.cell[j].tolist(), strict=True))


@settings(deadline=None)
@given(
    populations(),
    st.sampled_from(["auto", "field", "cell"]),
    st.sampled_from([(0.7, 0.1, 0.2), (0.34, 0.33, 0.33), (0.8, 0.0, 0.2), (0.05, 0.0, 0.95)]),
    st.integers(0, 99),
)
def test_nothing_that_belongs_together_is_divided(
    p: Population, by: str, fractions: tuple[float, float, float], seed: int
) -> None:
    split = make_split(*p.arguments, PATCH, fractions, by, seed)

    assert all(split.sides[a] == split.sides[b] for a, b in overlapping_pairs(p))
    keys = {"sample": p.cells.sample_id, "field": fields_of(p.cells), "cell": p.cells.id}[split.by]
    for key in set(np.asarray(keys).tolist()) - {""}:
        assert len(set(split.sides[np.asarray(keys) == key].tolist())) == 1
    if split.groups >= 3:
        assert {s for s in range(3) if fractions[s] > 0} == set(split.sides.tolist())
    again = make_split(*p.arguments, PATCH, fractions, by, seed)
    np.testing.assert_array_equal(split.sides, again.sides)


@settings(deadline=None)
@given(populations())
def test_by_sample_keeps_each_sample_and_each_overlap_together(p: Population) -> None:
    samples = np.asarray(p.cells.sample_id)
    if not (samples != "").any():
        return
    split = make_split(*p.arguments, PATCH, by="sample")
    for sample in set(samples.tolist()) - {""}:
        assert len(set(split.sides[samples == sample].tolist())) == 1
    assert all(split.sides[a] == split.sides[b] for a, b in overlapping_pairs(p))


@settings(deadline=None)
@given(populations())
def test_linked_cells_are_the_connected_overlaps(p: Population) -> None:
    linked = linked_cells(*p.arguments, PATCH)
    expected = np.arange(len(p.cells.id))
    pairs = overlapping_pairs(p)
    for _ in expected:
        for a, b in pairs:
            expected[[a, b]] = min(expected[a], expected[b])
    _, expected = np.unique(expected, return_inverse=True)
    _, found = np.unique(linked, return_inverse=True)
    np.testing.assert_array_equal(found, expected)


@settings(deadline=None)
@given(
    populations(),
    st.sampled_from(["auto", "field", "cell"]),
    st.integers(2, 5),
    st.sampled_from([0.0, 0.2, 0.5]),
    st.integers(0, 99),
)
def test_folds_divide_nothing_that_belongs_together(
    p: Population, by: str, folds: int, test_share: float, seed: int
) -> None:
    try:
        made = make_folds(*p.arguments, PATCH, folds, test_share, by, seed)
    except SettingError:
        assert group_cells(*p.arguments, PATCH, by)[0].max() <= folds or folds < 3
        return
    assert len(made) == folds
    sides = np.stack([split.sides for split in made])
    keys = {"sample": p.cells.sample_id, "field": fields_of(p.cells), "cell": p.cells.id}
    belonging = np.asarray(keys[made[0].by])
    for key in set(belonging.tolist()) - {""}:
        assert (sides[:, belonging == key][:, 0] == sides[:, belonging == key].T).all()
    assert all((sides[:, a] == sides[:, b]).all() for a, b in overlapping_pairs(p))
    if test_share:
        assert ((sides == TEST) == (sides[0] == TEST)).all()
        assert ((sides == VALIDATION).sum(axis=0) == (sides[0] != TEST)).all()
    else:
        assert ((sides == TEST).sum(axis=0) == 1).all()
        assert ((sides == VALIDATION).sum(axis=0) == 1).all()
    assert all((fold == side).any() for fold in sides for side in (VALIDATION, TEST))


@settings(deadline=None)
@given(populations(), st.sampled_from(["auto", "field", "cell"]), st.integers(0, 99))
def test_a_fixed_test_side_stays_as_it_is(p: Population, by: str, seed: int) -> None:
    test = make_split(*p.arguments, PATCH, by=by).sides == TEST
    split = make_split(*p.arguments, PATCH, (0.5, 0.3, 0.2), by, seed, test)
    np.testing.assert_array_equal(split.sides == TEST, test)
    assert all(split.sides[a] == split.sides[b] for a, b in overlapping_pairs(p))
    if split.groups > 3:
        for fold in make_folds(*p.arguments, PATCH, 2, by=by, seed=seed, test=test):
            np.testing.assert_array_equal(fold.sides == TEST, test)


def test_a_fixed_test_side_that_divides_a_group_is_refused() -> None:
    p = apart(4, ["A", "A", "B", "C"])
    test = np.array([True, False, False, False])
    with pytest.raises(SettingError, match=r"outside the test side are .* cell-1"):
        make_split(*p.arguments, PATCH, by="sample", test=test)
    assert make_split(*p.arguments, PATCH, by="cell", test=test).counts[TEST] == 1


def test_every_side_gets_its_share_of_samples_and_methods() -> None:
    sample = [c for c in "AAAABBBBBC" for _ in range(10)]
    p = apart(100, sample, [f"stack{k // 2}" for k in range(100)])
    p.cells.method[::2] = "import"
    split = make_split(*p.arguments, PATCH, by="cell")
    assert split.counts == (70, 10, 20)
    for sample_id, test in (("A", 8), ("B", 10), ("C", 2)):
        assert (split.sides[p.cells.sample_id == sample_id] == TEST).sum() == test
    assert (split.sides[::2] == TEST).sum() == 10


def test_wishes_for_folds_that_cannot_be_met_are_refused() -> None:
    p = apart(6)
    with pytest.raises(SettingError, match=r"6 groups .* cannot fill 6 folds and a test side"):
        make_folds(*p.arguments, PATCH, 6)
    with pytest.raises(SettingError, match="--folds 2 is too few; give 3"):
        make_folds(*p.arguments, PATCH, 2, test_share=0)
    with pytest.raises(SettingError, match="a test share of 1 leaves no cells"):
        make_folds(*p.arguments, PATCH, 2, test_share=1)


def test_sides_come_near_the_fractions_in_cells() -> None:
    assert make_split(*apart(100).arguments, PATCH).counts == (70, 10, 20)
    samples = [c for c in "ABCDEFGHIJ" for _ in range(10)]
    split = make_split(*apart(100, samples).arguments, PATCH)
    assert (split.by, split.groups, split.counts) == ("sample", 10, (70, 10, 20))


def test_the_seed_decides() -> None:
    p = apart(40)
    first, second = (make_split(*p.arguments, PATCH, seed=s).sides for s in (0, 1))
    assert (first != second).any()
    assert np.bincount(first).tolist() == np.bincount(second).tolist()


@dataclass(frozen=True)
class Auto:
    name: str
    sample: list[str]
    source: list[str]
    by: str


AUTO = [
    Auto("three samples", ["A", "B", "C", ""], ["s"] * 4, "sample"),
    Auto("two samples, three fields", ["A", "A", "B", "B"], ["s", "t", "u", "u"], "field"),
    Auto("two fields", [""] * 4, ["s", "s", "t", "t"], "cell"),
    Auto("no source", [""] * 4, [""] * 4, "field"),
]


@pytest.mark.parametrize("case", AUTO, ids=lambda c: c.name)
def test_auto_takes_the_coarsest_group_there_are_three_of(case: Auto) -> None:
    p = apart(4, case.sample, case.source)
    assert make_split(*p.arguments, PATCH).by == case.by


def test_a_single_cell_is_trained_on_and_two_are_trained_and_tested_on() -> None:
    assert make_split(*apart(1).arguments, PATCH).sides.tolist() == [TRAIN]
    assert set(make_split(*apart(2).arguments, PATCH).sides.tolist()) == {TRAIN, TEST}
    assert make_split(*apart(0).arguments, PATCH).counts == (0, 0, 0)
    assert str(make_split(*apart(1).arguments, PATCH)).startswith("1 train, 0 validation, 0 test")
    assert len(SIDES) == 3


def test_repeats_of_a_field_share_their_cells() -> None:
    """Cell i of either repeat lies at the same place, up to a few pixels of drift."""
    n = 10
    cells = table(["r1"] * n + ["r2"] * n, ["A"] * n + [""] * n, ["beads"] * 2 * n)
    place = np.tile(np.arange(n) * 2.0 * PATCH, 2) + np.repeat([0.0, 5.0], n)
    split = make_split(cells, place, place, np.arange(2 * n), PATCH, by="cell")
    assert split.groups == n
    np.testing.assert_array_equal(split.sides[:n], split.sides[n:])


def test_a_field_name_says_nothing_across_samples() -> None:
    cells = table(["s", "t"], ["A", "B"], ["field 1", "field 1"])
    assert len(set(fields_of(cells).tolist())) == 2


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.5, 0.2, 0.2), (-0.1, 0.1, 1.0), (0, 0, 1)])
def test_fractions_that_are_none_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(SettingError, match=r"0\.7,0\.1,0\.2"):
        make_split(*apart(3).arguments, PATCH, fractions)


def test_wishes_that_cannot_be_met_are_refused() -> None:
    p = apart(3)
    with pytest.raises(SettingError, match="choose auto"):
        make_split(*p.arguments, PATCH, by="plane")
    with pytest.raises(SettingError, match="no cell carries a sample id"):
        make_split(*p.arguments, PATCH, by="sample")
    with pytest.raises(FgafError, match="not finite"):
        make_split(p.cells, p.y * np.nan, p.x, p.cell, PATCH)


@pytest.mark.slow
def test_a_hundred_thousand_cells_take_seconds() -> None:
    n = 100_000
    rng = np.random.default_rng(1)
    stack = rng.integers(0, 2_000, n)
    cells = table([f"stack{s}" for s in stack], [""] * n, [""] * n)
    rows = np.repeat(np.arange(n), 9)
    centers = rng.uniform(0, 6_000, (n, 2))[rows] + rng.uniform(-3, 3, (n * 9, 2))
    split = make_split(cells, centers[:, 0], centers[:, 1], rows, 96)
    assert abs(split.counts[TEST] / n - 0.2) < 0.01
