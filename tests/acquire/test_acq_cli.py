"""`acq` as its user meets it, right and wrong."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fgaf.acquire import load_rig
from fgaf.acquire.commands.main import main
from fgaf.base.console import command_line
from fgaf.dataset import Archive, RawStack
from fgaf.dataset.raw import RawHeader, RawWriter
from fgaf.dataset.truth import head_masks

Acq = Callable[..., Result]


@pytest.fixture
def acq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acq:
    """Run `acq` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def stack(acq: Acq, small: tuple[str, ...]) -> Acq:
    """Run `acq stack` with a small simulated field."""
    settings = [word for override in small for word in ("--set", override)]
    return lambda *words: acq("stack", *settings, *words)


def test_stack_echoes_the_planes_writes_and_says_what_is_next(stack: Acq, tmp_path: Path) -> None:
    done = stack("--out", "raw", "--step", 0.5, "--range", 1, "--sample", "S1")
    assert done.exit_code == 0
    first, planes, wrote, after = done.stdout.splitlines()
    assert planes == "5 planes, 0.5 µm apart, ±1 µm (2 µm in total): z = -1, -0.5, 0, 0.5, 1 µm"
    (path,) = (tmp_path / "raw").glob("S1_*_r001.stack.h5")
    assert wrote == f"wrote 1 stack of 5 planes: {Path('raw') / path.name}"
    assert first == f"writing {Path('raw') / path.name}"
    assert after == f"next: fgaf-curate auto {Path('raw') / path.name}"
    with RawStack.open(path) as raw:
        assert raw.header.sample_id == "S1"


def test_the_log_holds_the_story_of_a_stack_in_order(stack: Acq, tmp_path: Path) -> None:
    done = stack("--out", "raw", "--name", "x", "--range", 0.5, "--log", "night.log")
    assert done.exit_code == 0
    assert done.stderr == ""
    text = (tmp_path / "night.log").read_text(encoding="utf-8")
    planes = [
        event
        for number in (1, 2, 3)
        for event in (
            r"the drive is at \S+ µm, goes to \S+ µm",
            r"the drive stands at \S+ µm after \S+ ms",
            rf"plane {number} of 3: z = \S+ µm requested, \S+ µm read; frame \d+, exposed at \d+",
        )
    ]
    story = [
        "stack begins",
        "rig sim",
        "stage opened by the driver simulated",
        "camera opened by the driver simulated",
        r"frames of 48 x 64 px, 8 bits",
        r"the drive is at 0\.000 µm and will return there",
        "stack 1 of 1: ",
        *planes,
        r"published raw.x\.stack\.h5",
        r"the drive goes back to 0\.000 µm",
        "the drive is back",
        "the devices are closed",
        "stack ends well",
    ]
    assert re.search(".*".join(story), text, re.DOTALL), text


