"""Numbers that people and files give: what cannot be meant is one line, and nothing is written."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import click
import h5py
import numpy as np
import pytest
import tifffile
import zarr
from click.testing import CliRunner, Result
from pydantic import BaseModel

import fgaf.acquire
import fgaf.dataset
import fgaf.model
from fgaf.acquire.tables import Property
from fgaf.base.bounds import Bound
from fgaf.base.errors import SettingError
from fgaf.base.options import Number
from tests.dataset.microscope_tiffs import MmStack

PROGRAMS = {
    entry.name: entry.load()
    for entry in entry_points(group="console_scripts")
    if entry.value.startswith("fgaf.")
}
PLAIN = (click.types.IntParamType, click.types.FloatParamType)
ABSURD = ("nan", "inf", "-inf", "1e300", "-1e300", str(10**30), str(-(10**30)))


@dataclass(frozen=True)
class Flag:
    """An option of a command that takes a number."""

    program: str
    path: tuple[str, ...]
    name: str
    kind: Any

    def __str__(self) -> str:
        return " ".join((self.program, *self.path, self.name))


def flags(program: str, command: click.Command, path: tuple[str, ...] = ()) -> Iterator[Flag]:
    """Find every option for a number, of a command and of those in it."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from flags(program, inner, (*path, name))
    for param in command.params:
        if isinstance(param.type, (*PLAIN, Number)):
            yield Flag(program, path, param.opts[0], param.type)


FLAGS = [flag for name, command in PROGRAMS.items() for flag in flags(name, command)]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(*words: object) -> Result:
    """Run a command that must refuse its usage in one line, and write nothing."""
    program, *rest = map(str, words)
    before = sorted(Path().rglob("*"))
    done = CliRunner().invoke(PROGRAMS[program], rest)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert sorted(Path().rglob("*")) == before
    return done


def test_there_are_options_for_numbers_everywhere() -> None:
    with_numbers = {flag.program for flag in FLAGS}
    assert with_numbers == set(PROGRAMS) - {"fgaf-export"}


@pytest.mark.parametrize("flag", FLAGS, ids=str)
def test_an_option_refuses_what_cannot_be_meant(flag: Flag) -> None:
    assert isinstance(flag.kind, Number), "give it a kind of fgaf.base.bounds"
    negative = ("-1",) if flag.kind.bound.least >= 0 else ()
    for value in (*ABSURD, *negative):
        done = refused(flag.program, *flag.path, f"{flag.name}={value}")
        assert flag.name in done.stderr
        assert f"give {flag.kind.bound}" in done.stderr or "is not a valid" in done.stderr


ASPIRATE = ("fgaf-aspirate", "sim-aspiration", "--depth", "sim")
LISTS = [
    (("fgaf-bench", "dataset.h5", "--seeds", "0,-1"), "-1 is out of bounds"),
    (("fgaf-bench", "dataset.h5", "--seeds", f"0,{10**30}"), "is out of bounds"),
    (("fgaf-data", "split", "x.h5", "--name", "n", "--fractions", "nan,0.5,0.5"), "nan is out"),
    (("fgaf-data", "split", "x.h5", "--name", "n", "--fractions", "1e300,0,0"), "1e+300 is out"),
    (("fgaf-train", "dataset.h5", "--set", "lr=nan"), "lr: nan is out of bounds; give 0 to 10"),
    (("fgaf-train", "dataset.h5", "--set", "batch=1000000000000"), "batch: 1000000000000 is out"),
    (("acq", "stack", "--set", "stage.settle_ms=nan"), "stage.settle_ms: nan is out of bounds"),
    (("acq", "stack", "--set", "camera.timeout_s=1e300"), "camera.timeout_s: 1e+300 is out"),
    (("acq", "stack", "--set", "stage.options.start_um=nan"), "start_um: nan is out of bounds"),
    (("acq", "stack", "--set", "camera.options.row_us=inf"), "row_us: inf is out of bounds"),
    (("acq", "stack", "--set", "simulation.cells=1000000000000"), "simulation.cells: 1000000000"),
    (("acq", "stack", "--set", "simulation.photons=inf"), "simulation.photons: inf is out"),
    (("acq", "stack", "--set", "optics.pixel_size_um=-1"), "optics.pixel_size_um: -1 is out"),
    (
        ("acq", "live", "--set", "xy_stage.x_limits_um=[0, inf]"),
        "x_limits_um.1: inf is out",
    ),
    (("acq", "rig", "show", "sim", "--set", "stage.limits_um=[-inf, 0]"), "stage.limits_um.0"),
    ((*ASPIRATE, "--trials", "0"), "0 is out of bounds; give 1 to 1000000000"),
    ((*ASPIRATE, "--procedure", "papr"), "--procedure papr: give KEY=VALUE, or paper"),
    ((*ASPIRATE, "--procedure", "flow_nl_s=abc"), "flow_nl_s: 'abc' is not a number"),
    (("fgaf-aspirate", "sim", "--depth", "sim"), "add the table [manipulator]"),
]


