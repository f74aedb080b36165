"""The commands, as their user meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from PIL import Image

from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.commands.main import main
from fgaf.dataset.quality.contact_sheet import GAP, HEAD
from fgaf.dataset.raw import RawStack

PIXELS = np.random.default_rng(1).integers(0, 4000, (5, 20, 20), dtype=np.uint16)


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    if code and "error:" in result.stderr:
        assert len(result.stderr.splitlines()) == 1
    return result


@pytest.fixture
def tiff(tmp_path: Path) -> Path:
    path = tmp_path / "field 1.tif"
    tifffile.imwrite(path, PIXELS, metadata=None)
    return path


def test_import_ends_with_what_it_wrote_and_the_next_command(tiff: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    said = run("import", tiff, "--out", raw, "--step", 0.5, "--na", 0.65, "--sample", "A").stdout
    assert f"wrote 1 stack, 5 planes, to {raw} (z step 0.5 µm by --step)" in said
    assert f"next: fgaf-curate auto {raw}" in said
    told = json.loads(run("info", raw / "field 1.stack.h5", "--json").stdout)
    assert (told["sample_id"], told["planes"], told["step_um"]) == ("A", 5, 0.5)
    assert told["optics"]["numerical_aperture"] == 0.65
    assert "good" in run("validate", raw / "field 1.stack.h5").stdout


def test_import_says_in_json_what_it_wrote(tiff: Path, tmp_path: Path) -> None:
    said = run("import", tiff, "--out", tmp_path / "raw", "--step", 0.5, "--json").stdout
    (stack,) = json.loads(said)["stacks"]
    assert Path(stack["path"]).is_file()


def test_refusals_are_one_line_with_an_exit_code(tiff: Path, tmp_path: Path) -> None:
    assert "does not contain its z step" in run("import", tiff, "--out", tmp_path, code=2).stderr
    run("import", tiff, "--out", tmp_path, "--step", 0.5)
    assert "exists already" in run("import", tiff, "--out", tmp_path, "--step", 0.5, code=1).stderr
    run("import", tiff, "--out", tmp_path, "--step", 0.5, "--overwrite")
    said = run("import", tiff, "--out", tmp_path / "b", "--step", 1, "--na", -1, code=2).stderr
    assert "'--na': -1 is out of bounds; give 0.001 to 2" in said
    assert "does not exist" in run("info", tmp_path / "absent.h5", code=1).stderr


def test_patches_become_an_archive(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    folder.mkdir()
    for k in range(4):
        tifffile.imwrite(folder / f"{k}.tif", np.roll(PIXELS, k, axis=1), metadata=None)
    out = tmp_path / "dataset.h5"
    said = run("import-patches", folder, "--step", 0.5, "--out", out).stdout
    assert "4 cells x 5 depths, ±1 µm" in said
    assert f"next: fgaf-train {out}" in said
    assert "exists already" in run("import-patches", folder, "--out", out, code=1).stderr
    assert json.loads(run("info", out, "--json").stdout)["methods"] == {"import": 4}


def test_info_shows_numbers_and_a_contact_sheet(good_archive: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    said = run("info", good_archive, "--image", sheet).stdout
    assert "donor" not in said
    assert "12" in said
    with Image.open(sheet) as image:
        width, height = image.size
        assert height == HEAD + 12 * (16 + GAP) - GAP
        left = width - (5 * (16 + GAP) - GAP)
        assert image.getextrema() == (0, 255)
        pixels = np.asarray(image)
    assert pixels[:HEAD, left:].max() > 128
    assert pixels[HEAD:, :left].max() > 128


def test_info_shows_the_planes_of_a_raw_stack(good_stack: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "planes.png"
    said = run("info", good_stack, "--image", sheet).stdout
    assert said.endswith(f"wrote {sheet}\n")
    with RawStack.open(good_stack) as stack, Image.open(sheet) as image:
        rows, columns = stack.shape[1:]
        width, height = image.size
        assert height == 2 * (HEAD + rows + GAP) - GAP
        assert width >= 4 * (columns + GAP) - GAP


def test_validate_has_an_exit_code_and_json(
    good_archive: Path, write_stack: Callable[..., Path], tmp_path: Path
) -> None:
    bad = write_stack(tmp_path / "bad.stack.h5", bit_depth=8)
    assert f"{bad}: error bit-depth:" in run("validate", good_archive, bad, code=1).stdout
    good, worse = json.loads(run("validate", good_archive, bad, "--json", code=1).stdout)
    assert (good["ok"], good["findings"], worse["ok"]) == (True, [], False)
    assert {"name", "severity", "message", "mend"} == set(worse["findings"][0])


def test_split_writes_a_new_archive(good_archive: Path, archive: Archive, tmp_path: Path) -> None:
    out = tmp_path / "split.h5"
    arguments = ("--name", "halves", "--fractions", "0.5,0,0.5", "--by", "field", "--out")
    said = run("split", good_archive, *arguments, out).stdout
    assert "6 train, 0 validation, 6 test" in said
    made = Archive.read(out)
    assert set(made.splits) == {"default", "halves"}
    np.testing.assert_array_equal(made.images, archive.images)
    again = run("split", out, *arguments, tmp_path / "c.h5", code=2).stderr
    assert "never changes; choose another name" in again
    assert "stays unchanged" in run("split", out, "--name", "b", "--out", out, code=1).stderr
    fractions = ("--fractions", "half", "--out", tmp_path / "d.h5")
    assert "is not three numbers" in run("split", out, "--name", "b", *fractions, code=2).stderr
    assert not (tmp_path / "c.h5").exists()


def test_help_loads_no_image_library() -> None:
    code = (
        "import sys; from fgaf.dataset.commands.main import main\n"
        "print([m for m in ('tifffile', 'PIL', 'scipy', 'skimage', 'torch') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_an_archive_read_lazily_is_written_as_it_is(good_archive: Path, tmp_path: Path) -> None:
    with Archive.open(good_archive) as opened:
        copy = write_archive(tmp_path / "copy.h5", opened)
    assert Archive.read(copy).fingerprint == Archive.read(good_archive).fingerprint


def test_archives_are_taken_apart_put_together_and_compared(
    good_archive: Path, tmp_path: Path
) -> None:
    part, rest, whole = (tmp_path / f"{name}.h5" for name in ("part", "rest", "whole"))
    said = run("subset", good_archive, "--sample", "donor 0", "--out", part).stdout
    assert f"wrote {part}: 3 of 12 cells, 15 patches" in said
    without = [f"--without=cell-{k}" for k in (0, 4, 8)]
    assert json.loads(run("subset", good_archive, *without, "--out", rest, "--json").stdout) == {
        "path": str(rest),
        "cells": 9,
        "patches": 45,
    }
    said = run("merge", part, rest, part, "--out", whole).stdout
    assert f"wrote {whole}: 12 cells, 60 patches of 16 px from 3 archives, 3 taken once" in said
    assert f"next: fgaf-data validate {whole}" in said
    assert "no difference" in run("diff", part, part).stdout
    said = run("diff", part, whole, code=1).stdout
    assert "9 cells only in the second: cell-1" in said
    assert json.loads(run("diff", part, whole, "--json", code=1).stdout)["same"] is False
    assert "is an input" in run("merge", part, rest, "--out", rest, code=1).stderr
    wrong = ("--sample", "x", "--out", tmp_path / "none.h5")
    assert "no sample 'x'" in run("subset", part, *wrong, code=2).stderr


def test_folds_are_written_and_named(good_archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "cv.h5"
    said = run("split", good_archive, "--name", "cv", "--folds", 2, "--out", out).stdout
    assert "with split 'cv_2': " in said
    assert f"next: fgaf-train {out} --split cv_1" in said
    told = json.loads(run("info", out, "--json").stdout)
    assert set(told["split_fingerprints"]) == {"default", "cv_1", "cv_2"}
    assert "split" in told["history"]
    few = ("--folds", 9, "--by", "sample", "--out", tmp_path / "d.h5")
    assert "cannot fill 9 folds" in run("split", out, "--name", "b", *few, code=2).stderr
