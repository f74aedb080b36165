"""The outcome of a benchmark in one sentence, and its figures in another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fgaf.base.console import count
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.statistics import significance, verdict

_INTERVAL: Final = "(95 % interval "
"""Written once in a summary; later brackets have the same meaning."""
_NETWORKS: Final = ("classifier", "trained")
_WORK: Final = {
    "patch": "estimates the depth of a single image",
    "stack": "searches all planes of a cell",
    "all": "judges all planes of a cell",
    "nothing": "answers without an image",
}
"""What a method does, by what it sees."""
_SOURCE: Final = {
    "patch": "one image",
    "stack": "all planes",
    "all": "all planes",
    "nothing": "no image",
}
"""What an error is reached from, likewise."""


def headline(
    methods: Sequence[dict[str, Any]],
    reference: str,
    pairs: dict[str, Any] | None,
    data: EvaluationSet,
) -> str:
    """Give the outcome in one sentence: the best of all methods, and the network beside it.

    The best is the one with the smallest mean error; whether the next is worse is tested on the
    same images. What was the reference is said if it is not the truth.

    Parameters
    ----------
    methods
        Rows of the results, one per method.
    reference
        Id of the method that the sentence begins with, if it is a network or there is none; else
        it begins with the best network.
    pairs
        Result of `fgaf.model.bench.compare.judge_pairs`, None where the preset has no pairs.
    data
        The cells that were predicted.
    """
    said = _of_all(methods, _subject(methods, reference))
    if pairs and pairs["mean"]:
        said = f"{_of_pairs(pairs)}; {_of_all(methods, None)}"
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
        As for `headline`.
    pairs
        Result of `fgaf.model.bench.compare.judge_pairs`, None where the preset has no pairs.
    data
        The cells that were predicted.
    """
    row = _subject(methods, reference)
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
    for what, rivals in (
        (
            "Best other method that sees one image",
            [
                other
                for other in methods
                if other["sees"] == "patch" and other["kind"] not in _NETWORKS
            ],
        ),
        ("Best peak of a focus measure", _searches(methods, peak=True)),
        ("Best other search of the stack", _searches(methods, peak=False)),
    ):
        others = [other for other in rivals if other is not row]
        if others:
            best = min(others, key=_error_um)
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


def _of_all(methods: Sequence[dict[str, Any]], subject: dict[str, Any] | None) -> str:
    """Text: the best of all methods, whether the next is worse, and where the subject stands."""
    best = next(row for row in methods if row["against_best"] is None)
    others = [row for row in methods if row is not best]
    among = f"of {count(len(methods), 'method')}"
    if not others:
        return f"{best['label']} {_work(best)}"
    after = min(others, key=lambda row: float(row["against_best"]["mae_um"]["value"]))
    if subject is None or _is_ahead(subject):
        said = f"the smallest mean error {among} has {_with_error(best)}"
    elif subject is best:
        said = f"{best['label']} {_work(best)}, the smallest {among}"
    else:
        said = (
            f"{subject['label']} is not the best {among}: it {_work(subject)}, "
            f"{significance(subject['against_best']['mae_um'])} more than {_with_error(best)}"
        )
    return said if after is subject and not _is_ahead(after) else f"{said}; {_next_to(best, after)}"


def _next_to(best: dict[str, Any], after: dict[str, Any]) -> str:
    """Text: whether the method after the best is worse."""
    sure = significance(after["against_best"]["mae_um"])
    if _is_ahead(after):
        return (
            f"on the cells that it answered, {_with_error(after)} is {sure} better than "
            f"{best['label']}"
        )
    return f"the next, {_with_error(after)}, is {sure} worse"


def _is_ahead(row: dict[str, Any]) -> bool:
    """Whether it is better than the best on the cells that both answered."""
    against = row["against_best"]
    return against is not None and against["mae_um"]["value"] < 0


def _subject(methods: Sequence[dict[str, Any]], reference: str) -> dict[str, Any]:
    """The reference, unless it is no network and there is one."""
    networks = [row for row in methods if row["kind"] in _NETWORKS]
    first = next(row for row in methods if row["id"] == reference)
    return first if first in networks or not networks else min(networks, key=_error_um)


def _work(row: dict[str, Any]) -> str:
    """Text: what a method does, with which error."""
    return f"{_WORK[row['sees']]} with a mean error of {_plain(row)}"


def _with_error(row: dict[str, Any]) -> str:
    return f"{row['label']} ({_plain(row)} from {_SOURCE[row['sees']]})"


def _error_um(row: dict[str, Any]) -> float:
    return float(row["metrics"]["mae_um"]["value"])


def _searches(methods: Sequence[dict[str, Any]], peak: bool) -> list[dict[str, Any]]:
    """Rows of depth from focus: those that take a measure's peak, or all others."""
    searches = [row for row in methods if row["kind"] == "focus"]
    return [row for row in searches if (row["settings"]["rule"] == "peak") == peak]


def _plain(row: dict[str, Any]) -> str:
    return f"{_error_um(row):.2f} µm"


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
