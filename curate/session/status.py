"""Progress of a session: decisions by kind, person, sample and plane, and the time they took."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from math import isnan
from statistics import median
from typing import Any

from fgaf.base.console import count
from fgaf.curate.session.agreement import Agreement, agreement, disagreements
from fgaf.curate.session.queue import QueueSettings, is_done, queue_of
from fgaf.curate.session.state import AUTO, CellState, Decision, State


@dataclass(frozen=True)
class Status:
    """Counts of cells.

    Attributes
    ----------
    stacks, found, kept, unsure, open
        Stacks; cells found; cells kept, flagged unsure, and without any decision.
    labelled, left
        Cells that a person decided on, and cells still to do.
    rejected, not_to_do
        By reason; all, and those that "auto" rejected for good, which no person is shown.
    annotators
        Cells by the person who decided last.
    samples
        Kept cells by sample.
    depths
        Kept cells by drive position of their focus plane, µm.
    accepted
        Share of the labels kept by people that equal the suggestion.
    seconds
        Median time of a person per cell; NaN where unknown.
    masks
        Kept cells with a mask of their head.
    """

    stacks: int
    found: int
    kept: int
    unsure: int
    open: int
    labelled: int
    left: int
    rejected: dict[str, int]
    not_to_do: dict[str, int]
    annotators: dict[str, int]
    samples: dict[str, int]
    depths: dict[float, int]
    accepted: float
    seconds: float
    agreement: Agreement
    disagreements: int
    reviewed: int
    unusable: list[Unusable]
    masks: int

    @property
    def ready(self) -> bool:
        """Whether nothing is left to label."""
        return self.left == 0 and self.kept > 0

    def lines(self) -> list[str]:
        """Format it as lines."""
        lines = [
            f"{count(self.stacks, 'stack')}, {count(self.found, 'cell')} found: "
            f"{self.labelled} labelled by a person, {self.left} to do{self._not_to_do()}",
            f"{self.kept} kept, {self.unsure} unsure, {_reasons(self.rejected)}",
        ]
        if self.masks:
            lines.append(f"{count(self.masks, 'kept cell')} with a mask of the head")
        lines += [file.line() for file in self.unusable]
        if self.annotators:
            lines.append(f"decided by {_listed(self.annotators)}")
        if self.samples:
            lines.append(f"kept by sample, {_listed(self.samples)}")
            at = {f"{depth:+.2f} µm": n for depth, n in self.depths.items()}
            lines.append(f"kept by focus plane, {_listed(at)}")
        if self.labelled and not isnan(self.seconds):
            lines.append(
                f"{self.seconds:.1f} s for a cell (median); {100 * self.accepted:.0f} % of the "
                "kept labels accept the suggestion unchanged"
            )
        if self.agreement.cells:
            lines += self.agreement.lines()
            lines.append(reviews_line(self.disagreements, self.reviewed))
        return lines

    def why_fewer(self) -> str:
        """Say how many of the cells found are to do, and why not all."""
        return f"{count(self.found, 'cell')} found, {self.left} to do{self._not_to_do()}"

    def _not_to_do(self) -> str:
        return f", {_reasons(self.not_to_do, ' by auto')}" if self.not_to_do else ""

    def as_dict(self) -> dict[str, Any]:
        """The counts for a script; None where a number is unknown."""
        return {name: _known(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Unusable:
    """A raw file that is missing, changed or damaged, and the numbers of its cells."""

    source: str
    problem: str
    found: int
    kept: int

    def line(self, say_kept: bool = True) -> str:
        """Format it as a line that says what to do.

        Parameters
        ----------
        say_kept
            Whether it says how many were kept, which a blind pass must not tell.
        """
        kept = f" ({self.kept} kept)" if say_kept else ""
        return (
            f"{self.source} {self.problem}: its {count(self.found, 'cell')}{kept} "
            "cannot be shown or exported; put the file back, or give its folder with --raw"
        )


def unusable_files(state: State) -> list[Unusable]:
    """The raw files that cannot be used, with their cells."""
    return [
        Unusable(
            state.stacks[fingerprint].source,
            problem,
            sum(cell.stack == fingerprint for cell in state.cells.values()),
            sum(cell.stack == fingerprint for cell, _ in state.kept()),
        )
        for fingerprint, problem in state.problems.items()
    ]


def reviews_line(differing: int, reviewed: int) -> str:
    """Say how many cells differ, and how many of them still need a review.

    Parameters
    ----------
    differing
        Cells that two people labelled differently.
    reviewed
        Those that a review settled.
    """
    return f"{differing} differ, {reviewed} reviewed, {differing - reviewed} left"


def status(state: State) -> Status:
    """Count the decisions of a journal."""
    cells = list(state.cells.values())
    decided = [(cell, cell.decision) for cell in cells if cell.decision is not None]
    kept = state.kept()
    by_person = [d for _, d in decided if d.annotator != AUTO]
    taken = [d.verdict == "accept" for d in by_person if d.kept]
    times = [d.seconds for cell in cells for d in _labels(cell) if d.seconds > 0]
    focus = [(cell, d.focus_um) for cell, d in kept if d.focus_um is not None]
    to_label = queue_of(state, QueueSettings(), "")
    hopeless = [state.cells[name].decision for name in state.cells.keys() - set(to_label)]
    differing = disagreements(state)
    return Status(
        stacks=len(state.stacks),
        found=len(cells),
        kept=len(kept),
        unsure=sum(d.verdict == "unsure" for _, d in decided),
        open=len(cells) - len(decided),
        labelled=len(by_person),
        left=sum(not is_done(state.cells[name], "label") for name in to_label),
        rejected=dict(
            Counter(d.reason or "no reason" for _, d in decided if d.verdict == "reject")
        ),
        not_to_do=dict(Counter(d.reason for d in hopeless if d is not None)),
        annotators=dict(Counter(d.annotator for _, d in decided)),
        samples=dict(Counter(state.stacks[c.stack].sample_id or "unknown" for c, _ in kept)),
        depths=dict(sorted(Counter(_plane_um(state, c, um) for c, um in focus).items())),
        accepted=sum(taken) / len(taken) if taken else float("nan"),
        seconds=median(times) if times else float("nan"),
        agreement=agreement(state),
        disagreements=len(differing),
        reviewed=sum(state.cells[name].reviewed for name in differing),
        unusable=unusable_files(state),
        masks=sum(bool(cell.masks) for cell, _ in kept),
    )


def _known(value: Any) -> Any:
    if isinstance(value, list):
        return [_known(inner) for inner in value]
    if isinstance(value, dict):
        return {name: _known(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and isnan(value) else value


def _labels(cell: CellState) -> list[Decision]:
    return [d for d in (cell.label, cell.second, cell.review) if d is not None]


def _plane_um(state: State, cell: CellState, focus_um: float) -> float:
    z = state.stacks[cell.stack].z_um
    plane = state.plane_of(cell, focus_um)
    return round(z[plane] if z else plane * state.settings.step_um, 2)


def _reasons(counts: dict[str, int], by: str = "") -> str:
    """The number of rejected cells, and of each reason."""
    reasons = ", ".join(f"{n} {reason}" for reason, n in counts.items())
    return f"{sum(counts.values())} rejected{by}{f': {reasons}' if reasons else ''}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {n}" for name, n in counts.items())
