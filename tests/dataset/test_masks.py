"""Masks of heads stay with their patches: on disk, in every derived archive, in pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from fgaf.base.errors import FgafError, FormatError, SettingError
from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.commands.main import main
from fgaf.dataset.derive.anonymise import AnonymiseSettings, anonymous_archive
from fgaf.dataset.derive.merge import MergeSettings, merge
from fgaf.dataset.derive.pseudonyms import Pseudonyms
from fgaf.dataset.derive.resample import Scaling
from fgaf.dataset.derive.subset import Selection, subset
from fgaf.dataset.exporters.export import export
from fgaf.dataset.importers.patch_sets import import_patches
from fgaf.dataset.quality.diff import difference
from fgaf.dataset.quality.validate import validate
from fgaf.dataset.quality.validate_masks import mask_findings
from fgaf.dataset.splits.split import with_folds, with_split
from fgaf.dataset.splits.subset_arrays import load_side
from fgaf.dataset.storage.integrity import broken_seals
from fgaf.dataset.storage.masks import mask_of


def masks_from(images: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Masks that follow from their patches, so that a mask beside a wrong patch is noticed."""
    return (images % 3).astype(np.uint8)


@pytest.fixture
def masked(archive: Archive) -> Archive:
    return replace(archive, masks=masks_from(archive.images))


def donors(archive: Archive, *numbers: int) -> Archive:
    return subset(archive, Selection(samples=tuple(f"donor {n}" for n in numbers)))


def narrower(archive: Archive) -> Archive:
    return replace(
        archive,
        header=archive.header.model_copy(update={"patch_px": 12}),
        images=archive.images[:][:, 2:14, 2:14],
        masks=archive.masks[:][:, 2:14, 2:14],
    )


DERIVED: dict[str, Callable[[Archive], Archive]] = {
    "subset": lambda a: subset(a, Selection(without=("cell-3",), half_range_um=0.5)),
    "merge": lambda a: merge([donors(a, 1, 3), donors(a, 0, 2, 3)]).archive,
    "merge crop": lambda a: (
        merge([donors(a, 1, 3), narrower(donors(a, 0))], MergeSettings(resample="crop")).archive
    ),
    "anonymise": lambda a: anonymous_archive(a, Pseudonyms(b"k" * 32), AnonymiseSettings()),
    "split": lambda a: with_split(a, "mine")[0],
    "folds": lambda a: with_folds(a, "cv", 2)[0],
}


@pytest.mark.parametrize("name", DERIVED)
def test_masks_stay_with_their_patches(name: str, masked: Archive, tmp_path: Path) -> None:
    path = write_archive(tmp_path / "whole.h5", masked)
    with Archive.open(path) as opened:
        made = Archive.read(write_archive(tmp_path / "made.h5", DERIVED[name](opened)))
    assert made.format_version == 2
    assert made.masks.any()
    np.testing.assert_array_equal(made.masks, masks_from(made.images))


