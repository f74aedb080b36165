"""Patch sets whose patches carry a label each: class folders, and .npz as MedMNIST has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from fgaf.base.errors import FgafError
from fgaf.dataset.archive import write_archive
from fgaf.dataset.importers.patch_sets import import_patches
from fgaf.dataset.importers.patches import PatchSettings
from fgaf.dataset.quality.validate import validate

SET = np.random.default_rng(8).integers(0, 255, (6, 5, 16, 16), dtype=np.uint8)
STEP = PatchSettings(step_um=0.5)
Writer = Callable[[Path], Path]


def folders(
    classes: list[str], sides: tuple[str, ...] = ("",), ending: str = "png", pixels: Any = SET
) -> Writer:
    """Write a cell's patches into the folders of their classes, cells taking turns on the sides."""

    def write(folder: Path) -> Path:
        for cell, patches in enumerate(pixels):
            for name, patch in zip(classes, patches, strict=False):
                place = folder / "set" / sides[cell % len(sides)] / name
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(patch).save(place / f"d{cell // 2}_cell{cell}.{ending}")
        return folder / "set"

    return write


def npz(**arrays: NDArray[Any]) -> Writer:
    def write(folder: Path) -> Path:
        np.savez_compressed(folder / "set.npz", **arrays)
        return folder / "set.npz"

    return write


DEPTHS = ["-1um", "-0.5um", "0um", "+0.5um", "1.0um"]
NUMBERS = ["0", "1", "2", "3", "4"]
BARE = ["-1", "-0.5", "0", "0.5", "1"]


@dataclass(frozen=True)
class Good:
    """A tree of folders and the settings that it needs."""

    name: str
    write: Writer
    settings: PatchSettings


GOOD = [
    Good("depths", folders(DEPTHS), PatchSettings()),
    Good("depths, step confirmed", folders(DEPTHS), STEP),
    Good("class numbers", folders(NUMBERS), PatchSettings(0.5, labels="class")),
    Good("bare depths", folders(BARE), PatchSettings(labels="um")),
    Good("TIFF", folders(DEPTHS, ending="tif"), PatchSettings()),
]


@pytest.mark.parametrize("case", GOOD, ids=lambda c: c.name)
def test_class_folders_become_an_archive(case: Good, tmp_path: Path) -> None:
    archive = import_patches(case.write(tmp_path), case.settings)
    assert (archive.n_cells, archive.n_classes, archive.header.step_um) == (30, 5, 0.5)
    for row in range(30):
        cell = int(archive.cells.id[archive.cell[row]].rpartition("cell")[2])
        np.testing.assert_array_equal(archive.images[row], SET[cell, archive.depth_class[row]])
    assert validate(write_archive(tmp_path / "a.h5", archive)).ok


def test_patches_of_one_cell_and_sides_are_known_by_their_names(tmp_path: Path) -> None:
    settings = PatchSettings(cell_from=r"(cell\d+)", sample_from=r"/(d\d)_", annotator="lab")
    source = folders(DEPTHS, ("train", "train", "val", "val", "test", "test"))(tmp_path)
    archive = import_patches(source, settings)
    assert list(archive.cells.id) == [f"cell{k}" for k in range(6)]
    assert list(archive.cells.sample_id) == ["d0", "d0", "d1", "d1", "d2", "d2"]
    assert archive.splits["default"].tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(archive.images, SET.reshape(-1, 16, 16))
    report = validate(write_archive(tmp_path / "a.h5", archive))
    assert report.ok, report.findings


OUTER = np.zeros(6, int) + np.arange(6) % 3 + 1
"""Classes 1 to 3 of five: the outermost have no patch."""


