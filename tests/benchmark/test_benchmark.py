import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fgaf.base.errors import ExistsError, FgafError, FormatError, SettingError
from fgaf.base.folder_lock import RUN_LOCK, working_in
from fgaf.base.workers.code import modules_behind
from fgaf.dataset.archive import Archive, write_archive
from fgaf.model.bench.benchmark import run_benchmark
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.methods import KINDS, TrainedMethod, by_kind
from fgaf.model.bench.methods.constant import ConstantMethod
from fgaf.model.bench.methods.focus_measures import PAPER_MEASURES
from fgaf.model.bench.preset import Preset, load_preset, shipped
from fgaf.model.bench.results import METRICS
from fgaf.model.bench.runs import counts, plan_runs
from fgaf.model.commands.bench import bench

pytestmark = pytest.mark.long

SEARCH = Preset.model_validate(
    {
        "name": "search",
        "reference": "tenengrad",
        "methods": [
            {"id": "tenengrad", "kind": "focus", "measure": "tenengrad"},
            {"id": "entropy", "kind": "focus", "measure": "entropy"},
            {"id": "constant", "kind": "constant"},
        ],
    }
)
TINY = {
    "backbone": "shufflenet_v2_x0_5",
    "epochs": 1,
    "width": 8,
    "tta": False,
    "threads": 1,
}
NETWORK = Preset.model_validate(
    {
        "name": "network",
        "reference": "fgaf",
        "methods": [
            {"id": "fgaf", "kind": "classifier", "settings": TINY},
            {"id": "tenengrad", "kind": "focus", "measure": "tenengrad"},
        ],
    }
)
FOLDED = Preset.model_validate(
    {
        "name": "folded",
        "reference": "bare",
        "pairs": {"bare": "tenengrad"},
        "methods": [
            {"id": "bare", "kind": "classifier", "settings": TINY | {"fgaf": False}},
            {"id": "tenengrad", "kind": "focus", "measure": "tenengrad"},
        ],
    }
)


def rows_of(results: dict) -> dict:
    return {row["id"]: row for row in results["methods"]}


def run(archive: Archive, out: Path, preset: Preset = SEARCH, **options) -> tuple[dict, list[str]]:
    """Run a benchmark; return its results and the runs that were not finished before."""
    lines: list[str] = []
    results = run_benchmark(archive, preset, out, say=lines.append, **options)
    return results, [line.split()[1] for line in lines if "finished" not in line]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(bench, [str(argument) for argument in arguments])


def test_a_measure_that_peaks_at_the_truth_is_judged_perfect(tmp_path, texture_archive) -> None:
    results, _ = run(texture_archive(), tmp_path / "out")
    metrics = rows_of(results)["tenengrad"]["metrics"]
    assert metrics["top1"] == {"value": 1, "low": 1, "high": 1}
    assert metrics["mae_um"]["value"] == 0
    assert results["judged_by"] == "truth"
    assert results["focus_curves"][0]["peak_at_focus"] == 1


def test_the_truth_judges_and_the_label_error_is_shown(tmp_path, texture_archive) -> None:
    results, _ = run(texture_archive(label_shift_um=0.5), tmp_path / "out")
    error = results["label_error"]["test"]
    assert error["mean_um"] == error["bias_um"] == error["p95_um"] == 0.5
    assert error["wrong_class"] == pytest.approx(8 / 9)
    tenengrad = rows_of(results)["tenengrad"]
    assert tenengrad["metrics"]["top1"]["value"] == 1
    assert tenengrad["by_label"]["top1"] == pytest.approx(1 / 9)


def test_labels_judge_where_there_is_no_truth(tmp_path, texture_archive) -> None:
    archive = texture_archive(truth=False, label_shift_um=0.5)
    results, _ = run(archive, tmp_path / "out")
    assert results["judged_by"] == "labels"
    assert results["label_error"] is None
    assert rows_of(results)["tenengrad"]["metrics"]["mae_um"]["value"] > 0.4


@dataclass(frozen=True)
class Origin:
    name: str
    method: str
    truth: bool
    circular: bool


