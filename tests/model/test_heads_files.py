"""Networks for heads in files: exports, rows and masks of `fgaf-predict`, wrong tasks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from fgaf.base.errors import FgafError
from fgaf.model.commands.export import export
from fgaf.model.commands.predict import predict
from fgaf.model.deploy.exported import ExportedHeads
from fgaf.model.deploy.open_model import open_model, open_segmenter
from fgaf.model.deploy.verify_heads import HeadsVerdict
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.inputs import Patches
from fgaf.model.inference.segment import Segmenter
from fgaf.model.inference.segmentations import COLUMNS, segment_files
from tests.model.learned import LearnedHeads


def run(command: Any, *arguments: object) -> str:
    """Run a command that succeeds; what it prints."""
    call = CliRunner().invoke(command, [str(each) for each in arguments])
    assert call.exit_code == 0, call.output
    return call.stdout


@pytest.fixture(scope="module")
def exported(learned_heads: LearnedHeads, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX file of the run."""
    file = tmp_path_factory.mktemp("exported") / "heads.onnx"
    told = run(export, learned_heads.run, "--archive", learned_heads.file, "--out", file)
    iou = learned_heads.metrics["iou"]
    assert f"IoU {iou:.4f} on 10 test patches, the checkpoint's {iou:.4f}" in told
    return file


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 32, 32), (2, 45, 70), (0, 32, 32)])
def test_an_export_answers_as_the_checkpoint(
    shape: tuple[int, int, int], exported: Path, learned_heads: LearnedHeads
) -> None:
    images = np.resize(learned_heads.archive.images, shape)
    model, segmenter = open_segmenter(exported), Segmenter.load(learned_heads.run)
    plain = model.shares(images)
    if len(images):
        model.prepare(shape)
        segmenter.prepare(shape)
    assert model.shares(images) == pytest.approx(plain, abs=1e-5)
    assert isinstance(model, ExportedHeads)
    assert model.shares(images) == pytest.approx(segmenter.shares(images), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [("--tta",), ("--precision", "int8")])
def test_other_exports(flags: tuple[str, ...], learned_heads: LearnedHeads, tmp_path: Path) -> None:
    """OpenVINO's files, with all symmetries and in int8."""
    file = tmp_path / "heads.xml"
    told = run(
        export, learned_heads.run, "--archive", learned_heads.file, "--out", file,
        "--to", "openvino", *flags,
    )  # fmt: skip
    assert "IoU" in told
    assert open_segmenter(file).card.tta == ("--tta" in flags)


def test_the_card_travels(exported: Path, learned_heads: LearnedHeads) -> None:
    card, its = open_segmenter(exported).card, Segmenter.load(learned_heads.run).card
    assert card == replace(its, kind="onnx")
    assert (card.task, card.backbone, card.decoder, card.least_px) == (
        "heads", "unext_s", "sigmoid", learned_heads.metrics["least_px"],
    )  # fmt: skip


def test_the_other_task_is_refused(exported: Path, learned_heads: LearnedHeads) -> None:
    for model in (exported, learned_heads.run):
        with pytest.raises(FgafError, match="segments heads; give a network that estimates depth"):
            open_model(model)
    with pytest.raises(FgafError, match="sim estimates depth"):
        open_segmenter("sim")
    call = CliRunner().invoke(predict, ["sim", str(learned_heads.file), "--masks", "masks"])
    assert call.exit_code == 2
    assert call.output == "error: sim estimates depth and has no masks; leave out --masks\n"


def test_rows_of_an_archive_are_the_heads_of_its_cells(learned_heads: LearnedHeads) -> None:
    """The spots are in the middle of patches that the archive puts at (0, 0) of the field."""
    rows = segment_files(Segmenter.load(learned_heads.run), [learned_heads.file])
    assert len(rows) == 50
    assert all(row.keys() == dict(COLUMNS).keys() for row in rows)
    assert [(row["cell"], row["plane"]) for row in rows[4:6]] == [(0, 4), (1, 0)]
    found = [row for row in rows if row["y_px"] is not None]
    assert len(found) > 45
    assert np.median([row["y_px"] for row in found]) == pytest.approx(-0.5, abs=0.5)
    pixel_um = learned_heads.archive.header.optics.pixel_size_um
    assert pixel_um is not None
    assert found[0]["area_um2"] == pytest.approx(found[0]["area_px"] * pixel_um**2, abs=1e-3)
    assert min(row["confidence"] for row in found) > 0.5