def test_masks_are_read_lazily_sealed_and_part_of_a_side(masked: Archive, tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.h5", masked)
    with Archive.open(path) as opened:
        assert isinstance(opened.masks, h5py.Dataset)
        np.testing.assert_array_equal(opened.masks[3:9], masked.masks[3:9])
    side = load_side(path, "train")
    assert side.masks is not None
    np.testing.assert_array_equal(side.masks, masks_from(side.images))
    with h5py.File(path, "r+") as file:
        file["masks"][7, 3, 3] = 1 - file["masks"][7, 3, 3] % 2
        assert broken_seals(file) == ["/masks"]
    with pytest.raises(FormatError, match="checksum differs in /masks"):
        Archive.read(path)


def test_an_archive_without_masks_stays_version_1(
    archive: Archive, masked: Archive, tmp_path: Path
) -> None:
    versions = []
    for name, each in (("without.h5", archive), ("with.h5", masked)):
        with h5py.File(write_archive(tmp_path / name, each)) as file:
            versions.append(int(file.attrs["format_version"]))
    assert versions == [1, 2]
    assert load_side(tmp_path / "without.h5").masks is None


WRONG: dict[str, tuple[Callable[[Archive], NDArray[np.generic]], str]] = {
    "too few": (lambda a: a.masks[1:], r"/masks is uint8\[59, 16, 16\], should be uint8\[60,"),
    "other side": (lambda a: a.masks[:, 1:, 1:], r"/masks is uint8\[60, 15, 15\]"),
    "booleans": (lambda a: a.masks > 0, "/masks is bool"),
    "a label": (lambda a: a.masks + np.uint8(1), "a mask holds 3: only 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_masks_are_not_written(name: str, masked: Archive, tmp_path: Path) -> None:
    change, says = WRONG[name]
    with pytest.raises(FgafError, match=says):
        write_archive(tmp_path / "a.h5", replace(masked, masks=change(masked)))
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_masks_do_not_fit_is_refused(masked: Archive, tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.h5", masked)
    with h5py.File(path, "r+") as file:
        del file["masks"]
        file["masks"] = np.zeros((60, 16, 15), np.uint8)
    says = r"/masks is uint8\[60, 16, 15\], should be"
    with pytest.raises(FormatError, match=says), Archive.open(path):
        pass


def test_masks_in_some_archives_only_are_refused_or_dropped(masked: Archive) -> None:
    parts = [donors(masked, 0, 1), replace(donors(masked, 2, 3), masks=None)]
    with pytest.raises(SettingError, match=r"without masks beside .* --drop-masks"):
        merge(parts)
    merged = merge(parts, MergeSettings(drop_masks=True)).archive
    assert merged.masks is None
    assert json.loads(merged.history[-1])["dropped_masks"]


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
def test_scaled_masks_keep_centre_and_shape(factor: float) -> None:
    y, x = np.mgrid[:64, :64] - 32.0
    disc = (np.hypot(y - 5, x + 3) < 12).astype(np.uint8)
    side = int(64 * factor) // 2 * 2
    (made,) = Scaling(64, factor, side).masks(disc[None])
    assert set(np.unique(made)) == {0, 1}
    assert made.sum() == pytest.approx(disc.sum() * factor**2, rel=0.03)
    centre = np.argwhere(made).mean(axis=0) - side // 2
    np.testing.assert_allclose(centre, (5 * factor, -3 * factor), atol=0.3)


def test_differences_of_masks_are_named(masked: Archive) -> None:
    masks = masked.masks.copy()
    masks[7, 3, 3] = (masks[7, 3, 3] + 1) % 3
    assert "1 cell with other masks: cell-1" in str(
        difference(masked, replace(masked, masks=masks))
    )
    assert "masks: True, second False" in str(difference(masked, replace(masked, masks=None)))
    assert difference(masked, masked).same


def square(top: int, left: int, side: int, value: int = 1) -> Callable[[NDArray[np.uint8]], None]:
    def draw(mask: NDArray[np.uint8]) -> None:
        mask[:] = 0
        mask[top : top + side, left : left + side] = value

    return draw


def two_pieces(mask: NDArray[np.uint8]) -> None:
    mask[6:10, 8] = 0


FINDINGS: dict[str, tuple[Callable[[NDArray[np.uint8]], None], set[str]]] = {
    "good": (square(6, 6, 4), set()),
    "another head beside it": (lambda mask: mask.__setitem__((slice(0, 3), slice(0, 3)), 2), set()),
    "empty": (square(6, 6, 0), {"mask-empty"}),
    "another's head": (square(6, 6, 4, value=2), {"mask-own-missing"}),
    "two pieces": (two_pieces, {"mask-pieces"}),
    "aside": (square(1, 1, 3), {"mask-off-centre"}),
    "at the border": (square(6, 0, 9), {"mask-at-border"}),
    "value 3": (square(6, 6, 4, value=3), {"mask-values", "mask-own-missing"}),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_faults_of_masks_are_found(name: str, archive: Archive) -> None:
    change, wanted = FINDINGS[name]
    masks = np.zeros(archive.images.shape, np.uint8)
    masks[:, 6:10, 6:11] = 1
    change(masks[7])
    found = list(mask_findings(replace(archive, masks=masks)))
    assert {finding.name for finding in found} == wanted
    assert all("cell-1" in str(finding) for finding in found)
    assert not list(mask_findings(archive))


def test_masks_of_a_file_are_validated(archive: Archive, tmp_path: Path) -> None:
    held = replace(archive, masks=np.zeros(archive.images.shape, np.uint8))
    report = validate(write_archive(tmp_path / "a.h5", held))
    assert report.ok
    assert "mask-empty" in {finding.name for finding in report.findings}


EXPORTED = {"npz": "set.npz", "imagefolder": "set", "webdataset": "set", "huggingface": "set"}


@pytest.mark.parametrize("kind", EXPORTED)
def test_masks_are_exported_and_come_back(kind: str, masked: Archive, tmp_path: Path) -> None:
    path, out = write_archive(tmp_path / "a.h5", masked), tmp_path / EXPORTED[kind]
    export([path], kind, out)
    back = import_patches(out)
    assert back.masks is not None
    np.testing.assert_array_equal(back.masks, masked.masks)
    again = write_archive(tmp_path / "b.h5", back)
    assert Archive.read(again).fingerprint == Archive.read(path).fingerprint


def test_an_exported_mask_that_was_changed_or_lost_is_refused(
    masked: Archive, tmp_path: Path
) -> None:
    path, out = write_archive(tmp_path / "a.h5", masked), tmp_path / "set"
    export([path], "imagefolder", out)
    one = sorted((out / "masks").rglob("*.png"))[0]
    with Image.open(one) as image:
        assert image.mode == "P"
        pixels = np.asarray(image)
    Image.fromarray((pixels + 1) % 3).save(one)
    with pytest.raises(FormatError, match="the masks are not those that were exported"):
        import_patches(out)
    one.unlink()
    with pytest.raises(FormatError, match=r"lacks masks/.*png of the export"):
        import_patches(out)


def test_labels_become_masks() -> None:
    labels = np.array([[0, 7, 7], [4, 0, 9]], np.uint16)
    assert mask_of(labels, 7).tolist() == [[0, 1, 1], [2, 0, 2]]
    assert mask_of(labels, 7).dtype == np.uint8


def test_info_says_masks_and_draws_their_outline(masked: Archive, tmp_path: Path) -> None:
    grey = np.tile(np.linspace(100, 200, 16, dtype=np.uint16), (16, 1))
    masks = np.zeros((60, 16, 16), np.uint8)
    masks[:, 4:9, 3:8], masks[:, 12:, 12:] = 1, 2
    images = np.broadcast_to(grey, masks.shape)
    sheets = []
    for name, held in (("plain", None), ("masked", masks)):
        path = write_archive(tmp_path / f"{name}.h5", replace(masked, images=images, masks=held))
        sheet = tmp_path / f"{name}.png"
        said = CliRunner().invoke(main, ["info", str(path), "--image", str(sheet), "--json"])
        assert json.loads(said.stdout)["masks"] is (held is not None)
        with Image.open(sheet) as image:
            sheets.append(np.asarray(image)[16:32, -16:].astype(int))
    plain, drawn = sheets
    changed = np.argwhere(plain != drawn)
    white = {(y, x) for y, x in changed.tolist() if drawn[y, x] == 255}
    black = {(y, x) for y, x in changed.tolist() if drawn[y, x] == 0}
    sides = {(y, x) for y in range(4, 9) for x in (2, 8)}
    assert white == sides | {(y, x) for y in (3, 9) for x in range(3, 8)}
    assert black == {(11, x) for x in range(12, 16)} | {(y, 11) for y in range(12, 16)}
