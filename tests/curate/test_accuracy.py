"""A reduced run of the curation benchmark, on seeds that development did not use."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "curation.py"
FIELDS = 2


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_of_curation", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def judged(
    benchmark: ModuleType,
    contrast: str,
    motile: bool,
    first: int,
    fields: int,
    shape: tuple[int, int],
) -> dict[str, float]:
    score = benchmark.Score()
    for seed in range(benchmark.HELD_OUT + first, benchmark.HELD_OUT + first + fields):
        benchmark.judge(score, benchmark.plain(seed, contrast, motile, shape=shape))
    summary: dict[str, float] = score.summary()
    return summary


@pytest.mark.parametrize(
    "motile", [pytest.param(False, marks=pytest.mark.slow), True], ids=["immotile", "swimming"]
)
@pytest.mark.parametrize(
    "contrast", [pytest.param("brightfield", marks=pytest.mark.slow), "relief"]
)
def test_cells_are_found_and_focused(benchmark: ModuleType, contrast: str, motile: bool) -> None:
    summary = judged(benchmark, contrast, motile, 500, FIELDS, (620, 760))
    # One cell more or less is a tenth of so few.
    assert summary["recall"] >= 0.85
    assert summary["precision"] >= 0.85
    assert summary["median_um"] <= 0.25
    assert summary["p90_um"] <= 0.6


@pytest.mark.slow
@pytest.mark.parametrize("motile", [False, True], ids=["immotile", "swimming"])
@pytest.mark.parametrize("contrast", ["brightfield", "relief"])
def test_the_required_accuracy_is_met(benchmark: ModuleType, contrast: str, motile: bool) -> None:
    summary = judged(benchmark, contrast, motile, 700, 16, (700, 900))
    assert summary["recall"] >= 0.97
    assert summary["precision"] >= 0.97
    assert summary["median_um"] <= (0.15 if motile and contrast == "relief" else 0.12)
    assert summary["p90_um"] <= 0.3
