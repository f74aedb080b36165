"""The code that the answers of a method depend on, found from its imports."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_COUNTED: Final = ("fgaf.model.", "fgaf.curate.")
_LEFT_OUT: Final = "fgaf.model.bench."
_METHODS: Final = "fgaf.model.bench.methods."


@cache
def modules_behind(module: str) -> tuple[str, ...]:
    """List a module of a method and all modules that its answers depend on, sorted.

    These are the modules of `fgaf.model` and `fgaf.curate` that it imports, directly or indirectly,
    also inside functions. Modules that plan, store and report a benchmark are left out, and so are
    file formats: the archive's fingerprint covers the data.

    Parameters
    ----------
    module
        Full name, such as ``fgaf.model.bench.methods.focus``.
    """
    found, waiting = {module}, [module]
    while waiting:
        new = {name for name in _imported(waiting.pop()) if _counted(name)} - found
        found |= new
        waiting += sorted(new)
    return tuple(sorted(found))


@cache
def code_digest(module: str) -> str:
    """SHA-256 over the source of `modules_behind` a module."""
    digest = hashlib.sha256()
    for name in modules_behind(module):
        digest.update(f"{name}\n".encode())
        digest.update(_source(name).read_bytes())
    return digest.hexdigest()


def _counted(name: str) -> bool:
    left_out = name.startswith(_LEFT_OUT) and not name.startswith(_METHODS)
    return name.startswith(_COUNTED) and not left_out


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
