"""Pretraining: microscopes within their ranges, none twice, repeatable; the network that ships."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib.resources import files
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fgaf.base.errors import FgafError
from fgaf.base.folder_lock import RUN_LOCK, working_in
from fgaf.dataset.archive import Archive, write_archive
from fgaf.model.commands.train import pretrain as command
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.initial_weights import shipped
from fgaf.model.networks.settings import preset
from fgaf.model.training.pretrain import SETTINGS, WEIGHTS, WORLDS, pretrain
from fgaf.model.training.worlds import (
    INTERVAL_S,
    RANGES,
    Worlds,
    draw_microscope,
    simulate_epoch,
    simulate_epochs,
)

LIMIT_BYTES = 12e6
TINY = Worlds(microscopes=1, cells=1, held_out=3, held_out_cells=1)


def test_microscopes_are_drawn_within_their_ranges() -> None:
    drawn = [draw_microscope(4, number) for number in range(100)]
    for key, (low, high) in RANGES.items():
        values = [getattr(one["settings"], key) for one in drawn]
        assert low <= min(values) < (low + high) / 2 < max(values) <= high
    assert all(INTERVAL_S[0] <= one["interval_s"] <= INTERVAL_S[1] for one in drawn)
    assert {one["contrast"] for one in drawn} >= {"brightfield", "relief", "phase", "dic"}
    assert {one["motile"] for one in drawn} == {True, False}
    assert len({one["seed"] for one in drawn}) == 100
    assert draw_microscope(4, 7) == draw_microscope(4, 7) != draw_microscope(5, 7)


def test_no_microscope_serves_twice() -> None:
    worlds = Worlds(microscopes=7, held_out=5)
    trained = [worlds.first(epoch) + k for epoch in range(9) for k in range(7)]
    assert sorted(trained) == list(range(5, 5 + 9 * 7))


def test_cells_are_the_same_for_any_number_of_workers_and_from_any_epoch_on() -> None:
    second = simulate_epoch(TINY, 1)
    for first, workers in ((1, 1), (0, 2)):
        epochs = list(simulate_epochs(TINY, first, 2, workers))
        assert len(epochs) == 2 - first
        assert np.array_equal(epochs[-1].images, second.images)
    assert not np.array_equal(epochs[0].images, second.images)


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


def test_a_pretraining_that_stopped_goes_on_with_the_cells_of_the_next_epoch(
    tmp_path: Path,
) -> None:
    settings = replace(SETTINGS, backbone="shufflenet_v2_x0_5", width=32, threads=1, tta=False)
    settings = replace(settings, epochs=3, batch=9, schedule="constant")
    whole = pretrain(tmp_path / "whole", TINY, settings)
    assert whole["n_cells"] == 2

    def stopping(numbers: Iterable[int], text: str, _: int) -> Iterator[int]:
        yield from islice(numbers, 2 if text.startswith("training") else None)
        if text.startswith("training"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path / "parts", TINY, settings, stopping)
    assert pretrain(tmp_path / "parts", TINY, settings)["top1"] == whole["top1"]
    one, other = (Checkpoint.load(tmp_path / name / WEIGHTS) for name in ("whole", "parts"))
    assert all(torch.equal(one.weights[key], other.weights[key]) for key in one.weights)
    card = (tmp_path / "parts" / "sim.md").read_text(encoding="utf-8")
    assert "--cells 1 --microscopes 1 --seed 1 --epochs 3 --hours 10" in card
    assert "3 cells at nine depths each" in " ".join(card.split())
    assert sorted(Archive.read(tmp_path / "parts" / WORLDS).splits["default"]) == [0, 1, 2, 2]
    with pytest.raises(FgafError, match="was started with 1 cells under each of 1 microscopes"):
        pretrain(tmp_path / "parts", replace(TINY, cells=2), settings)


def test_the_shipped_network_is_the_default_one() -> None:
    folder = files("fgaf.model.inference") / "weights"
    assert len((folder / WEIGHTS).read_bytes()) < LIMIT_BYTES
    assert "fgaf-pretrain --cells" in (folder / "sim.md").read_text(encoding="utf-8")
    checkpoint = shipped()
    default = preset("default")
    for key in ("backbone", "fgaf", "width", "insertion", "residual", "self_norm", "loss"):
        assert getattr(checkpoint.settings, key) == getattr(default, key)
    assert (checkpoint.patch_px, len(checkpoint.class_depths_um)) == (96, 9)
