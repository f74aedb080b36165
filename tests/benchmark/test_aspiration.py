"""The benchmark of aspiration: trials, sources of depth, causes, resuming, and the command."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import asdict, dataclass, replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fgaf.base.errors import ExistsError, FormatError, SettingError
from fgaf.model.bench.aspiration.benchmark import Request, run_benchmark
from fgaf.model.bench.aspiration.causes import Cause, Course, cause_of
from fgaf.model.bench.aspiration.cell import MICROSCOPE, Look, draw_subject
from fgaf.model.bench.aspiration.conditions import Conditions
from fgaf.model.bench.aspiration.depths import FRAME_S, depth_named
from fgaf.model.bench.aspiration.design import RECOMMENDED, TABLE, chosen, design
from fgaf.model.bench.aspiration.following import TICK_S, Following
from fgaf.model.bench.aspiration.summary import PAPER, summarise, wilson
from fgaf.model.bench.aspiration.trial import Outcomes, run_trial
from fgaf.model.bench.aspiration.trials import Trials, perform
from fgaf.model.commands.bench_aspiration import bench_aspiration

TRUE = {"depth": "truth"}


def conditions(**values: Any) -> Conditions:
    """The recommended conditions with true depths, and other values; `__` stands for a point."""
    named = {name.replace("__", "."): value for name, value in values.items()}
    return Conditions().with_values({**RECOMMENDED, **TRUE, **named})


def request(*names: str, count: int = 2) -> Request:
    return Request(chosen(design(TRUE), names), count, count, seed=5)


@dataclass(frozen=True)
class Tried:
    """Conditions of a trial, and how it ends."""

    values: dict[str, Any]
    success: bool
    cause: str = ""


TRIED = {
    "immotile": Tried({"motile": False}, True),
    "motile": Tried({"motile": True}, True),
    "fast": Tried({"motile": False, "procedure__flow_nl_s": 0.3}, False, Cause.FAST),
    "weak": Tried({"motile": False, "procedure__flow_nl_s": 0.0002}, False, Cause.SLOW),
    "adheres": Tried(
        {"motile": False, "pipette__adhesion_share": 1.0, "pipette__adhesion_pn": 1e5},
        False,
        Cause.ADHERED,
    ),
    "wrong height": Tried(
        {"motile": True, "depth": "fixed", "fixed_um": 40.0, "height_um": [4.0, 4.0]},
        False,
        Cause.BENEATH,
    ),
    "out of reach": Tried(
        {"motile": False, "height_um": [4.0, 4.0], "floor_um": 30.0}, False, Cause.UNCHOSEN
    ),
}


@pytest.mark.parametrize("case", TRIED.values(), ids=TRIED)
def test_a_trial_ends_as_its_conditions_say(case: Tried) -> None:
    told = run_trial(conditions(**case.values), seed=5, number=1)
    assert (told.success, told.cause) == (case.success, case.cause)
    assert told.tip_gap_um > 0
    if case.success:
        assert told.entry_radius_um < 5.0
        assert told.in_view_s >= 1.0
        assert told.verdict == "success"


def test_trials_depend_on_seed_and_number_alone() -> None:
    one, again = (run_trial(conditions(motile=False), 5, 3) for _ in range(2))
    other = run_trial(conditions(motile=False), 5, 4)
    assert repr(one) == repr(again)
    assert one.height_um != other.height_um


OFF_UM = {"truth": 0.02, "network": 1.0, "gray_level_gradient": 3.5, "laplacian": 3.5}
"""Largest error of a height in drive µm; a peak of a phase object's curve is not its focus."""


@pytest.mark.parametrize("name", OFF_UM)
@pytest.mark.parametrize("motile", [False, True])
def test_sources_of_depth_find_the_cell(name: str, motile: bool) -> None:
    rng = np.random.default_rng(3)
    cell = draw_subject(rng, motile, (10.0, 10.0), (50.0, 50.0), (0.0, 0.1), 0.0)
    source = depth_named(name, "sim", 12.0)
    look = Look(cell, source.patch_px, np.random.default_rng(4))
    known = None
    for frame in range(35):
        time_s = frame * FRAME_S
        known = source.look(look, time_s) or known
    assert known is not None
    assert abs(known[0] - look.focus_um(time_s)) < OFF_UM[name]


def test_a_fixed_height_is_the_same_for_all_cells() -> None:
    cells = [
        draw_subject(np.random.default_rng(k), True, (4, 20), (50, 50), (0, 1), 0) for k in (1, 2)
    ]
    looks = [Look(cell, 96, np.random.default_rng(0)) for cell in cells]
    found = [depth_named("fixed", "sim", 12.0).look(look, 0.0) for look in looks]
    assert found[0] == found[1]
    assert found[0] is not None
    assert found[0][0] == pytest.approx(12.0 * MICROSCOPE.reduction)
    assert looks[0].focus_um(0.0) != looks[1].focus_um(0.0)


