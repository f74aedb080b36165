"""What became of the cells of an automatic curation, as a table: why, how many, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fgaf.curate.auto import AutoReport
from fgaf.curate.candidates import LOST, OVERLAP
from fgaf.curate.detection.crop import AT_BORDER, OFF_STACK
from fgaf.curate.focus import suggest

HEADINGS: Final = ("cells", "number", "share", "what to do")
_LONGER: Final = "take stacks over a longer range (acq stack --range), or lower --half-range"
_LOOK: Final = "look at them: fgaf-curate open"
ADVICE: Final = {
    AT_BORDER: "a smaller --patch needs less room; else nothing",
    OVERLAP: "dilute the sample, or take a smaller --patch",
    LOST: "take stacks faster (acq sweep)",
    OFF_STACK: _LONGER,
    suggest.OFF_ENDS: _LONGER,
    suggest.AT_END: _LONGER,
    suggest.FEW_PLANES: "they swim out of the frame or lie at its edge: take stacks faster",
    suggest.FLAT: _LOOK,
    suggest.UNCLEAR: _LOOK,
    suggest.THICK: _LOOK,
    suggest.UNLIKE: _LOOK,
    suggest.DISAGREES: _LOOK,
    suggest.UNDECIDED: "give more stacks of this microscope at once; else look at them",
}
"""What helps against a reason of rejection."""


def rows(report: AutoReport) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for all cells, for those kept, and for each reason, the most frequent first.

    Parameters
    ----------
    report
        Of `fgaf.curate.auto.auto`.
    """
    counts = [("found", report.found, ""), ("kept", report.kept, "")]
    counts += [
        (f"rejected: {reason}", number, ADVICE.get(reason, ""))
        for reason, number in report.dropped.most_common()
    ]
    for what, number, advice in counts:
        share = f"{100 * number / report.found:.0f} %" if report.found else ""
        yield what, str(number), share, advice