ORIGINS = [
    Origin("suggested, no truth", "focus-curve", False, True),
    Origin("suggested, truth known", "focus-curve", True, False),
    Origin("confirmed by a person", "person", False, False),
    Origin("imported", "import", False, False),
]


@pytest.mark.parametrize("case", ORIGINS, ids=lambda case: case.name)
def test_circular_comparisons_are_said_first(tmp_path, texture_archive, case: Origin) -> None:
    archive = texture_archive(method=case.method, truth=case.truth)
    dataset = write_archive(tmp_path / "dataset.h5", archive)
    preset = tmp_path / "search.toml"
    preset.write_text(
        'name = "search"\nreference = "a"\n[[methods]]\nid = "a"\nkind = "focus"\n'
        'measure = "brenner"\n'
    )
    result = command(dataset, "--preset", preset, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("warning: This comparison is circular") is case.circular
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    said = report.find("This comparison is circular")
    assert (0 < said < report.index("<h1>")) is case.circular


def test_finished_runs_are_not_repeated_and_missing_ones_are(tmp_path, texture_archive) -> None:
    archive, out = texture_archive(), tmp_path / "out"
    first, performed = run(archive, out)
    assert len(performed) == len(list((out / "runs").glob("*.json"))) == 3
    again, performed = run(archive, out)
    assert performed == []
    assert again == first
    [entropy] = (out / "runs").glob("entropy*.json")
    entropy.unlink()
    _, performed = run(archive, out)
    assert performed == [entropy.stem]


def test_a_damaged_run_is_named(tmp_path, texture_archive) -> None:
    run(texture_archive(), tmp_path / "out")
    [entropy] = (tmp_path / "out" / "runs").glob("entropy*.json")
    entropy.write_text("{")
    with pytest.raises(FormatError, match=r"entropy.*is damaged; remove it"):
        run(texture_archive(), tmp_path / "out")


def test_a_fingerprint_follows_settings_and_data_but_not_names(texture_archive) -> None:
    def fingerprint(archive: Archive, **method: object) -> str:
        spec = {"id": "a", "kind": "classifier", "settings": TINY} | method
        preset = Preset.model_validate({"name": "p", "reference": spec["id"], "methods": [spec]})
        return plan_runs(preset, EvaluationSet(archive), [0])[0].fingerprint

    archive = texture_archive()
    other_split = {"default": archive.splits["default"][::-1].copy()}
    same = fingerprint(archive)
    assert fingerprint(archive, id="b", label="B") == same
    assert fingerprint(archive, settings=TINY | {"epochs": 2}) != same
    assert fingerprint(replace(archive, fingerprint="other")) != same
    assert fingerprint(replace(archive, splits=other_split)) != same


def test_a_folder_of_another_benchmark_is_kept(tmp_path, texture_archive) -> None:
    out = tmp_path / "out"
    run(texture_archive(), out)
    other = texture_archive(fingerprint="other")
    with pytest.raises(ExistsError, match="another archive; choose another folder or pass --over"):
        run(other, out)
    with pytest.raises(ExistsError, match="another preset"):
        run(texture_archive(), out, SEARCH.model_copy(update={"reference": "entropy"}))
    _, performed = run(other, out, overwrite=True)
    assert len(performed) == 3
    assert len(list((out / "runs").glob("*.json"))) == 3


def test_a_folder_of_something_else_is_never_taken(tmp_path, texture_archive) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ExistsError, match="is not a benchmark; choose another folder"):
        run(texture_archive(), tmp_path, overwrite=True)