def test_an_image_gives_all_its_heads_and_a_picture(
    learned_heads: LearnedHeads, tmp_path: Path
) -> None:
    """Of a size that is no patch's; the largest head first."""
    one = learned_heads.archive.images[4]
    image, out = tmp_path / "two.png", tmp_path / "masks"
    Image.fromarray(np.hstack([one, one])[:, :60]).save(image)
    told = run(predict, learned_heads.run, image, "--masks", out, "--csv", tmp_path / "two.csv")
    lines = (tmp_path / "two.csv").read_text().splitlines()
    assert lines[0] == ",".join(name for name, _ in COLUMNS)
    assert [line.split(",")[1:3] for line in lines[1:]] == [["0", "0"], ["1", "0"]]
    assert sorted(round(float(line.split(",")[4])) for line in lines[1:]) == [
        pytest.approx(15.5, abs=1.5), pytest.approx(47.5, abs=1.5),
    ]  # fmt: skip
    assert f"wrote {tmp_path / 'two.csv'}: 2 rows" in told
    mask = np.asarray(Image.open(out / "two-masks.png"))
    assert mask.shape == (32, 60)
    assert np.unique(mask).tolist() == [0, 255]
    assert [row["area_px"] for row in json.loads(run(predict, learned_heads.run, image, "--json"))]
    again = CliRunner().invoke(predict, [*map(str, (learned_heads.run, image, "--masks", out))])
    assert again.exit_code == 1
    assert "two-masks.png" in again.output


def test_an_image_without_a_head_has_a_row(learned_heads: LearnedHeads, tmp_path: Path) -> None:
    """A network that is never certain enough finds none."""
    Image.fromarray(learned_heads.archive.images[4]).save(tmp_path / "one.png")
    checkpoint = Checkpoint.load(learned_heads.run / "checkpoint.pt")
    strict = replace(checkpoint, settings=checkpoint.settings.with_values({"threshold": 1.0}))
    strict.save(tmp_path / "strict.pt")
    (row,) = segment_files(Segmenter(strict), [tmp_path / "one.png"])
    assert (row["plane"], row["y_px"], row["area_px"]) == (0, None, None)
    assert "no head" in run(predict, tmp_path / "strict.pt", tmp_path / "one.png")


def test_windows_of_a_field_are_put_where_they_come_from(
    learned_heads: LearnedHeads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cells are given here: how they are found is the matter of the detection's tests."""
    one = learned_heads.archive.images[4]
    whole = np.zeros((2, 100, 120), np.uint8)
    corners = ((0, 10, 20), (1, 50, 77))
    for plane, top, left in corners:
        whole[plane, top : top + 32, left : left + 32] = one
    planes, tops, lefts = np.array(corners).T
    patches = Patches(
        np.stack([one, one]), planes, np.array([0, 1]), tops + 16.2, lefts + 15.9, whole.shape, 0.1
    )
    monkeypatch.setattr("fgaf.model.inference.segmentations.read_patches", lambda *_, **__: patches)
    (tmp_path / "field.stack.h5").touch()
    model = Segmenter.load(learned_heads.run)
    rows = segment_files(model, [tmp_path / "field.stack.h5"], masks=tmp_path)
    masks = tifffile.imread(tmp_path / "field-masks.tif")
    assert masks.shape == whole.shape
    for row, (plane, top, left) in zip(rows, corners, strict=True):
        assert (row["plane"], row["y_px"], row["x_px"]) == (
            plane, pytest.approx(top + 15.5, abs=1), pytest.approx(left + 15.5, abs=1),
        )  # fmt: skip
        y, x = np.nonzero(masks[plane])
        assert (y.mean(), x.mean()) == pytest.approx((row["y_px"], row["x_px"]), abs=0.5)


def test_a_worse_export_is_not_written() -> None:
    HeadsVerdict(0.795, 0.8, 0.1, 50).check()
    for iou in (0.78, float("nan")):
        with pytest.raises(FgafError, match=r"not exported: .* the checkpoint's 0\.8000"):
            HeadsVerdict(iou, 0.8, 0.1, 50).check()
