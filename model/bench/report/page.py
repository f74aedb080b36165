"""How pages of reports are rendered, and how numbers are written in them."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """Render a template of this package: HTML with all inside, no scripts, nothing external.

    Parameters
    ----------
    template
        Its file name.
    values
        What it shows; an undefined name is an error.
    """
    return _templates().get_template(template).render(**values)


@cache
def _templates() -> jinja2.Environment:
    """The templates, each compiled once for all pages of a process."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("fgaf.model.bench.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def number(value: float, decimals: int) -> str:
    """Write a number with a fixed number of decimals and a true minus sign, never "-0.0".

    Parameters
    ----------
    value
        The number.
    decimals
        Digits behind the point.
    """
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def difference(value: float, decimals: int) -> str:
    """Write a number with its sign; zero has none.

    Parameters
    ----------
    value
        The number.
    decimals
        Digits behind the point.
    """
    text = number(value, decimals)
    return text if text.startswith("−") or float(text) == 0 else f"+{text}"
