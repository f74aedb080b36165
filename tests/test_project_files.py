"""Files that other programs read of the project say the same as the project does."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml

from fgaf.acquire.discovery import GROUPS

HERE = Path(__file__).parents[1]
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FORMS = sorted((HERE / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version() -> None:
    citation = read(HERE / "CITATION.cff")
    names = {"title": "name", "version": "version", "license": "license", "authors": "authors"}
    assert {key: citation[key] for key in names} == {key: PROJECT[n] for key, n in names.items()}
    assert set(citation["keywords"]) <= set(PROJECT["keywords"])


def test_the_hooks_take_ruff_of_the_tests_range() -> None:
    ruff = [each for each in PROJECT["optional-dependencies"]["test"] if each.startswith("ruff")]
    (repository,) = read(HERE / ".pre-commit-config.yaml")["repos"]
    assert [hook["additional_dependencies"] for hook in repository["hooks"]] == [ruff, ruff]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_whole(path: Path) -> None:
    form = read(path)
    assert form["name"]
    assert form["description"]
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids))
    assert all(field["attributes"]["label"] for field in form["body"])


def test_the_device_form_lists_every_real_driver() -> None:
    (driver,) = (
        field
        for field in read(HERE / ".github" / "ISSUE_TEMPLATE" / "device.yml")["body"]
        if field["id"] == "driver"
    )
    points = [point for group in GROUPS.values() for point in entry_points(group=group)]
    ours = {point.name for point in points if point.value.startswith("fgaf.")}
    assert ours - {"manual", "simulated", "replay"} == set(driver["attributes"]["options"][:-2])