@pytest.mark.parametrize(
    ("write", "settings"),
    [
        (npz(images=SET[:, 0], labels=OUTER), PatchSettings(0.5, classes=5)),
        (folders(NUMBERS[1:4], pixels=SET[:, 1:4]), PatchSettings(0.5, labels="class", classes=5)),
        (folders(["-0.5um", "0um", "+0.5um"], pixels=SET[:, 1:4]), PatchSettings(classes=5)),
        (folders(["-0.5um", "0um", "+1um"], pixels=SET[:, 1:4]), PatchSettings(classes=5)),
    ],
    ids=["npz", "class numbers", "depths", "depths on one side"],
)
def test_outermost_classes_may_be_empty_where_their_number_is_given(
    write: Writer, settings: PatchSettings, tmp_path: Path
) -> None:
    archive = import_patches(write(tmp_path), settings)
    assert (archive.n_classes, archive.header.half_range_um) == (5, 1.0)
    assert set(archive.depth_um) <= {-1.0, -0.5, 0.0, 0.5, 1.0}
    assert archive.depth_um.min() == -0.5


def test_the_number_of_classes_that_is_assumed_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    source = npz(images=SET[:5, 0], labels=np.arange(5))(tmp_path)
    import_patches(source, STEP, say=said.append)
    assert "5 classes are assumed" in said[0]
    assert "class 2 in focus" in said[0]


@pytest.mark.parametrize(
    ("classes", "says"), [(4, "odd number"), (1, "classes: 1 is out"), (3, "not all from 0 to 2")]
)
def test_a_number_of_classes_that_cannot_be_is_refused(
    classes: int, says: str, tmp_path: Path
) -> None:
    source = npz(images=SET[:5, 0], labels=np.arange(5))(tmp_path)
    with pytest.raises(FgafError, match=says):
        import_patches(source, PatchSettings(0.5, classes=classes))


def medmnist() -> dict[str, NDArray[Any]]:
    patches, labels = SET.reshape(-1, 16, 16), np.tile(np.arange(5, dtype=np.uint8), 6)[:, None]
    ends = {"train": slice(0, 20), "val": slice(20, 25), "test": slice(25, 30)}
    return {f"{k}_images": patches[s] for k, s in ends.items()} | {
        f"{k}_labels": labels[s] for k, s in ends.items()
    }


def test_an_npz_in_medmnists_layout_becomes_an_archive(tmp_path: Path) -> None:
    archive = import_patches(npz(**medmnist())(tmp_path), STEP)
    assert (archive.n_cells, archive.n_classes, archive.header.half_range_um) == (30, 5, 1.0)
    sides = archive.split_of_rows()
    for number, key in enumerate(("train", "val", "test")):
        rows = np.flatnonzero(sides == number)
        np.testing.assert_array_equal(archive.images[rows], medmnist()[f"{key}_images"])
        np.testing.assert_array_equal(archive.depth_class[rows], medmnist()[f"{key}_labels"][:, 0])
    report = validate(write_archive(tmp_path / "a.h5", archive))
    assert report.ok, report.findings


def test_an_npz_without_sides_is_divided_anew(tmp_path: Path) -> None:
    labels = np.tile(np.arange(5), 6)
    source = npz(images=SET.reshape(-1, 16, 16), labels=labels)(tmp_path)
    archive = import_patches(source, STEP)
    assert set(archive.splits["default"].tolist()) == {0, 1, 2}


@dataclass(frozen=True)
class Bad:
    """A source that is refused, and what the line says."""

    name: str
    write: Writer
    says: str
    settings: PatchSettings = STEP


def without(name: str) -> dict[str, NDArray[Any]]:
    return {key: value for key, value in medmnist().items() if key != name}


def unlike(folder: Path) -> Path:
    path = folders(DEPTHS)(folder)
    Image.fromarray(SET[0, 0, :8]).save(path / "0um" / "z.png")
    return path


def torn(folder: Path) -> Path:
    for name, side in (("-1um", "train"), ("0um", "test"), ("1um", "test")):
        (folder / side / name).mkdir(parents=True)
        Image.fromarray(SET[0, 0]).save(folder / side / name / "cell0.png")
    return folder


def loose(folder: Path) -> Path:
    path = folders(DEPTHS)(folder)
    Image.fromarray(SET[0, 0]).save(path / "z.png")
    return path


def broken(folder: Path) -> Path:
    path = npz(**medmnist())(folder)
    path.write_bytes(path.read_bytes()[:2000])
    return path


