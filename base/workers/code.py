"""The code that a result depends on, found from its imports."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Final

OTHER_CODE: Final = "a worker runs another version of fgaf; install the same one on all workers"

Counted = Callable[[str], bool]
"""Whether a module of this name is counted."""


@cache
def modules_behind(module: str, counted: Counted) -> tuple[str, ...]:
    """List a module and the counted modules that it imports, directly or indirectly, sorted.

    Imports inside functions count too.

    Parameters
    ----------
    module
        Full name, such as ``fgaf.model.bench.methods.focus``.
    counted
        Says which others count.
    """
    found, waiting = {module}, [module]
    while waiting:
        new = {name for name in _imported(waiting.pop()) if counted(name)} - found
        found |= new
        waiting += sorted(new)
    return tuple(sorted(found))


@cache
def code_digest(module: str, counted: Counted) -> str:
    """SHA-256 over the source of `modules_behind` a module.

    Parameters
    ----------
    module, counted
        As in `modules_behind`.
    """
    digest = hashlib.sha256()
    for name in modules_behind(module, counted):
        digest.update(f"{name}\n".encode())
        digest.update(_source(name).read_bytes())
    return digest.hexdigest()


@cache
def _imported(module: str) -> frozenset[str]:
    """Names that may be modules: the imported names, and the modules they are imported from."""
    names = set()
    for node in ast.walk(ast.parse(_source(module).read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(name for name in names if name.startswith("fgaf.") and _is_module(name))


@cache
def _is_module(name: str) -> bool:
    """Whether a name is a module; only its parent packages are imported to find out."""
    parent = name.rpartition(".")[0]
    if parent and not (_is_module(parent) and _spec(parent).submodule_search_locations):
        return False
    return find_spec(name) is not None


def _spec(module: str) -> ModuleSpec:
    spec = find_spec(module)
    if spec is None:
        raise ModuleNotFoundError(module)
    return spec


def _source(module: str) -> Path:
    return Path(str(_spec(module).origin))
