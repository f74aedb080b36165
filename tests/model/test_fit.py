"""Archives that are unfit to train on are refused wherever a training begins."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.training.fit import require_fit
from fgaf.model.training.folds import cross_validate
from fgaf.model.training.train import train

QUICK = TrainSettings(backbone="shufflenet_v2_x0_5", width=16, epochs=1, batch=8)


@pytest.fixture
def dark(make_archive: Callable[..., Archive]) -> Archive:
    archive = make_archive()
    archive.images[3] = 0
    return archive


@pytest.mark.parametrize(
    "begin",
    [lambda a, out: train(a, QUICK, out), lambda a, out: cross_validate(a, QUICK, out, 3)],
    ids=["train", "cross_validate"],
)
def test_a_training_from_python_refuses_constant_patches(
    dark: Archive, tmp_path: Path, begin: Callable[[Archive, Path], object]
) -> None:
    with pytest.raises(FgafError, match="every pixel is the same in 1 patch, of cell cell-0"):
        begin(dark, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_depth_without_patches_is_told(make_archive: Callable[..., Archive]) -> None:
    archive = make_archive()
    archive.depth_um[archive.depth_um < -0.9] = -0.8
    told: list[str] = []
    require_fit(archive, told.append)
    assert not told
    archive.depth_um[archive.depth_um < -0.7] = -0.7
    require_fit(archive, told.append)
    assert "no patch at depth -1 µm" in told[0]