def array(folder: Path) -> Path:
    np.save(folder / "set.npy", SET)
    return (folder / "set.npy").rename(folder / "set.npz")


RGB = np.random.default_rng(1).integers(0, 255, (6, 5, 16, 16, 3), dtype=np.uint8)
MANY = SET.reshape(-1, 16, 16)
BAD = [
    Bad("numbers of what", folders(NUMBERS), "pass --labels to say whether"),
    Bad("no depth", folders(["a", "b", "c"]), "the folder 'a' is not a depth class"),
    Bad("step contradicted", folders(DEPTHS), "0.5 µm by the folders' names", PatchSettings(1.0)),
    Bad("no step", folders(NUMBERS), "give it with --step", PatchSettings(labels="class")),
    Bad("even", folders(NUMBERS[:4]), "an even number", PatchSettings(0.5, labels="class")),
    Bad("gap", folders(["0", "1", "3"]), "without gaps", PatchSettings(0.5, labels="class")),
    Bad("lopsided", folders(["0um", "1um", "2um"]), "evenly round 0", PatchSettings()),
    Bad("uneven", folders(["-1um", "0um", "0.5um", "1um"]), "evenly round 0", PatchSettings()),
    Bad("not class numbers", folders(BARE), "pass --labels um", PatchSettings(labels="class")),
    Bad("sizes", unlike, "all patches must have one size"),
    Bad("loose", loose, "is not in the folder of a class"),
    Bad("deep", folders([f"a/{name}" for name in DEPTHS]), "expected CLASS/image or SIDE/CLASS"),
    Bad("colour", folders(DEPTHS, pixels=RGB), "is a colour image"),
    Bad("not square", folders(DEPTHS, pixels=SET[..., :9]), "patches are square"),
    Bad(
        "one cell, one depth",
        folders(DEPTHS),
        "of one cell and one depth",
        PatchSettings(cell_from=r"/(d\d)_"),
    ),
    Bad(
        "a cell on two sides",
        torn,
        "the cell cell0 is on two sides of the split",
        PatchSettings(cell_from=r"(cell\d)"),
    ),
    Bad("no cell", folders(DEPTHS), "finds no cell in", PatchSettings(cell_from="(x)y")),
    Bad("empty", lambda folder: folder, "holds no TIFF"),
    Bad("absent", lambda folder: folder / "absent", "is neither a folder nor an .npz"),
    Bad("absent npz", lambda folder: folder / "absent.npz", "does not exist"),
    Bad("other arrays", npz(x=SET, y=SET), "has no train_images"),
    Bad("no labels", npz(**without("val_labels")), "no val_labels"),
    Bad("no step npz", npz(**medmnist()), "give it with --step", PatchSettings()),
    Bad("names", npz(**medmnist()), "reads file names", PatchSettings(0.5, cell_from="(a)")),
    Bad("few labels", npz(images=MANY, labels=np.arange(5)), "one whole number for each"),
    Bad("float labels", npz(images=MANY, labels=np.arange(30) / 30), "one whole number for each"),
    Bad("colour npz", npz(images=RGB[0], labels=np.arange(5)), "colour images"),
    Bad("float npz", npz(images=MANY / 255.0, labels=np.arange(30) % 5), "float64 pixels"),
    Bad("object npz", npz(images=np.array([None, 1]), labels=np.arange(2)), "plain arrays"),
    Bad("cut", broken, "is damaged or not an .npz"),
    Bad("npy", array, "single array"),
]


@pytest.mark.parametrize("case", BAD, ids=lambda c: c.name)
def test_what_is_no_set_of_patches_is_refused_in_one_line(case: Bad, tmp_path: Path) -> None:
    source = case.write(tmp_path)
    with pytest.raises(FgafError) as caught:
        import_patches(source, case.settings)
    assert case.says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_for_single_patches_are_refused_for_stacks(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "0.tif", SET[0], metadata=None)
    with pytest.raises(FgafError, match="--labels is for folders of single patches"):
        import_patches(tmp_path, PatchSettings(0.5, labels="um"))
