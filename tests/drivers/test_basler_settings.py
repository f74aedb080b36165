"""What a Basler camera really works with: read back, recorded and said. Against its emulator."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fgaf import SettingError
from fgaf.acquire.commands.main import main
from fgaf.acquire.device_tables import CameraTable, StageTable
from fgaf.acquire.devices import EffectiveSettings, WallClock
from fgaf.acquire.drivers.basler import open_camera
from fgaf.acquire.drivers.basler_camera import BaslerCamera
from fgaf.acquire.drivers.basler_pixels import PixelFormat
from fgaf.acquire.rig import Opening, Rig, effective_optics
from fgaf.dataset import Optics, RawStack

pylon = pytest.importorskip("pypylon.pylon", reason="pypylon is not installed")

REGION = {"height": 48, "width": 64}
Open = Callable[..., BaslerCamera]


@contextmanager
def opened(**more: Any) -> Iterator[BaslerCamera]:
    rig = Rig(camera=CameraTable(driver="basler"), stage=StageTable(driver="prior"))
    options = {"exposure_ms": 1, "serial_number": "0815-0000", "region": REGION} | more
    camera = open_camera(options, Opening(rig, WallClock()))
    try:
        yield camera
    finally:
        camera.close()


@pytest.mark.parametrize(
    ("pixel_format", "bits", "dtype"),
    [
        ("Mono8", 8, "uint8"),
        ("Mono16", 16, "uint16"),
        ("BayerRG8", 8, "uint8"),
        ("BayerGB10", 10, "uint16"),
        ("BayerBG12", 12, "uint16"),
    ],
)
def test_formats_that_can_be_grey_are_taken(pixel_format: str, bits: int, dtype: str) -> None:
    with opened(pixel_format=pixel_format) as camera:
        camera.start()
        pixels = camera.trigger(5).pixels
        assert (camera.bit_depth, pixels.dtype, pixels.shape) == (bits, dtype, (48, 64))
        assert 2 ** (bits - 2) < int(pixels.max()) < 2**bits
        assert camera.effective.values["PixelFormat"] == pixel_format
        said = "are converted to grey" in " ".join(camera.effective.notes)
        assert said == pixel_format.startswith("Bayer")


def packed(values: np.ndarray[Any, Any], bits: int) -> bytes:
    """Pack numbers without gaps, least significant bit first, as Mono10p and Mono12p are."""
    octets = values.astype("<u2").view(np.uint8).reshape(-1, 2)
    kept = np.unpackbits(octets, axis=1, bitorder="little")[:, :bits]
    return np.packbits(kept.ravel(), bitorder="little").tobytes()


def mono12packed(values: np.ndarray[Any, Any]) -> bytes:
    """Pack pairs of numbers as GigE Vision does: high bytes with the low nibbles between them."""
    one, two = values[0::2].astype(int), values[1::2].astype(int)
    low = (one & 15) | ((two & 15) << 4)
    return np.stack([one >> 4, low, two >> 4], axis=1).astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("Mono10p", lambda values: packed(values, 10)),
        ("Mono12p", lambda values: packed(values, 12)),
        ("Mono12Packed", mono12packed),
    ],
)
def test_packed_pixels_keep_their_values(name: str, data: Callable[..., bytes]) -> None:
    form = PixelFormat(name)
    values = np.random.default_rng(3).integers(0, 2**form.bits, 16 * 8)
    image = pylon.PylonImage()
    held = data(values)
    kind = {"Mono12Packed": "Mono12packed"}.get(name, name)
    image.AttachMemoryView(memoryview(held), getattr(pylon, f"PixelType_{kind}"), 16, 8, 0)
    np.testing.assert_array_equal(form.reader(pylon).read(image).ravel(), values)


def test_binning_is_set_read_back_and_said() -> None:
    with opened(binning=2, region=None) as camera:
        assert camera.effective.binning == 2
        assert camera.effective.values["binning"] == 2
        assert any("2 times as large" in note for note in camera.effective.notes)


def test_binning_that_another_program_left_is_taken_back() -> None:
    factory = pylon.TlFactory.GetInstance()
    device = pylon.InstantCamera(factory.CreateFirstDevice())
    device.Open()
    device.BinningHorizontal.Value = 2
    device.Close()
    with opened() as camera:
        assert int(camera.device.BinningHorizontal.Value) == camera.effective.binning == 1


def test_a_binning_that_the_camera_has_not_is_refused() -> None:
    with pytest.raises(Exception, match="BinningHorizontal"), opened(binning=7):
        pass


@pytest.mark.parametrize(
    ("feature", "instead"),
    [
        ({"PixelFormat": "Mono12"}, "pixel_format"),
        ({"BinningVertical": 2}, "binning"),
        ({"DecimationVertical": 2}, "binning"),
        ({"ExposureTime": 100.0}, "exposure_ms"),
        ({"Width": 32}, "region"),
    ],
)
def test_features_that_the_driver_sets_itself_are_refused(
    feature: dict[str, Any], instead: str
) -> None:
    with pytest.raises(SettingError, match=f"is set by {instead}"), opened(features=feature):
        pass


def test_flips_are_recorded_and_said() -> None:
    with opened(features={"ReverseX": True}) as camera:
        assert camera.effective.values["ReverseX"] is True
        assert "mirrors its images (ReverseX)" in camera.effective.notes[-1]


RIG = """
[camera]
driver = "basler"
exposure_ms = 1.0

