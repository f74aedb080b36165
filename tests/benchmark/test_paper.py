from dataclasses import asdict, dataclass
from typing import Any

import pytest

from fgaf.model.bench.paper import paper_row, title
from fgaf.model.bench.preset import shipped
from fgaf.model.networks.settings import preset

LITERAL = asdict(preset("paper"))
DEFAULT = asdict(preset("default"))


@dataclass(frozen=True)
class Row:
    name: str
    settings: dict[str, Any]
    row: str | None
    top1: float = 0.0


ROWS = [
    Row("whole", LITERAL, "Table I", 0.8147),
    Row("no AF", LITERAL | {"af": False}, "Table II, no AF", 0.7428),
    Row("no FG", LITERAL | {"fg": False}, "Table II, no FG", 0.7881),
    Row("cross-entropy", LITERAL | {"loss": "ce"}, "Table II, CE for WLoss", 0.7926),
    Row("CrossNorm only", LITERAL | {"self_norm": False}, "Table II, CrossNorm only", 0.7837),
    Row("SelfNorm only", LITERAL | {"cross_norm": "off"}, "Table II, SelfNorm only", 0.7625),
    Row("two parts less", LITERAL | {"af": False, "loss": "ce"}, None),
    Row("bare", LITERAL | {"fgaf": False}, "Table I", 0.6826),
    Row("another backbone", LITERAL | {"backbone": "resnet50"}, "Table I", 0.8352),
    Row("ablation of another", LITERAL | {"backbone": "resnet50", "af": False}, None),
    Row("default", DEFAULT, "Table I", 0.7824),
    Row("a focus measure", {"measure": "brenner", "rule": "peak"}, None),
]


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_the_paper_is_quoted_where_it_has_the_row(case: Row) -> None:
    found = paper_row(case.settings)
    assert (found["row"] if found else None) == case.row
    if found:
        assert found["top1"] == pytest.approx(case.top1)


def test_table_2_has_no_errors_in_micrometres() -> None:
    ablated = paper_row(LITERAL | {"af": False})
    assert ablated is not None
    assert (ablated["mae_um"], ablated["parameters_m"]) == (None, None)
    whole = paper_row(LITERAL)
    assert whole is not None
    assert (whole["mae_um"], whole["parameters_m"], whole["latency_ms"]) == (0.15, 23.2, 11)


def test_a_network_is_named_with_its_module() -> None:
    assert title(LITERAL) == "ResNet-34 with FGAF"
    assert title(LITERAL | {"fgaf": False}) == "ResNet-34"
    assert title({"rule": "phase"}) == ""


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_every_row_of_a_table_s_preset_is_in_the_paper(name: str) -> None:
    found = []
    for method in shipped()[name].methods:
        given = dict(method.settings)
        base = preset(given.pop("preset", "default"))
        row = paper_row(asdict(base.with_values(given)))
        assert row is not None
        found.append((row["row"], row["top1"]))
    assert len(set(found)) == len(found)
