"""Broken files are reported, none passes as good, none ends in a traceback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from fgaf.base.errors import FormatError
from fgaf.dataset.archive import Archive
from fgaf.dataset.commands.main import main
from fgaf.dataset.quality.validate import validate
from fgaf.dataset.raw import RawStack
from fgaf.dataset.splits.subset_arrays import load_side

Change = Callable[[h5py.File], Any]


def contents(path: Path) -> dict[str, Any]:
    """Everything a reader can see in a file."""
    found: dict[str, Any] = {}

    def look(name: str, item: h5py.Group | h5py.Dataset) -> None:
        found[name + "@"] = {key: str(value) for key, value in item.attrs.items()}
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype.str, item.shape, item[()].tobytes())

    with h5py.File(path, "r") as file:
        look("/", file)
        file.visititems(look)
    return found


def read(path: Path) -> None:
    """Read a file of either kind whole, as the other rooms do."""
    if path.name.endswith(".stack.h5"):
        with RawStack.open(path) as stack:
            stack.verify()
    else:
        Archive.read(path)


def require_reported(path: Path) -> None:
    report = validate(path)
    assert not report.ok
    assert all("\n" not in str(finding) for finding in report.findings)
    with pytest.raises(FormatError):
        read(path)


def require_never_taken_for_good(broken: Path, good: Path) -> None:
    """Validation reports it; reading refuses it, or shows the contents of the good file."""
    report = validate(broken)
    assert not report.ok
    assert all("\n" not in str(finding) for finding in report.findings)
    try:
        read(broken)
    except FormatError:
        return
    assert contents(broken) == contents(good)


def flip_a_bit(path: Path, rng: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    path.write_bytes(data)


def cut(path: Path, rng: np.random.Generator) -> None:
    """Anywhere, or in the last bytes, which HDF5 does not miss."""
    data = path.read_bytes()
    length = int(rng.integers(len(data)))
    path.write_bytes(data[: length if rng.random() < 0.5 else len(data) - 1 - length % 100])


def items_of(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names


def attributes_of(file: h5py.File) -> list[tuple[str, str]]:
    return [(name, key) for name in ["/", *items_of(file)] for key in file[name].attrs]


def remove_something(path: Path, rng: np.random.Generator) -> None:
    """A dataset, a group or an attribute."""
    with h5py.File(path, "r+") as file:
        if rng.random() < 0.5:
            del file[rng.choice(items_of(file))]
        else:
            name, key = rng.choice(attributes_of(file))
            del file[name].attrs[key]


def retype_something(path: Path, rng: np.random.Generator) -> None:
    """A dataset, with its seal, or an attribute: numbers to other numbers, text to numbers."""
    with h5py.File(path, "r+") as file:
        if rng.random() < 0.5:
            datasets = [name for name in items_of(file) if isinstance(file[name], h5py.Dataset)]
            name = rng.choice(datasets)
            seals = dict(file[name].attrs)
            number = file[name].dtype.kind in "iuf"
            to = "f4" if number else "i8"
            values = file[name][()].astype(to) if number else np.zeros(file[name].shape, to)
            del file[name]
            file.create_dataset(name, data=values).attrs.update(seals)
        else:
            name, key = rng.choice(attributes_of(file))
            value = file[name].attrs[key]
            file[name].attrs[key] = 1.5 if isinstance(value, str | bytes) else str(value)


CORRUPTIONS = (flip_a_bit, flip_a_bit, cut, remove_something, retype_something)


@pytest.mark.parametrize("kind", ["good_stack", "good_archive"])
@pytest.mark.parametrize("seeds", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_nothing_corrupted_passes_as_good(
    kind: str, seeds: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    good: Path = request.getfixturevalue(kind)
    broken = tmp_path / good.name
    for seed in range(seeds):
        broken.write_bytes(good.read_bytes())
        CORRUPTIONS[seed % len(CORRUPTIONS)](broken, np.random.default_rng(seed))
        require_never_taken_for_good(broken, good)


@pytest.mark.parametrize("kind", ["good_stack", "good_archive"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9])
def test_a_cut_file_is_reported(
    kind: str, share: float, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    good: Path = request.getfixturevalue(kind)
    data = good.read_bytes()
    broken = tmp_path / good.name
    broken.write_bytes(data[: int(share * len(data))])
    require_reported(broken)


def test_a_file_written_anew_by_another_program_is_not_the_published_one(
    good_archive: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.h5"
    with h5py.File(good_archive) as source, h5py.File(copy, "w") as target:
        for name in source:
            source.copy(name, target)
        target.attrs.update(source.attrs)
    (finding,) = validate(copy).findings
    assert (finding.name, finding.severity) == ("end-seal", "error")
    assert Archive.read(copy).fingerprint == Archive.read(good_archive).fingerprint


@dataclass(frozen=True)
class Broken:
    """A change to a good file, and what the line says."""

    name: str
    kind: str
    change: Change
    says: str = ""


def retype(name: str, kind: str) -> Change:
    def change(file: h5py.File) -> None:
        values = file[name][()]
        attributes = dict(file[name].attrs)
        del file[name]
        made = file.create_dataset(name, data=values.astype(kind))
        made.attrs.update(attributes)

    return change


def remove(name: str) -> Change:
    return lambda file: file.__delitem__(name)


def remove_attribute(name: str) -> Change:
    return lambda file: file.attrs.__delitem__(name)


def set_attribute(name: str, value: object) -> Change:
    return lambda file: file.attrs.__setitem__(name, value)


def set_value(name: str, index: object, value: object) -> Change:
    return lambda file: file[name].__setitem__(index, value)


RAW, ARCHIVE = "good_stack", "good_archive"
BROKEN = [
    Broken("no frames", RAW, remove("frames"), "/frames is missing"),
    Broken("no planes", RAW, remove("planes"), "/planes is missing"),
    Broken("no column", RAW, remove("planes/z_measured_um"), "/planes/z_measured_um is missing"),
    Broken("floats for frames", RAW, retype("frames", "f4"), "should be uint8 or uint16"),
    Broken("short floats", RAW, retype("planes/z_measured_um", "f4"), "should be <f8[5]"),
    Broken("no step", RAW, remove_attribute("step_um"), "step_um"),
    Broken("step of text", RAW, set_attribute("step_um", "half"), "step_um"),
    Broken("step of zero", RAW, set_attribute("step_um", 0.0), "step_um"),
    Broken("step altered", RAW, set_attribute("step_um", 0.25), "checksum differs in the attr"),
    Broken("newer", RAW, set_attribute("format_version", 99), "version 99"),
    Broken("no version", RAW, remove_attribute("format_version"), "format_version is missing"),
    Broken("another format", RAW, set_attribute("format", "other"), "does not support"),
    Broken("no format", RAW, remove_attribute("format"), "fgaf did not write"),
    Broken("no seal", RAW, remove_attribute("content_sha256"), "checksum differs"),
    Broken("a pixel", RAW, set_value("frames", (2, 3, 4), 1), "checksum differs in /frames"),
    Broken("a position", RAW, set_value("planes/z_measured_um", 0, 9), "/planes/z_measured_um"),
    Broken("something added", RAW, lambda f: f.create_dataset("more", data=[1]), "/more"),
    Broken("a group for frames", RAW, lambda f: (remove("frames")(f), f.create_group("frames"))),
    Broken("no images", ARCHIVE, remove("images"), "/images is missing"),
    Broken("no depth", ARCHIVE, remove("depth_um"), "/depth_um is missing"),
    Broken("no cells", ARCHIVE, remove("cells"), "/cells is missing"),
    Broken("no splits", ARCHIVE, remove("splits"), "/splits is missing"),
    Broken("no truth", ARCHIVE, remove("true_depth_um"), "checksum differs"),
    Broken("no method", ARCHIVE, remove("cells/method"), "/cells/method is missing"),
    Broken("float cell", ARCHIVE, retype("cell", "f8"), "/cell is <f8[60], should be <i4[60]"),
    Broken("a split", ARCHIVE, set_value("splits/default", 0, 2), "/splits/default"),
    Broken("a label", ARCHIVE, set_value("depth_um", 0, -0.9), "/depth_um"),
    Broken("a name", ARCHIVE, set_value("cells/id", 0, "x"), "/cells/id"),
    Broken("patch size", ARCHIVE, set_attribute("patch_px", 17), "/images is uint16[60, 16, 16]"),
    Broken("licence", ARCHIVE, set_attribute("license", "none"), "the attributes"),
]


@pytest.mark.parametrize("case", BROKEN, ids=lambda c: f"{c.kind[5:]}, {c.name}")
def test_altered_structure_is_named(
    case: Broken, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    good: Path = request.getfixturevalue(case.kind)
    broken = tmp_path / good.name
    broken.write_bytes(good.read_bytes())
    with h5py.File(broken, "r+") as file:
        case.change(file)
    require_reported(broken)
    assert case.says in "\n".join(str(finding) for finding in validate(broken).findings)


def test_what_is_no_file_of_ours_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "a.h5"
    other.write_text("text")
    assert "is not an HDF5 file" in str(validate(other).findings[0])
    assert "does not exist" in str(validate(tmp_path / "absent.h5").findings[0])
    with h5py.File(other, "w") as file:
        file["images"] = [1]
    assert "fgaf did not write" in str(validate(other).findings[0])


@pytest.mark.parametrize(
    ("kind", "name", "arguments"),
    [
        (RAW, "frames", ["info"]),
        (RAW, "frames", ["export", "--to", "ome-tiff", "--out", "out"]),
        (RAW, "frames", ["export", "--to", "ome-zarr", "--out", "out"]),
        (ARCHIVE, "images", ["info"]),
        (ARCHIVE, "images", ["export", "--to", "npz", "--out", "out.npz"]),
        (ARCHIVE, "images", ["split", "--name", "new", "--out", "out.h5"]),
        (ARCHIVE, "images", ["subset", "--sample", "donor 1", "--out", "out.h5"]),
        (ARCHIVE, "images", ["card", "--out", "card.md"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_a_wrong_pixel_is_reported_by_whatever_reads_the_file(
    kind: str,
    name: str,
    arguments: list[str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    good: Path = request.getfixturevalue(kind)
    broken = tmp_path / good.name
    broken.write_bytes(good.read_bytes())
    with h5py.File(broken, "r+") as file:
        set_value(name, (2, 3, 4), 1)(file)
    call = CliRunner().invoke(main, [arguments[0], str(broken), *arguments[1:]])
    assert (call.exit_code, call.stdout) == (1, "")
    assert call.stderr.startswith(f"error: {broken}: checksum differs in /{name};")
    assert not list(tmp_path.glob("out*")) or not any(Path("out").iterdir())
    if arguments == ["info"]:
        found = CliRunner().invoke(main, ["info", "--no-verify", str(broken)]).stdout
        assert "checksums  not compared" in found


def test_a_wrong_pixel_is_not_trained_on_elsewhere(good_archive: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.h5"
    broken.write_bytes(good_archive.read_bytes())
    with h5py.File(broken, "r+") as file:
        set_value("images", (2, 3, 4), 1)(file)
    with pytest.raises(FormatError, match="checksum differs in /images"):
        load_side(broken)


def test_info_tells_what_an_unfinished_stack_needs(good_stack: Path, tmp_path: Path) -> None:
    part = tmp_path / "s.stack.h5.part"
    part.write_bytes(good_stack.read_bytes())
    with h5py.File(part, "r+") as file:
        remove_attribute("content_sha256")(file)
    call = CliRunner().invoke(main, ["info", str(part)])
    assert call.exit_code == 1
    assert "`acq recover`" in call.stderr
    assert CliRunner().invoke(main, ["info", "--no-verify", str(part)]).exit_code == 0
