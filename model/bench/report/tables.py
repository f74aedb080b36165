"""Tables of a benchmark for other programs: CSV, and LaTeX with booktabs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

from fgaf.base.console import count
from fgaf.base.csv_tables import write_table
from fgaf.model.bench.compare import COMPARED
from fgaf.model.bench.results import METRICS

COSTS: Final = ("parameters", "macs", "latency_ms", "answer_ms")
TRAINING: Final = ("epochs", "best_epochs", "at_plateau", "core_hours")
_ENDS: Final = ("value", "low", "high")
_TEX: Final = str.maketrans(
    {
        **{char: f"\\{char}" for char in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "µ": r"$\mu$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "−": "$-$",
        "–": "--",
        "²": r"$^2$",
    }
)


def results_csv(results: dict[str, Any]) -> str:
    """One line per method: its metrics with intervals and spread, its differences, its cost.

    Columns are named after `results.json`: ``top1``, ``top1_low``, ``top1_high`` (95 % over
    cells), ``top1_seed_std``; ``top1_difference`` to the reference with ``_low``, ``_high``,
    ``_p`` and ``_p_holm``. ``epochs`` and ``best_epochs``, those of best validation, are of each
    training; ``at_plateau`` is the number of trainings whose validation was not better in the last
    fifth of the epochs; ``core_hours`` are of one processor core, for all of them. Empty if there
    is no value.
    """
    ends = ("", "_low", "_high", "_seed_std")
    tests = ("", "_low", "_high", "_p", "_p_holm")
    headings = [
        *("id", "label", "kind", "seeds", "judged_by", "seconds", *TRAINING, *COSTS),
        "calibration_error",
        *(f"{key}{end}" for key in METRICS for end in ends),
        *(f"{key}_difference{end}" for key in COMPARED for end in tests),
    ]
    rows = []
    for row in results["methods"]:
        cost, against = row["cost"] or {}, row["against_reference"] or {}
        training = row["training"] or {}
        line = [row["id"], row["label"], row["kind"], " ".join(map(str, row["seeds"]))]
        line += [results["judged_by"], row["seconds"]]
        line += [_joined(training.get(key)) for key in TRAINING]
        line += [cost.get(key) for key in COSTS]
        line.append(row["calibration_error"])
        for key in METRICS:
            line += [row["metrics"][key][end] for end in _ENDS]
            line.append((row["seed_spread"][key] or {}).get("std"))
        for key in COMPARED:
            line += [against.get(key, {}).get(end) for end in (*_ENDS, "p", "p_holm")]
        rows.append(line)
    text = io.StringIO()
    write_table(text, headings, rows)
    return text.getvalue()


def _joined(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def results_tex(results: dict[str, Any]) -> str:
    r"""Tables to put into a paper with ``\input{tables}``; they need the package booktabs."""
    parts = [
        f"% fgaf-bench, preset {results['preset']}, archive "
        f"{results['data']['fingerprint'][:12] or 'in memory'}. Needs \\usepackage{{booktabs}}.",
        _methods(results),
    ]
    if any(row["paper"] for row in results["methods"]):
        parts.append(_beside_paper(results))
    if len(results["methods"]) > 1:
        parts.append(_differences(results))
    if results["pairs"]:
        parts.append(_gains(results["pairs"]))
    return "\n\n".join(parts) + "\n"


def _methods(results: dict[str, Any]) -> str:
    head = ["Method", r"Top-1 (\%)", r"Top-3 (\%)", r"Mean error ($\mu$m)"]
    head += [r"Continuous ($\mu$m)", r"$P_{95}$ ($\mu$m)", "Parameters (M)", "ms"]
    rows = []
    for row in results["methods"]:
        line = [_escaped(row["label"])]
        for key, factor, decimals in (
            ("top1", 100, 1),
            ("top3", 100, 1),
            ("mae_um", 1, 3),
            ("expected_mae_um", 1, 3),
            ("p95_um", 1, 2),
        ):
            line.append(_interval(row["metrics"][key], factor, decimals))
        cost = row["cost"]
        line += (
            [f"{cost['parameters'] / 1e6:.2f}", f"{cost['latency_ms']:.1f}"] if cost else ["", ""]
        )
        rows.append(line)
    caption = (
        f"Methods on the same {count(results['data']['test_cells'], 'cell')}, judged by the "
        f"{results['judged_by']}; in brackets 95\\,\\% bootstrap intervals over cells. ms: one "
        "pass of one patch on one processor thread."
    )
    return _table("methods", caption, head, rows)


def _beside_paper(results: dict[str, Any]) -> str:
    head = ["Row", r"Top-1 (\%)", "paper", r"Top-3 (\%)", "paper"]
    head += [r"Error ($\mu$m)", "paper", "M", "paper", "ms", "paper"]
    rows = []
    for row in results["methods"]:
        paper, metrics, cost = row["paper"], row["metrics"], row["cost"] or {}
        if paper is None:
            continue
        ours = f"{metrics['mae_um']['value']:.2f} $\\pm$ {metrics['std_um']['value']:.2f}"
        theirs = ""
        if paper["mae_um"] is not None:
            theirs = f"{paper['mae_um']:.2f} $\\pm$ {paper['std_um']:.2f}"
        rows.append(
            [
                _escaped(row["label"]),
                *(f"{100 * metrics['top1']['value']:.1f}", f"{100 * paper['top1']:.1f}"),
                *(f"{100 * metrics['top3']['value']:.1f}", f"{100 * paper['top3']:.1f}"),
                *(ours, theirs),
                _number(cost.get("parameters"), 1e-6, 1),
                _number(paper["parameters_m"], 1, 1),
                _number(cost.get("latency_ms"), 1, 1),
                _number(paper["latency_ms"], 1, 0),
            ]
        )
    caption = "Comparison with the figures of Yang et al. (RA-L 2026), which are of other cells."
    return _table("paper", caption, head, rows)


def _differences(results: dict[str, Any]) -> str:
    rows = [
        [_escaped(row["label"]), *_tests(row["against_reference"])]
        for row in results["methods"]
        if row["against_reference"]
    ]
    chosen = next(row for row in results["methods"] if row["id"] == results["reference"])
    caption = (
        f"Paired differences to {_escaped(chosen['label'])}; in brackets 95\\,\\% bootstrap "
        "intervals over cells, $p$ by sign flips over cells, corrected after Holm."
    )
    return _table("differences", caption, ["Method", *_TESTED], rows)


def _gains(pairs: dict[str, Any]) -> str:
    rows = [
        [f"{_escaped(pair['label'])} over {_escaped(pair['over_label'])}", *_tests(pair["gain"])]
        for pair in pairs["listed"]
    ]
    if pairs["mean"]:
        rows.append([f"Mean of {pairs['n_fgaf']} with FGAF", *_tests(pairs["mean"])])
    caption = (
        "Paired gains; in brackets 95\\,\\% bootstrap intervals over cells, $p$ by sign flips "
        "over cells, corrected after Holm."
    )
    return _table("gains", caption, ["Pair", *_TESTED], rows)


_TESTED: Final = ("Top-1 (points)", "$p$", r"Mean error ($\mu$m)", "$p$")


def _tests(tests: dict[str, Any]) -> list[str]:
    cells = []
    for key, factor, decimals in (("top1", 100, 1), ("mae_um", 1, 3)):
        p = tests[key]["p_holm"]
        cells += [
            _interval(tests[key], factor, decimals, "+"),
            "" if p is None else "$<$0.001" if p < 0.001 else f"{p:.3f}",
        ]
    return cells


def _table(name: str, caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [
        r"\begin{table}",
        r"\centering\small",
        f"\\caption{{{caption}}}\\label{{tab:{name}}}",
        f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        f"{' & '.join(head)} \\\\",
        r"\midrule",
        *(f"{' & '.join(row)} \\\\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _interval(metric: dict[str, Any], factor: float, decimals: int, sign: str = "") -> str:
    def one(value: float) -> str:
        text = f"{factor * value:{sign}.{decimals}f}"
        return f"${text}$" if text.startswith(("-", "+")) else text

    if metric["low"] is None:
        return one(metric["value"])
    return f"{one(metric['value'])} [{one(metric['low'])}, {one(metric['high'])}]"


def _number(value: float | None, factor: float, decimals: int) -> str:
    return "" if value is None else f"{factor * value:.{decimals}f}"


def _escaped(text: str) -> str:
    return " ".join(text.translate(_TEX).split())
