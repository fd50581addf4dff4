"""What a check has found: one of four answers, with what was seen and what to do.

Pure. Preflight's checks and the checks of a joined member speak this one language.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Answer(enum.Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """Go on, and tell."""
    ERROR = "error"
    """Stop, unless it is waived."""
    INCOMPLETE = "incomplete"
    """It could not be found out; that stops nothing."""


@dataclass(frozen=True)
class Finding:
    """One check's answer."""

    check: str
    """Id of the check."""
    answer: Answer
    evidence: str
    """What was seen, on which object of which cluster; no secrets."""
    fix: str = ""
    """What to do; "" where there is nothing to do."""
    waived: bool = False
    """Whether the conf says to go on in spite of it."""

    @property
    def stops(self) -> bool:
        """Tell whether the join must not go on."""
        return self.answer is Answer.ERROR and not self.waived

    def __str__(self) -> str:
        words = f"{self.check}: {self.evidence}"
        return f"{words} {self.fix}".rstrip() + (" (waived)" if self.waived else "")

    @property
    def report(self) -> dict[str, str]:
        """Return it as Airflow keeps it."""
        fields = {"check": self.check, "answer": self.answer.value, "evidence": self.evidence, "fix": self.fix}
        return {key: value for key, value in fields.items() if value} | ({"waived": "yes"} if self.waived else {})


def ok(check: str, evidence: str) -> Finding:
    """Return that all is as it has to be."""
    return Finding(check, Answer.OK, evidence)


def warning(check: str, evidence: str, fix: str) -> Finding:
    """Return something to tell, in spite of which the join goes on."""
    return Finding(check, Answer.WARNING, evidence, fix)


def error(check: str, evidence: str, fix: str) -> Finding:
    """Return what stops the join."""
    return Finding(check, Answer.ERROR, evidence, fix)


def incomplete(check: str, evidence: str, fix: str = "") -> Finding:
    """Return that it could not be found out."""
    return Finding(check, Answer.INCOMPLETE, evidence, fix)


def stopping(found: Iterable[Finding]) -> list[Finding]:
    """Return those that stop a join."""
    return [finding for finding in found if finding.stops]
