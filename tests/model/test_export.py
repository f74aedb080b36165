"""Exports: the checkpoint's answers without torch, or nothing written; damaged files refused."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from fgaf.base import extras
from fgaf.base.errors import FgafError, FormatError, SettingError
from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.storage.optics import Optics
from fgaf.model.commands.export import export
from fgaf.model.commands.predict import predict
from fgaf.model.deploy import export as exporting, verify
from fgaf.model.deploy.export import ExportSettings, export_model
from fgaf.model.deploy.open_model import open_model
from fgaf.model.deploy.seal import EMPTY, seal
from fgaf.model.deploy.shuffles import fold_shuffles
from fgaf.model.deploy.verify import Verdict
from fgaf.model.inference.card import differences
from fgaf.model.inference.checkpoint import Checkpoint, build_network
from fgaf.model.inference.images import Scale
from fgaf.model.inference.out_of_distribution import learn
from fgaf.model.inference.predict import Predictor
from fgaf.model.networks.backbones import SiteShuffleBlock
from fgaf.model.networks.settings import TrainSettings

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Lab:
    """A checkpoint, the archive it belongs to, and two exports."""

    folder: Path
    archive: Archive
    checkpoint: Checkpoint

    @property
    def data(self) -> Path:
        return self.folder / "data.h5"

    @property
    def run(self) -> Path:
        return self.folder / "run" / "checkpoint.pt"

    @property
    def onnx(self) -> Path:
        return self.folder / "run" / "model.onnx"

    @property
    def xml(self) -> Path:
        return self.folder / "run" / "model-int8-tta.xml"


@pytest.fixture(scope="module")
def lab(make_archive: Callable[..., Archive], tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """An untrained network whose weights tell patches apart, and what `fgaf-export` makes of it."""
    folder = tmp_path_factory.mktemp("export")
    write_archive(folder / "data.h5", make_archive(cells=20))
    archive = Archive.read(folder / "data.h5")
    torch.manual_seed(0)
    settings = TrainSettings(backbone="resnet18", width=32, view=0.75, stem_stride=2, tta=False)
    network = build_network(settings, archive.n_classes)
    sides = [archive.images[archive.split_of_rows() == side] for side in (0, 1)]
    scale = Scale.of(sides[0], "level")
    checkpoint = Checkpoint(
        settings=settings,
        weights=network.state_dict(),
        scale=scale,
        step_um=0.5,
        half_range_um=1.0,
        patch_px=32,
        optics=archive.header.optics,
        archive_name="tiny",
        archive_fingerprint=archive.fingerprint,
        epoch=1,
        temperature=0.7,
        familiar=learn(settings, scale, sides[0], sides[1]),
    )
    lab = Lab(folder, archive, checkpoint)
    lab.run.parent.mkdir()
    checkpoint.save(lab.run)
    run, data = str(lab.run.parent), str(lab.data)
    plain = CliRunner().invoke(export, [run, "--archive", data])
    assert plain.exit_code == 0, plain.stderr
    assert re.search(
        r"mean error 0\.\d{4} µm on 20 test patches, the checkpoint's 0\.", plain.stdout
    )
    assert f"next: fgaf-predict {lab.onnx} IMAGES" in plain.stdout
    full = ExportSettings(to="openvino", precision="int8", tta=True)
    files, verdict = export_model(Path(run), lab.data, lab.xml, full)
    assert [file.name for file in files] == ["model-int8-tta.xml", "model-int8-tta.bin"]
    assert verdict.largest_um > 0
    return lab


def test_an_export_answers_as_the_checkpoint(lab: Lab) -> None:
    patches = np.concatenate([lab.archive.images[:79], np.zeros((1, 32, 32), np.uint8)])
    own = Predictor.load(lab.run).read(patches)
    model = open_model(lab.onnx)
    for images in (patches, patches.astype(np.uint16) * 3):
        found = model.read(images)
        assert np.allclose(found.depth_um, own.depth_um, atol=1e-4)
        assert np.allclose(found.spread_um, own.spread_um, atol=1e-4)
        assert np.allclose(found.probabilities, own.probabilities, atol=1e-4)
        assert np.array_equal(found.in_range, own.in_range)
    assert not own.in_range[-1]
    one, spread = model.predict(patches[4])
    assert one.shape == spread.shape == (1,)
    assert one[0] == pytest.approx(own.depth_um[4], abs=1e-4)
    assert model.read(patches[:0]).probabilities.shape == (0, 5)
    kept = replace(Predictor.load(lab.run).card, kind="onnx")
    assert model.card == kept


@pytest.mark.parametrize(("self_norm", "left"), [(False, 0), (True, 16)])
def test_folding_shuffles_changes_no_answer(self_norm: bool, left: int) -> None:
    torch.manual_seed(0)
    settings = TrainSettings(backbone="shufflenet_v2_x0_5", width=32, self_norm=self_norm)
    network = build_network(replace(settings, stem_stride=1), 5).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.2)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    patches = torch.randn(3, 1, 32, 32)
    with torch.no_grad():
        was = network(patches)
        fold_shuffles(network)
        assert sum(isinstance(unit, SiteShuffleBlock) for unit in network.modules()) == left
        torch.testing.assert_close(network(patches), was, rtol=1e-4, atol=1e-4 * was.abs().max())


def test_what_shines_is_scaled_alike_in_an_export(lab: Lab, tmp_path: Path) -> None:
    scale = Scale.of(lab.archive.images, "flux")
    checkpoint = replace(lab.checkpoint, scale=scale, familiar=None)
    checkpoint.save(tmp_path / "checkpoint.pt")
    full = ExportSettings(to="onnx")
    export_model(tmp_path, lab.data, tmp_path / "model.onnx", full)
    patches = lab.archive.images[:9]
    own, found = (open_model(tmp_path / n).read(patches) for n in ("checkpoint.pt", "model.onnx"))
    assert np.allclose(found.depth_um, own.depth_um, atol=1e-4)


def test_views_and_precision_travel_in_the_file(lab: Lab) -> None:
    model = open_model(lab.xml)
    assert (model.card.kind, model.card.precision, model.card.tta) == ("openvino", "int8", True)
    patch = lab.archive.images[3]
    views = np.stack([np.rot90(patch, k) for k in range(4)])
    depths, _ = model.predict(views)
    assert np.ptp(depths) < 0.02
    with pytest.raises(SettingError, match=r"part of the file; export the run again without --tta"):
        open_model(lab.xml, tta=False)
    assert open_model(lab.xml, tta=True).card == model.card


def test_it_runs_without_torch(lab: Lab) -> None:
    code = (
        "import sys, numpy as np; from fgaf.model.deploy.open_model import open_model;"
        "print(open_model(sys.argv[1]).predict(np.full((1, 32, 32), 90, 'u1'))[0].shape);"
        "print(sorted({'torch', 'onnx', 'torchvision'} & set(sys.modules)))"
    )
    for path in (lab.onnx, lab.xml):
        command = [sys.executable, "-c", code, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.split("\n")[:2] == ["(1,)", "[]"]


def test_the_example_of_the_page(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(import onnxruntime.*?)```", PAGE.read_text("utf-8"), re.S)
    monkeypatch.chdir(lab.onnx.parent)
    patches = lab.archive.images[:3]
    found: dict[str, object] = {"patches": patches}
    exec(code, found)
    assert np.allclose(found["depth_um"], Predictor.load(lab.run).predict(patches)[0], atol=1e-4)


def test_predictions_of_an_export_and_of_its_run(lab: Lab, tmp_path: Path) -> None:
    tables = []
    for model in (lab.onnx, lab.run):
        table = tmp_path / f"{model.suffix[1:]}.csv"
        call = CliRunner().invoke(predict, [str(model), str(lab.data), "--csv", str(table)])
        assert call.exit_code == 0, call.stderr
        assert call.stderr == ""
        tables.append([line.rsplit(",", 4) for line in table.read_text().splitlines()])
    assert len(tables[0]) == 101
    for mine, its in zip(*tables, strict=True):
        assert mine[0].rpartition(",")[0] == its[0].rpartition(",")[0]
        assert mine[-1] == its[-1]


def test_a_worse_export_is_not_written(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "WORSE_UM", -0.5)
    traced = onnx.load(lab.onnx)  # tracing anew would take seconds and give the same
    monkeypatch.setattr(exporting, "onnx_model", lambda *_: traced)
    out = lab.folder / "worse" / "model.onnx"
    call = CliRunner().invoke(export, [str(lab.run), "--archive", str(lab.data), "--out", str(out)])
    assert (call.exit_code, call.stderr.count("\n")) == (1, 1)
    assert len(re.findall(r"0\.\d{4} µm", call.stderr)) == 2
    assert not list(out.parent.glob("*"))


def verdict(**values: float) -> Verdict:
    usual = {
        "mae_um": 0.1, "checkpoint_mae_um": 0.1, "run_mae_um": 0.1, "largest_um": 0.0,
        "out_of_range": 0.01, "checkpoint_out_of_range": 0.01, "patches": 900,
    }  # fmt: skip
    return Verdict(**(usual | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "needle"),
    [
        ({"mae_um": 0.111}, "0.1110 µm and the checkpoint's 0.1000 µm"),
        ({"mae_um": float("nan")}, "nan µm"),
        ({"out_of_range": 0.05}, "5.0 % .* 1.0 % by the checkpoint"),
    ],
)
def test_what_is_refused(values: dict[str, float], needle: str) -> None:
    verdict(mae_um=0.1099, out_of_range=0.029).check()
    with pytest.raises(FgafError, match=needle):
        verdict(**values).check()


@pytest.mark.parametrize(
    ("arguments", "code", "needle"),
    [
        (["run"], 2, "--archive"),
        (["run", "--archive", "no.h5", "--out", "x.onnx"], 1, "no.h5"),
        (["nothing", "--archive", "data.h5", "--out", "x.onnx"], 1, "nothing does not exist"),
        (["run", "--archive", "data.h5", "--out", "run/model.onnx"], 1, "exists already"),
        (["run", "--archive", "data.h5", "--out", "x.xml"], 2, "must end in .onnx"),
        (["run", "--archive", "data.h5", "--precision", "bf16"], 2, "--to openvino"),
        (["run", "--archive", "other.h5", "--out", "x.onnx"], 1, "not the archive .*--force"),
        (["run", "--archive", "wide.h5", "--out", "x.onnx"], 1, "half_range_um = 2 and the run 1"),
    ],
)
def test_export_refuses_in_one_line(
    arguments: list[str],
    code: int,
    needle: str,
    lab: Lab,
    make_archive: Callable[..., Archive],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(lab.folder)
    if not Path("other.h5").exists():
        write_archive(Path("other.h5"), make_archive(cells=5, seed=3))
        write_archive(Path("wide.h5"), make_archive(cells=2, half_range_um=2.0))
    call = CliRunner().invoke(export, arguments)
    assert (call.exit_code, call.stderr.count("\n")) == (code, 1)
    assert re.search(needle, call.stderr)
    assert not list(Path().glob("x.*"))


def test_a_missing_library_is_named_with_its_extra(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises(FgafError, match=r"torch and torchvision is missing"):
        open_model(lab.run)
    with pytest.raises(FgafError, match=r"fgaf\[export\]"):
        export_model(lab.run, lab.data, lab.folder / "x.onnx")


def copied(lab: Lab, folder: Path) -> tuple[Path, Path, Path]:
    paths = (folder / "m.onnx", folder / "m.xml", folder / "m.bin")
    for source, path in zip((lab.onnx, lab.xml, lab.xml.with_suffix(".bin")), paths, strict=True):
        path.write_bytes(source.read_bytes())
    return paths


def flipped(path: Path, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.999])
def test_refuses_truncated_files(keep: float, lab: Lab, tmp_path: Path) -> None:
    on_onnx, xml, weights = copied(lab, tmp_path)
    for path in (weights, on_onnx, xml):
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
        with pytest.raises(FormatError, match=r"damaged|truncated"):
            open_model(on_onnx if path is on_onnx else xml)


@pytest.mark.parametrize("at", [0.3, 0.9])
def test_refuses_altered_files(at: float, lab: Lab, tmp_path: Path) -> None:
    on_onnx, xml, weights = copied(lab, tmp_path)
    for path in (on_onnx, weights):
        flipped(path, at)
        with pytest.raises(FormatError, match="damaged or was altered"):
            open_model(on_onnx if path is on_onnx else xml)
    weights.unlink()
    with pytest.raises(FgafError, match=r"m\.bin does not exist"):
        open_model(xml)


def test_refuses_models_of_others_newer_ones_and_other_files(lab: Lab, tmp_path: Path) -> None:
    path, xml, _ = copied(lab, tmp_path)
    model = onnx.load(path)
    texts = {entry.key: entry.value for entry in model.metadata_props}
    for changes, needle in (
        ({"fgaf_version": "99"}, "newer version"),
        ({"fgaf": "{}"}, "its card is incomplete"),
    ):
        onnx.helper.set_model_props(model, texts | changes | {"fgaf_sha256": EMPTY})
        onnx.save(model, path)
        seal(path)
        with pytest.raises(FormatError, match=needle):
            open_model(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    xml.write_text("<net/>")
    for other in (path, xml):
        call = CliRunner().invoke(predict, [str(other), str(lab.data)])
        assert (call.exit_code, call.stderr.count("\n")) == (1, 1)
        assert "not a model written by fgaf-export" in call.stderr
    with pytest.raises(FgafError, match="does not exist"):
        open_model(tmp_path / "absent.onnx")


def test_refuses_patches_of_another_size(lab: Lab) -> None:
    with pytest.raises(FgafError, match="48 x 48 px, but the network needs 32 x 32"):
        open_model(lab.onnx).predict(np.zeros((2, 48, 48), np.uint8), "mine.tif")


@pytest.mark.parametrize(
    ("optics", "patch_px", "found"),
    [
        ({}, 32, []),
        ({"pixel_size_um": 0.1470}, None, []),
        ({"pixel_size_um": 0.11}, None, ["pixels of 0.11 µm, the model's 0.1465"]),
        ({"numerical_aperture": 0.4}, 48, ["patches of 48 px, the model's 32", "aperture of 0.4"]),
        ({"magnification": 20}, None, []),
        ({"magnification": 20, "pixel_size_um": None}, None, ["a magnification of 20"]),
        ({"wavelength_um": 0.57}, None, []),
        ({"wavelength_um": 0.65, "medium_index": 1.5}, None, ["refractive index", "light of 0.65"]),
        ({"wavelength_um": None, "numerical_aperture": None}, None, []),
    ],
)
def test_differences(
    optics: dict[str, float | None], patch_px: int | None, found: list[str], lab: Lab
) -> None:
    card = Predictor(lab.checkpoint).card
    said = differences(card, Optics(**(card.optics.model_dump() | optics)), patch_px)
    assert len(said) == len(found)
    for line, needle in zip(said, found, strict=True):
        assert needle in line


def test_predict_refuses_other_optics_unless_forced(lab: Lab, tmp_path: Path) -> None:
    header = lab.archive.header
    optics = header.optics.model_copy(update={"numerical_aperture": 0.4})
    header = header.model_copy(update={"optics": optics})
    write_archive(tmp_path / "other.h5", replace(lab.archive, header=header))
    arguments = [str(lab.onnx), str(tmp_path / "other.h5"), "--json"]
    call = CliRunner().invoke(predict, arguments)
    assert (call.exit_code, call.stderr.count("\n")) == (1, 1)
    assert "aperture of 0.4, the model's 0.65: " in call.stderr
    forced = CliRunner().invoke(predict, [*arguments, "--force"])
    assert forced.exit_code == 0
    assert forced.stderr.startswith("warning: ")