def test_a_log_on_a_full_disk_stops_no_stack(stack: Acq, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no full device here")
    done = stack("--out", "raw", "--name", "x", "--log", "/dev/full")
    assert done.exit_code == 0
    assert done.stderr.count("the log /dev/full cannot be written") == 1
    with RawStack.open(tmp_path / "raw" / "x.stack.h5") as raw:
        raw.verify()


def test_recover_says_its_file_first_and_quotes_it(acq: Acq) -> None:
    path = Path("day 1", "x.stack.h5")
    header = RawHeader.new(step_um=0.5, half_range_um=0.5, center_um=0, bit_depth=8)
    values = {"time_device_ns": 1, "time_host_ns": 1, "frame_id": 0, "exposure_us": 1.0}
    with RawWriter(path, header, (3, 4, 4), np.uint8) as writer:
        pixels = np.ones((4, 4), np.uint8)
        writer.write(0, pixels, z_requested_um=-0.5, z_measured_um=-0.5, **values)  # type: ignore[arg-type]
    done = acq("recover", writer.part)
    assert done.exit_code == 0, done.output
    first, recovered, after = done.stdout.splitlines()
    assert first == f"writing {path}"
    assert recovered == f"recovered 1 of 3 planes: {path}"
    assert after == f"next: {command_line('fgaf-curate', 'auto', path)}"
    assert path.name in after
    assert after.count("'") == 2 * (os.name == "posix")


NAMES = {
    "a device": (("--out", "raw", "--name", "nul"), "'nul.stack.h5' is a device on Windows"),
    "a device as folder": (("--out", "aux/raw"), "'aux' is a device on Windows"),
    "another case": (("--out", "raw", "--name", "A"), "'A.stack.h5' and 'a.stack.h5' are one name"),
    "a folder of another case": (("--out", "Raw"), "'Raw' and 'raw' are one name"),
    "positions": (("--positions", "twins.csv"), "'A1' and 'a1' are one name"),
}


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize(("words", "says"), NAMES.values(), ids=NAMES)
def test_names_that_some_file_system_refuses_are_refused_also_in_a_dry_run(
    words: tuple[str, ...], says: str, dry: tuple[str, ...], stack: Acq, tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.stack.h5").touch()
    (tmp_path / "twins.csv").write_text("x_um,y_um,name\n1,2,A1\n3,4,a1\n")
    before = sorted(tmp_path.rglob("*"))
    done = stack("--range", 0.5, *words, *dry)
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert done.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_stack_as_json(stack: Acq) -> None:
    done = stack("--out", "raw", "--range", 0.5, "--repeat", 2, "--name", "x", "--json")
    result = json.loads(done.stdout)
    assert result["planes"] == 3
    assert result["z_um"] == [-0.5, 0, 0.5]
    assert [Path(file).name for file in result["files"]] == ["x_r001.stack.h5", "x_r002.stack.h5"]
    assert all(Path(file).is_file() for file in result["files"])


def test_dry_run_moves_and_writes_nothing(stack: Acq, tmp_path: Path) -> None:
    done = stack("--out", "raw", "--center", 10, "--dry-run")
    assert done.exit_code == 0
    assert "z = 8, 8.5, 9, 9.5, 10, 10.5, 11, 11.5, 12 µm" in done.stdout
    assert "would write 1 stack of 9 planes" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_planes_from_one_z_to_another_and_downwards(stack: Acq) -> None:
    words = ("--out", "raw", "--name", "x", "--step", 0.5, "--from", 10, "--to", 12.5)
    done = stack(*words, "--downwards")
    assert done.exit_code == 0, done.stderr
    assert "6 planes, 0.5 µm apart" in done.stdout
    assert "z = 10, 10.5, 11, 11.5, 12, 12.5 µm, the highest first" in done.stdout
    with RawStack.open(Path("raw/x.stack.h5")) as raw:
        header = raw.header
        assert raw.planes["z_requested_um"].tolist() == [10, 10.5, 11, 11.5, 12, 12.5]
        assert raw.planes["frame_id"].tolist() == [5, 4, 3, 2, 1, 0]
    assert (header.step_um, header.half_range_um, header.center_um) == (0.5, 1.25, 11.25)
    assert header.planned_planes == 6


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--from", 1), "--from and --to belong together; give both"),
        (("--from", 1, "--to", 3, "--range", 1), "--from and --to replace --range and --center"),
        (("--from", 1, "--to", 3, "--center", 2), "--from and --to replace --range and --center"),
        (("--from", 3, "--to", 1), "give the lower end first"),
        (("--from", 1, "--to", 2.2), "from 1 to 2 and to 2.5 µm"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_planes_that_are_said_wrongly_are_one_line(
    words: tuple[object, ...], says: str, stack: Acq
) -> None:
    done = stack("--out", "raw", *words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_options_reach_the_file(stack: Acq) -> None:
    words = ("--seed", 7, "--exposure-ms", 2, "--center", 3, "--field", "F", "--operator", "me")
    done = stack("--out", "raw", "--name", "x", "--range", 0, "--no-truth", *words)
    assert done.exit_code == 0, done.stderr
    with RawStack.open(Path("raw/x.stack.h5")) as raw:
        assert raw.header.center_um == 3
        assert raw.header.field == "F"
        assert raw.header.operator == "me"
        assert "seed = 7" in raw.header.rig
        assert raw.planes["exposure_us"].tolist() == [2000]
        assert raw.truth() is None


@pytest.mark.parametrize("words", [("--compress",), ("--set", "compress=true")], ids=" ".join)
def test_a_compressed_stack_holds_the_same_pixels(words: tuple[str, ...], stack: Acq) -> None:
    assert stack("--out", ".", "--name", "plain", "--range", 1).exit_code == 0
    assert stack("--out", ".", "--name", "small", "--range", 1, *words).exit_code == 0
    with (
        RawStack.open(Path("plain.stack.h5")) as plain,
        RawStack.open(Path("small.stack.h5")) as small,
    ):
        small.verify()
        assert small.frames.compression == "gzip"
        assert small.frames.id.get_storage_size() < plain.frames.id.get_storage_size()
        np.testing.assert_array_equal(small.frames[:], plain.frames[:])


def test_seeds_give_different_fields_and_the_same_seed_the_same(stack: Acq) -> None:
    pixels = {}
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):
        stack("--out", ".", "--name", name, "--range", 0, "--seed", seed)
        with RawStack.open(Path(f"{name}.stack.h5")) as raw:
            pixels[name] = raw.frames[0].tolist()
    assert pixels["a"] == pixels["c"] != pixels["b"]


@dataclass(frozen=True)
class Wrong:
    words: tuple[object, ...]
    says: str
    exit_code: int = 2


WRONG = [
    Wrong(("--step", 0.5, "--range", 2.2), "the nearest that fit: ±2 and ±2.5 µm"),
    Wrong(("--step", 0), "'--step': 0 is out of bounds; give 0.001 to 1000 µm"),
    Wrong(("--step", "half"), "'half' is not a valid float"),
    Wrong(("--rig", "smi"), "did you mean sim?"),
    Wrong(("--rig", "nowhere.toml"), "no rig 'nowhere.toml'"),
    Wrong(("--set", "stage.setle_ms=3"), "did you mean settle_ms?"),
    Wrong(("--set", "settle"), "write KEY=VALUE"),
    Wrong(("--set", "camera.driver=basle"), "no driver 'basle'"),
    Wrong(("--repeat", 0), "give 1 to 100000"),
    Wrong(("--name", "../x"), "not a plain file name"),
    Wrong(("--exposure-ms", 0), "give 0.0001 to 3600000 ms"),
    Wrong(("--center", 1000), "leave the drive's limits -1000 to 1000 µm"),
    Wrong(("--center", -998), "choose a centre from -996 to 998 µm"),
    Wrong(("--step", 0.001, "--range", 200), "planes: 400001 is out of bounds"),
    Wrong(("--set", "stage.limits_um=[-1, 1]"), "choose a smaller range"),
    Wrong(("--step", 0.1, "--range", 0.2), "tolerance"),
    Wrong(("--exposure-ms", 5000, "--set", "camera.timeout_s=1e-3"), "raise camera.timeout_s", 1),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: " ".join(map(str, case.words)))
def test_wrong_use_is_one_line_and_leaves_nothing(case: Wrong, stack: Acq, tmp_path: Path) -> None:
    done = stack("--out", "raw", *case.words)
    assert done.exit_code == case.exit_code
    assert case.says in done.stderr
    assert "Traceback" not in done.output
    assert not list(tmp_path.rglob("*.h5*"))


def test_an_existing_stack_needs_overwrite(stack: Acq) -> None:
    words = ("--out", "raw", "--name", "x", "--range", 0)
    assert stack(*words).exit_code == 0
    before = Path("raw/x.stack.h5").read_bytes()
    refused = stack(*words)
    assert refused.exit_code == 1
    assert "exists already" in refused.stderr
    assert Path("raw/x.stack.h5").read_bytes() == before
    assert stack(*words, "--overwrite").exit_code == 0
    assert Path("raw/x.stack.h5").read_bytes() != before


@pytest.mark.parametrize("option", [("--seed", 1), ("--realtime",), ("--masks",)])
def test_simulated_options_are_refused_on_a_real_rig(option: tuple[object, ...], acq: Acq) -> None:
    Path("real.toml").write_text("[camera]\ndriver='basler'\n[stage]\ndriver='prior'\n")
    done = acq("stack", "--out", "raw", "--rig", "real.toml", *option)
    assert done.exit_code == 2
    assert "are for simulated rigs only" in done.stderr


def test_masks_of_whole_fields_come_from_the_truth(stack: Acq) -> None:
    words = ("--out", "raw", "--name", "x", "--range", 0.5, "--set", "simulation.motile=false")
    assert stack(*words, "--masks").exit_code == 0
    with RawStack.open(Path("raw/x.stack.h5")) as raw:
        truth, shape = raw.truth(), raw.shape[1:]
    assert truth is not None
    for frame in truth.frames:
        labels = head_masks(frame.cells, shape)
        sperm = {cell.id + 1 for cell in frame.cells if cell.kind == "sperm"}
        assert set(np.unique(labels).tolist()) - {0} <= sperm
        assert labels.any()
    refused = stack(*words, "--masks", "--no-truth", "--overwrite")
    assert refused.exit_code == 2
    assert "leave out --no-truth" in refused.stderr


def test_devices_lists_the_installed_drivers(acq: Acq) -> None:
    done = acq("devices", "--json")
    found = {(row["kind"], row["driver"]): row for row in json.loads(done.stdout)["drivers"]}
    assert found["camera", "simulated"]["state"] == "ready"
    assert found["stage", "simulated"]["package"].startswith("fgaf ")
    assert ("stage", "prior") in found
    assert "simulated" in acq("devices").stdout


def test_rig_show_prints_a_rig_that_works(stack: Acq) -> None:
    shown = CliRunner().invoke(main, ["rig", "show", "sim-relief", "--set", "stage.settle_ms=30"])
    assert "settle_ms = 30" in shown.stdout
    assert 'contrast = "relief"' in shown.stdout
    Path("mine.toml").write_text(shown.stdout, encoding="utf-8")
    assert stack("--rig", "mine.toml", "--out", "raw", "--range", 0).exit_code == 0


def test_simulate_cells_writes_a_labelled_archive(acq: Acq) -> None:
    words = ("simulate-cells", "--cells", 2, "--range", 1, "--patch", 48, "--out", "d.h5")
    done = acq(*words)
    assert done.exit_code == 0, done.stderr
    assert "wrote 2 cells, 10 patches" in done.stdout
    assert "next: fgaf-train d.h5" in done.stdout
    with Archive.open(Path("d.h5")) as archive:
        assert archive.n_cells == 2
        assert archive.images.shape == (10, 48, 48)
        assert archive.true_depth_um is not None
        assert archive.masks is None
    assert "exists already" in acq(*words).stderr
    options = ("--overwrite", "--seed", 1, "--off-grid", "--immotile", "--masks")
    assert acq(*words, *options).exit_code == 0
    assert Archive.read(Path("d.h5")).masks.any(axis=(1, 2)).all()


@dataclass(frozen=True)
class NotAPart:
    name: str
    content: bytes | None
    says: str


NOT_PARTS = [
    NotAPart("x.stack.h5", b"", "give one that ends in .stack.h5.part"),
    NotAPart("x.stack.h5.part", None, "x.stack.h5.part"),
    NotAPart("x.stack.h5.part", b"not HDF5", "x.stack.h5.part"),
]


@pytest.mark.parametrize("case", NOT_PARTS, ids=str)
def test_recover_refuses_what_is_no_broken_run(case: NotAPart, acq: Acq) -> None:
    if case.content is not None:
        Path(case.name).write_bytes(case.content)
    done = acq("recover", case.name)
    assert done.exit_code in (1, 2)
    assert done.stderr.startswith("error: ")
    assert case.says in done.stderr


FIXED = ("motile=false", "shape=[64, 96]", "cells=1", "debris=0", "round_cells=0")


def check(acq: Acq, *words: object) -> Result:
    settings = [word for setting in FIXED for word in ("--set", f"simulation.{setting}")]
    return acq("check", "sim", *settings, "--seconds", 0.001, *words)


def test_check_says_where_it_moves_then_a_line_for_each_finding(acq: Acq) -> None:
    done = check(acq, "--write", "advised.toml")
    assert done.exit_code == 0, done.output
    first, *lines = done.stdout.splitlines()
    assert first.startswith("the drive will move between -5 and 5 µm (limits -1000 to 1000 µm)")
    assert "verdict: ok" in lines
    assert "next: acq stack --rig advised.toml" in lines
    assert load_rig("advised.toml").stage.tolerance_um < 0.1


def test_check_as_json_with_a_bad_drive(acq: Acq) -> None:
    done = check(acq, "--json", "--set", "stage.options.backlash_um=2.6")
    assert done.exit_code == 1
    result = json.loads(done.stdout)
    bad = [verdict for verdict in result["verdicts"] if verdict["level"] == "bad"]
    assert [verdict["name"] for verdict in bad] == ["backlash"]
    assert result["measured"]["backlash_um"] == pytest.approx(2.6, abs=0.2)
    assert result["advised"]["approach_um"] > 2.6
    assert len(result["step"]["times_s"]) == len(result["step"]["positions_um"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--out", "nowhere"), "no folder nowhere"),
        (("--write", "there.toml"), "there.toml exists already"),
        (("--seconds", 0), "give 0.001 to 10000000 s"),
        (("--range", 1), "give --range 1.5 or more"),
    ],
)
def test_wrong_use_of_check_is_one_line(words: tuple[object, ...], says: str, acq: Acq) -> None:
    Path("there.toml").write_text("kept")
    done = check(acq, *words)
    assert done.exit_code in (1, 2)
    assert says in done.stderr
    assert Path("there.toml").read_text() == "kept"


def test_a_rig_that_does_not_open_is_a_bad_link(acq: Acq) -> None:
    drive = ("--set", "stage.driver=prior", "--set", "stage.options={port='/dev/ttyNONE'}")
    done = check(acq, *drive, "--set", "stage.limits_um=[-9, 9]", "--write", "advised.toml")
    assert done.exit_code == 1
    assert "bad      link" in done.stdout
    assert not Path("advised.toml").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--camera", "simulatd", "--stage", "simulated"), "did you mean simulated?"),
        (("--camera", "simulated", "--stage", "prior:COM9"), "prior:COM9 was not found"),
        (("--camera", "simulated"), "no stage was found"),
    ],
)
def test_rig_new_does_not_guess(words: tuple[object, ...], says: str, acq: Acq) -> None:
    done = acq("rig", "new", "x.toml", "--no-probe", "--port", "COM1", *words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert not Path("x.toml").exists()


@pytest.mark.parametrize(
    ("words", "tables"),
    [
        ((), {"xy_stage"}),
        (("--xy-stage", "none"), set()),
        (("--pump", "manual"), {"xy_stage", "pump"}),
        (("--manipulator", "simulated", "--pump", "new-era"), {"xy_stage", "manipulator", "pump"}),
    ],
)
def test_rig_new_takes_devices_that_cannot_be_found(
    words: tuple[str, ...], tables: set[str], acq: Acq
) -> None:
    simulated = ("--camera", "simulated", "--stage", "simulated", "--port", "COM1", "--no-probe")
    done = acq("rig", "new", "x.toml", *simulated, *words)
    assert done.exit_code == 0, done.output
    rig = load_rig("x.toml")
    optional = ("xy_stage", "manipulator", "pump")
    assert {name for name in optional if getattr(rig, name) is not None} == tables
    text = Path("x.toml").read_text(encoding="utf-8")
    assert ("manual: not found" in text, "new-era: not found" in text) == (
        False,
        "new-era" in words,
    )


def test_rig_new_never_overwrites(acq: Acq) -> None:
    words = ("rig", "new", "x.toml", "--camera", "simulated", "--stage", "simulated")
    assert acq(*words).exit_code == 0
    before = Path("x.toml").read_text(encoding="utf-8")
    refused = acq(*words)
    assert refused.exit_code == 1
    assert "x.toml exists already" in refused.stderr
    assert Path("x.toml").read_text(encoding="utf-8") == before


def test_what_a_broken_run_left_is_named(stack: Acq) -> None:
    assert stack("--range", 0, "--name", "x").exit_code == 0
    whole = Path("raw/x.stack.h5")
    whole.rename("raw/old.stack.h5.part")
    done = stack("--range", 0, "--name", "y")
    assert done.exit_code == 0
    assert f"`acq recover {Path('raw', 'old.stack.h5.part')}` publishes it" in done.stderr
    assert Path("raw/old.stack.h5.part").exists()
