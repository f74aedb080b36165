"""Pretraining: microscopes within their ranges, repeatable; the network that ships."""

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fgaf.base.errors import FgafError, SettingError
from fgaf.base.folder_lock import RUN_LOCK, working_in
from fgaf.dataset.archive import Archive, write_archive
from fgaf.model.commands.train import pretrain as command
from fgaf.model.inference.initial_weights import shipped
from fgaf.model.networks.settings import preset
from fgaf.model.training.pretrain import (
    INTERVAL_S,
    RANGES,
    RUN,
    SETTINGS,
    WEIGHTS,
    WORLDS,
    Worlds,
    draw_microscope,
    pretrain,
    simulate_worlds,
)

LIMIT_BYTES = 12e6


def test_microscopes_are_drawn_within_their_ranges() -> None:
    worlds = Worlds(cells=505, microscopes=100, seed=4)
    drawn = [draw_microscope(worlds, number) for number in range(100)]
    for key, (low, high) in RANGES.items():
        values = [getattr(one["settings"], key) for one in drawn]
        assert low <= min(values) < (low + high) / 2 < max(values) <= high
    assert all(INTERVAL_S[0] <= one["interval_s"] <= INTERVAL_S[1] for one in drawn)
    assert {one["contrast"] for one in drawn} == {"brightfield", "relief"}
    assert {one["motile"] for one in drawn} == {True, False}
    assert len({one["seed"] for one in drawn}) == 100
    assert sum(one["cells"] for one in drawn) == 505
    assert draw_microscope(worlds, 7) == draw_microscope(worlds, 7)
    assert draw_microscope(replace(worlds, seed=5), 7) != draw_microscope(worlds, 7)


@pytest.mark.parametrize(("cells", "microscopes"), [(2, 3), (10, 2)])
def test_too_few_microscopes_are_refused(cells: int, microscopes: int) -> None:
    with pytest.raises(SettingError, match="three microscopes"):
        Worlds(cells, microscopes)


def test_another_pretraining_is_said_and_not_replaced(
    make_archive: Callable[..., Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    worlds = write_archive(tmp_path / "pretrained" / WORLDS, make_archive())
    before = worlds.read_bytes()
    call = CliRunner().invoke(command)
    assert call.exit_code == 1
    assert call.stdout.splitlines()[0] == "writing pretrained"
    assert "choose another folder" in call.stderr
    assert worlds.read_bytes() == before


def test_a_second_pretraining_in_one_folder_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with working_in(Path("pretrained")):
        call = CliRunner().invoke(command)
        assert call.exit_code == 1
        assert "pretrained is in use by another program (" in call.stderr
        assert [p.name for p in Path("pretrained").iterdir()] == [RUN_LOCK]


@pytest.mark.slow
def test_a_small_pretraining(tmp_path: Path) -> None:
    worlds = Worlds(cells=3, microscopes=3)
    settings = SETTINGS.with_values({"epochs": 1})
    metrics = pretrain(tmp_path, worlds, settings)
    assert metrics["n_cells"] == 1
    assert (tmp_path / WEIGHTS).stat().st_size < LIMIT_BYTES
    assert "--cells 3 --microscopes 3 --seed 1 --epochs 1" in (tmp_path / "sim.md").read_text()
    assert pretrain(tmp_path, worlds, settings)["top1"] == metrics["top1"]
    stored = Archive.read(tmp_path / WORLDS)
    again = simulate_worlds(worlds, workers=2)
    assert np.array_equal(again.images, stored.images)
    assert sorted(again.splits["default"].tolist()) == [0, 1, 2]
    with pytest.raises(FgafError, match="was started with 3 cells"):
        pretrain(tmp_path, Worlds(cells=4, microscopes=3), settings)
    assert (tmp_path / RUN / "metrics.json").is_file()


def test_the_shipped_network_is_the_default_one() -> None:
    folder = files("fgaf.model.inference") / "weights"
    assert len((folder / WEIGHTS).read_bytes()) < LIMIT_BYTES
    assert "fgaf-pretrain --cells" in (folder / "sim.md").read_text(encoding="utf-8")
    checkpoint = shipped()
    default = preset("default")
    for key in ("backbone", "fgaf", "width", "insertion", "residual", "self_norm", "loss"):
        assert getattr(checkpoint.settings, key) == getattr(default, key)
    assert (checkpoint.patch_px, len(checkpoint.class_depths_um)) == (96, 9)
