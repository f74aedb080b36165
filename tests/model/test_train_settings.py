"""Settings: presets, TOML, errors that name the mend."""

from pathlib import Path

import pytest

from fgaf.base.errors import SettingError
from fgaf.base.toml import parse_assignment
from fgaf.model.networks.settings import (
    PRESETS,
    TrainSettings,
    preset,
    read_settings,
    to_toml,
)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_survive_toml(name: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(to_toml(preset(name)))
    assert read_settings(path) == preset(name)


def test_the_paper_preset_changes_only_what_the_paper_leaves_open() -> None:
    assert set(PRESETS["paper"]) > set(PRESETS["paper-literal"])
    changed = {
        key for key, value in PRESETS["paper"].items() if PRESETS["paper-literal"].get(key) != value
    }
    assert changed == {"self_norm_start", "wloss_normalise"}


@pytest.mark.parametrize("name", ["paper", "paper-literal"])
def test_the_papers_figures_are_in_both_readings(name: str) -> None:
    s = preset(name)
    assert (s.lr, s.momentum, s.weight_decay, s.batch) == (0.01, 0.9, 1e-4, 64)
    assert (s.residual, s.pooling, s.loss, s.width) == (False, "halve", "wloss", 256)
    assert (s.self_norm, s.cross_norm) == (True, "channel")


def test_the_literal_reading_is_literal() -> None:
    s = preset("paper-literal")
    assert (s.wloss_normalise, s.schedule, s.self_norm_start) == ("none", "constant", 0.5)


def test_a_file_may_name_its_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('preset = "paper"\nbackbone = "resnet18"\nlr = 1\n')
    assert read_settings(path) == preset("paper").with_values({"backbone": "resnet18", "lr": 1.0})


def test_the_schedule_s_old_word_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text('schedule = "onecycle"\n')
    assert read_settings(path) == TrainSettings(schedule="warmup_cosine")
    assert "onecycle" not in to_toml(read_settings(path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs=3", ("epochs", 3)),
        ("lr = 1e-3", ("lr", 1e-3)),
        ("fgaf=false", ("fgaf", False)),
        ("loss=wloss", ("loss", "wloss")),
        ('split="mine"', ("split", "mine")),
    ],
)
def test_assignments(text: str, expected: tuple[str, object]) -> None:
    assert parse_assignment(text) == expected


@pytest.mark.parametrize(
    ("values", "needle"),
    [
        ({"bakbone": "resnet18"}, "did you mean backbone"),
        ({"backbone": "resnet19"}, "did you mean resnet18"),
        ({"epochs": -1}, "epochs: -1 is out of bounds; give 0 to 100000"),
        ({"epochs": 1.5}, "of type int"),
        ({"epochs": True}, "of type int"),
        ({"lr": "fast"}, "of type float"),
        ({"fgaf": 1}, "of type bool"),
        ({"stem_stride": True}, "choose from 0, 1, 2"),
        ({"width": 30}, "multiple of 4"),
        ({"residual": True, "pooling": "halve"}, "pooling = 'keep'"),
        ({"head": "place", "loss": "corn"}, "no answers for loss = 'corn'"),
        ({"backbone": "convnext", "self_norm": True}, "no places for CrossNorm"),
        ({"self_norm_start": 1.0}, "0.01 to 0.99"),
    ],
)
def test_refuses(values: dict[str, object], needle: str) -> None:
    with pytest.raises(SettingError, match=needle) as caught:
        TrainSettings().with_values(values)
    assert "\n" not in str(caught.value)


def test_refuses_what_is_no_assignment_preset_or_file(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="write KEY=VALUE"):
        parse_assignment("epochs")
    with pytest.raises(SettingError, match="did you mean paper"):
        preset("papper")
    path = tmp_path / "bad.toml"
    path.write_text("epochs = = 3")
    with pytest.raises(SettingError, match=r"bad\.toml"):
        read_settings(path)