@pytest.mark.parametrize(("words", "says"), LISTS, ids=lambda v: v if isinstance(v, str) else None)
def test_numbers_in_texts_are_refused_alike(words: tuple[str, ...], says: str) -> None:
    assert says in refused(*words).stderr


def write(name: str, text: str) -> str:
    Path(name).write_text(text)
    return name


TRAINING, RIG, PRESET = "settings.toml", "rig.toml", "mine.toml"
DEVICES = '[camera]\ndriver = "simulated"\n[stage]\ndriver = "simulated"\n'
METHOD = 'name = "mine"\nreference = "a"\n[[methods]]\nid = "a"\nkind = '
TEXTS = [
    (TRAINING, "lr = nan", "lr: nan is out of bounds; give 0 to 10"),
    (TRAINING, "momentum = inf", "momentum: inf is out of bounds"),
    (TRAINING, f"seed = {10**30}", "seed: 1000000000000000... is out of bounds"),
    (RIG, DEVICES + "settle_ms = 1e300", "stage.settle_ms: 1e+300 is out of bounds"),
    (RIG, DEVICES + "limits_um = [0, inf]", "stage.limits_um.1: inf is out of bounds"),
    (RIG, DEVICES + "[optics]\nwavelength_um = 550", "give 0.1 to 20 µm"),
    (PRESET, METHOD + '"boosting"\nlearning_rate = nan', "learning_rate: nan is out of bounds"),
    (PRESET, METHOD + '"fourier"\nhidden = [1000000000000]', "hidden.0: 1000000000000 is out"),
    (PRESET, "seeds = [-1]\n" + METHOD + '"constant"', "seeds.0: -1 is out of bounds"),
    ("places.csv", "x_um,y_um\n1,nan\n", "line 2: y_um: nan is out of bounds"),
]
READERS = {
    TRAINING: ("fgaf-train", "--settings"),
    RIG: ("acq", "rig", "show"),
    PRESET: ("fgaf-bench", "dataset.h5", "--preset"),
    "places.csv": ("acq", "stack", "--positions"),
}


@pytest.mark.parametrize(("name", "text", "says"), TEXTS, ids=[case[2] for case in TEXTS])
def test_settings_files_are_refused_by_file_and_field(name: str, text: str, says: str) -> None:
    done = refused(*READERS[name], write(name, text))
    assert name in done.stderr
    assert says in done.stderr


PIXELS = np.random.default_rng(0).integers(0, 4000, (5, 20, 30)).astype(np.uint16)


def ome(pixels: str = "", planes: str = "", objective: str = "") -> str:
    """Write an OME-TIFF with some of its numbers as given."""
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Instrument ID="I:0"><Objective ID="O:0" {objective}/></Instrument><Image ID="Image:0">'
        '<ObjectiveSettings ID="O:0"/><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
        f'SizeX="30" SizeY="20" SizeZ="5" SizeC="1" SizeT="1" {pixels}>'
        f'<TiffData IFD="0" PlaneCount="5"/>{planes}</Pixels></Image></OME>'
    )
    tifffile.imwrite("s.ome.tif", PIXELS, description=xml.encode(), metadata=None)
    return "s.ome.tif"


def imagej(resolution: float = 5.0, **meta: object) -> str:
    """Write a TIFF as ImageJ does."""
    tifffile.imwrite(
        "s.tif",
        PIXELS,
        imagej=True,
        resolution=(resolution, resolution),
        metadata={"axes": "ZYX", "unit": "um", **meta},
    )
    return "s.tif"


def micromanager(step: float) -> str:
    """Write a file of Micro-Manager's."""
    (file,) = MmStack(PIXELS[None, None, :, None], z_step_um=step).write(Path())
    return str(file)


def ome_zarr(scale: list[object]) -> str:
    """Write an OME-Zarr image."""
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
    transforms = [{"type": "scale", "scale": scale}]
    multiscales = {
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": transforms}],
    }
    attributes = {"multiscales": [{"version": "0.4", **multiscales}]}
    group = zarr.open_group("s.ome.zarr", mode="w", zarr_format=2, attributes=attributes)
    group.create_array("0", data=PIXELS)
    return "s.ome.zarr"


def altered(name: str, **attributes: float) -> str:
    """Copy a stored file and change some of its attributes."""
    shutil.copy(Path(__file__).parent / "dataset" / "formats" / name, name)
    with h5py.File(name, "r+") as file:
        file.attrs.update(attributes)
    return name


def plane(z: str) -> str:
    return "".join(
        f'<Plane TheZ="{k}" TheC="0" TheT="0" PositionZ="{z if k == 2 else k}" PositionZUnit="µm"/>'
        for k in range(5)
    )


