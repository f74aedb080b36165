"""Outlined heads of other programs become patches with masks; what is wrong is one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive
from fgaf.dataset.commands.main import main
from fgaf.dataset.importers.coco import decode_rle
from fgaf.dataset.importers.segmented import SegmentedSettings, import_segmented
from fgaf.dataset.quality.validate import validate

SHAPE = (60, 80)
# Heads as (top, left, rows, columns): three that fit into patches of 24 pixels, one at the border.
HEADS = [(20, 20, 6, 9), (23, 32, 5, 5), (40, 60, 8, 4), (0, 70, 5, 5)]
SETTINGS = SegmentedSettings(patch_px=24, depth_um=0.0)


def head(number: int) -> NDArray[np.bool_]:
    top, left, rows, columns = HEADS[number]
    mask = np.zeros(SHAPE, np.bool_)
    mask[top : top + rows, left : left + columns] = True
    return mask


def polygon(number: int) -> list[list[float]]:
    """Corners (x, y) as other programs count: from the corner of the first pixel."""
    top, left, rows, columns = HEADS[number]
    right, bottom = left + columns, top + rows
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def runs(mask: NDArray[np.bool_]) -> list[int]:
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *edges, flat.size]).tolist()
    return lengths if not flat[0] else [0, *lengths]


def compressed(counts: list[int]) -> str:
    text = ""
    for k, count in enumerate(counts):
        number = count - counts[k - 2] if k > 2 else count
        while True:
            bits, number = number & 31, number >> 5
            more = number != (-1 if bits & 16 else 0)
            text += chr(48 + bits + 32 * more)
            if not more:
                break
    return text


def save_image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, SHAPE, np.uint8)
    Image.fromarray(pixels).save(path)


def labelme(folder: Path, **changes: Any) -> Path:
    save_image(folder / "a.png")
    shapes = [{"label": "head", "points": polygon(k), "shape_type": "polygon"} for k in range(4)]
    shapes.append({"label": "tail", "points": [[1, 1], [5, 5]], "shape_type": "line"})
    held = {"shapes": shapes, "imagePath": "..\\x\\a.png", "imageData": None} | changes
    (folder / "a.json").write_text(json.dumps(held), encoding="utf-8")
    return folder


def coco(folder: Path, segmentation: Callable[[int], Any], **changes: Any) -> Path:
    save_image(folder / "images" / "a.png")
    notes = [
        {"id": 10 + k, "image_id": 7, "category_id": 3, "segmentation": segmentation(k)}
        for k in range(4)
    ]
    held = {
        "images": [{"id": 7, "file_name": "a.png"}],
        "categories": [{"id": 3, "name": "sperm head"}],
        "annotations": notes,
    } | changes
    path = folder / "coco.json"
    path.write_text(json.dumps(held), encoding="utf-8")
    return path


def polygons(number: int) -> Any:
    return [np.ravel(polygon(number)).tolist()]


def run_lengths(number: int) -> Any:
    return {"size": list(SHAPE), "counts": runs(head(number))}


def run_lengths_as_text(number: int) -> Any:
    return {"size": list(SHAPE), "counts": compressed(runs(head(number)))}


def mask_image(folder: Path, name: str, numbered: bool = False, scale: int = 255) -> Path:
    save_image(folder / ("images/a.png" if name.startswith("masks/") else "a.png"))
    mask = np.zeros(SHAPE, np.uint8)
    for k in range(4):
        mask[head(k)] = k + 1 if numbered else scale
    (folder / name).parent.mkdir(exist_ok=True)
    Image.fromarray(mask).save(folder / name)
    return folder


SOURCES: dict[str, Callable[[Path], Path]] = {
    "LabelMe": labelme,
    "COCO polygons": lambda folder: coco(folder, polygons),
    "COCO run lengths": lambda folder: coco(folder, run_lengths),
    "COCO text": lambda folder: coco(folder, run_lengths_as_text),
    "COCO folder": lambda folder: coco(folder, polygons).parent,
    "mask beside": lambda folder: mask_image(folder, "a_mask.png"),
    "mask folder": lambda folder: mask_image(folder, "masks/a.tif"),
    "ones": lambda folder: mask_image(folder, "a-mask.png", scale=1),
    "numbered": lambda folder: mask_image(folder, "a_cp_masks.png", numbered=True),
}


@pytest.mark.parametrize("name", SOURCES)
def test_heads_of_every_format_become_patches_with_masks(name: str, tmp_path: Path) -> None:
    said: list[str] = []
    archive = import_segmented(SOURCES[name](tmp_path), SETTINGS, say=said.append)
    assert said == [
        "1 of 4 heads left out: a patch of 24 px does not fit in the image; a smaller --patch "
        "keeps more"
    ]
    places = sorted(zip(archive.center_y.tolist(), archive.center_x.tolist(), strict=True))
    assert places == [(22, 24), (25, 34), (44, 62)]
    image = np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8)
    everything = np.any([head(k) for k in range(4)], axis=0)
    for row, (y, x) in enumerate(zip(archive.center_y, archive.center_x, strict=True)):
        window = (slice(y - 12, y + 12), slice(x - 12, x + 12))
        np.testing.assert_array_equal(archive.images[row], image[window])
        (own,) = [head(k)[window] for k in range(3) if head(k)[y, x]]
        np.testing.assert_array_equal(archive.masks[row] == 1, own)
        np.testing.assert_array_equal(archive.masks[row] > 0, everything[window])
    assert set(archive.cells.field.tolist()) == set(archive.cells.source.tolist())


def test_polygons_of_one_group_are_one_head(tmp_path: Path) -> None:
    shapes = [{"label": "x", "points": polygon(k), "group_id": 4} for k in (0, 1)]
    archive = import_segmented(labelme(tmp_path, shapes=shapes), SETTINGS)
    assert archive.n_cells == 1
    assert (archive.masks == 1).sum() == 6 * 9 + 5 * 5


def test_depths_come_from_the_names(tmp_path: Path) -> None:
    for name in ("a_z+1um", "a_z-0.5um"):
        save_image(tmp_path / f"{name}.png")
        Image.fromarray(head(0)).save(tmp_path / f"{name}_mask.png")
    archive = import_segmented(tmp_path, SegmentedSettings(patch_px=24))
    assert sorted(archive.depth_um.tolist()) == [-0.5, 1.0]
    assert archive.header.half_range_um == 1.0


def test_heads_of_one_image_are_on_one_side(tmp_path: Path) -> None:
    for seed in range(5):
        labelme(tmp_path / f"donor{seed}")
    settings = SegmentedSettings(24, 0.0, sample_from="^([^/]+)/")
    archive = import_segmented(tmp_path, settings)
    assert archive.n_cells == 15
    assert set(archive.cells.sample_id.tolist()) == {f"donor{seed}" for seed in range(5)}
    sides = {
        (field, side)
        for field, side in zip(archive.cells.field, archive.splits["default"], strict=True)
    }
    assert len(sides) == 5


@dataclass(frozen=True)
class Wrong:
    """Files that are refused, and what the line says."""

    says: str
    make: Callable[[Path], Path]
    settings: SegmentedSettings = SETTINGS


def shapes(*listed: dict[str, Any]) -> Callable[[Path], Path]:
    return lambda folder: labelme(folder, shapes=list(listed))


def blurred(folder: Path) -> Path:
    mask_image(folder, "a_mask.png")
    with Image.open(folder / "a_mask.png") as image:
        image.resize((40, 30), Image.Resampling.BILINEAR).resize(
            (80, 60), Image.Resampling.BILINEAR
        ).save(folder / "a_mask.png")
    return folder


def smaller(folder: Path) -> Path:
    mask_image(folder, "a_mask.png")
    Image.fromarray(np.ones((30, 40), np.uint8)).save(folder / "a_mask.png")
    return folder


def lonely(folder: Path) -> Path:
    mask_image(folder, "a_mask.png")
    (folder / "a.png").unlink()
    return folder


def empty(folder: Path) -> Path:
    save_image(folder / "a.png")
    return folder


WRONG = [
    Wrong(
        r"a.json: shape 1 has 2 corners; a polygon",
        shapes({"label": "x", "points": [[1, 1], [5, 5]]}),
    ),
    Wrong(r"a.json: shape 1 is not a list of corners", shapes({"label": "x", "points": "abc"})),
    Wrong(
        r"a.json: shape 1 is not a list of",
        shapes({"label": "x", "points": [[1, float("nan")]] * 3}),
    ),
    Wrong(
        r"a.json: shape 1 covers no pixel of the image of 80 x 60",
        shapes({"label": "x", "points": [[900, 1], [950, 1], [950, 9]]}),
    ),
    Wrong(
        r"a.json: shape 1 is a circle", shapes({"label": "x", "points": [], "shape_type": "circle"})
    ),
    Wrong(
        r"has the labels acrosome, tail; say with --label",
        shapes({"label": "acrosome"}, {"label": "tail"}),
    ),
    Wrong(r"no label 'hed'; did you mean", labelme, SegmentedSettings(24, 0.0, labels=("hed",))),
    Wrong(
        r"a.json is of the image b.png, which is not beside",
        lambda f: labelme(f, imagePath="b.png"),
    ),
    Wrong(r"a.json is not a LabelMe file", lambda f: labelme(f, shapes=3)),
    Wrong(r"no head is outlined in 1 image", shapes()),
    Wrong(r"coco.json: annotation 10 has a box but no", lambda f: coco(f, lambda _: [])),
    Wrong(
        r"coco.json: annotation 10 has runs of 9 pixels for 60 x 80",
        lambda f: coco(f, lambda _: {"size": SHAPE, "counts": [4, 5]}),
    ),
    Wrong(
        r"annotation 10 is of 1000000 x 1000000 pixels",
        lambda f: coco(f, lambda _: {"size": [10**6] * 2, "counts": [10**12]}),
    ),
    Wrong(r"annotation 10 is not run lengths", lambda f: coco(f, lambda _: {"size": SHAPE})),
    Wrong(r"annotation 10 is not a list of corners", lambda f: coco(f, lambda _: [[1, 2, 3]])),
    Wrong(
        r"is of the image c.png, which is neither",
        lambda f: coco(f, polygons, images=[{"id": 7, "file_name": "c.png"}]),
    ),
    Wrong(r"coco.json is not a COCO file", lambda f: coco(f, polygons, images=[])),
    Wrong(r"a_mask.png: the value \d+ is in several pieces", blurred),
    Wrong(r"a_mask.png is 30 x 40 pixels, its image 60 x 80", smaller),
    Wrong(r"a_mask.png has no image a", lonely),
    Wrong(r"a_mask.jpg: JPEG changes", lambda f: mask_image(f, "a_mask.jpg")),
    Wrong(r"holds no heads: neither LabelMe", empty),
    Wrong(
        r"does not say its depth: name the images by it, as a_z\+0.5um.png",
        labelme,
        SegmentedSettings(24),
    ),
    Wrong(r"60 x 80 pixels; give --patch 60 or less", labelme, SegmentedSettings(64, 0.0)),
    Wrong(r"no head is far enough", labelme, SegmentedSettings(60, 0.0)),
    Wrong(r"--label names labels", SOURCES["ones"], SegmentedSettings(24, 0.0, labels=("x",))),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.says)
def test_what_is_wrong_is_one_line(case: Wrong, tmp_path: Path) -> None:
    with pytest.raises(FgafError, match=case.says) as told:
        import_segmented(case.make(tmp_path), case.settings)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_are_decoded_as_text_and_as_numbers(seed: int) -> None:
    mask = np.random.default_rng(seed).random((37, 90)) < 0.02 + 0.2 * seed
    for counts in (runs(mask), compressed(runs(mask))):
        found = decode_rle({"size": [37, 90], "counts": counts}, (37, 90), "a")
        np.testing.assert_array_equal(found, mask)


def test_the_command_writes_an_archive_that_is_valid(tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    words = ["import-masks", str(labelme(tmp_path / "in")), "--patch", "24", "--depth", "0"]
    done = CliRunner().invoke(main, [*words, "--out", str(out), "--sample", "donor 1"])
    assert done.exit_code == 0, done.output
    assert "3 heads of 1 image" in done.output
    assert validate(out).ok
    with Archive.open(out) as archive:
        assert archive.format_version == 2
        assert set(archive.cells.sample_id.tolist()) == {"donor 1"}
    again = CliRunner().invoke(main, [*words, "--out", str(out)])
    assert again.exit_code == 1
    assert "exists already" in again.output
