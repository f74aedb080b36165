"""Cross-validation: every cell tested once, groups whole, resumable."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fgaf.base.errors import ExistsError, SettingError
from fgaf.dataset.archive import Archive
from fgaf.model.networks.settings import preset
from fgaf.model.training.folds import cross_validate, draw_folds

QUICK = preset("default").with_values(
    {"backbone": "shufflenet_v2_x0_5", "width": 32, "epochs": 1, "stem_stride": 2, "tta": False}
)


def with_samples(archive: Archive, samples: list[str]) -> Archive:
    columns = {**vars(archive.cells), "sample_id": np.array(samples, dtype=object)}
    return replace(archive, cells=type(archive.cells).from_columns(columns))


def apart(archive: Archive) -> Archive:
    """The same cells, each in a place of its own: the tiny archive's share one."""
    far = (1000 * archive.cell).astype(np.int32)
    return replace(archive, center_y=far)


@pytest.mark.parametrize("folds", [2, 5, 9])
def test_every_cell_is_tested_once(folds: int, archive: Archive) -> None:
    whole = with_samples(apart(archive), [f"s{k}" for k in range(10)])
    splits = draw_folds(whole, folds, seed=3)
    tested = np.sum([sides == 2 for sides in splits], axis=0)
    assert tested.tolist() == [1] * 10
    sizes = [(sides == 2).sum() for sides in splits]
    assert max(sizes) - min(sizes) <= 1
    assert all((sides == 0).any() for sides in splits)


def test_samples_are_not_divided(make_archive: Callable[..., Archive]) -> None:
    samples = np.repeat(["a", "b", "c", "d"], 5).tolist()
    whole = with_samples(apart(make_archive(cells=20)), samples)
    for sides in draw_folds(whole, 3, seed=0):
        assert all(len(set(sides[np.array(samples) == name])) == 1 for name in "abcd")


@pytest.mark.parametrize("folds", [1, 10, 11])
def test_refuses_folds_the_cells_do_not_make(folds: int, archive: Archive) -> None:
    whole = with_samples(apart(archive), [f"s{k}" for k in range(10)])
    with pytest.raises(SettingError, match="folds"):
        draw_folds(whole, folds, seed=0)


def test_all_cells_are_judged(archive: Archive, tmp_path: Path) -> None:
    whole = with_samples(apart(archive), [f"s{k}" for k in range(10)])
    metrics = cross_validate(whole, QUICK, tmp_path / "cv", 2)
    assert (metrics["n_cells"], metrics["n_patches"], metrics["folds"]) == (10, 50, 2)
    assert sum(fold["n_cells"] for fold in metrics["per_fold"]) == 10
    weights = [fold["n_cells"] / 10 for fold in metrics["per_fold"]]
    mean = sum(w * f["top1"] for w, f in zip(weights, metrics["per_fold"], strict=True))
    assert metrics["by_label"]["top1"] == pytest.approx(mean, abs=0.11)
    assert json.loads((tmp_path / "cv" / "metrics.json").read_text()) == metrics
    with pytest.raises(ExistsError, match="--resume"):
        cross_validate(whole, QUICK, tmp_path / "cv", 2)
    again = cross_validate(whole, QUICK, tmp_path / "cv", 2, resume=True)
    assert again == metrics
