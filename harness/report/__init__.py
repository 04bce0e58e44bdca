"""Outcomes as files for people and machines: HTML, JSON, JUnit XML, Markdown and a badge."""

from harness.report.model import Entry, Excerpt, Report, ReportError, SubjectReport, join
from harness.report.writing import load, write, write_report

__all__ = ["Entry", "Excerpt", "Report", "ReportError", "SubjectReport", "join", "load", "write", "write_report"]
