"""What a check of a file says: findings with a name, a severity and the mend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing about a file.

    Attributes
    ----------
    name : str
        Stable name of the check, such as "leak-overlap".
    severity : {"error", "warning", "note"}
        An error makes the file unfit for use; a warning wants a look; a note is good to know.
    message : str
        What was found, in one line.
    mend : str
        What to do about it.
    """

    name: str
    severity: Severity
    message: str
    mend: str

    def __str__(self) -> str:
        return f"{self.severity} {self.name}: {self.message}; {self.mend}"


@dataclass(frozen=True)
class Report:
    """All findings about one file.

    Attributes
    ----------
    path : Path
        The file.
    format : str
        "fgaf-raw", "fgaf-dataset", or empty when it is neither.
    findings : tuple of Finding
        The worst first.
    """

    path: Path
    format: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error among the findings."""
        return all(finding.severity != "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "path": str(self.path),
            "format": self.format,
            "ok": self.ok,
            "findings": [vars(finding) for finding in self.findings],
        }


def sorted_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort the worst first, otherwise in the order of the checks."""
    rank = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(findings, key=lambda finding: rank[finding.severity]))


def some(items: Iterable[object]) -> str:
    """Name the first few of many things."""
    listed = [str(item) for item in items]
    more = f" and {len(listed) - 4} more" if len(listed) > 4 else ""
    return ", ".join(listed[:4]) + more
