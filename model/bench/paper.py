"""The paper's figures, for the rows of a benchmark that are also in the paper."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from fgaf.base.inputs import parse_toml

_WHOLE: Final = {"fg": True, "af": True, "cross_norm": True, "self_norm": True, "loss": "wloss"}
"""Settings of the parts in the first row of Table II."""
_ABLATED: Final = "resnet34"


def paper_row(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Find the paper's figures for a network.

    Parameters
    ----------
    settings
        Training settings, as in `fgaf.model.networks.settings.TrainSettings`; any settings for
        other methods.

    Returns
    -------
    dict or None
        `row` ("Table I" or "Table II, no AF", ...), `top1`, `top3` (0..1), `mae_um`, `std_um`,
        `var_um2`, `parameters_m` (millions) and `latency_ms`, None where the paper gives none.
        None for a network without a row in the paper. Table I is quoted for a backbone, bare or
        with the whole module, whatever the loss and normalisation.
    """
    backbone = settings.get("backbone")
    if backbone not in _figures()["table1"]["bare"]:
        return None
    if settings["fgaf"] and backbone == _ABLATED:
        for row in _figures()["table2"]:
            if _switches(settings) == _WHOLE | row["switched"]:
                return _quoted(f"Table II, {row['row']}", *row["accuracy"])
    if settings["fgaf"] and not (settings["fg"] and settings["af"]):
        return None
    figures = _figures()["table1"]["fgaf" if settings["fgaf"] else "bare"][backbone]
    return _quoted("Table I", *figures)


def title(settings: Mapping[str, Any]) -> str:
    """Name of a network: its backbone, and whether it has the module; "" for other methods."""
    if "backbone" not in settings:
        return ""
    name: str = _figures()["titles"][settings["backbone"]]
    return f"{name} with FGAF" if settings["fgaf"] else name


def _switches(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in _WHOLE} | {"cross_norm": settings["cross_norm"] != "off"}


def _quoted(
    row: str,
    top1: float,
    top3: float,
    parameters_m: float | None = None,
    latency_ms: float | None = None,
    mae_um: float | None = None,
    std_um: float | None = None,
    var_um2: float | None = None,
) -> dict[str, Any]:
    return {
        "row": row,
        "top1": top1 / 100,
        "top3": top3 / 100,
        "parameters_m": parameters_m,
        "latency_ms": latency_ms,
        "mae_um": mae_um,
        "std_um": std_um,
        "var_um2": var_um2,
    }


@cache
def _figures() -> dict[str, Any]:
    text = (files("fgaf.model.bench") / "paper.toml").read_text(encoding="utf-8")
    return parse_toml(text)
