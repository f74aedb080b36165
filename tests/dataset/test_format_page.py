"""The page that describes the formats tells the truth."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fgaf.dataset.archive import Archive

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")


def test_the_ten_lines_read_an_archive(
    good_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    (tmp_path / "dataset.h5").write_bytes(good_archive.read_bytes())
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(code, found)
    archive = Archive.read(good_archive)
    np.testing.assert_array_equal(found["images"], archive.images)
    np.testing.assert_array_equal(found["depth_class"], archive.depth_class)
    np.testing.assert_array_equal(found["side"], archive.split_of_rows())
    assert list(found["sample"]) == list(archive.cells.sample_id)


@pytest.mark.parametrize("kind", ["good_stack", "good_archive"])
def test_every_dataset_and_attribute_is_described(
    kind: str, request: pytest.FixtureRequest
) -> None:
    with h5py.File(request.getfixturevalue(kind)) as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        attributes = list(file.attrs)
        text = [item for item in names if h5py.check_string_dtype(file[item].dtype)]
        assert all(h5py.check_string_dtype(file[item].dtype).length for item in text)
    names = [name.replace("splits/default", "splits/NAME") for name in names]
    assert [name for name in names + attributes if f"`{name}`" not in PAGE] == []


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump is not installed")
@pytest.mark.parametrize("kind", ["good_stack", "good_archive"])
def test_tools_of_other_hdf5_releases_read_every_value(
    kind: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)
    run = subprocess.run(["h5dump", path], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    with h5py.File(path) as file:
        items: list[str] = []
        file.visititems(lambda name, item: items.append(name) if hasattr(item, "shape") else None)
        for name in items:
            assert f'DATASET "{name.split("/")[-1]}"' in run.stdout
        values = re.search(
            r'DATASET "(?:depth_um|z_requested_um)".*?DATA \{(.*?)\}', run.stdout, re.DOTALL
        )
        assert values is not None
        numbers = [float(n) for n in re.sub(r"\(\d+\):", "", values[1]).replace(",", " ").split()]
        column = file["depth_um"] if "depth_um" in file else file["planes/z_requested_um"]
        np.testing.assert_allclose(numbers, column[()], atol=1e-4)
