"""Results of checking a file: findings with a name, a severity and a remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One finding about a file.

    Attributes
    ----------
    name : str
        Stable name of the check, such as "leak-overlap".
    severity : {"error", "warning", "note"}
        An error makes the file unusable; a warning should be looked at; a note is information.
    message : str
        What was found, in one line.
    mend : str
        How to fix it.
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
        "fgaf-raw", "fgaf-dataset", or empty for other files.
    findings : tuple of Finding
        The most severe first.
    """

    path: Path
    format: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
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
    """Sort by severity, the most severe first, then in the order of the checks."""
    rank = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(findings, key=lambda finding: rank[finding.severity]))


def some(items: Iterable[object]) -> str:
    """List the first few of many items."""
    listed = [str(item) for item in items]
    more = f" and {len(listed) - 4} more" if len(listed) > 4 else ""
    return ", ".join(listed[:4]) + more
