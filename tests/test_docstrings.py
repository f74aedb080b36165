"""Docstrings say what every parameter is, as numpydoc reads them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("base", "dataset", "acquire", "curate", "model")
SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)
LISTED = ("Parameters", "Attributes", "Other Parameters")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Documented:
    """A public function, or a class, with the sections of its docstring."""

    where: str
    node: Function | ast.ClassDef
    sections: dict[str, str]
    bound: bool

    @property
    def parameters(self) -> list[str]:
        """Names a caller gives; none for a class."""
        if isinstance(self.node, ast.ClassDef):
            return []
        spec = self.node.args
        named = [each.arg for each in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
        rest = [each.arg for each in (spec.vararg, spec.kwarg) if each is not None]
        return [name for name in [*named[self.bound :], *rest] if not name.startswith("_")]

    @property
    def explained(self) -> list[str]:
        """Names that the section has."""
        lines = self.sections.get("Parameters", "").splitlines()
        heads = [line.partition(" : ")[0] for line in lines if line and line[0] != " "]
        return [name.strip().lstrip("*") for head in heads for name in head.split(",")]


def sections_of(text: str) -> dict[str, str]:
    """Split a docstring into its sections."""
    _, *parts = SECTION.split(text)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def walk(parent: ast.AST, where: str) -> Iterator[Documented]:
    """Yield the public classes, functions and methods of a module, but no commands."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.If | ast.Try):
            yield from walk(node, where)
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        if not isinstance(node, kinds) or node.name.startswith("_"):
            continue
        text = ast.get_docstring(node)
        name = f"{where}:{node.lineno} {node.name}"
        marks = [ast.unparse(mark) for mark in node.decorator_list]
        command = any("command(" in mark or "click." in mark for mark in marks)
        bound = isinstance(parent, ast.ClassDef) and "staticmethod" not in marks
        if text is not None and not command:
            yield Documented(name, node, sections_of(text), bound)
        if isinstance(node, ast.ClassDef):
            yield from walk(node, where)


@pytest.fixture(scope="module", params=ROOMS)
def documented(request: pytest.FixtureRequest) -> list[Documented]:
    """Everything of one room that has a docstring."""
    return [
        each
        for path in sorted((ROOT / request.param).rglob("*.py"))
        for each in walk(ast.parse(path.read_text(encoding="utf-8")), str(path.relative_to(ROOT)))
    ]


def test_functions_of_two_parameters_say_what_they_are(documented: list[Documented]) -> None:
    """Those that follow another's name and parameters, as drivers do, may leave it to that one."""
    said = {(each.node.name, *each.parameters) for each in documented if each.explained}
    silent = [
        each.where
        for each in documented
        if len(each.parameters) > 1
        and not each.explained
        and (each.node.name, *each.parameters) not in said
    ]
    assert silent == []


def test_the_names_in_a_section_are_those_of_the_parameters(documented: list[Documented]) -> None:
    wrong = [
        (each.where, sorted(set(each.explained) ^ set(each.parameters)))
        for each in documented
        if each.explained
        and not isinstance(each.node, ast.ClassDef)
        and set(each.explained) != set(each.parameters)
    ]
    assert wrong == []


def test_no_prose_stands_in_the_place_of_a_type(documented: list[Documented]) -> None:
    """What stands behind `name :` is a type: the prose stands beneath."""
    alone = re.compile(r"^\*{0,2}\w[\w, *]* : .*(?:\n(?! )|\Z)", re.MULTILINE)
    wrong = [
        (each.where, found.group())
        for each in documented
        for name in LISTED
        for found in alone.finditer(each.sections.get(name, "").rstrip() + "\n")
    ]
    assert wrong == []