def test_csv_and_json_hold_the_same_numbers(tmp_path, texture_archive) -> None:
    results, _ = run(texture_archive(), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results
    table = csv.DictReader(io.StringIO((tmp_path / "out" / "results.csv").read_text()))
    for line, row in zip(table, results["methods"], strict=True):
        assert line["id"] == row["id"]
        for key in METRICS:
            assert float(line[key]) == row["metrics"][key]["value"]
            assert float(line[f"{key}_low"]) == row["metrics"][key]["low"]


def test_differences_and_headline_say_who_is_better(tmp_path, texture_archive) -> None:
    results, _ = run(texture_archive(), tmp_path / "out")
    rows = rows_of(results)
    assert rows["tenengrad"]["against_reference"] is None
    against = rows["constant"]["against_reference"]
    assert against["top1"]["high"] < 0 < against["mae_um"]["low"]
    said = results["headline"]
    assert said == (
        "tenengrad searches all planes of a cell with a mean error of 0.00 µm, the smallest of 3 "
        "methods; the next, entropy (0.00 µm from all planes), is not significantly worse."
    )


def test_a_network_is_trained_once_per_seed_and_seeds_are_pooled(tmp_path, texture_archive) -> None:
    archive, out = texture_archive(cells=10), tmp_path / "out"
    first, performed = run(archive, out, NETWORK, seeds=[1])
    assert [name.rsplit("-", 1)[0] for name in performed] == ["fgaf-seed1", "tenengrad"]
    both, performed = run(archive, out, NETWORK, seeds=[1, 2])
    assert [name.rsplit("-", 1)[0] for name in performed] == ["fgaf-seed2"]
    row = rows_of(both)["fgaf"]
    assert row["seeds"] == [1, 2]
    assert row["label"] == "ShuffleNetV2 x0.5 with FGAF"
    assert row["paper"]["top1"] == pytest.approx(0.7547)
    assert row["per_seed"][0]["mae_um"] == rows_of(first)["fgaf"]["metrics"]["mae_um"]["value"]
    mean = np.mean([seed["mae_um"] for seed in row["per_seed"]])
    assert row["metrics"]["mae_um"]["value"] == pytest.approx(mean)
    training = row["training"]
    assert training["epochs"] == training["best_epochs"] == [1, 1]
    assert training["at_plateau"] == 0  # the best epoch of one is always the last
    assert training["core_hours"] > first["methods"][0]["training"]["core_hours"] > 0
    assert "2 of 2 trainings ended before the plateau" in both["notices"][-1]["text"]
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert [row["best_epochs"] for row in rows] == ["1 1", ""]
    assert rows[0]["at_plateau"] == "0"


def test_a_network_trained_before_is_judged_unless_it_may_know_the_test(
    tmp_path, texture_archive
) -> None:
    dataset = write_archive(tmp_path / "dataset.h5", texture_archive(cells=10))
    other = write_archive(tmp_path / "other.h5", texture_archive(cells=9))
    archive = Archive.read(dataset)
    preset = tmp_path / "network.toml"
    preset.write_text(
        'name = "network"\nreference = "net"\n[[methods]]\nid = "net"\nkind = "classifier"\n'
        'settings = { backbone = "shufflenet_v2_x0_5" }\n'
    )
    run(archive, tmp_path / "first", NETWORK)
    [trained] = (tmp_path / "first" / "models").iterdir()
    options = ("--preset", preset, "--trained", trained, "--json")
    result = command(dataset, "--out", tmp_path / "second", *options)
    assert result.exit_code == 0, result.output
    before = json.loads((tmp_path / "first" / "results.json").read_text())["methods"][0]
    assert json.loads(result.stdout)["methods"][0]["metrics"] == before["metrics"]
    result = command(other, "--out", tmp_path / "third", *options)
    assert result.exit_code == 1
    assert "was trained on another archive and may have used these test cells" in result.stderr


def with_sides(archive: Archive, side: int) -> Archive:
    return replace(archive, splits={"default": np.full(archive.n_cells, side, np.int8)})


@dataclass(frozen=True)
class Refusal:
    name: str
    cells: int
    side: int
    message: str


REFUSALS = [
    Refusal("no test cells", 8, 0, "no test cells; make another with `fgaf-data split`"),
    Refusal("no training cells", 8, 2, "no training cells"),
    Refusal("one cell", 1, 2, "the archive has one cell"),
    Refusal("no cells", 0, 2, "the archive has no cells"),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_data_without_an_answer_is_refused(tmp_path, texture_archive, case: Refusal) -> None:
    archive = with_sides(texture_archive(cells=case.cells), case.side)
    with pytest.raises(FgafError, match=re.escape(case.message)) as caught:
        run(archive, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_second_benchmark_in_one_folder_is_told(tmp_path, texture_archive) -> None:
    dataset = write_archive(tmp_path / "dataset.h5", texture_archive())
    arguments = (dataset, "--preset", "fig6", "--out", tmp_path / "out")
    with working_in(tmp_path / "out"):
        result = command(*arguments)
        assert result.exit_code == 1
        assert "out is in use by another program (" in result.stderr
        assert [p.name for p in (tmp_path / "out").iterdir()] == [RUN_LOCK]
    assert command(*arguments).exit_code == 0


def test_an_error_is_one_line(tmp_path, texture_archive) -> None:
    dataset = write_archive(tmp_path / "dataset.h5", with_sides(texture_archive(), 0))
    result = command(dataset, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: the split 'default' has no test cells")
    assert result.stderr.count("\n") == 1


@dataclass(frozen=True)
class Misuse:
    name: str
    preset: str
    message: str


MISUSES = [
    Misuse("unknown name", "smock", "no preset 'smock'; did you mean smoke?"),
    Misuse("no such file", "mine.toml", "no preset file mine.toml"),
]


@pytest.mark.parametrize("case", MISUSES, ids=lambda case: case.name)
def test_an_unknown_preset_is_one_line(tmp_path, texture_archive, case: Misuse) -> None:
    dataset = write_archive(tmp_path / "dataset.h5", texture_archive())
    result = command(dataset, "--preset", case.preset, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert case.message in result.stderr
    assert result.stderr.count("\n") == 1


@dataclass(frozen=True)
class Text:
    name: str
    toml: str
    message: str


ONE = '[[methods]]\nid = "a"\nkind = "constant"\n'
TEXTS = [
    Text("not TOML", "name = ", "is not valid TOML"),
    Text("unknown key", f'name = "p"\nreference = "a"\nspeed = 3\n{ONE}', "speed: extra inputs"),
    Text("unknown reference", f'name = "p"\nreference = "b"\n{ONE}', "'b' is not one of"),
    Text("same id twice", f'name = "p"\nreference = "a"\n{ONE}{ONE}', "two methods have the same"),
    Text("no methods", 'name = "p"\nreference = "a"\nmethods = []\n', "methods: tuple should have"),
    Text("an id that is a path", f'name = "../p"\nreference = "a"\n{ONE}', "name: string should"),
    Text(
        "a rule without its measure",
        'name = "p"\nreference = "a"\n[[methods]]\nid = "a"\nkind = "focus"\n',
        "rule 'peak' needs a measure",
    ),
    Text(
        "a measure for a rule that has its own",
        'name = "p"\nreference = "a"\n[[methods]]\nid = "a"\nkind = "focus"\n'
        'rule = "phase"\nmeasure = "brenner"\n',
        "rule 'phase' has its own measure",
    ),
]


@pytest.mark.parametrize("case", TEXTS, ids=lambda case: case.name)
def test_a_wrong_preset_file_is_one_line(tmp_path, case: Text) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(case.toml)
    with pytest.raises(SettingError, match=r"mine\.toml") as caught:
        load_preset(str(path))
    assert case.message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_methods_of_one_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="Twin and ConstantMethod are both 'constant'"):
        by_kind(ConstantMethod, type("Twin", (ConstantMethod,), {}))


DEPENDS = {
    "classifier": {
        "fgaf.model.networks.augment",
        "fgaf.model.training.train",
        "fgaf.model.networks.fgaf",
    },
    "trained": {"fgaf.model.networks.decode", "fgaf.model.networks.fgaf"},
    "focus": {"fgaf.curate.focus.suggest", "fgaf.model.bench.methods.focus_measures"},
    "constant": {"fgaf.model.bench.methods.method"},
}


@pytest.mark.parametrize("kind", DEPENDS)
def test_the_code_that_answers_depend_on_is_found_by_its_imports(kind: str) -> None:
    own = KINDS[kind].__module__
    found = set(modules_behind(own, counts))
    assert found >= DEPENDS[kind] | {own}
    assert not {"fgaf.model.bench.report.report", "fgaf.model.bench.runs"} & found


def test_only_what_is_imported_counts() -> None:
    assert "fgaf.model.training.train" not in modules_behind(TrainedMethod.__module__, counts)
    assert len(modules_behind(ConstantMethod.__module__, counts)) == 2


def test_a_wrong_setting_stops_before_anything_is_written(tmp_path, texture_archive) -> None:
    wrong = {"id": "a", "kind": "classifier", "settings": {"epoch": 3}}
    preset = Preset.model_validate({"name": "p", "reference": "a", "methods": [wrong]})
    with pytest.raises(FgafError, match="did you mean epochs"):
        run(texture_archive(), tmp_path / "out", preset)
    assert not (tmp_path / "out").exists()


def test_smoke_compares_fgaf_with_the_five_measures_and_a_constant() -> None:
    smoke = shipped()["smoke"]
    measures = {getattr(method, "measure", "") for method in smoke.methods}
    assert set(PAPER_MEASURES) <= measures
    assert {method.kind for method in smoke.methods} == {"classifier", "focus", "constant"}
    assert next(m for m in smoke.methods if m.id == smoke.reference).settings["fgaf"] is True


def test_dry_run_says_what_is_left(tmp_path, texture_archive) -> None:
    dataset = write_archive(tmp_path / "dataset.h5", texture_archive())
    result = command(dataset, "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0
    assert "to do     fgaf-seed0-" in result.stdout
    assert not (tmp_path / "out").exists()


def test_help_and_list_need_no_torch() -> None:
    code = (
        "import sys; from fgaf.model.commands.bench import bench\n"
        "bench(['--list'], standalone_mode=False)\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib', 'scipy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "\nsmoke: The default classifier" in done.stdout


def test_in_folds_every_cell_is_tested_once_per_seed(tmp_path, texture_archive) -> None:
    archive, out = texture_archive(cells=6), tmp_path / "out"
    results, performed = run(archive, out, FOLDED, seeds=[0, 1], folds=3)
    assert [name.rsplit("-", 1)[0] for name in performed] == [
        *(f"bare-fold{fold}-seed{seed}" for seed in (0, 1) for fold in (1, 2, 3)),
        *(f"tenengrad-fold{fold}" for fold in (1, 2, 3)),
    ]
    data = results["data"]
    assert (data["folds"], data["split"]) == (3, "3 folds")
    assert (data["test_cells"], data["test_patches"]) == (6, 54)
    rows = rows_of(results)
    assert rows["tenengrad"]["metrics"]["top1"] == {"value": 1, "low": 1, "high": 1}
    assert sum(part["n_patches"] for part in rows["bare"]["per_class"]) == 2 * 54
    assert rows["bare"]["seed_spread"]["mae_um"]["n"] == 2
    assert rows["bare"]["cost"]["parameters"] > 100_000
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "the other cells, in 3 folds" in report
    again, performed = run(archive, out, FOLDED, seeds=[0, 1], folds=3)
    assert (performed, again) == ([], results)
    with pytest.raises(ExistsError, match="a benchmark with another split"):
        run(archive, out, FOLDED, seeds=[0, 1])


def test_differences_are_told_from_chance_only_with_enough_cells(tmp_path, texture_archive) -> None:
    few, _ = run(texture_archive(cells=8), tmp_path / "few")
    assert any(
        "are too few for a significant difference" in said["text"] for said in few["notices"]
    )
    many, _ = run(texture_archive(cells=10), tmp_path / "many", folds=5)
    assert not any("for a significant difference" in said["text"] for said in many["notices"])
    against = rows_of(many)["constant"]["against_reference"]["mae_um"]
    assert against["p"] == pytest.approx(2 / 2**10)
    assert against["p_holm"] == pytest.approx(4 / 2**10)
    assert against["low"] <= against["value"] <= against["high"]


def test_a_network_trained_before_is_not_judged_in_folds(tmp_path, texture_archive) -> None:
    trained = {"id": "net", "kind": "trained", "run": "somewhere"}
    preset = Preset.model_validate({"name": "p", "reference": "net", "methods": [trained]})
    with pytest.raises(
        SettingError, match="'net' was trained on one split and cannot be tested in"
    ):
        run(texture_archive(), tmp_path / "out", preset, folds=3)


@dataclass(frozen=True)
class Kept:
    keep: bool
    files: set[str]


@pytest.mark.parametrize(
    "case", [Kept(False, {"checkpoint.pt"}), Kept(True, {"checkpoint.pt", "best.pt", "last.pt"})]
)
def test_what_only_a_training_needs_is_removed(tmp_path, texture_archive, case: Kept) -> None:
    settings = TINY | {"fgaf": False}
    network = {"id": "bare", "kind": "classifier", "settings": settings}
    preset = Preset.model_validate({"name": "p", "reference": "bare", "methods": [network]})
    run(texture_archive(), tmp_path / "out", preset, keep_models=case.keep)
    [folder] = (tmp_path / "out" / "models").iterdir()
    assert {path.name for path in folder.glob("*.pt")} == case.files


def test_a_run_that_fails_is_named_and_the_others_are_kept(tmp_path, texture_archive) -> None:
    wild = {"id": "wild", "kind": "classifier", "settings": TINY | {"lr": 1e3}}
    constant = {"id": "constant", "kind": "constant"}
    spec = {"name": "p", "reference": "constant", "methods": [wild, constant]}
    with pytest.raises(
        FgafError,
        match=r"^wild-seed0-\w+ failed: .*diverged.* run the same command again to resume",
    ):
        run(texture_archive(), tmp_path / "out", Preset.model_validate(spec))
    assert [path.name[:8] for path in (tmp_path / "out" / "runs").iterdir()] == ["constant"]


def test_two_classifiers_alike_are_one_too_many(tmp_path, texture_archive) -> None:
    dataset = write_archive(tmp_path / "dataset.h5", texture_archive())
    options = ("--preset", "table1", "--set", "backbone=resnet18", "--dry-run")
    result = command(dataset, "--out", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert "methods 'resnet18' and 'resnet34' have the same settings" in result.stderr


@dataclass(frozen=True)
class Option:
    name: str
    options: tuple[str, ...]
    message: str


OPTIONS = [
    Option("seed", ("--seeds", "0,one"), "'one' is not a valid integer"),
    Option("setting", ("--set", "epoch=3"), "method 'fgaf': unknown setting 'epoch'; did you mean"),
    Option("no value", ("--set", "epochs"), "'epochs' is not a setting; write KEY=VALUE"),
    Option("folds", ("--folds", "90"), "cannot fill 90 folds; take fewer folds"),
    Option("one fold", ("--folds", "1"), "--folds 1 is too few; give 2 or more"),
]


@pytest.mark.parametrize("case", OPTIONS, ids=lambda case: case.name)
def test_a_wrong_option_is_one_line(tmp_path, texture_archive, case: Option) -> None:
    dataset = write_archive(tmp_path / "dataset.h5", texture_archive())
    result = command(dataset, "--out", tmp_path / "out", *case.options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert case.message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_plan_is_counted_and_given_as_json(tmp_path, texture_archive) -> None:
    dataset = write_archive(tmp_path / "dataset.h5", texture_archive())
    arguments = (dataset, "--preset", "fig6", "--out", tmp_path / "out")
    assert command(*arguments).exit_code == 0
    result = command(*arguments, "--dry-run")
    assert result.stdout.endswith("5 of 5 runs are finished\n")
    planned = json.loads(command(*arguments, "--dry-run", "--json").stdout)["runs"]
    assert planned[0]["method"] == "tenengrad"
    assert all(one["finished"] for one in planned)


def test_the_next_command_asks_for_more_seeds(tmp_path, texture_archive) -> None:
    dataset = write_archive(tmp_path / "dataset.h5", texture_archive(cells=5))
    preset = tmp_path / "net.toml"
    preset.write_text(
        'name = "net"\nreference = "net"\n[settings]\nbackbone = "shufflenet_v2_x0_5"\n'
        'fgaf = false\ntta = false\n[[methods]]\nid = "net"\nkind = "classifier"\n'
    )
    options = ("--preset", preset, "--out", tmp_path / "out", "--set", "epochs=1")
    result = command(dataset, *options)
    assert result.exit_code == 0, result.output
    last = result.stdout.splitlines()[-1]
    assert last.startswith("next: fgaf-bench ")
    assert last.endswith("--set epochs=1 --seeds 0,1,2")
