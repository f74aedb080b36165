"""Optional libraries: a missing one is named with the extra that brings it."""

from __future__ import annotations

from importlib.util import find_spec

from fgaf.dataset.errors import FgafError


def installed(module: str) -> bool:
    """Whether a library is there, without importing it."""
    return find_spec(module) is not None


def require(*modules: str, extra: str) -> None:
    """Refuse to go on without some libraries.

    Parameters
    ----------
    modules : names as imported
    extra : of this package's, which installs them

    Raises
    ------
    FgafError
        One is missing; the line says how to install it.
    """
    missing = [module for module in modules if not installed(module)]
    if missing:
        raise FgafError(f"{' and '.join(missing)} is missing: pip install 'fgaf[{extra}]'")
