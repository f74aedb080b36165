"""The headline says what is true of all methods."""

from dataclasses import dataclass, field

import pytest

from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.summary import headline

SEES = {"classifier": "patch", "boosting": "patch", "focus": "stack", "annotator": "all"}
SURE, OPEN = 0.001, 0.4


@dataclass(frozen=True)
class Row:
    """A method: its mean error, and the corrected p of its difference to the best."""

    label: str
    error_um: float
    p: float | None = SURE
    kind: str = "classifier"
    rule: str = "peak"
    difference_um: float | None = None

    def of(self, best: "Row") -> dict:
        """As in the results."""
        off = self.error_um - best.error_um if self.difference_um is None else self.difference_um
        test = {"value": off, "low": None, "high": None, "p_holm": self.p}
        figure = {"value": self.error_um, "low": None, "high": None}
        return {
            "id": self.label,
            "label": self.label,
            "kind": self.kind,
            "sees": SEES.get(self.kind, "nothing"),
            "settings": {"rule": self.rule},
            "metrics": {"mae_um": figure, "top1": figure},
            "against_best": None if self is best else {"mae_um": test, "top1": test},
        }


@dataclass(frozen=True)
class Case:
    """The methods, the best first; the reference; what is said."""

    name: str
    rows: tuple[Row, ...]
    reference: str
    said: str
    truth: bool = True
    gains: tuple[float, ...] = field(default=())


NET = Row("Net", 0.2)
TENENGRAD = Row("Tenengrad", 0.3, kind="focus")
RULE = Row("Phase rule", 0.1, kind="focus", rule="phase")

CASES = [
    Case(
        "alone",
        (NET,),
        "Net",
        "Net estimates the depth of a single image with a mean error of 0.20 µm.",
    ),
    Case(
        "the network is the best",
        (NET, TENENGRAD, Row("Constant", 1, kind="constant")),
        "Net",
        "Net estimates the depth of a single image with a mean error of 0.20 µm, the smallest of 3 "
        "methods; the next, Tenengrad (0.30 µm from all planes), is significantly worse.",
    ),
    Case(
        "the next may be as good",
        (NET, Row("Trees", 0.21, OPEN, "boosting"), TENENGRAD),
        "Net",
        "Net estimates the depth of a single image with a mean error of 0.20 µm, the smallest of 3 "
        "methods; the next, Trees (0.21 µm from one image), is not significantly worse.",
    ),
    Case(
        "a rule of the stack beats the network",
        (RULE, NET, TENENGRAD),
        "Net",
        "Net is not the best of 3 methods: it estimates the depth of a single image with a mean "
        "error of 0.20 µm, significantly more than Phase rule (0.10 µm from all planes).",
    ),
    Case(
        "perhaps it does",
        (RULE, Row("Net", 0.2, OPEN)),
        "Net",
        "Net is not the best of 2 methods: it estimates the depth of a single image with a mean "
        "error of 0.20 µm, not significantly more than Phase rule (0.10 µm from all planes).",
    ),
    Case(
        "the network is third",
        (RULE, Row("Trees", 0.15, OPEN, "boosting"), NET),
        "Net",
        "Net is not the best of 3 methods: it estimates the depth of a single image with a mean "
        "error of 0.20 µm, significantly more than Phase rule (0.10 µm from all planes); the next, "
        "Trees (0.15 µm from one image), is not significantly worse.",
    ),
    Case(
        "the reference is a search, and a network is worse",
        (RULE, Row("Other", 0.25), NET),
        "Phase rule",
        "Net is not the best of 3 methods: it estimates the depth of a single image with a mean "
        "error of 0.20 µm, significantly more than Phase rule (0.10 µm from all planes).",
    ),
    Case(
        "no network",
        (RULE, TENENGRAD),
        "Tenengrad",
        "Tenengrad is not the best of 2 methods: it searches all planes of a cell with a mean "
        "error of 0.30 µm, significantly more than Phase rule (0.10 µm from all planes).",
    ),
    Case(
        "without a test",
        (NET, Row("Tenengrad", 0.3, None, "focus")),
        "Net",
        "Compared with the archive's labels, Net estimates the depth of a single image with a mean "
        "error of 0.20 µm, the smallest of 2 methods; the next, Tenengrad (0.30 µm from all "
        "planes), is not significantly worse.",
        truth=False,
    ),
    Case(
        "a person is better on some cells",
        (NET, Row("Second (3 of 9 cells)", 0.25, OPEN, "annotator", difference_um=-0.05)),
        "Net",
        "Net estimates the depth of a single image with a mean error of 0.20 µm, the smallest of 2 "
        "methods; on the cells that it answered, Second (3 of 9 cells) (0.25 µm from all planes) "
        "is not significantly better than Net.",
    ),
    Case(
        "pairs come first",
        (RULE, NET, Row("Bare", 0.25)),
        "Net",
        "FGAF has a higher top-1 than its bare network in 1 of 2 networks, a lower one in 0; 1 do "
        "not differ significantly; the smallest mean error of 3 methods has Phase rule (0.10 µm "
        "from all planes); the next, Net (0.20 µm from one image), is significantly worse.",
        gains=(SURE, OPEN),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_headline_is_true_of_all_methods(texture_archive, case: Case) -> None:
    data = EvaluationSet(texture_archive(truth=case.truth))
    rows = [row.of(case.rows[0]) for row in case.rows]
    test = {"value": 0.1, "low": None, "high": None}
    pairs = {
        "listed": [{"adds_fgaf": True, "gain": {"top1": test | {"p_holm": p}}} for p in case.gains],
        "n_fgaf": len(case.gains),
        "mean": {"top1": test, "mae_um": test},
    }
    assert headline(rows, case.reference, pairs if case.gains else None, data) == case.said
