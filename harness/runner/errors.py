"""How a scenario can end before its last expectation, told apart by what it says about the subject."""

from __future__ import annotations

from collections.abc import Sequence

from harness.verdict import Finding


class ScenarioEnded(Exception):
    """Base of the three."""


class NotSupported(ScenarioEnded):
    """The subject, or the stack, lacks what the scenario needs; says what."""


class SetUpBroke(ScenarioEnded):
    """The harness could not do its own part, so that nothing can be said about the subject."""


class Broken(ScenarioEnded):
    """The subject did not do what the scenario expects."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(finding.explanation for finding in findings))
        self.findings = tuple(findings)
