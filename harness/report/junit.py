"""A report as JUnit XML: a suite for each subject, a case for each scenario."""

from __future__ import annotations

import re
from typing import Final
from xml.etree import ElementTree

from harness.report.model import Entry, Report, SubjectReport
from harness.runner import standing

# What XML 1.0 cannot hold at all, not even escaped.
_IMPOSSIBLE: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report) -> str:
    """The XML. A known failure that failed is skipped; one that passed is a failure; unknown is an error."""
    root = ElementTree.Element("testsuites", name="plumbline")
    for subject in report.subjects:
        root.append(_suite(subject))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _suite(subject: SubjectReport) -> ElementTree.Element:
    cases = [_case(entry) for entry in subject.entries]
    counts = {kind: sum(case.find(kind) is not None for case in cases) for kind in ("failure", "error", "skipped")}
    suite = ElementTree.Element(
        "testsuite",
        name=_text(subject.name),
        timestamp=_text(subject.made),
        tests=str(len(cases)),
        failures=str(counts["failure"]),
        errors=str(counts["error"]),
        skipped=str(counts["skipped"]),
        time=f"{sum(entry.outcome.seconds for entry in subject.entries):.3f}",
    )
    suite.extend(cases)
    return suite


def _case(entry: Entry) -> ElementTree.Element:
    outcome = entry.outcome
    area, _, name = outcome.scenario.rpartition("/")
    case = ElementTree.Element("testcase", classname=_text(area), name=_text(name), time=f"{outcome.seconds:.3f}")
    properties = ElementTree.SubElement(case, "properties")
    for clause in outcome.clauses:
        ElementTree.SubElement(properties, "property", name="clause", value=_text(clause))
    if outcome.verdict == "not supported":
        ElementTree.SubElement(case, "skipped", message=_text(f"not supported: {outcome.reason}"))
    elif outcome.verdict == "failed" and outcome.known_failure is not None:
        ElementTree.SubElement(case, "skipped", message=_text(f"known failure: {outcome.known_failure}"))
    elif not standing.is_green([outcome]):
        kind = "error" if outcome.verdict == "unknown" else "failure"
        reason = outcome.reason or f"passed, though it is a known failure: {outcome.known_failure}"
        told = ElementTree.SubElement(case, kind, message=_text(reason), type=outcome.verdict)
        told.text = _text(_details(entry))
    return case


def _details(entry: Entry) -> str:
    lines = [entry.outcome.guarantee]
    for finding in entry.outcome.findings:
        events = f" [events {', '.join(map(str, finding.events))}]" if finding.events else ""
        lines.append(f"{finding.clause} {finding.checker}: {finding.anomaly}{events}: {finding.explanation}")
    if entry.outcome.history is not None:
        lines.append(f"history: {entry.outcome.history}")
    if entry.again:
        lines.append(f"again: {entry.again}")
    return "\n".join(lines)


def _text(text: str) -> str:
    return _IMPOSSIBLE.sub("\ufffd", text)
