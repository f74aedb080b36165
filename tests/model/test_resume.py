"""A stopped run is found again, and goes on with its own settings."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fgaf import SettingError
from fgaf.base.folder_lock import working_in
from fgaf.dataset.archive import Archive, write_archive
from fgaf.model.commands.train import train
from fgaf.model.networks.settings import TrainSettings, to_toml
from fgaf.model.training.resume import unfinished_run

QUICK = ["--backbone", "shufflenet_v2_x0_5", "--epochs", "1", "--set", "width=32", "--threads", "1"]


def command(*arguments: str) -> Result:
    return CliRunner().invoke(train, arguments)


def stop(run: Path) -> None:
    """Leave a run as one that was killed after its last epoch."""
    (run / "metrics.json").unlink()


@pytest.fixture(scope="module")
def lab(make_archive: Callable[..., Archive], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive and two finished runs of it."""
    folder = tmp_path_factory.mktemp("lab")
    write_archive(folder / "data.h5", make_archive())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("data-run", "data-run-2"):
            call = command("data.h5", *QUICK)
            assert call.exit_code == 0, call.output
            assert call.stdout.splitlines()[0] == f"writing {name}"
            assert Path(name, "checkpoint.pt").is_file()
    return folder


@pytest.fixture
def here(lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that is the current folder."""
    for path in lab.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(lab)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_only_unfinished_run_goes_on_with_its_settings(here: Path) -> None:
    stop(here / "data-run")
    call = command("data.h5", "--resume")
    assert call.exit_code == 0, call.output
    assert call.stdout.splitlines()[0] == "writing data-run"
    assert "wrote data-run:" in call.stdout
    assert not (here / "data-run-3").exists()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--epochs", "2"], "epochs = 1, and the command line gives 2"),
        (["--set", "width=64"], "width = 32, and the command line gives 64"),
        (["--preset", "paper"], "and --preset paper gives"),
        (["--folds", "3"], "without folds, and --folds is 3"),
        (["--set", "widht=64"], "unknown setting"),
    ],
)
def test_what_is_given_beside_resume_must_agree(given: list[str], named: str, here: Path) -> None:
    stop(here / "data-run")
    call = command("data.h5", "--resume", "--out", "data-run", *given)
    assert call.exit_code != 0
    assert named in call.stderr


def test_what_agrees_is_taken(here: Path) -> None:
    stop(here / "data-run")
    call = command("data.h5", "--resume", *QUICK, "--preset", "default")
    assert call.exit_code == 0, call.output


@pytest.mark.parametrize(("stopped", "named"), [(0, "no unfinished run"), (2, "data-run-2")])
def test_no_run_or_several_are_not_guessed(stopped: int, named: str, here: Path) -> None:
    for run in ["data-run", "data-run-2"][:stopped]:
        stop(here / run)
    call = command("data.h5", "--resume")
    assert call.exit_code == 2
    assert named in call.stderr
    assert "--out" in call.stderr


def test_a_run_that_another_program_trains_is_not_taken_up(here: Path) -> None:
    stop(here / "data-run")
    with working_in(Path("data-run")):
        call = command("data.h5", "--resume")
        assert call.exit_code == 2
        assert "no unfinished run" in call.stderr
        assert "; another program is training data-run; give the run with --out RUN" in call.stderr
        call = command("data.h5", "--resume", "--out", "data-run")
        assert call.exit_code == 1
        assert "data-run is in use by another program (" in call.stderr
        stop(here / "data-run-2")
        assert unfinished_run(Path("data.h5"), None) == Path("data-run-2")


def test_a_cross_validation_is_found_by_its_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = to_toml(TrainSettings().with_values({"split": "fold_1_of_4"}))
    (tmp_path / "data-folds" / "fold-1").mkdir(parents=True)
    (tmp_path / "data-folds" / "fold-1" / "settings.toml").write_text(settings)
    assert unfinished_run(Path("data.h5"), None) == Path("data-folds")
    (tmp_path / "data-run").mkdir()
    (tmp_path / "data-run" / "settings.toml").write_text(settings)
    assert unfinished_run(Path("data.h5"), 4) == Path("data-folds")
    with pytest.raises(SettingError, match="several"):
        unfinished_run(Path("data.h5"), None)


def test_a_start_that_fails_leaves_no_folder(here: Path) -> None:
    call = command("data.h5", "--split", "absent")
    assert call.exit_code != 0
    assert not (here / "data-run-3").exists()


@pytest.mark.usefixtures("here")
def test_a_second_run_in_one_folder_is_told() -> None:
    """The first is another process that holds the folder while it works there."""
    holds = (
        "import sys, pathlib; from fgaf.base.folder_lock import working_in\n"
        "with working_in(pathlib.Path(sys.argv[1])):\n"
        "    print('holds', flush=True); sys.stdin.read()"
    )
    for folder, arguments in (("new", QUICK), ("new-folds", [*QUICK, "--folds", "2"])):
        first = subprocess.Popen(
            [sys.executable, "-c", holds, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert first.stdout is not None
        assert first.stdout.readline() == "holds\n"
        call = command("data.h5", "--out", folder, *arguments)
        assert call.exit_code == 1
        assert "is in use by another program" in call.stderr
        first.kill()
        first.communicate()
    call = command("data.h5", "--out", "new", *QUICK)
    assert call.exit_code == 0, call.output


def test_a_network_that_learned_nothing_is_told(
    make_archive: Callable[..., Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    archive = make_archive()
    noise = np.random.default_rng(0).integers(0, 255, archive.images.shape, dtype=np.uint8)
    write_archive(tmp_path / "noise.h5", replace(archive, images=noise))
    call = command("noise.h5", *QUICK)
    assert call.exit_code == 0, call.output
    assert "warning: no better than chance" in call.stderr
    metrics = json.loads((tmp_path / "noise-run" / "metrics.json").read_text())
    assert metrics["better_than_chance"] is False
