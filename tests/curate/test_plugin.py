"""The napari plugin in a real napari window."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fgaf.base.errors import FgafError
from fgaf.curate.napari.plugin import get_reader, read_layers
from fgaf.curate.napari.shortcuts import SHORTCUTS
from fgaf.curate.napari.writer import write_stack
from fgaf.dataset import Archive, ArchiveHeader, Cells, write_archive
from fgaf.dataset.derive.subset import take_rows
from fgaf.dataset.raw import RawStack
from tests.screen import needs_screen

# Warnings of the libraries below the window are not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

PIXEL_UM = 0.1465
DEPTHS = ("-0.50", "+0.00", "+0.50")


@pytest.fixture
def stack(flat_stack: Callable[..., Path], tmp_path: Path) -> Path:
    return flat_stack(tmp_path / "field.stack.h5", seed=0, pixel_size_um=PIXEL_UM)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    row = dict.fromkeys(
        ("source", "source_sha256", "sample_id", "field", "annotator", "labelled_utc"), ""
    )
    cell = row | {"id": "a", "focus_um": 0, "focus_plane": 1, "method": "person", "confidence": 1}
    return write_archive(
        tmp_path / "dataset.h5",
        Archive(
            header=ArchiveHeader.new(step_um=0.5, half_range_um=0.5, patch_px=16),
            images=np.zeros((3, 16, 16), np.uint8),
            depth_um=np.array([-0.5, 0, 0.5]),
            plane=np.arange(3, dtype=np.int32),
            cell=np.zeros(3, np.int32),
            center_y=np.zeros(3, np.int32),
            center_x=np.zeros(3, np.int32),
            cells=Cells.from_rows([cell]),
        ),
    )


@needs_screen
def test_files_of_ours_open_in_a_window(stack: Path, archive: Path) -> None:
    import napari

    viewer = napari.Viewer(show=True)
    try:
        viewer.open([str(stack)], plugin="fgaf")
        viewer.open([str(archive)], plugin="fgaf")
        planes, captions, patches = viewer.layers
        assert planes.data.shape == (5, 40, 50)
        np.testing.assert_allclose(planes.scale, (0.5, PIXEL_UM, PIXEL_UM))
        assert planes.axis_labels == ("z", "y", "x")
        assert [str(unit) for unit in planes.units] == ["micrometer"] * 3
        assert patches.data.shape == (1, 3, 16, 16)
        np.testing.assert_allclose(patches.extent.world[:, 1], (-0.5, 0.5))
        assert patches.axis_labels == ("cell", "depth", "y", "x")
        told = captions.text.values[:-1]
        assert list(told) == [f"a: {um} µm, class {n + 1} of 3" for n, um in enumerate(DEPTHS)]
        shown = viewer.screenshot(canvas_only=True, flash=False)
        assert shown.std() > 0
    finally:
        viewer.close()


def test_a_folder_of_stacks_opens_as_one_lazy_layer(
    flat_stack: Callable[..., Path], tmp_path: Path
) -> None:
    for i in range(3):
        flat_stack(tmp_path / f"{i}.stack.h5", seed=i, pixel_size_um=PIXEL_UM)
    reader = get_reader(str(tmp_path))
    assert reader is not None
    ((data, settings, kind),) = reader(str(tmp_path))
    assert kind == "image"
    assert data.shape == (3, 5, 40, 50)
    with RawStack.open(tmp_path / "1.stack.h5") as stack:
        np.testing.assert_array_equal(data[1, 2], stack.frames[2])
        np.testing.assert_array_equal(data[:, 2, 3:5][1], stack.frames[2, 3:5])
    assert settings["axis_labels"] == ("stack", "z", "y", "x")
    flat_stack(tmp_path / "odd.stack.h5", shape=(5, 30, 30), pixel_size_um=PIXEL_UM)
    assert len(reader(str(tmp_path))) == 4


def test_a_layer_is_saved_as_a_raw_stack(stack: Path, tmp_path: Path) -> None:
    ((data, settings, _),) = read_layers(str(stack))
    kept = tmp_path / "kept.stack.h5"
    assert write_stack(str(kept), data[:], settings) == [str(kept)]
    with RawStack.open(stack) as old, RawStack.open(kept) as new:
        np.testing.assert_array_equal(old.frames[:], new.frames[:])
        np.testing.assert_allclose(old.z_um, new.z_um)
        assert new.header.sample_id == old.header.sample_id
        assert new.header.uuid != old.header.uuid
    made = tmp_path / "made.stack.h5"
    scale = {"scale": (0.25, 0.2, 0.2), "units": ("um",) * 3, "translate": (1.0, 0, 0)}
    write_stack(str(made), data[:], scale)
    with RawStack.open(made) as new:
        np.testing.assert_allclose(new.z_um, 1 + 0.25 * np.arange(5))
        assert new.header.optics.pixel_size_um == 0.2
    for wrong, meta, says in (
        (data[0], scale, "planes"),
        (data[:].astype(float), scale, "uint8 or uint16"),
        (data[:], {"scale": (1, 1, 1), "units": ("pixel",) * 3}, "scale in µm"),
    ):
        with pytest.raises(FgafError, match=says):
            write_stack(str(tmp_path / "wrong.stack.h5"), wrong, meta)
    assert not list(tmp_path.glob("wrong*"))


def test_the_manifest_is_valid_and_names_what_exists() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("fgaf")
    manifest.validate_imports()
    done = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", "fgaf"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    keys = manifest.contributions.configurations["keys"].properties
    assert {name: given.default for name, given in keys.items()} == {
        shortcut.action: ", ".join(shortcut.keys) for shortcut in SHORTCUTS
    }


@needs_screen
def test_the_plugin_in_naparis_menus(driver: ModuleType, tmp_path: Path) -> None:
    import napari
    from napari.settings import get_plugin_settings

    from fgaf.curate.napari.preferences import read_preferences

    assert read_preferences().keys == {}
    get_plugin_settings("fgaf").keys.unsure = "K"
    get_plugin_settings("fgaf").curation.annotator = "eve"
    viewer = napari.Viewer(show=True)
    try:
        (layer,) = viewer.open_sample("fgaf", "stack")
        assert layer.data.shape == (17, 520, 640)
        assert "please wait" in layer.name
        assert not layer.data.any()
        driver.wait(lambda: layer.name == "simulated")
        assert layer.metadata["path"].endswith(".stack.h5")
        assert min(plane.std() for plane in layer.data) > 1
        _, start = viewer.window.add_plugin_dock_widget("fgaf", "Curate focus stacks")
        assert start._pixel.text() == "that of the stacks"
        start._folder.setText(str(tmp_path / "session"))
        start.begin()
        assert start.panel is not None, start._line.text()
        assert start.panel.controller.annotator == "eve"
        assert {s.action: s.keys for s in start.panel.shortcuts}["unsure"] == ("K",)
        start.panel.search.stop()
        start.panel.shut()
    finally:
        get_plugin_settings("fgaf").keys.unsure = "U"
        get_plugin_settings("fgaf").curation.annotator = ""
        viewer.close()


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """An archive of 12 cells at three depths, the second cell with its focus 0.1 µm off."""
    rng, n = np.random.default_rng(0), 12
    rows = [
        {
            "id": f"cell{i}",
            "source": "a",
            "source_sha256": "",
            "sample_id": f"donor {i % 2}",
            "field": "",
            "focus_um": -i / 10,
            "focus_plane": 1,
            "annotator": "ann",
            "labelled_utc": "",
            "method": "person",
            "confidence": i / n,
        }
        for i in range(n)
    ]
    depth = np.tile([-0.5, 0.0, 0.5], n)
    depth[3:6] += 0.1
    return write_archive(
        tmp_path / "many.h5",
        Archive(
            header=ArchiveHeader.new(step_um=0.5, half_range_um=0.5, patch_px=16),
            images=rng.integers(90, 120, (3 * n, 16, 16), dtype=np.uint8),
            depth_um=depth,
            plane=np.tile(np.arange(3, dtype=np.int32), n),
            cell=np.repeat(np.arange(n, dtype=np.int32), 3),
            center_y=np.zeros(3 * n, np.int32),
            center_x=np.zeros(3 * n, np.int32),
            cells=Cells.from_rows(rows),
            splits={"default": np.repeat(np.array([0, 2], np.int8), n // 2)},
        ),
    )


@needs_screen
def test_an_archive_is_browsed_by_its_pictures(many: Path, tmp_path: Path) -> None:
    import napari
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer(show=True)
    try:
        _, browser = viewer.window.add_plugin_dock_widget("fgaf", "Browse a dataset archive")
        QApplication.processEvents()
        browser.open(many)
        gallery = browser.gallery
        assert viewer.layers["cell0"].data.shape == (3, 16, 16)
        gallery.sort.setCurrentIndex(gallery.sort.findData("name"))
        names = [entry.name for entry in gallery.model.entries]
        assert names == [f"cell{i}" for i in range(12)]
        gallery.sort.setCurrentIndex(gallery.sort.findData("focus"))
        assert [entry.name for entry in gallery.model.entries] == names[::-1]
        gallery.status.setCurrentIndex(gallery.status.findData("test"))
        gallery.sample.setCurrentIndex(gallery.sample.findData("donor 1"))
        assert [e.name for e in gallery.model.entries] == ["cell11", "cell9", "cell7"]

        QTest.keyClicks(gallery.jump, "cell1")
        QTest.keyClick(gallery.jump, Qt.Key.Key_Return)
        assert "cell1: depth +0.10 µm, class 2 of 3; focus at -0.10 µm" in browser._line.text()
        viewer.dims.set_current_step(0, 2)
        assert "cell1: depth +0.60 µm, class 3 of 3" in browser._line.text()
        QTest.mouseClick(
            browser.film, Qt.MouseButton.LeftButton, pos=browser.film._places()[0].center()
        )
        assert "cell1: depth -0.40 µm, class 1 of 3" in browser._line.text()
        assert viewer.dims.point[0] == pytest.approx(-0.4)

        browser.save_without(["cell0", "cell11"], tmp_path / "fewer.h5")
        assert "wrote" in browser._line.text()
        assert list(Archive.read(tmp_path / "fewer.h5").cells.id) == names[1:11]
        browser.open(tmp_path / "none.h5")
        assert "does not exist" in browser._line.text()
        assert browser.archive is not None
        browser.close()
        assert not viewer.layers
    finally:
        viewer.close()


@needs_screen
def test_the_closed_browser_leaves_the_viewer_as_it_was(many: Path) -> None:
    import napari
    from qtpy.QtWidgets import QApplication, QWidget

    viewer = napari.Viewer(show=True)
    try:
        viewer.add_image(np.zeros((5, 20, 20)), name="mine")
        dock, browser = viewer.window.add_plugin_dock_widget("fgaf", "Browse a dataset archive")
        QApplication.processEvents()
        numbers = dock.window().findChildren(QWidget, "slice_label")
        assert any(number.isVisible() for number in numbers)
        browser.open(many)
        assert not any(number.isVisible() for number in numbers)
        dock.destroyOnClose()  # as its cross does
        assert any(number.isVisible() for number in numbers)
        assert [layer.name for layer in viewer.layers] == ["mine"]
        assert not browser.archive.images  # the file is closed
    finally:
        viewer.close()


def test_an_archive_whose_cells_have_other_depths_opens_patch_by_patch(many: Path) -> None:
    archive = take_rows(Archive.read(many), np.arange(1, 36))
    captions, (images, settings, _) = read_layers(
        str(write_archive(many.with_name("odd.h5"), archive))
    )
    assert images.shape == (35, 16, 16)
    assert settings["axis_labels"] == ("patch", "y", "x")
    assert captions[1]["features"]["caption"][0] == "cell0: +0.00 µm, class 2 of 3"


def test_planes_of_cells_are_read_as_they_are_stored(many: Path) -> None:
    layers = read_layers(str(many))
    images = layers[-1][0]
    stored = Archive.read(many).images.reshape(12, 3, 16, 16)
    np.testing.assert_array_equal(images[4, 1], stored[4, 1])
    np.testing.assert_array_equal(images[2:5, 1, 3:7], stored[2:5, 1, 3:7])
    np.testing.assert_array_equal(images[7], stored[7])
    np.testing.assert_array_equal(np.asarray(images), stored)


def test_other_files_are_left_to_others(tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    other.write_bytes(b"not HDF5")
    assert get_reader(str(other)) is None