STEP = ("--step", "0.5")
IMAGES = [
    (lambda: ome('PhysicalSizeZ="NaN"'), (), "z step of nan µm by OME PhysicalSizeZ"),
    (lambda: ome('PhysicalSizeZ="half"'), STEP, "z step of nan µm by OME PhysicalSizeZ"),
    (lambda: ome('PhysicalSizeX="1e300"'), STEP, "size of 1e+300 µm by OME PhysicalSizeX"),
    (lambda: ome(planes=plane("inf")), STEP, "OME PositionZ of plane 3: inf is out of bounds"),
    (lambda: ome(objective='LensNA="INF"'), STEP, "numerical_aperture: inf is out of bounds"),
    (lambda: ome(objective='NominalMagnification="1e9"'), STEP, "magnification: 1000000000 is"),
    (lambda: imagej(spacing="nan"), (), "z step of nan µm by ImageJ spacing"),
    (lambda: imagej(spacing=1e300), (), "z step of 1e+300 µm by ImageJ spacing"),
    (lambda: imagej(resolution=1e6), STEP, "pixel size of 1e-06 µm by ImageJ resolution"),
    (lambda: micromanager(1e300), (), "z step of 1e+300 µm by OME PhysicalSizeZ"),
    (lambda: ome_zarr(["0.5 µm", 0.2, 0.2]), STEP, "z step of nan µm by OME-Zarr scale of z"),
    (lambda: ome_zarr([0.5, 0.2, float("nan")]), STEP, "pixel size of nan µm by OME-Zarr scale"),
]


@pytest.mark.parametrize(("make", "words", "says"), IMAGES, ids=[case[2] for case in IMAGES])
def test_images_are_refused_by_file_and_field(
    make: Callable[[], str], words: tuple[str, ...], says: str
) -> None:
    name = make()
    done = CliRunner().invoke(PROGRAMS["fgaf-data"], ["import", name, *words])
    assert done.exit_code in (1, 2), done.output
    assert name in done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(Path().rglob("*.h5*"))


FILES = [
    ("raw-2.stack.h5", {"step_um": np.nan}, "attribute step_um: nan is out of bounds"),
    ("raw-2.stack.h5", {"half_range_um": -1.0}, "attribute half_range_um: -1 is out of bounds"),
    ("raw-2.stack.h5", {"pixel_size_um": np.inf}, "attribute pixel_size_um: inf is out of bounds"),
    ("archive-1.h5", {"step_um": 1e300}, "attribute step_um: 1e+300 is out of bounds"),
    ("archive-1.h5", {"wavelength_um": 550.0}, "attribute wavelength_um: 550 is out of bounds"),
]


@pytest.mark.parametrize(("name", "attributes", "says"), FILES, ids=[case[2] for case in FILES])
def test_stacks_and_archives_are_refused_by_file_and_attribute(
    name: str, attributes: dict[str, float], says: str
) -> None:
    path = altered(name, **attributes)
    done = CliRunner().invoke(PROGRAMS["fgaf-data"], ["info", "--no-verify", path])
    assert done.exit_code == 1
    assert f"{path}: {says}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_model_of_unmeant_numbers_is_damaged() -> None:
    from fgaf.model.inference.checkpoint import Checkpoint

    whole = Checkpoint.load(
        Path(fgaf.model.__file__).parent / "inference" / "weights" / "sim.safetensors"
    )
    with pytest.raises(SettingError, match="step_um: nan is out of bounds"):
        replace(whole, step_um=float("nan"))
    with pytest.raises(SettingError, match="deviation: 0 is out of bounds"):
        replace(whole, scale=replace(whole.scale, deviation=0.0))


def numbers(kind: Any) -> Iterator[Any]:
    """Find every number in a type that has no bound of its own or about it."""
    if get_origin(kind) is Annotated and any(isinstance(m, Bound) for m in kind.__metadata__):
        return
    if kind in (int, float):
        yield kind
    if kind != Property and get_origin(kind) is not Literal:
        for inner in get_args(kind):
            yield from numbers(inner)


def models(base: type) -> Iterator[type]:
    """Find every class below another."""
    for model in base.__subclasses__():
        yield model
        yield from models(model)


def test_every_number_of_a_model_has_bounds() -> None:
    """Of settings, headers and drivers' options."""
    for room in (fgaf.dataset, fgaf.acquire, fgaf.model):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    found = [model for model in models(BaseModel) if model.__module__.startswith("fgaf.")]
    assert len(found) > 20
    without = [
        f"{model.__name__}.{name}"
        for model in found
        for name, kind in get_type_hints(model, include_extras=True).items()
        if name in model.model_fields and list(numbers(kind))
    ]
    assert not without