def test_ignored_refraction_costs_a_quarter_of_the_way_down() -> None:
    """The tip is lowered from 30 µm by the way of the drive, which is 1.335 times too short."""
    held = {"motile": False, "height_um": [10.0, 10.0], "focus_error_um": 0.0}
    right, wrong = (
        run_trial(conditions(refraction=name, dish_error_um=0.0, **held), 5, 1)
        for name in ("known", "ignored")
    )
    assert right.z_error_um == pytest.approx(0.0, abs=0.6)
    assert wrong.z_error_um == pytest.approx((1 - 1 / 1.335) * 20.0, abs=0.6)


@pytest.mark.parametrize(("speed_um_s", "least", "most"), [(50.0, 0.5, 1.0), (100.0, 0.6, 1.4)])
def test_the_stage_follows_as_measured(speed_um_s: float, least: float, most: float) -> None:
    """docs/live.md: 0.77 µm r.m.s. (0.57 to 0.93) at 50 µm/s, 1.05 (0.76 to 1.30) at 100 µm/s."""
    off = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        speeds = (speed_um_s, speed_um_s)
        way = draw_subject(rng, True, (10, 10), speeds, (0, math.pi), 0).swimmer.way
        goal = np.array([0.0, -14.65])
        following = Following(-goal, rng, 250.0)
        following.goal_um = goal
        for tick in range(round(4 / TICK_S)):
            pose = way.pose(tick * TICK_S)
            head = np.array([pose.y_um, pose.x_um])
            if tick * TICK_S > 1:
                off.append(np.linalg.norm(head - following.tip_um - goal))
            following.tick(head, 0.0, True)
    assert least < math.sqrt(np.mean(np.square(off))) < most


HELD = Course(True, True, False, False, False, False, None, 0.0, False, False)
CAUSES = {
    Cause.UNCHOSEN: replace(HELD, chosen=False),
    Cause.UNREADY: replace(HELD, released=False),
    Cause.UNFOUND: replace(HELD, released=False, lost=True),
    Cause.FAST: replace(HELD, entered=True, left=True),
    Cause.ESCAPED: replace(HELD, entered=True),
    Cause.ADHERED: replace(HELD, stuck=True),
    Cause.BENEATH: replace(HELD, passed_um=(2.0, -5.0)),
    Cause.ABOVE: replace(HELD, passed_um=(2.0, 5.0)),
    Cause.BESIDE: replace(HELD, passed_um=(6.0, -5.0)),
    Cause.TURNED: replace(HELD, passed_um=(6.0, 1.0), turned_deg=70.0),
    Cause.RIM: replace(HELD, rim=True),
    Cause.AWAY: replace(HELD, departed=True),
    Cause.SLOW: HELD,
}


@pytest.mark.parametrize("cause", Cause)
def test_causes_follow_from_the_course(cause: Cause) -> None:
    assert cause_of(CAUSES[cause]) is cause


def test_a_sudden_turn_is_a_turn_where_the_cell_departs() -> None:
    assert cause_of(replace(HELD, departed=True, turned_deg=70.0)) is Cause.TURNED


INTERVALS = {
    (48, 50): (0.865, 0.989),
    (49, 50): (0.895, 0.996),
    (46, 50): (0.812, 0.968),
    (400, 400): (0.990, 1.0),
}
"""Wilson's intervals, by successes and trials."""


