"""The commands, and what they take."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.raw import RawHeader, RawWriter
from fgaf.model.commands.predict import predict
from fgaf.model.commands.train import train
from fgaf.model.networks.settings import read_settings

QUICK = ["--backbone", "shufflenet_v2_x0_5", "--epochs", "1", "--set", "width=32", "--threads", "1"]


@pytest.fixture(scope="module")
def folder(make_archive: Callable[..., Archive], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive and a run on it, made by the command."""
    folder = tmp_path_factory.mktemp("lab")
    archive = make_archive()
    write_archive(folder / "data.h5", archive)
    words = [str(folder / "data.h5"), "--out", str(folder / "run"), "--log", str(folder / "a.log")]
    call = CliRunner().invoke(train, [*words, *QUICK])
    assert call.exit_code == 0, call.output
    assert f"wrote {folder / 'run'}: top-1" in call.stdout
    assert "next: fgaf-predict" in call.stdout
    tifffile.imwrite(folder / "patches.tif", archive.images[:3], photometric="minisblack")
    Image.fromarray(archive.images[4]).save(folder / "patch.png")
    return folder


def test_the_log_of_a_training_holds_its_epochs_and_files(folder: Path) -> None:
    text = (folder / "a.log").read_text(encoding="utf-8")
    assert "Compute(device='cpu'" in text
    assert 'backbone = "shufflenet_v2_x0_5"' in text
    assert re.search(r"fgaf\.model\.training\.run: epoch 1 of 1: .*val_expected_mae_um = ", text)
    assert f"published {folder / 'run' / 'checkpoint.pt'}" in text


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, fgaf.model.commands.train; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("out", ["nul", "RUN", "new./run"])
def test_a_run_whose_folder_some_file_system_refuses_is_not_begun(out: str, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    call = CliRunner().invoke(train, [str(folder / "data.h5"), "--out", str(folder / out), *QUICK])
    assert call.exit_code == 2, call.output
    assert "Windows" in call.stderr
    assert sorted(folder.rglob("*")) == before


BARE = [
    ("fgaf.model.commands.train", "train", ["data.h5"], "torch", "train"),
    ("fgaf.model.commands.train", "pretrain", [], "torch", "train"),
    ("fgaf.model.commands.bench", "bench", ["data.h5"], "jinja2", "train"),
    ("fgaf.model.commands.export", "export", ["sim", "--archive", "data.h5"], "torch", "train"),
    ("fgaf.model.commands.predict", "predict", ["sim", "data.h5"], "torch", "train"),
]


@pytest.mark.parametrize(("module", "name", "words", "absent", "extra"), BARE)
def test_what_a_bare_install_lacks_is_one_line(
    module: str, name: str, words: list[str], absent: str, extra: str, folder: Path, tmp_path: Path
) -> None:
    """Python finds no package that `sys.modules` maps to None."""
    (tmp_path / "data.h5").write_bytes((folder / "data.h5").read_bytes())
    code = (
        f"import sys, importlib.util as u; sys.modules[{absent!r}] = None; found = u.find_spec\n"
        f"u.find_spec = lambda n, *a: None if n == {absent!r} else found(n, *a)\n"
        f"from {module} import {name} as command; command({words!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr == f"error: {absent} is missing: pip install 'fgaf[{extra}]'\n"


def test_list() -> None:
    call = CliRunner().invoke(train, ["--list", "*shuffle*"])
    assert call.stdout.split() == [
        f"shufflenet_v2_x{size}" for size in ("0_5", "1_0", "1_5", "2_0")
    ]
    assert len(CliRunner().invoke(train, ["--list"]).stdout.split()) == 12


def test_settings_stack_up(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('preset = "paper"\nepochs = 7\nseed = 5\n')
    call = CliRunner().invoke(
        train,
        [
            "--settings",
            str(file),
            "--seed",
            "6",
            "--no-fgaf",
            "--set",
            "lr=1e-3",
            "--show-settings",
        ],
    )
    shown = call.stdout.splitlines()
    for line in ('loss = "wloss"', "epochs = 7", "seed = 6", "fgaf = false", "lr = 0.001"):
        assert line in shown


@pytest.mark.parametrize(
    ("arguments", "code", "needle"),
    [
        ([], 2, "give an archive"),
        (["data.h5", "--out", "run", *QUICK], 1, "pass --resume or --overwrite"),
        (["data.h5", "--out", "new", "--backbone", "resnet"], 2, "did you mean"),
        (["data.h5", "--out", "new", "--set", "epoch=3"], 2, "did you mean epochs"),
        (["data.h5", "--out", "new", "--split", "mine", *QUICK], 1, "no split 'mine'"),
        (["data.h5", "--out", "new", "--settings", "no.toml"], 2, "does not exist"),
        (["patch.png", "--out", "new"], 1, "patch.png"),
        (["nothing.h5", "--out", "new"], 1, "nothing.h5"),
        (["--list", "vgg*"], 2, "no network matches"),
        (["--preset", "paper", "--settings", "x.toml"], 2, "not both"),
        (["data.h5", "--out", "new", "--pretrained", "sim", "--weights", "x.pth"], 2, "not both"),
        (["data.h5", "--out", "new", "--weights", "x.pth", *QUICK], 1, "x.pth does not exist"),
        (["data.h5", "--out", "new", "--weights", "patch.png", *QUICK], 1, "has no weights"),
        (["data.h5", "--out", "new", "--pretrained", "sim", *QUICK], 2, "--set backbone="),
        (["data.h5", "--out", "new", "--folds", "1", *QUICK], 2, "folds"),
        (["data.h5", "--out", "new", "--set", "view=0.1", *QUICK], 2, "leaves 3 of 32 px"),
    ],
)
def test_train_refuses_in_one_line(
    arguments: list[str], code: int, needle: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    call = CliRunner().invoke(train, arguments)
    assert (call.exit_code, call.stderr.count("\n")) == (code, 1)
    assert call.stderr.startswith("error: ")
    assert needle in call.stderr
    assert not Path("new").exists()


def predictions(folder: Path, *names: str) -> list[dict[str, object]]:
    call = CliRunner().invoke(
        predict, [str(folder / "run"), *(str(folder / name) for name in names), "--json"]
    )
    assert call.exit_code == 0, call.stderr
    rows: list[dict[str, object]] = json.loads(call.stdout)
    return rows


@pytest.mark.parametrize(
    ("more", "normalise"),
    [([], "flux"), (["--preset", "default"], "level"), (["--set", "gain=0.2"], "flux")],
    ids=["chosen", "default", "changed"],
)
def test_patches_that_shine_are_trained_with_a_preset_of_their_own(
    more: list[str], normalise: str, make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    archive = make_archive()
    shining = (40 + 20 * np.abs(archive.images.astype(int) - 100)).astype(np.uint16)
    write_archive(tmp_path / "beads.h5", replace(archive, images=shining, fingerprint=""))
    shown = CliRunner().invoke(train, [str(tmp_path / "beads.h5"), "--show-settings", *more])
    assert f'normalise = "{normalise}"' in shown.stdout.splitlines()
    call = CliRunner().invoke(
        train, [str(tmp_path / "beads.h5"), "--out", str(tmp_path / "run"), *QUICK, *more]
    )
    assert call.exit_code == 0, call.output
    assert ("the preset fluorescence is taken" in call.stderr) == (normalise == "flux")
    settings = read_settings(tmp_path / "run" / "settings.toml")
    assert settings.normalise == normalise
    assert settings.gain == (0.2 if "gain=0.2" in more else 0.0 if normalise == "flux" else 0.1)


def test_constant_patches_are_not_trained_on(
    make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    archive = make_archive()
    archive.images[3] = 0
    write_archive(tmp_path / "black.h5", archive)
    run = tmp_path / "run"
    call = CliRunner().invoke(train, [str(tmp_path / "black.h5"), "--out", str(run), *QUICK])
    assert call.exit_code == 1
    assert "every pixel is the same in 1 patch, of cell cell-0" in call.stderr
    assert "fgaf-data validate" in call.stderr
    assert not run.exists()


def test_images_and_archives_give_the_same_depths(folder: Path) -> None:
    archive = predictions(folder, "data.h5")
    assert len(archive) == 50
    assert (archive[7]["cell"], archive[7]["plane"]) == (1, 2)
    images = predictions(folder, "patches.tif", "patch.png")
    assert [row["plane"] for row in images] == [0, 1, 2, 0]
    for mine, its in zip(images, [*archive[:3], archive[4]], strict=True):
        assert mine["depth_um"] == pytest.approx(its["depth_um"], abs=1e-3)
        assert mine["y_px"] is None


def test_text_and_table(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "depths.csv"
    arguments = [str(folder / "run"), str(folder / "patches.tif"), "--csv", str(table)]
    call = CliRunner().invoke(predict, arguments)
    assert call.stdout.count(" ± ") + call.stdout.count("out of range") == 3
    assert table.read_text().splitlines()[0].startswith("source,cell,plane,y_px,x_px,depth_um")
    assert len(table.read_text().splitlines()) == 4
    again = CliRunner().invoke(predict, arguments)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr


def test_cells_of_fields_are_found(folder: Path, tmp_path: Path) -> None:
    """Three planes of a simulated field as a raw stack, one of them as an image."""
    settings = SimulationSettings(seed=3, cells=4, shape=(256, 320), motile=False, debris=0)
    scene = Scene(settings)
    path = tmp_path / "field.stack.h5"
    header = RawHeader.new(
        step_um=0.5, half_range_um=0.5, center_um=0.0, optics=settings.optics, bit_depth=8
    )
    focus = float(np.mean([cell.focus_um for cell in scene.expose(0, 5e-3, 0)[1]]))
    with RawWriter(path, header, (3, 256, 320), np.uint8) as writer:
        for k in range(3):
            z = focus + 1.0 + 0.5 * k
            pixels, _ = scene.expose(0.0, 5e-3, z)
            writer.write(
                k, pixels, z_requested_um=z, z_measured_um=z, time_device_ns=k, time_host_ns=k,
                frame_id=k, exposure_us=5000.0,
            )  # fmt: skip
        writer.publish()
    tifffile.imwrite(tmp_path / "field.tif", pixels)
    call = CliRunner().invoke(predict, [str(folder / "run"), str(tmp_path), "--json"])
    assert call.exit_code == 0, call.stderr
    rows = json.loads(call.stdout)
    _, truth = scene.expose(0.0, 5e-3, z)
    known = np.array([(cell.y_px, cell.x_px) for cell in truth])
    for end, planes in ((".h5", {0, 1, 2}), (".tif", {0})):
        found = [row for row in rows if row["source"].endswith(end)]
        places = np.array([(row["y_px"], row["x_px"]) for row in found])
        assert np.linalg.norm(places[:, None] - known, axis=2).min() < 12
        assert {row["plane"] for row in found} == planes


def test_a_wrong_pixel_of_an_archive_is_reported(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "data.h5"
    broken.write_bytes((folder / "data.h5").read_bytes())
    with h5py.File(broken, "r+") as file:
        file["images"][3, 16, 16] ^= 128
    arguments = [str(folder / "run"), str(broken)]
    call = CliRunner().invoke(predict, arguments)
    assert (call.exit_code, call.stdout, call.stderr.count("\n")) == (1, "", 1)
    assert "checksum differs in /images" in call.stderr
    assert CliRunner().invoke(predict, [*arguments, "--no-verify"]).exit_code == 0


@pytest.mark.parametrize(
    ("pixels", "needle"),
    [
        (np.zeros((3, 32, 32), "f4"), "float"),
        (np.full((32, 32), np.nan, "f4"), "float"),
        (np.zeros((48, 48), "u1"), "48 x 48 px, but the network needs 32 x 32"),
        (np.full((100, 100), 90, "u1"), "no complete cell was found"),
    ],
)
def test_predict_refuses_images_in_one_line(
    pixels: np.ndarray, needle: str, folder: Path, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "mine.tif", pixels, photometric="minisblack")
    call = CliRunner().invoke(predict, [str(folder / "run"), str(tmp_path / "mine.tif")])
    assert (call.exit_code, call.stderr.count("\n")) == (1, 1)
    assert needle in call.stderr
    assert "mine.tif" in call.stderr


def test_predict_takes_the_luminance_of_an_image_in_colour(folder: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "mine.tif", pixels, photometric="rgb")
    call = CliRunner().invoke(predict, [str(folder / "run"), str(tmp_path / "mine.tif")])
    assert call.exit_code == 0, call.output
    assert "mine.tif is in colour: the luminance is used" in call.stderr


def test_predict_goes_by_the_pixel_size_in_the_image(folder: Path, tmp_path: Path) -> None:
    image = np.full((100, 100), 90, np.uint8)
    scale = {"imagej": True, "resolution": (2, 2), "metadata": {"unit": "um"}}
    tifffile.imwrite(tmp_path / "mine.tif", image, **scale)
    call = CliRunner().invoke(predict, [str(folder / "run"), str(tmp_path / "mine.tif")])
    assert (call.exit_code, call.stderr.count("\n")) == (1, 1)
    assert "0.5" in call.stderr
    assert "pixel" in call.stderr


@pytest.mark.parametrize("name", ["mine.btf", "mine.tif"])
def test_predict_reads_images_as_import_does(name: str, folder: Path, tmp_path: Path) -> None:
    patches = tifffile.imread(folder / "patches.tif")
    if name == "mine.tif":
        patches = np.repeat(patches[..., None], 3, axis=-1)
    photometric = "rgb" if patches.ndim == 4 else "minisblack"
    tifffile.imwrite(tmp_path / name, patches, metadata=None, photometric=photometric)
    rows = []
    for path in (folder / "patches.tif", tmp_path / name):
        call = CliRunner().invoke(predict, [str(folder / "run"), str(path), "--json"])
        assert call.exit_code == 0, call.stderr
        rows.append([row["depth_um"] for row in json.loads(call.stdout)])
    assert rows[0] == rows[1]


def test_predict_refuses_other_grids_files_and_places(
    folder: Path, make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    write_archive(tmp_path / "wide.h5", make_archive(cells=2, half_range_um=2.0))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    cases = {
        "wide.h5": "half_range_um = 2 and the network was trained with 1",
        "notes.txt": "not a TIFF, a PNG",
        "empty": "contains no TIFF",
        "absent.tif": "does not exist",
    }
    for name, needle in cases.items():
        call = CliRunner().invoke(predict, [str(folder / "run"), str(tmp_path / name)])
        assert (call.exit_code, call.stderr.count("\n")) == (1, 1)
        assert needle in call.stderr
