"""What the stacks of one microscope vote together on the case of the focus rule.

The cells of a stack vote on whether contrast is least or highest in focus. Few cells may err: one
alone in half of the cases. So the stacks of one microscope vote together, unless stacks that are
sure by themselves contradict each other, as where a person changed the contrast between them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from fgaf.curate.focus.suggest import SURE, Rule, rule_for
from fgaf.curate.session.state import StackRef


@dataclass
class _Microscope:
    total: float = 0.0
    sure: set[Rule] = field(default_factory=set)


class Votes:
    """Votes of stacks; those of one session that differ in NA / wavelength are apart.

    Parameters
    ----------
    stacks
        The first that vote.
    """

    def __init__(self, stacks: Iterable[StackRef] = ()) -> None:
        self._of: defaultdict[float | None, _Microscope] = defaultdict(_Microscope)
        for stack in stacks:
            self.add(stack)

    def add(self, stack: StackRef) -> None:
        """Count the vote of a stack.

        Parameters
        ----------
        stack
            One that did not vote yet.
        """
        together = self._of[stack.cutoff_per_um]
        together.total += stack.vote
        if abs(stack.vote) >= SURE:
            together.sure.add(rule_for(stack.vote))

    def rule_of(self, stack: StackRef, least: float = SURE) -> Rule | None:
        """The case of the focus rule for a stack that has voted; None where votes leave doubt.

        Parameters
        ----------
        stack
            One of those that voted.
        least
            Votes that leave no doubt.
        """
        together = self._of[stack.cutoff_per_um]
        alone = abs(stack.vote) >= SURE or len(together.sure) > 1
        vote = stack.vote if alone else together.total
        return rule_for(vote) if abs(vote) >= least else None
