"""The task heads in the common trainer: learns, resumes, folds, reads from disk, and refuses."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fgaf.base.errors import FgafError, SettingError
from fgaf.dataset.archive import Archive, write_archive
from fgaf.model.commands.train import train as train_command
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.predict import Predictor
from fgaf.model.inference.segment import Segmenter, mask_logits
from fgaf.model.metrics.heads import compare
from fgaf.model.networks.augment import AugmentSettings, augment, augment_with_masks
from fgaf.model.networks.settings import TrainSettings, preset, read_settings
from fgaf.model.networks.unext import SEGMENTERS, UNeXt
from fgaf.model.training.folds import cross_validate
from fgaf.model.training.run_folder import files_of
from fgaf.model.training.train import train as train_and_draw
from tests.model.learned import LearnedHeads, quick

train = partial(train_and_draw, pictures=False)


@pytest.fixture
def masked(make_archive: Callable[..., Archive]) -> Archive:
    """Ten cells of five planes with masks."""
    return make_archive(masks=True)


def test_it_learns_and_leaves_its_files(learned_heads: LearnedHeads) -> None:
    run, archive, metrics = learned_heads.run, learned_heads.archive, learned_heads.metrics
    assert {path.name for path in run.iterdir()} == files_of("heads")
    assert json.loads((run / "metrics.json").read_text()) == metrics
    assert (metrics["task"], metrics["backbone"], metrics["n_cells"]) == ("heads", "unext_s", 2)
    assert metrics["n_heads"] == 10
    assert metrics["iou"] > 0.7
    assert metrics["recall"] == 1
    assert metrics["centre_median_px"] < 1
    assert [row["distance_um"] for row in metrics["per_distance"]] == [0, 0.5, 1]
    spots = (archive.masks > 0).sum(axis=(1, 2))
    assert spots.min() * 0.1 < metrics["least_px"] < spots.max() * 0.3
    assert read_settings(run / "settings.toml") == quick(epochs=40, lr=0.0025)
    header = (run / "history.csv").read_text().splitlines()[0]
    assert header == "epoch,lr,train_loss,train_iou,val_loss,val_iou,seconds,core_seconds"


def test_the_best_epoch_is_that_of_validation(
    learned_heads: LearnedHeads,
) -> None:
    run, metrics = learned_heads.run, learned_heads.metrics
    rows = [line.split(",") for line in (run / "history.csv").read_text().splitlines()[1:]]
    overlaps = [float(row[5]) for row in rows]
    assert metrics["epochs"] == overlaps.index(max(overlaps)) + 1


def test_the_segmenter_gives_the_metrics_again(
    learned_heads: LearnedHeads,
) -> None:
    run, archive, metrics = learned_heads.run, learned_heads.archive, learned_heads.metrics
    rows = np.flatnonzero(archive.split_of_rows() == 2)
    segmenter = Segmenter.load(run)
    found = segmenter.regions(archive.images[rows])
    results = [
        compare(each.labels, archive.masks[row], segmenter.card.least_px)
        for each, row in zip(found, rows, strict=True)
    ]
    assert np.median([r.off_px[0] for r in results]) == pytest.approx(metrics["centre_median_px"])


def test_any_size_and_the_eight_symmetries(learned_heads: LearnedHeads) -> None:
    run, archive = learned_heads.run, learned_heads.archive
    segmenter = Segmenter.load(run, tta=True)
    wide = np.tile(archive.images[3], (1, 2))[:, :45]
    shares = segmenter.shares(wide)
    assert shares.shape == (1, 32, 45)
    turned = segmenter.shares(np.rot90(wide).copy())
    assert np.rot90(shares[0]) == pytest.approx(turned[0], abs=1e-4)


def test_a_resumed_run_is_the_uninterrupted_one(masked: Archive, tmp_path: Path) -> None:
    def one_epoch(epochs: Any, *_: Any) -> Any:
        for epoch in epochs:
            if epoch == 1:
                raise KeyboardInterrupt
            yield epoch

    with pytest.raises(KeyboardInterrupt):
        train(masked, quick(), tmp_path / "part", progress=one_epoch)
    resumed = train(masked, quick(), tmp_path / "part", resume=True)
    whole = train(masked, quick(), tmp_path / "whole")
    for key in ("iou", "dice", "recall", "centre_median_px", "epochs"):
        assert resumed[key] == whole[key]
    one, other = (Checkpoint.load(tmp_path / run / "checkpoint.pt") for run in ("part", "whole"))
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_patches_and_masks_on_disk_train_the_same_network(masked: Archive, tmp_path: Path) -> None:
    """But for the order of the patches, which without augmentation one step does not see."""
    settings = quick(epochs=1, batch=30, turns=False, shift_px=0, gain=0.0, offset=0.0, noise=0.0)
    path = write_archive(tmp_path / "masked.h5", replace(masked, fingerprint=""))
    in_memory = train(Archive.read(path), settings, tmp_path / "memory")
    with Archive.open(path) as archive:
        on_disk = train(archive, settings, tmp_path / "disk")
    assert on_disk["least_px"] == in_memory["least_px"]
    assert on_disk["iou"] == pytest.approx(in_memory["iou"], abs=1e-3)


def test_folds_test_every_cell_once(masked: Archive, tmp_path: Path) -> None:
    apart = replace(masked, center_y=(1000 * masked.cell).astype(np.int32))
    metrics = cross_validate(apart, quick(epochs=1), tmp_path / "folds", 2)
    assert (metrics["n_cells"], metrics["n_patches"], metrics["folds"]) == (10, 50, 2)
    assert sum(fold["n_cells"] for fold in metrics["per_fold"]) == 10
    assert {"iou", "recall", "centre_median_px"} <= metrics["per_fold"][0].keys()


def test_masks_move_with_their_patches() -> None:
    """The moves of `augment` with the same generator, and no light on masks."""
    x = torch.randn(50, 1, 9, 9)
    moves = AugmentSettings(gain=0, offset=0, noise=0, shift_px=3)
    image, mask = augment_with_masks(x, (x[:, 0] > 0), moves, torch.Generator().manual_seed(1))
    assert torch.equal(image[:, 0] > 0, mask)
    assert torch.equal(image, augment(x, moves, torch.Generator().manual_seed(1)))
    _, lit = augment_with_masks(x, x[:, 0] > 0, AugmentSettings(), torch.Generator().manual_seed(1))
    assert lit.dtype == torch.bool


def test_symmetric_logits_are_a_mean_of_restored_maps() -> None:
    """A network that only doubles the image gives the doubled image, whatever the symmetry."""

    class Doubled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.factor * x

    x = torch.randn(2, 1, 5, 8)
    assert torch.allclose(mask_logits(Doubled(), x, tta=True), 2 * x, atol=1e-6)


def test_an_archive_without_masks_is_refused(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(FgafError, match="has no masks of heads"):
        train(archive, quick(), tmp_path / "run")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"task": "heads", "backbone": "resnet18"}, "choose from unext, unext_s"),
        ({"task": "depth", "backbone": "unext"}, "choose from resnet18"),
    ],
)
def test_the_network_must_be_one_of_the_task(values: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        TrainSettings().with_values(values)


def test_a_run_of_the_other_task_is_refused_in_one_line(
    learned_heads: LearnedHeads, archive: Archive, tmp_path: Path
) -> None:
    run, masked = learned_heads.run, learned_heads.archive
    with pytest.raises(FgafError, match=r"segments heads; .*fgaf-train --task depth"):
        Predictor.load(run)
    with pytest.raises(FgafError, match=r"sim estimates depth; .*fgaf-train --task heads"):
        Segmenter.load(Path("sim"))
    with pytest.raises(FgafError, match="sim estimates depth"):
        train(masked, quick(start="sim"), tmp_path / "one")
    depth = preset("default").with_values({"start": str(run), "epochs": 1})
    with pytest.raises(FgafError, match="segments heads"):
        train(archive, depth, tmp_path / "two")


def test_a_run_starts_from_another(learned_heads: LearnedHeads, tmp_path: Path) -> None:
    run, archive, metrics = learned_heads.run, learned_heads.archive, learned_heads.metrics
    further = train(archive, quick(epochs=1, start=str(run), lr=1e-5), tmp_path / "further")
    assert further["iou"] == pytest.approx(metrics["iou"], abs=0.05)
    assert further["start"] == str(run)


def test_the_command(masked: Archive, tmp_path: Path) -> None:
    path = write_archive(tmp_path / "masked.h5", replace(masked, fingerprint=""))
    flags = ["--task", "heads", "--backbone", "unext_s", "--epochs", "1", "--threads", "1"]
    call = CliRunner().invoke(train_command, [str(path), *flags, "--out", str(tmp_path / "run")])
    assert call.exit_code == 0, call.output
    assert "IoU" in call.stdout
    assert "on 2 test cells" in call.stdout
    assert (tmp_path / "run" / "report.html").read_text().startswith("<!doctype html>")
    again = [str(path), "--resume", "--out", str(tmp_path / "run"), "--task", "heads", "--json"]
    resumed = CliRunner().invoke(train_command, again)
    assert resumed.exit_code == 0, resumed.output
    other = CliRunner().invoke(train_command, [*again[:-2], "depth"])
    assert other.exit_code == 2
    assert "unext_s' is no network for task = 'depth'" in other.output


def test_the_command_writes_a_report_of_all_folds(masked: Archive, tmp_path: Path) -> None:
    apart = replace(masked, center_y=(1000 * masked.cell).astype(np.int32), fingerprint="")
    path = write_archive(tmp_path / "masked.h5", apart)
    flags = ["--task", "heads", "--backbone", "unext_s", "--epochs", "1", "--threads", "1"]
    out = tmp_path / "folds"
    call = CliRunner().invoke(train_command, [str(path), *flags, "--folds", "2", "--out", str(out)])
    assert call.exit_code == 0, call.output
    report, metrics = (
        (out / "report.html").read_text(),
        json.loads((out / "metrics.json").read_text()),
    )
    assert "10 test cells" in report
    assert "2 folds, every cell tested once" in report
    assert f"<td>{metrics['n_heads']}</td>" in report


def test_the_archive_is_named_where_masks_are_missing(archive_file: Path, tmp_path: Path) -> None:
    call = CliRunner().invoke(
        train_command, [str(archive_file), "--task", "heads", "--out", str(tmp_path / "run")]
    )
    assert call.exit_code == 1
    assert "tiny.h5 has no masks of heads" in call.output
    assert not (tmp_path / "run").exists()


def test_segmenters_are_those_of_the_settings() -> None:
    for name in SEGMENTERS:
        assert isinstance(UNeXt(SEGMENTERS[name]), UNeXt)
        assert TrainSettings(task="heads", backbone=name).backbone == name  # type: ignore[arg-type]
