"""The report for people: one HTML file that needs nothing beside it, and the badge."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Final

import jinja2
from markupsafe import Markup

import contract
from harness.report import timeline, view
from harness.report.model import Report

_COLOURS: Final = {0: "#9f2f2f", 1: "#8a6d00", 2: "#5a7d00", 3: "#3c7d1e", 4: "#1f7a34"}


def html(report: Report) -> str:
    """The report as a page. Whatever a history holds is text on it, and never markup or script: all is escaped, and the
    page's policy allows no script and style but its own."""
    subjects = [view.subject_view(subject) for subject in report.subjects]
    style, script = part("report.css"), part("report.js")
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            report=report,
            subjects=subjects,
            clauses=view.clause_views(subjects),
            scenarios=view.scenario_views(report),
            readable=view.readable,
            areas=contract.areas(),
            timeline=timeline,
            style=Markup(style),
            script=Markup(script),
            style_hash=hash_of(style),
            script_hash=hash_of(script),
        )
    )


def badge(report: Report) -> str:
    """An SVG that says how the (first) subject stands."""
    subject = view.subject_view(report.subjects[0])
    counted = subject.counts
    if subject.level:
        told = f"level {subject.level_name}"
    elif subject.untested and subject.is_green:
        told = f"{counted['passed']} passed, in part"
    else:
        told = f"{counted['failed']} failed" if counted["failed"] else "no level"
    colour = _COLOURS[subject.level] if subject.level or not subject.is_green else "#5a5f66"
    return (
        templates()
        .get_template("badge.svg.j2")
        .render(label="plumbline", told=told, colour=colour, left=74, right=16 + 7 * len(told))
    )


@cache
def templates(package: str = "harness.report") -> jinja2.Environment:
    """The templates of a package's pages; whatever is put in is escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def part(name: str) -> str:
    """A part of the pages, as text."""
    return files("harness.report").joinpath("templates", name).read_text(encoding="utf-8")


def hash_of(text: str) -> str:
    """What a page's policy knows its own style or script by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
