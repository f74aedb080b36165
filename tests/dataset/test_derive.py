"""Archives made of archives: subsets, merges, and what differs between two."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings, strategies as st

from fgaf.base.errors import FgafError, SettingError
from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.commands.main import main
from fgaf.dataset.derive.merge import MergeSettings, merge
from fgaf.dataset.derive.resample import Scaling
from fgaf.dataset.derive.subset import Selection, subset
from fgaf.dataset.quality.diff import difference
from fgaf.dataset.quality.validate import validate
from fgaf.dataset.splits.groups import fields_of, linked_cells
from fgaf.dataset.splits.split import with_folds, with_split
from fgaf.dataset.storage.integrity import seal
from fgaf.dataset.storage.virtual_images import JoinedImages, PickedImages


def headed(archive: Archive, **values: Any) -> Archive:
    return replace(archive, header=archive.header.model_copy(update=values))


def with_optics(archive: Archive, **values: Any) -> Archive:
    return headed(archive, optics=archive.header.optics.model_copy(update=values))


def donors(archive: Archive, *numbers: int) -> Archive:
    return subset(archive, Selection(samples=tuple(f"donor {n}" for n in numbers)))


@dataclass(frozen=True)
class Wish:
    """A selection and the numbers of the cells that meet it."""

    selection: Selection
    cells: list[int]


WISHES = [
    Wish(Selection(samples=("donor 1", "donor 3")), [1, 3, 5, 7, 9, 11]),
    Wish(Selection(cells=("cell-4", "cell-2")), [2, 4]),
    Wish(Selection(without=("cell-0",), samples=("donor 0",)), [4, 8]),
    Wish(Selection(methods=("person",), min_confidence=0.5, most=12), list(range(12))),
]


@pytest.mark.parametrize("wish", WISHES, ids=lambda w: str(w.cells))
def test_a_subset_holds_the_cells_that_meet_every_wish(wish: Wish, archive: Archive) -> None:
    part = subset(archive, wish.selection)
    assert part.problem() == ""
    assert part.cells.id.tolist() == [f"cell-{k}" for k in wish.cells]
    rows = np.isin(archive.cell, wish.cells)
    np.testing.assert_array_equal(part.images[:], archive.images[rows])
    np.testing.assert_array_equal(part.depth_um, archive.depth_um[rows])
    assert part.true_depth_um is not None
    np.testing.assert_array_equal(part.splits["default"], archive.splits["default"][wish.cells])
    assert json.loads(part.history[-1])["of"] == 12


def test_a_subset_may_have_one_side_fewer_depths_and_drawn_cells(archive: Archive) -> None:
    side = subset(archive, Selection(split="default", side="train"))
    assert set(side.splits["default"].tolist()) == {0}
    shallow = subset(archive, Selection(half_range_um=0.5))
    assert shallow.header.half_range_um == 0.5
    assert sorted(set(shallow.depth_um.tolist())) == [-0.5, 0, 0.5]
    drawn = [subset(archive, Selection(most=5, seed=s)).cells.id.tolist() for s in (0, 0, 1)]
    assert len(drawn[0]) == 5
    assert drawn[0] == drawn[1] != drawn[2]


@dataclass(frozen=True)
class Refused:
    """What is refused, and what the line says."""

    says: str
    do: Callable[[Archive], Any]


def both(change: Callable[[Archive], Archive], **how: Any) -> Callable[[Archive], Any]:
    """Merge donors 0 and 1 with donors 2 and 3, these changed."""
    return lambda a: merge([donors(a, 0, 1), change(donors(a, 2, 3))], MergeSettings(**how))


def narrower(archive: Archive) -> Archive:
    return headed(replace(archive, images=archive.images[:, 2:14, 2:14]), patch_px=12)


REFUSED = [
    Refused("no sample 'donor'; did you mean", lambda a: subset(a, Selection(samples=("donor",)))),
    Refused("no cell meets all", lambda a: subset(a, Selection(min_confidence=1.0))),
    Refused("--split and --side together", lambda a: subset(a, Selection(side="test"))),
    Refused("no split 'x'", lambda a: subset(a, Selection(split="x", side="test"))),
    Refused("no side 'x'", lambda a: subset(a, Selection(split="default", side="x"))),
    Refused("multiple of 0.5 µm up to 1 µm", lambda a: subset(a, Selection(half_range_um=0.7))),
    Refused("multiple of 0.5 µm up to 1 µm", lambda a: subset(a, Selection(half_range_um=2))),
    Refused("most: 0 is out of bounds; give 1", lambda a: subset(a, Selection(most=0))),
    Refused("give two or more", lambda a: merge([a])),
    Refused("--resample crop", both(lambda a: narrower(replace(a, images=a.images[:])))),
    Refused("--resample crop", both(lambda a: replace(a, images=a.images[:].astype(np.uint8)))),
    Refused("--resample scale", both(lambda a: with_optics(a, pixel_size_um=0.2), resample="crop")),
    Refused("--relabel thin", both(lambda a: headed(a, step_um=0.25))),
    Refused("--relabel thin", both(lambda a: headed(a, half_range_um=1.5))),
    Refused("numerical_aperture 0.9", both(lambda a: with_optics(a, numerical_aperture=0.9))),
    Refused("pixel_size_um unknown", both(lambda a: with_optics(a, pixel_size_um=None))),
    Refused("--license", both(lambda a: headed(a, license="CC0"))),
    Refused("no split 'x' to keep", both(lambda a: a, keep_splits=("x",))),
    Refused("under one step", both(lambda a: headed(a, half_range_um=0.25), relabel="thin")),
    Refused("no split 'defaul' .* did you mean", lambda a: with_split(a, "b", test_of="defaul")),
    Refused("has a split 'default', and", lambda a: with_folds(a, "default", 3)),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: c.says)
def test_what_cannot_be_is_refused_in_a_line(case: Refused, archive: Archive) -> None:
    with pytest.raises(FgafError, match=case.says):
        case.do(archive)


def test_parts_merged_are_the_whole(archive: Archive, tmp_path: Path) -> None:
    merged = merge([donors(archive, 0), donors(archive, 1, 2), donors(archive, 2, 3)])
    assert (merged.twice, merged.renamed, merged.dropped_patches) == (3, 0, 0)
    path = write_archive(tmp_path / "whole.h5", merged.archive)
    assert validate(path).ok
    found = difference(Archive.read(path), archive)
    assert not found.labels + found.pixels + found.only_first + found.only_second
    assert not found.header
    told = json.loads(Archive.read(path).history[-1])
    assert (told["did"], told["twice"], len(told["sources"])) == ("merge", 3, 3)


def test_other_cells_of_one_name_are_renamed(archive: Archive) -> None:
    other = replace(donors(archive, 0), images=archive.images[: 3 * 5] // 2)
    merged = merge([donors(archive, 0), other])
    assert merged.renamed == 3
    assert merged.archive.cells.id[3:].tolist() == ["cell-0#2", "cell-4#2", "cell-8#2"]


def test_larger_patches_are_cut_about_their_centre(archive: Archive) -> None:
    merged = both(lambda a: narrower(replace(a, images=a.images[:])), resample="crop")(archive)
    assert merged.archive.images.shape == (60, 12, 12)
    first = donors(archive, 0, 1).images[:]
    np.testing.assert_array_equal(merged.archive.images[:30], first[:, 2:14, 2:14])


def test_bytes_lie_beside_words_with_their_counts(archive: Archive) -> None:
    low = both(lambda a: replace(a, images=(a.images[:] // 16).astype(np.uint8)), resample="crop")
    made = low(archive).archive
    assert made.images.dtype == np.uint16
    np.testing.assert_array_equal(made.images[30:], donors(archive, 2, 3).images[:] // 16)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
def test_scaling_keeps_the_centre_and_scales_the_rest(factor: float) -> None:
    y, x = np.mgrid[:48, :48] - 24.0
    spot = (1000 * np.exp(-(((y - 5) ** 2 + (x + 3) ** 2) / 2 / 4**2))).astype(np.uint16)
    side = int(48 * factor) // 2 * 2
    (made,) = Scaling(48, factor, side)(spot[None])
    weight = made / made.sum()
    at = np.arange(side) - side // 2
    place = (weight.sum(axis=1) @ at, weight.sum(axis=0) @ at)
    np.testing.assert_allclose(place, (5 * factor, -3 * factor), atol=0.1)
    assert made.max() == pytest.approx(1000, rel=0.03)


def test_merging_scales_pixels_to_the_first_archives(archive: Archive) -> None:
    merged = both(lambda a: with_optics(a, pixel_size_um=0.1465 * 0.75), resample="scale")(archive)
    assert merged.archive.images.shape == (60, 12, 12)
    assert merged.archive.header.optics.pixel_size_um == 0.1465
    assert merged.archive.center_y[30] == round(archive.center_y[archive.rows_of(2)][0] * 0.75)


def test_steps_are_thinned_or_kept_by_nearest_class(archive: Archive) -> None:
    def finer(a: Archive) -> Archive:
        return headed(replace(a, depth_um=a.depth_um / 2), step_um=0.25, half_range_um=0.5)

    thin = both(finer, relabel="thin")(archive)
    assert (thin.archive.header.step_um, thin.archive.header.half_range_um) == (0.5, 0.5)
    assert np.bincount(thin.archive.cell).tolist() == [3] * 12
    assert thin.dropped_patches == 24
    nearest = both(finer, relabel="nearest")(archive)
    assert np.bincount(nearest.archive.cell).tolist() == [3] * 6 + [5] * 6
    assert (np.diff(nearest.archive.depth_um)[np.diff(nearest.archive.cell) == 0] > 0).all()


def test_mixed_optics_are_unknown_afterwards(archive: Archive) -> None:
    change = both(lambda a: with_optics(a, numerical_aperture=0.9), mixed_optics=True)
    optics = change(archive).archive.header.optics
    assert (optics.numerical_aperture, optics.magnification) == (None, 40)


def test_a_kept_split_keeps_its_sides_or_is_refused(archive: Archive) -> None:
    parts = [donors(archive, 0, 1), donors(archive, 2, 3)]
    kept = merge(parts, MergeSettings(keep_splits=("default",))).archive
    assert "split default" not in str(difference(kept, archive))
    half = [subset(archive, Selection(cells=(f"cell-{k}",))) for k in (0, 4, 1, 2, 3)]
    half = [
        replace(part, splits={"default": np.array([k % 3], np.int8)}) for k, part in enumerate(half)
    ]
    with pytest.raises(FgafError, match="cells of one sample on two sides: cell-0, cell-4"):
        merge(half, MergeSettings(keep_splits=("default",)))


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    chosen=st.lists(st.sets(st.integers(0, 11), min_size=1), min_size=2, max_size=4),
    seed=st.integers(0, 9),
)
def test_no_merge_has_a_cell_twice_or_a_group_on_two_sides(
    chosen: list[set[int]], seed: int, archive: Archive
) -> None:
    parts = [subset(archive, Selection(cells=tuple(f"cell-{k}" for k in some))) for some in chosen]
    made = merge(parts, MergeSettings(seed=seed)).archive
    assert made.problem() == ""
    assert sorted(made.cells.id) == sorted(f"cell-{k}" for k in set().union(*chosen))
    sides = made.splits["default"]
    belonging = [linked_cells(made.cells, made.center_y, made.center_x, made.cell, 16)]
    samples = made.cells.sample_id
    if len(set(samples.tolist())) >= 3:
        belonging.append(samples)
        belonging.append(fields_of(made.cells))
    for key in belonging:
        assert all(len(set(sides[key == one].tolist())) == 1 for one in set(key.tolist()))


@dataclass(frozen=True)
class Change:
    """A change to an archive, and the line that names it."""

    says: str
    change: Callable[[Archive], Archive]


def one_label(archive: Archive) -> Archive:
    depth = archive.depth_um.copy()
    depth[0] -= 0.01
    return replace(archive, depth_um=depth)


def one_pixel(archive: Archive) -> Archive:
    pixels = archive.images.copy()
    pixels[7, 3, 3] ^= 1
    return replace(archive, images=pixels)


def one_side(archive: Archive) -> Archive:
    sides = archive.splits["default"].copy()
    sides[3] = (sides[3] + 1) % 3
    return replace(archive, splits={"default": sides})


def one_truth(archive: Archive) -> Archive:
    assert archive.true_depth_um is not None
    truth = archive.true_depth_um.copy()
    truth[5] += 0.3
    return replace(archive, true_depth_um=truth)


CHANGES = [
    Change("1 cell with other depths, planes or places: cell-1", one_truth),
    Change("truth_known: True, second False", lambda a: replace(a, true_depth_um=None)),
    Change("no difference", lambda a: headed(a, created_utc="later")),
    Change("step_um: 0.5, second 0.25", lambda a: headed(a, step_um=0.25)),
    Change("9 cells only in the first: cell-1, cell-2, ", lambda a: donors(a, 0)),
    Change("1 cell with other depths, planes or places: cell-0", one_label),
    Change("1 cell with other pixels: cell-1", one_pixel),
    Change("split 'default': 1 cell elsewhere: cell-3: ", one_side),
    Change("split 'default': only in the first", lambda a: replace(a, splits={})),
    Change(
        "12 cells with another annotator",
        lambda a: replace(a, cells=replace(a.cells, annotator=a.cells.method)),
    ),
]


@pytest.mark.parametrize("case", CHANGES, ids=lambda c: c.says)
def test_differences_are_named(case: Change, archive: Archive) -> None:
    found = difference(archive, case.change(archive))
    assert case.says in str(found)
    assert found.same == (str(found) == "no difference")
    assert found.same == json.loads(json.dumps(found.as_dict()))["same"]


def attribute(place: str, name: str, value: object) -> Callable[[h5py.File], None]:
    return lambda file: file[place].attrs.__setitem__(name, value)


def resealed(change: Callable[[h5py.File], None]) -> Callable[[h5py.File], None]:
    def both(file: h5py.File) -> None:
        change(file)
        seal(file)

    return both


def repack(name: str) -> Callable[[h5py.File], None]:
    """Store a text attribute as other programs do."""
    return lambda file: attribute("/", name, file.attrs[name].decode())(file)


BROKEN = "the second is damaged or was altered: checksum differs in "
REWRITTEN = [
    ("/ step_um: float64 0.5, second float32 0.5", attribute("/", "step_um", np.float32(0.5))),
    ("/ patch_px: int64 16, second int32 16", attribute("/", "patch_px", np.int32(16))),
    ("half_range_um: float64 1.0, second int64 1", resealed(attribute("/", "half_range_um", 1))),
    ("/ format: text 'fgaf-dataset', second text of variable length", resealed(repack("format"))),
    ("/cells note: absent, second int64 1", attribute("/cells", "note", 1)),
    ("/more: absent, second present", resealed(lambda f: f.create_dataset("more", data=[1]))),
    (BROKEN + "the attributes", attribute("/", "step_um", np.float32(0.5))),
    (BROKEN + "/images, the attributes", attribute("images", "sha256", "0" * 64)),
    (BROKEN + "the attributes", attribute("/", "content_sha256", "0" * 64)),
    (BROKEN + "/cells/id, the attributes", lambda f: f["cells/id"].attrs.__delitem__("sha256")),
    (BROKEN + "the attributes", lambda f: f.attrs.__delitem__("end_seal")),
]


@pytest.mark.parametrize(("says", "change"), REWRITTEN)
def test_retyped_attributes_and_broken_seals_are_differences(
    says: str, change: Callable[[h5py.File], None], archive: Archive, tmp_path: Path
) -> None:
    first = write_archive(tmp_path / "first.h5", archive)
    second = tmp_path / "second.h5"
    second.write_bytes(first.read_bytes())
    assert CliRunner().invoke(main, ["diff", str(first), str(second)]).exit_code == 0
    with h5py.File(second, "r+") as file:
        change(file)
    call = CliRunner().invoke(main, ["diff", str(first), str(second)])
    assert call.exit_code == 1
    assert says in call.stdout
    back = CliRunner().invoke(main, ["diff", str(second), str(first), "--json"])
    assert back.exit_code == 1
    assert json.loads(back.stdout)["same"] is False


@given(st.data())
def test_lazy_images_index_as_arrays_do(data: st.DataObject) -> None:
    whole = np.arange(40 * 4, dtype=np.uint16).reshape(40, 2, 2)
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, 39), min_size=1))))
    lazy = JoinedImages([PickedImages(whole, rows), whole])
    expected = np.concatenate([whole[rows], whole])
    start, stop = data.draw(st.integers(0, 80)), data.draw(st.integers(0, 80))
    np.testing.assert_array_equal(lazy[start:stop], expected[start:stop])
    index = data.draw(st.lists(st.integers(0, len(lazy) - 1)))
    np.testing.assert_array_equal(lazy[np.array(index, int)], expected[np.array(index, int)])
    np.testing.assert_array_equal(lazy[-1], expected[-1])


def test_folds_are_recorded_and_never_change(archive: Archive, tmp_path: Path) -> None:
    longer, made = with_folds(archive, "cv", 2, seed=3)
    assert sorted(longer.splits) == ["cv_1", "cv_2", "default"]
    told = json.loads(longer.history[-1])
    assert (told["names"], told["seed"]) == (["cv_1", "cv_2"], 3)
    path = write_archive(tmp_path / "cv.h5", longer)
    assert validate(path).ok
    with pytest.raises(SettingError, match="never changes"):
        with_folds(Archive.read(path), "cv", 2)
    fixed, split = with_split(longer, "again", test_of="cv_1", seed=5)
    np.testing.assert_array_equal(split.sides == 2, made["cv_1"].sides == 2)
    assert len(fixed.history) == 2
