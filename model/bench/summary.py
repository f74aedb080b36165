"""The outcome of a benchmark in one sentence, and its figures in another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fgaf.base.console import count
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.statistics import verdict

_INTERVAL: Final = "(95 % interval "
"""Written once in a summary; later brackets have the same meaning."""


def headline(
    methods: Sequence[dict[str, Any]],
    reference: str,
    pairs: dict[str, Any] | None,
    data: EvaluationSet,
) -> str:
    """Give the outcome in one sentence, and what was the reference if not the truth.

    Parameters
    ----------
    methods
        Rows of the results, one per method.
    reference
        Id of the method that the sentence describes.
    pairs
        Result of `fgaf.model.bench.compare.judge_pairs`, None where the preset has no pairs.
    data
        The cells that were predicted.
    """
    row = next(row for row in methods if row["id"] == reference)
    if pairs and pairs["mean"]:
        said = _of_pairs(pairs)
    elif row["sees"] == "stack":
        said = (
            f"{row['label']} searches all planes of a cell; its mean error is "
            f"{_plain(row, 'mae_um')}"
        )
    else:
        said = (
            f"{row['label']} estimates the depth of a single image with a mean error of "
            f"{_plain(row, 'mae_um')}{_beside_searches(row, methods)}"
        )
    if data.circular:
        return f"Compared with unconfirmed labels of a focus measure, {said}."
    if data.judged_by == "labels":
        return f"Compared with the archive's labels, {said}."
    return f"{said}."


def summary(
    methods: Sequence[dict[str, Any]],
    reference: str,
    pairs: dict[str, Any] | None,
    data: EvaluationSet,
) -> str:
    """Give the figures of the headline, with intervals.

    Parameters
    ----------
    methods
        Rows of the results, one per method.
    reference
        Id of the method that comes first.
    pairs
        Result of `fgaf.model.bench.compare.judge_pairs`, None where the preset has no pairs.
    data
        The cells that were predicted.
    """
    row = next(row for row in methods if row["id"] == reference)
    classes = data.archive.n_classes
    said = []
    if pairs and pairs["mean"]:
        top1, mae = pairs["mean"]["top1"], pairs["mean"]["mae_um"]
        said.append(
            f"Over {count(pairs['n_fgaf'], 'network')} FGAF changes top-1 by "
            f"{_measured(top1, 100, 1, 'points', '+')} and the mean error by "
            f"{_measured(mae, 1, 3, 'µm', '+')}."
        )
    said.append(
        f"{row['label']}: mean error {_metric(row, 'mae_um')}, "
        f"the right one of {classes} depth classes in {_metric(row, 'top1')} of images."
    )
    networks = ("classifier", "trained")
    for what, rivals in (
        (
            "Best other method that sees one image",
            [
                other
                for other in methods
                if other["sees"] == "patch" and other["kind"] not in networks
            ],
        ),
        ("Best peak of a focus measure", _searches(methods, peak=True)),
        ("Best other search of the stack", _searches(methods, peak=False)),
    ):
        others = [other for other in rivals if other is not row]
        if others:
            best = min(others, key=lambda other: float(other["metrics"]["mae_um"]["value"]))
            said.append(
                f"{what}, {best['label']}: {_metric(best, 'mae_um')} and {_metric(best, 'top1')}."
            )
    text = " ".join(said)
    first_end = text.find(_INTERVAL) + len(_INTERVAL)
    return text[:first_end] + text[first_end:].replace(_INTERVAL, "(")


def _of_pairs(pairs: dict[str, Any]) -> str:
    """Text: how often FGAF is better than its backbone."""
    adding = [pair for pair in pairs["listed"] if pair["adds_fgaf"]]
    verdicts = [verdict(pair["gain"]["top1"], True) for pair in adding]
    better, worse, open_ = (verdicts.count(name) for name in ("better", "worse", "not significant"))
    return (
        f"FGAF has a higher top-1 than its bare network in {better} of "
        f"{count(len(verdicts), 'network')}, a lower one in {worse}; {open_} do not differ "
        "significantly"
    )


def _beside_searches(row: dict[str, Any], methods: Sequence[dict[str, Any]]) -> str:
    """Compare the reference with the focus measures; "" if there are none."""
    rivals = [other for other in _searches(methods, peak=True) if other is not row]
    if not rivals:
        return ""
    beaten = [other for other in rivals if _is_beaten(other)]
    measures = "focus measure" if len(rivals) == 1 else "focus measures"
    if len(beaten) == len(rivals):
        which = "the" if len(rivals) == 1 else f"each of the {len(rivals)}"
        return f" and is better than {which} {measures} that search the whole stack for a peak"
    if not beaten:
        return "; it is not significantly better than depth from focus"
    left = " or ".join(other["label"] for other in rivals if other not in beaten)
    return f" and is clearly better than {len(beaten)} of {len(rivals)} {measures}, but not {left}"


def _searches(methods: Sequence[dict[str, Any]], peak: bool) -> list[dict[str, Any]]:
    """Rows of depth from focus: those that take a measure's peak, or all others."""
    searches = [row for row in methods if row["kind"] == "focus"]
    return [row for row in searches if (row["settings"]["rule"] == "peak") == peak]


def _is_beaten(row: dict[str, Any]) -> bool:
    """Whether it is worse than the reference by both top-1 and mean error."""
    against = row["against_reference"]
    verdicts = {verdict(against["top1"], True), verdict(against["mae_um"], False)}
    return verdicts == {"worse"}


def _plain(row: dict[str, Any], key: str) -> str:
    return f"{row['metrics'][key]['value']:.2f} µm"


def _metric(row: dict[str, Any], key: str) -> str:
    """Write one metric of a method with unit and interval."""
    if key.endswith("_um"):
        return _measured(row["metrics"][key], 1, 2, "µm")
    return _measured(row["metrics"][key], 100, 0, "%")


def _measured(
    metric: dict[str, Any], factor: float, decimals: int, unit: str, sign: str = ""
) -> str:
    """Write a number with unit and interval."""
    text = f"{factor * metric['value']:{sign}.{decimals}f} {unit}"
    if metric["low"] is not None:
        low, high = (f"{factor * metric[end]:{sign}.{decimals}f}" for end in ("low", "high"))
        text += f" {_INTERVAL}{low} to {high})"
    return text.replace("-", "−")
