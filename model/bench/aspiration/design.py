"""The rows of the benchmark: Table III at the recommended point, and one factor at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fgaf.base.errors import SettingError
from fgaf.base.names import nearest
from fgaf.model.aspirate.settings import PAPER
from fgaf.model.bench.aspiration.conditions import Conditions

TABLE: Final = "table"
"""The group whose rows are those of Table III."""

RECOMMENDED: Final[dict[str, Any]] = {
    "depth": "network",
    "pipette.inner_diameter_um": 10.0,
    "pipette.outer_diameter_um": 11.0,
    "pipette.compliance_nl_kpa": 0.02,
}
"""What is recommended, chosen with true depths on the seeds 99 and 1000, not those of the table.

A line of water without oil takes up about 0.02 nL/kPa, so that the flow at the tip is that of the
pump within a tenth of a second. The procedure has its defaults.
"""
_PAPER: Final[dict[str, Any]] = {
    "pipette.inner_diameter_um": 5.0,
    "pipette.outer_diameter_um": 7.0,
    **{f"procedure.{name}": value for name, value in PAPER.items()},
}
_OIL: Final[dict[str, Any]] = {"pipette.compliance_nl_kpa": 9.7, "procedure.prime_s": 1.0}
_SOFT: Final[dict[str, Any]] = {**_OIL, "procedure.flow_nl_s": 0.05}


@dataclass(frozen=True)
class Row:
    """Trials under one set of conditions.

    Attributes
    ----------
    id
        Name in files.
    label
        Name in tables.
    group
        `TABLE`, or the factor that is varied.
    conditions
        The conditions.
    """

    id: str
    label: str
    group: str
    conditions: Conditions


_DEPTHS: Final = (
    ("network", "depth network", {"depth": "network"}),
    ("gray_level_gradient", "search, gray-level gradient", {"depth": "gray_level_gradient"}),
    ("truth", "true depth", {"depth": "truth"}),
    ("laplacian", "search, Laplacian", {"depth": "laplacian"}),
    ("fixed", "one height for all", {"depth": "fixed"}),
    ("ignored", "network, refraction ignored", {"depth": "network", "refraction": "ignored"}),
)
_FACTORS: Final[tuple[tuple[str, tuple[tuple[str, dict[str, Any]], ...]], ...]] = (
    (
        "flow",
        tuple(
            (f"{flow:g} nL/s at the tip", {"procedure.flow_nl_s": flow})
            for flow in (0.003, 0.012, 0.02, 0.05, 0.2)
        ),
    ),
    (
        "inner diameter",
        tuple(
            (
                f"{inner:g} µm",
                {"pipette.inner_diameter_um": inner, "pipette.outer_diameter_um": inner + 1},
            )
            for inner in (5.0, 7.0, 14.0)
        ),
    ),
    (
        "heading",
        tuple(
            (f"within {angle:g}°" if angle < 180 else "any", {"procedure.heading_deg": angle})
            for angle in (30.0, 60.0, 180.0)
        ),
    ),
    (
        "speed",
        tuple(
            (f"{low:g} to {high:g} µm/s", {"speed_um_s": [low, high]})
            for low, high in ((10.0, 30.0), (30.0, 50.0), (80.0, 100.0))
        ),
    ),
    (
        "line and suction",
        (
            ("constant flow", {"procedure.retain": "constant"}),
            ("0.05 nL/s, oil and tube, stop", _SOFT),
            ("0.05 nL/s, oil and tube, given back", {**_SOFT, "procedure.retain": "reverse"}),
            ("1.2 nL/s, oil and tube, 5 µm, constant, any heading", {**_PAPER, **_OIL}),
            ("1.2 nL/s at the tip, 5 µm, constant, any heading", _PAPER),
        ),
    ),
    (
        "height and time",
        (
            ("cells 2 to 3 µm over the dish", {"height_um": [2.0, 3.0]}),
            ("cells 3 to 7 µm over the dish", {"height_um": [3.0, 7.0]}),
            ("2 s inside to succeed", {"procedure.judge_s": 2.0}),
            ("100 µm of the bore in view", {"procedure.view_um": 100.0}),
        ),
    ),
)
_ONLY_MOTILE: Final = ("heading", "speed")


def design(values: dict[str, Any] | None = None) -> tuple[Row, ...]:
    """List all rows, those of the table first.

    Parameters
    ----------
    values
        Settings of all rows, after those of the recommended point; see `Conditions.with_values`. A
        row's own factor stays as the row says.

    Raises
    ------
    SettingError
        There is no such setting, or a value is not possible.
    """
    base = Conditions().with_values({**RECOMMENDED, **(values or {})})
    rows = []
    for motile in (False, True):
        kind = "motile" if motile else "immotile"
        own = base.with_values({"motile": motile})
        for name, label, changed in _DEPTHS:
            group = TABLE if name in ("network", "gray_level_gradient") else "depth"
            rows.append(Row(f"{kind}-{name}", f"{kind}: {label}", group, own.with_values(changed)))
    for group, levels in _FACTORS:
        for motile in (False, True):
            kind = "motile" if motile else "immotile"
            if group in _ONLY_MOTILE and not motile:
                continue
            own = base.with_values({"motile": motile})
            for number, (label, changed) in enumerate(levels, start=1):
                name = f"{kind}-{group.replace(' ', '-')}-{number}"
                rows.append(Row(name, f"{kind}: {label}", group, own.with_values(changed)))
    return tuple(sorted(rows, key=lambda row: row.group != TABLE))


def chosen(rows: Sequence[Row], names: Sequence[str]) -> tuple[Row, ...]:
    """Choose rows by their ids or groups; all without names.

    Parameters
    ----------
    rows
        From `design`.
    names
        Ids or groups.

    Raises
    ------
    SettingError
        There is none of a name.
    """
    known = {row.id for row in rows} | {row.group for row in rows}
    for name in names:
        if name not in known:
            raise SettingError(f"there is no row {name!r}; {nearest(name, known)} --list shows all")
    return tuple(row for row in rows if not names or {row.id, row.group} & set(names))
