"""Focus measures on different cells side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.base.errors import FgafError, SettingError
from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.raw import RawHeader, RawWriter
from fgaf.model.bench.motility import compare_groups, focus_failure, peak_measures, read_group
from fgaf.model.bench.preset import load_preset
from fgaf.model.commands.bench import bench

TENENGRAD = {"Tenengrad": "tenengrad"}


@dataclass(frozen=True)
class Shift:
    name: str
    label_shift_um: float
    truth: bool
    failed: float
    beyond: float


SHIFTS = [
    Shift("peak in focus", 0.0, False, 0.0, 0.0),
    Shift("half a step off is not yet a failure", 0.25, False, 0.0, 0.0),
    Shift("a step off", 0.5, False, 1.0, 0.0),
    Shift("beyond the depth of field", 2.5, False, 1.0, 1.0),
    Shift("the truth judges where it is known", 2.0, True, 0.0, 0.0),
]


@pytest.mark.parametrize("case", SHIFTS, ids=lambda case: case.name)
def test_a_peak_away_from_the_focus_is_a_failure(texture_archive, case: Shift) -> None:
    archive = texture_archive(label_shift_um=case.label_shift_um, truth=case.truth)
    group = focus_failure(archive, TENENGRAD)
    [curve] = group["curves"]
    assert 2.0 < group["depth_of_field_um"] < 2.1
    assert curve["failed"]["value"] == case.failed
    assert curve["failed_depth_of_field"]["value"] == case.beyond
    assert curve["failed"]["low"] <= case.failed <= curve["failed"]["high"]
    assert curve["failed"]["high"] - curve["failed"]["low"] > 0.2  # eight cells say little
    assert curve["off_um"] == pytest.approx(0.0 if case.truth else case.label_shift_um)
    assert group["judged_by"] == ("truth" if case.truth else "labels")


def test_every_cell_counts_and_groups_keep_apart(texture_archive) -> None:
    first, second = texture_archive(cells=8), texture_archive(cells=5, label_shift_um=0.5)
    second = replace(second, true_depth_um=None)
    groups = compare_groups([first, second], TENENGRAD)
    assert [group["name"] for group in groups] == ["textures", "textures (2)"]
    assert [group["cells"] for group in groups] == [8, 5]
    assert [group["curves"][0]["failed"]["value"] for group in groups] == [0, 1]


def test_suggested_labels_are_called_circular(texture_archive) -> None:
    assert focus_failure(texture_archive(method="focus-curve", truth=False), TENENGRAD)["circular"]
    assert not focus_failure(texture_archive(method="focus-curve"), TENENGRAD)["circular"]


def write_stack(path: Path, cells: int) -> Path:
    scene = Scene(
        SimulationSettings(seed=71, cells=cells, shape=(360, 420), motile=False, debris=0)
    )
    header = RawHeader.new(
        step_um=0.5, half_range_um=4.0, center_um=0.0, bit_depth=8, optics=scene.settings.optics
    )
    z = np.arange(-8, 9) * 0.5
    with RawWriter(path, header, (z.size, *scene.settings.shape), np.uint8) as writer:
        for plane, height in enumerate(z):
            writer.write(
                plane,
                scene.expose(plane * 0.03, 0.005, float(height))[0],
                z_requested_um=float(height),
                z_measured_um=float(height),
                time_device_ns=plane,
                time_host_ns=plane,
                frame_id=plane,
                exposure_us=5000.0,
            )
        return writer.publish()


def test_raw_stacks_of_a_folder_are_curated_on_the_way(tmp_path: Path, texture_archive) -> None:
    folder = tmp_path / "immotile"
    folder.mkdir()
    write_stack(folder / "a.stack.h5", cells=4)
    archive = read_group(folder, texture_archive().header)
    assert archive.header.name == "immotile"
    assert (archive.header.step_um, archive.header.patch_px) == (0.5, 32)
    group = focus_failure(archive, TENENGRAD)
    assert group["circular"]
    assert group["curves"][0]["failed"]["value"] == 1  # a phase object has no peak in focus
    assert list(folder.iterdir()) == [folder / "a.stack.h5"]


def test_what_cannot_be_set_beside_is_named(tmp_path: Path, texture_archive) -> None:
    header = texture_archive().header
    with pytest.raises(SettingError, match=r"no archive or folder .*none\.h5"):
        read_group(tmp_path / "none.h5", header)
    with pytest.raises(FgafError, match="contains no raw stacks"):
        read_group(tmp_path, header)
    write_stack(tmp_path / "a.stack.h5", cells=0)
    with pytest.raises(FgafError, match="no cell of the 1 stack "):
        read_group(tmp_path, header)
    constant = load_preset("fig6").model_copy(update={"methods": ()})
    with pytest.raises(SettingError, match="no focus measure that is searched for its peak"):
        peak_measures(constant)


def test_the_command_shows_other_cells_in_the_report(tmp_path: Path, texture_archive) -> None:
    paths = [
        write_archive(tmp_path / f"{name}.h5", replace(archive, header=named(archive, name)))
        for name, archive in (
            ("motile", texture_archive(truth=False, label_shift_um=0.5)),
            ("immotile", texture_archive()),
        )
    ]
    options = ["--preset", "fig6", "--beside", str(paths[1]), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(bench, [str(paths[0]), *options, "--json"])
    assert result.exit_code == 0, result.output
    groups = json.loads(result.stdout)["beside"]
    assert [group["name"] for group in groups] == ["motile", "immotile"]
    assert [curve["label"] for curve in groups[0]["curves"]][:2] == ["Tenengrad", "Laplacian"]
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "motile: Tenengrad fails on 100 %" in html
    assert "immotile: Tenengrad fails on 0 %" in html
    again = CliRunner().invoke(bench, [str(paths[0]), *options[:2], *options[4:], "--json"])
    assert json.loads(again.stdout)["beside"] == []
    assert 'id="beside"' not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def named(archive: Archive, name: str) -> object:
    return archive.header.model_copy(update={"name": name})
