import csv
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fgaf.dataset.archive import Archive
from fgaf.model.bench.benchmark import run_benchmark
from fgaf.model.bench.preset import Preset
from fgaf.model.bench.report.tables import results_csv, results_tex

ODD = r"50 % of {all} & #1_$x$ \ ~^ <µ> ±×−–²"
DOCUMENT = (
    r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{tables}\end{document}"
)


@pytest.fixture(scope="module")
def made(texture_archive: Callable[..., Archive], tmp_path_factory) -> tuple[dict, Path]:
    methods = [
        {"id": "tenengrad", "kind": "focus", "measure": "tenengrad", "label": ODD},
        {"id": "entropy", "kind": "focus", "measure": "entropy"},
        {"id": "constant", "kind": "constant"},
    ]
    preset = Preset.model_validate(
        {
            "name": "p",
            "reference": "tenengrad",
            "methods": methods,
            "pairs": {"tenengrad": "constant"},
        }
    )
    out = tmp_path_factory.mktemp("tables") / "out"
    return run_benchmark(texture_archive(), preset, out), out


def test_latex_is_balanced_and_every_row_has_all_columns(made: tuple[dict, Path]) -> None:
    text = (made[1] / "tables.tex").read_text(encoding="utf-8")
    assert text == results_tex(made[0])
    assert text.isascii()
    body = re.sub(r"^%.*$", "", text, flags=re.MULTILINE)
    plain = re.sub(r"\\[\\{}%&#_$]", "", body)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    tables = re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", body, flags=re.DOTALL)
    assert len(tables) == body.count(r"\begin{table}") == body.count(r"\end{table}") == 3
    for columns, content in tables:
        rows = [line for line in content.splitlines() if line.endswith(r"\\")]
        assert len(rows) >= 2
        for row in rows:
            assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(made: tuple[dict, Path], tmp_path: Path) -> None:
    (tmp_path / "tables.tex").write_bytes((made[1] / "tables.tex").read_bytes())
    (tmp_path / "all.tex").write_text(DOCUMENT)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_csv_holds_every_number_under_its_name(made: tuple[dict, Path]) -> None:
    results, out = made
    text = (out / "results.csv").read_bytes().decode()
    assert text == results_csv(results)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["id"] for row in rows] == ["tenengrad", "entropy", "constant"]
    for line, row in zip(rows, results["methods"], strict=True):
        assert float(line["mae_um"]) == row["metrics"]["mae_um"]["value"]
        assert float(line["top1_high"]) == row["metrics"]["top1"]["high"]
        assert line["top1_seed_std"] == line["latency_ms"] == ""
    against = results["methods"][2]["against_reference"]["mae_um"]
    assert float(rows[2]["mae_um_difference_p_holm"]) == against["p_holm"]
    assert rows[0]["mae_um_difference"] == ""