@pytest.mark.parametrize("counts", INTERVALS)
def test_intervals_are_those_of_wilson(counts: tuple[int, int]) -> None:
    found = wilson(*counts)
    assert (found["low"], found["high"]) == pytest.approx(INTERVALS[counts], abs=5e-4)
    assert wilson(0, 0)["low"] is None


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished benchmark of two rows."""
    out = tmp_path_factory.mktemp("aspiration") / "out"
    run_benchmark(request("immotile-truth", "motile-flow-5"), out)
    return out


def test_any_number_of_workers_gives_the_same(done: Path, tmp_path: Path) -> None:
    two = tmp_path / "two"
    run_benchmark(request("immotile-truth", "motile-flow-5"), two, workers=2)
    for name in ("trials.csv", "results.csv", "results.json", "report.html"):
        assert (two / name).read_bytes() == (done / name).read_bytes()


def test_a_killed_benchmark_goes_on(done: Path, tmp_path: Path) -> None:
    """Lines that are there are not made again, and half a line is."""
    out = tmp_path / "out"
    run_benchmark(request("immotile-truth", "motile-flow-5", count=0), out)
    lines = (done / "trials.csv").read_text().splitlines(keepends=True)
    marked = lines[1].replace(",True,", ",False,", 1)
    (out / "trials.csv").write_text("".join([lines[0], marked, lines[2][:30]]))
    told = run_benchmark(request("immotile-truth", "motile-flow-5"), out)
    again = (out / "trials.csv").read_text().splitlines(keepends=True)
    assert again == [lines[0], marked, *lines[2:]]
    assert [row["trials"] for row in told["rows"]] == [2, 2]


def test_the_table_is_read_as_it_was_written(done: Path) -> None:
    records = Trials(done / "trials.csv").records
    row = request("immotile-truth").rows[0]
    told = summarise(row, [records[row.id, 0], records[row.id, 1]])
    job = request("immotile-truth").jobs()[1]
    assert repr(records[row.id, 1]) == repr(perform(job))
    assert told["successes"] == sum(records[row.id, k]["success"] for k in range(2))


def test_the_paper_is_beside_ours() -> None:
    rows = [row for row in design() if row.id in PAPER]
    assert {row.group for row in rows} == {TABLE}
    assert len(rows) == 3
    told = summarise(rows[0], [{**asdict(NOTHING), "success": True}] * 400)
    assert told["paper"]["success"]["value"] in {0.96, 0.98, 0.92}
    assert 0 < told["paper"]["p"] <= 1


NOTHING = Outcomes(
    True, "", "success", 0, *(1.0 for _ in range(14)), rim_touches=0, cell_dish_touches=0,
    tip_gap_um=1.0, seconds=3.0,
)  # fmt: skip


def test_the_report_has_all_inside(done: Path) -> None:
    page = unescape((done / "report.html").read_text(encoding="utf-8"))
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", page)
    results = json.loads((done / "results.json").read_text())
    assert all(row["label"] in page for row in results["rows"])
    with (done / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trials"]) for row in rows] == [2, 2]
    causes = sum(int(rows[1][cause]) for cause in map(str, Cause))
    assert causes == 2 - int(rows[1]["successes"])


def call(*words: object) -> Result:
    return CliRunner().invoke(bench_aspiration, [str(word) for word in words])


def test_the_command_makes_trials_and_resumes(tmp_path: Path) -> None:
    words = ("--rows", "immotile-truth", "--factor-trials", 1, "--seed", 5, "--workers", 1)
    first = call(*words, "--out", tmp_path / "out", "--json")
    assert first.exit_code == 0, first.output
    again = call(*words, "--out", tmp_path / "out")
    assert again.exit_code == 0, again.output
    assert "immotile: true depth" in again.output
    assert call("--list").output.startswith("table")


@dataclass(frozen=True)
class Refused:
    """What is given, and a part of the one line that answers."""

    words: tuple[str, ...]
    answer: str


REFUSED = {
    "row": Refused(("--rows", "tabel"), "did you mean table?"),
    "setting": Refused(("--set", "flow=1"), "there is no setting 'flow'"),
    "value": Refused(("--set", "procedure.flow_nl_s=-1"), "out of bounds"),
    "range": Refused(("--set", "height_um=[5, 3]"), "must ascend"),
    "pipette": Refused(("--set", "pipette.outer_diameter_um=3"), "must be below"),
    "network": Refused(("--depth", "none", "--rows", "table"), "none"),
    "workers": Refused(("--workers", "2", "--scheduler", "local:2"), "leave out --workers"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_wrong_input_is_one_line(case: Refused, tmp_path: Path) -> None:
    answer = call(*case.words, "--out", tmp_path / "out")
    assert answer.exit_code != 0
    assert case.answer in answer.output
    assert len(answer.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_another_benchmark_is_not_touched(done: Path, tmp_path: Path) -> None:
    other = replace(request("immotile-truth"), seed=6)
    with pytest.raises(ExistsError, match="another seed"):
        run_benchmark(other, done)
    changed = Request(chosen(design({**TRUE, "floor_um": 2.0}), ["immotile-truth"]), 1, 1, seed=5)
    with pytest.raises(ExistsError, match="another settings"):
        run_benchmark(changed, done)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ExistsError, match="not a benchmark"):
        run_benchmark(request("immotile-truth"), tmp_path)
    (tmp_path / "trials.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FormatError, match="not a table of trials"):
        Trials(tmp_path / "trials.csv")
    with pytest.raises(SettingError, match="no source of depth"):
        conditions(depth="guess")