[camera.options]
serial_number = "0815-0000"
binning = 2
region = { height = 48, width = 64 }

[stage]
driver = "simulated"

[optics]
pixel_size_um = 0.1
"""


def test_a_stack_has_the_pixel_that_binning_makes_and_what_the_camera_worked_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rig.toml").write_text(RIG)
    words = ["stack", "--rig", "rig.toml", "--range", "0.5", "--name", "x"]
    done = CliRunner().invoke(main, [*words, "--set", "camera.allow_identical=true"])
    assert done.exit_code == 0, done.output
    assert "binning 2 x 2" in done.stdout
    with RawStack.open(Path("raw/x.stack.h5")) as stack:
        assert stack.header.optics.pixel_size_um == pytest.approx(0.2)
        told = json.loads(stack.header.device_settings)["camera"]
    assert told["binning"] == 2
    assert told["PixelFormat"] == "Mono8"
    assert told["exposure_us"] == pytest.approx(1000)


class Told:
    """A camera of which only the settings count."""

    name = "camera"

    def __init__(self, **told: Any) -> None:
        self.effective = EffectiveSettings(**told)


@pytest.mark.parametrize(
    ("rig_um", "told", "found"),
    [
        (0.1, {}, 0.1),
        (0.1, {"binning": 2}, 0.2),
        (None, {"binning": 2}, None),
        (None, {"pixel_size_um": 0.3}, 0.3),
        (0.1, {"binning": 2, "pixel_size_um": 0.2005}, 0.2),
    ],
)
def test_the_pixel_size_follows_rig_binning_and_device(
    rig_um: float | None, told: dict[str, Any], found: float | None
) -> None:
    rig = Rig(
        camera=CameraTable(driver="x"),
        stage=StageTable(driver="x"),
        optics=Optics(pixel_size_um=rig_um),
    )
    camera: Any = Told(**told)
    assert effective_optics(rig, camera).pixel_size_um == (found and pytest.approx(found))


def test_two_pixel_sizes_are_refused_with_both() -> None:
    rig = Rig(
        camera=CameraTable(driver="x"),
        stage=StageTable(driver="x"),
        optics=Optics(pixel_size_um=0.1),
    )
    camera: Any = Told(binning=2, pixel_size_um=0.1)
    with pytest.raises(SettingError, match=r"0\.2 µm in the rig .* x binning 2\) and 0\.1 µm"):
        effective_optics(rig, camera)
