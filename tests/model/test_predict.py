"""Prediction: what the run was judged by, for anybody's patches; damaged runs in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fgaf.base.errors import FgafError, FormatError
from fgaf.base.workers.progress import reporting
from fgaf.dataset.archive import Archive
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.images import Scale
from fgaf.model.inference.predict import Predictor, network_logits
from fgaf.model.metrics.depth import judge
from fgaf.model.networks.settings import preset
from fgaf.model.training.train import train


@pytest.fixture(scope="module")
def archive(make_archive: Callable[..., Archive]) -> Archive:
    return make_archive()


@pytest.fixture(scope="module")
def run(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    settings = preset("default").with_values(
        {"backbone": "shufflenet_v2_x0_5", "width": 32, "epochs": 4, "batch": 8, "threads": 1}
    )
    train(archive, settings, path, pictures=False)
    return path


def test_the_work_of_a_prediction_is_reported(run: Path, archive: Archive) -> None:
    told: list[float] = []
    images = np.resize(archive.images, (600, *archive.images.shape[1:]))
    with reporting(told.append):
        Predictor.load(run).read(images)
    assert [share for share in told if share] == pytest.approx([1 / 3] * 3)  # 256 at a time


def test_the_checkpoint_gives_the_metrics_of_the_run(run: Path, archive: Archive) -> None:
    predictor = Predictor.load(run)
    rows = np.flatnonzero(archive.split_of_rows() == 2)
    again = judge(predictor.probabilities(archive.images[rows]), archive, rows)
    stored = predictor.checkpoint.metrics
    assert again["expected_mae_um"] == pytest.approx(stored["expected_mae_um"])
    assert again["confusion"] == stored["confusion"]
    assert predictor.checkpoint.optics == archive.header.optics
    assert predictor.checkpoint.archive_fingerprint == archive.fingerprint


def test_depth_and_spread(run: Path, archive: Archive) -> None:
    depth, spread = Predictor.load(run).predict(archive.images[:7])
    assert depth.shape == spread.shape == (7,)
    assert (np.abs(depth) <= 1.0).all()
    assert (spread >= 0).all()
    one, _ = Predictor.load(run).predict(archive.images[3])
    assert one[0] == pytest.approx(depth[3], abs=1e-5)
    assert Predictor.load(run).predict(archive.images[:0])[0].shape == (0,)


def test_symmetric_views_are_averaged(run: Path, archive: Archive) -> None:
    predictor = Predictor.load(run)
    x = predictor.checkpoint.scale(archive.images[:5])
    both = torch.cat([x, x.rot90(1, dims=(2, 3))])
    averaged, single = (network_logits(predictor.network, both, tta) for tta in (True, False))
    apart = [float((z[:5] - z[5:]).abs().max()) for z in (averaged, single)]
    assert apart[0] < 1e-3 * apart[1]
    p, alone = (Predictor.load(run, tta).probabilities(archive.images[:5]) for tta in (True, False))
    assert not np.array_equal(p, alone)


@pytest.mark.parametrize(
    ("images", "needle"),
    [
        (np.zeros((2, 32, 32), "f4"), "floating-point values;"),
        (np.full((32, 32), np.nan), "NaN"),
        (np.zeros((32, 32, 3), "u1"), "colour"),
        (np.zeros((4, 48, 48), "u1"), "48 x 48 px, but the network needs 32 x 32"),
        (np.zeros((32, 32), "i4"), "int32"),
        (np.zeros((1, 1, 32, 32), "u1"), "px"),
    ],
)
def test_refuses_patches(run: Path, images: np.ndarray, needle: str) -> None:
    with pytest.raises(FgafError, match=needle) as caught:
        Predictor.load(run).probabilities(images, "mine.tif")
    assert "mine.tif" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_refuses_a_truncated_checkpoint(run: Path, tmp_path: Path, keep: float) -> None:
    whole = (run / "checkpoint.pt").read_bytes()
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(FormatError, match="truncated"):
        Checkpoint.load(path)


def test_refuses_what_is_no_checkpoint(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FgafError, match="does not exist"):
        Predictor.load(tmp_path)
    with pytest.raises(FormatError, match="not a fgaf-checkpoint"):
        Checkpoint.load(run / "last.pt")
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"hello, world\n" * 100)
    with pytest.raises(FormatError, match="not a checkpoint"):
        Checkpoint.load(path)
    content = torch.load(run / "checkpoint.pt", weights_only=True)
    torch.save({**content, "format_version": 99}, path)
    with pytest.raises(FormatError, match="newer"):
        Checkpoint.load(path)
    torch.save({**content, "header": "{}"}, path)
    with pytest.raises(FormatError, match="damaged"):
        Checkpoint.load(path)


class Malice:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("/nowhere/touched"),)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": "fgaf-checkpoint", "header": Malice()}, path)
    with pytest.raises(FormatError, match="not a checkpoint"):
        Checkpoint.load(path)


def test_level_removes_the_lamp_and_keeps_contrast() -> None:
    patch = np.random.default_rng(0).integers(80, 120, (1, 16, 16)).astype("u2")
    images = np.concatenate([patch, 10 * patch, 100 + patch])
    scale = Scale.of(images[:1], "level")
    x = scale(images)
    assert torch.allclose(x[0], x[1], atol=1e-5)
    assert x[0].std().item() == pytest.approx(1.0, abs=0.01)
    assert x[2].std() < 0.6
    assert Scale.of(np.full((2, 4, 4), 7, "u1"), "dataset").deviation == 1.0


def test_scale_takes_read_only_patches_and_tensors_alike() -> None:
    patches = np.random.default_rng(0).integers(0, 255, (4, 8, 8), dtype=np.uint8)
    scale = Scale.of(patches, "level")
    patches.flags.writeable = False
    assert torch.equal(scale(patches), scale(torch.tensor(patches)))
