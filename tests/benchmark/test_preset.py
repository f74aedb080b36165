from dataclasses import dataclass
from pathlib import Path

import pytest

from fgaf.base.errors import SettingError
from fgaf.model.bench.preset import Preset, load_preset, shipped, with_settings
from fgaf.model.networks.settings import preset as training_preset


def written(folder: Path, text: str) -> Preset:
    path = folder / "mine.toml"
    path.write_text(text)
    return load_preset(str(path))


MINE = """
name = "mine"
reference = "a"
include = ["fig6"]

[settings]
epochs = 3
width = 64

[[methods]]
id = "a"
kind = "classifier"
settings = { width = 128 }

[[methods]]
id = "b"
kind = "classifier"

[[methods]]
id = "constant"
kind = "constant"

[pairs]
a = "b"
"""


def test_settings_are_shared_by_the_classifiers_whose_own_go_before(tmp_path: Path) -> None:
    preset = written(tmp_path, MINE)
    told = {method.id: getattr(method, "settings", None) for method in preset.methods}
    assert told["a"] == {"epochs": 3, "width": 128}
    assert told["b"] == {"epochs": 3, "width": 64}
    assert told["constant"] is None
    overridden = with_settings(preset, {"width": 32})
    assert [getattr(method, "settings", {}).get("width") for method in overridden.methods[:2]] == [
        32,
        32,
    ]


def test_included_methods_come_last_and_keep_their_own_settings(tmp_path: Path) -> None:
    ids = [method.id for method in written(tmp_path, MINE).methods]
    assert ids[:3] == ["a", "b", "constant"]
    assert ids[3:] == [method.id for method in shipped()["fig6"].methods]
    both = written(
        tmp_path, 'name = "two"\nreference = "whole"\ninclude = ["table1", "table2", "fig6"]\n'
    )
    parts = [shipped()[name] for name in ("table1", "table2", "fig6")]
    assert both.methods == tuple(method for part in parts for method in part.methods)
    assert both.pairs == parts[0].pairs | parts[1].pairs
    assert both.methods[-6].settings["preset"] == "paper"


def test_runs_are_counted_by_seeds_and_folds(tmp_path: Path) -> None:
    preset = written(tmp_path, MINE)
    assert (preset.seeded, preset.n_runs()) == (2, 8)
    assert preset.n_runs(seeds=3) == 12
    assert preset.n_runs(seeds=3, folds=5) == 60
    assert shipped()["table1"].n_runs() == 18


@dataclass(frozen=True)
class Text:
    name: str
    old: str
    new: str
    message: str


TEXTS = [
    Text("unknown include", '["fig6"]', '["fig7"]', "no preset 'fig7'; did you mean fig6?"),
    Text("include of a file", '["fig6"]', '["mine.toml"]', "no preset 'mine.toml'"),
    Text("settings that are none", "[settings]", "[[settings]]", "settings: input should be"),
    Text("pair of nobody", 'a = "b"', 'a = "c"', "pairs: 'c' is not one of the methods"),
    Text("negative seed", "[settings]", "seeds = [-1]\n[settings]", "seeds.0: -1 is out of bounds"),
    Text("negative folds", "[settings]", "folds = -1\n[settings]", "folds: -1 is out of bounds"),
    Text("misspelt key", 'kind = "constant"', 'kind = "constant"\nlable = "C"', "lable: extra"),
    Text("unknown kind", 'kind = "constant"', 'kind = "constnat"', "kind"),
    Text("a name in capitals", 'id = "b"', 'id = "A"', "string should match pattern '^[a-z0-9]"),
    Text("methods that are none", '[[methods]]\nid = "a"', '[methods]\nid = "a"', "mine.toml"),
]


@pytest.mark.parametrize("case", TEXTS, ids=lambda case: case.name)
def test_a_wrong_preset_is_one_line(tmp_path: Path, case: Text) -> None:
    assert case.old in MINE
    with pytest.raises(SettingError) as caught:
        written(tmp_path, MINE.replace(case.old, case.new, 1))
    assert case.message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_settings_for_classifiers_need_classifiers() -> None:
    with pytest.raises(SettingError, match="--set changes classifiers, and preset 'fig6' has none"):
        with_settings(shipped()["fig6"], {"epochs": 1})
    assert with_settings(shipped()["fig6"], {}) == shipped()["fig6"]


def test_table_2_switches_what_the_paper_switches() -> None:
    whole, *others = shipped()["table2"].methods
    assert whole.settings == {"preset": "paper", "backbone": "resnet34"}
    switched = [dict(set(other.settings.items()) - set(whole.settings.items())) for other in others]
    assert switched == [
        {"af": False},
        {"fg": False},
        {"loss": "ce"},
        {"self_norm": False},
        {"cross_norm": "off"},
    ]


def test_the_study_of_the_paper_changes_one_choice_at_a_time() -> None:
    shared, literal, *others = (method.settings for method in shipped()["paper_study"].methods)
    for settings in others:
        assert len(set(settings.items()) - set(shared.items())) == 1
    kept = ("backbone", "view", "epochs")
    base = training_preset("paper-literal")
    undone = {key: value for key, value in literal.items() if key != "preset"}
    assert base.with_values(undone) == base.with_values({key: shared[key] for key in kept})


def test_the_rivals_are_trained_as_the_bare_default() -> None:
    rivals = shipped()["rivals2026"]
    told = {method.id: method.settings for method in rivals.methods}
    assert told["default"] == {}
    assert rivals.pairs == dict.fromkeys(sorted(told.keys() - {"bare"}), "bare")
    assert all(settings["fgaf"] is False for name, settings in told.items() if name != "default")


def test_table_1_has_every_network_bare_and_with_fgaf() -> None:
    table = shipped()["table1"]
    told = {method.id: method.settings for method in table.methods}
    assert len({settings["backbone"] for settings in told.values()}) == 9
    for name, over in table.pairs.items():
        whole = {"view": 1.0, "stem_stride": 2}
        assert told[name] == {"backbone": told[over]["backbone"], "fgaf": True, **whole}
        assert told[over]["fgaf"] is False
    assert len(table.pairs) == 9
